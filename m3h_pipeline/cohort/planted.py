"""The planted structure of a synthetic cohort: who the patients are, which latent factors drive which
outcomes, and how the factors show in the features. Pure functions of a seed; files are written by
:mod:`m3h_pipeline.cohort.synthetic`.

The model. An admission has independent standard normal *factors*, partly the patient's own. Every outcome
is a noisy view of one factor: ``logit P(outcome) = intercept + slope * factor``. Outcomes of one factor
are therefore related, and outcomes of two factors are independent. A factor shows in the features of some
sources as one direction among many, with the variance of any other direction: neither reconstruction nor
the agreement of modalities reveals it, only labels do, and the labels of a related task are as good for
finding it as one's own. Strong common variation (clusters of patients, the phenotypes) lies on top in all
sources and tells nothing of any outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Labels of the thoracic task, which a sample has where exactly one of them is positive.
THORACIC = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Lung Opacity",
    "Pneumonia",
    "Pneumothorax",
)
#: Outcomes that are no diagnosis.
MORTALITY, STAY, THORACIC_TASK, PHENOTYPE = (
    "mortality_48h",
    "length_of_stay",
    "thoracic_pathology",
    "phenotype",
)
INFECTION = "hospital_acquired_infection"


@dataclass(frozen=True)
class Outcome:
    """One planted task.

    Attributes:
        task: its id.
        prevalence: share of positives among the admissions (diagnoses, mortality), or of samples with an
            observed label (thoracic); not used otherwise.
        slope: of the log odds on the factor, per standard deviation; 0: independent of everything.
    """

    task: str
    prevalence: float
    slope: float


@dataclass(frozen=True)
class Factor:
    """A latent factor.

    Attributes:
        name: of the factor.
        sources: that show it, in order of preference.
        outcomes: that depend on it.
    """

    name: str
    sources: tuple[str, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Structure:
    """Everything that is planted.

    Attributes:
        factors: latent factors; those with several outcomes make groups of related tasks.
        noise: outcomes that depend on nothing.
        conflicts: pairs of tasks of which neither should help the other.
    """

    factors: tuple[Factor, ...]
    noise: tuple[Outcome, ...]
    conflicts: tuple[tuple[str, str], ...] = ()

    @cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Every outcome by its task, in order."""
        grouped = [outcome for factor in self.factors for outcome in factor.outcomes]
        return {outcome.task: outcome for outcome in (*grouped, *self.noise)}

    @cached_property
    def factor_of(self) -> dict[str, int]:
        """Task -> number of its factor; noise is absent."""
        return {o.task: i for i, factor in enumerate(self.factors) for o in factor.outcomes}


_LABS = ("ts_lab", "ts_chart")
_CHARTS = ("ts_chart", "ts_procedure")
_VISION = ("vision_dense", "vision_dense_multi")
_NOTES = ("note_radiology", "note_ecg", "note_echo")


def structure_of(which: str) -> Structure:
    """The planted structure: ``default`` (a dozen tasks) or ``all`` (the 41 of the paper)."""
    return _DEFAULT if which == "default" else _ALL


_DEFAULT = Structure(
    factors=(
        Factor(
            "cardiorenal",
            _LABS,
            (
                Outcome("heart_failure", 0.35, 2.0),
                Outcome("chronic_kidney_disease", 0.30, 2.0),
                Outcome("diabetes", 0.40, 2.0),
            ),
        ),
        Factor(
            "pulmonary",
            _VISION,
            (
                Outcome("pneumonia", 0.35, 2.0),
                Outcome("copd", 0.30, 2.0),
                Outcome(THORACIC_TASK, 0.50, 2.0),
            ),
        ),
        Factor(
            "acuity",
            _NOTES,
            (Outcome("sepsis", 0.35, 2.0), Outcome(MORTALITY, 0.12, 2.0), Outcome(STAY, 1.0, 2.0)),
        ),
        Factor("mycobacterial", ("ts_procedure",), (Outcome("tuberculosis", 0.026, 4.0),)),
    ),
    noise=(Outcome("gout", 0.3, 0.0),),
)

_ALL = Structure(
    factors=(
        Factor(
            "cardiorenal",
            _LABS,
            (
                Outcome("heart_failure", 0.32, 2.0),
                Outcome("ischemic_heart_disease", 0.33, 2.0),
                Outcome("chronic_kidney_disease", 0.25, 2.0),
                Outcome("diabetes", 0.32, 2.0),
            ),
        ),
        Factor(
            "pulmonary",
            _VISION,
            (Outcome("copd", 0.20, 2.0), Outcome("asthma", 0.09, 2.0), Outcome(THORACIC_TASK, 0.5, 2.0)),
        ),
        Factor(
            "infection",
            _CHARTS,
            (
                Outcome("pneumonia", 0.22, 2.0),
                Outcome("sepsis", 0.25, 2.0),
                Outcome(INFECTION, 0.18, 2.0),
                Outcome("antimicrobial_resistance", 0.05, 2.0),
                Outcome("bacterial_intestinal_infections", 0.05, 2.0),
            ),
        ),
        Factor("acuity", _NOTES, (Outcome(MORTALITY, 0.06, 2.0), Outcome(STAY, 1.0, 2.0))),
        Factor(
            "neurological",
            ("note_radiology",),
            (
                Outcome("stroke", 0.12, 2.0),
                Outcome("epilepsy", 0.07, 2.0),
                Outcome("alzheimers_disease", 0.03, 2.0),
                Outcome("parkinsons_disease", 0.02, 2.0),
            ),
        ),
        Factor(
            "psychiatric",
            ("note_ecg", "note_echo"),
            (
                Outcome("major_depressive_disorder", 0.17, 2.0),
                Outcome("bipolar_disorder", 0.04, 2.0),
                Outcome("schizophrenia", 0.02, 2.0),
                Outcome("fibromyalgia", 0.02, 2.0),
            ),
        ),
        Factor(
            "hepatic",
            ("ts_lab",),
            (
                Outcome("chronic_liver_disease", 0.12, 2.0),
                Outcome("hepatitis_bc", 0.06, 2.0),
                Outcome("hiv_aids", 0.02, 2.0),
            ),
        ),
        Factor(
            "oncological",
            ("vision_dense_multi",),
            (
                Outcome("anemia", 0.40, 2.0),
                Outcome("leukemia", 0.03, 2.0),
                Outcome("lymphoma", 0.03, 2.0),
            ),
        ),
        Factor(
            "frailty",
            ("vision_dense",),
            (
                Outcome("osteoporosis", 0.09, 2.0),
                Outcome("urinary_incontinence", 0.03, 2.0),
                Outcome("macular_degeneration", 0.02, 2.0),
                Outcome("glaucoma", 0.04, 2.0),
            ),
        ),
        Factor("metabolic", ("ts_chart",), (Outcome("obesity", 0.15, 2.0), Outcome("gout", 0.07, 2.0))),
    ),
    noise=(
        Outcome("tuberculosis", 0.015, 0.0),
        Outcome("lupus", 0.015, 0.0),
        Outcome("inflammatory_bowel_disease", 0.03, 0.0),
        Outcome("breast_cancer", 0.03, 0.0),
        Outcome("prostate_cancer", 0.04, 0.0),
        Outcome("melanoma", 0.015, 0.0),
    ),
)


@dataclass(frozen=True)
class People:
    """Who the samples are. ``n`` rows, ``s`` stays, ``a`` admissions, ``p`` patients.

    Attributes:
        stay: (n,) stay of each row, ascending.
        admission: (s,) admission of each stay, ascending.
        patient: (a,) patient of each admission, ascending.
        male: (p,).
        age: (p,) years.
    """

    stay: IntArray
    admission: IntArray
    patient: IntArray
    male: BoolArray
    age: FloatArray

    @cached_property
    def row_admission(self) -> IntArray:
        """(n,) admission of each row."""
        return self.admission[self.stay]

    @cached_property
    def row_patient(self) -> IntArray:
        """(n,) patient of each row."""
        return self.patient[self.row_admission]


@dataclass(frozen=True)
class Outcomes:
    """The drawn outcomes.

    Attributes:
        factors: (a, F) standard normal, of each admission.
        diagnoses: task -> (a,).
        death: (a,) whether the patient dies in hospital.
        hours: (n,) from image to discharge.
        thoracic: (n,) index into :data:`THORACIC`, -1 where not observed.
        phenotype: (a,) cluster.
    """

    factors: FloatArray
    diagnoses: Mapping[str, BoolArray]
    death: BoolArray
    hours: FloatArray
    thoracic: IntArray
    phenotype: IntArray


#: How much of a factor, and of a phenotype, is the patient's own rather than the admission's.
_OWN = 0.7
#: Chance that a further image of a patient belongs to another stay, and that stay to another admission.
_NEW_STAY, _NEW_ADMISSION = 0.35, 0.8
#: Number of patient clusters, as many as the phenotype task looks for.
CLUSTERS = 15


def draw_people(samples: int, per_patient: float, rng: np.random.Generator) -> People:
    """Draw patients, admissions and stays for ``samples`` rows, on average ``per_patient`` rows each."""
    counts = rng.geometric(1 / per_patient, samples)
    patients = int(np.searchsorted(np.cumsum(counts), samples)) + 1
    patient = np.repeat(np.arange(patients), counts[:patients])[:samples]
    first = np.diff(patient, prepend=-1) > 0
    new_stay = first | (rng.random(samples) < _NEW_STAY)
    new_admission = first | (new_stay & (rng.random(samples) < _NEW_ADMISSION))
    stay = np.cumsum(new_stay) - 1
    admission = np.cumsum(new_admission) - 1
    return People(
        stay=stay,
        admission=admission[new_stay],
        patient=patient[new_admission],
        male=rng.random(patients) < 0.54,
        age=np.clip(rng.normal(65, 16, patients), 18, 91).round(),
    )


def draw_outcomes(structure: Structure, people: People, rng: np.random.Generator) -> Outcomes:
    """Draw the factors and everything that follows from them."""
    a, p, n = len(people.patient), len(people.male), len(people.stay)
    k = len(structure.factors)
    own = rng.standard_normal((p, k))[people.patient]
    factors = np.sqrt(_OWN) * own + np.sqrt(1 - _OWN) * rng.standard_normal((a, k))
    phenotype = rng.integers(CLUSTERS, size=p)[people.patient]

    def score(task: str) -> FloatArray:
        number, outcome = structure.factor_of.get(task), structure.outcomes[task]
        return np.zeros(a) if number is None else outcome.slope * factors[:, number]

    diagnoses: dict[str, BoolArray] = {}
    for task, outcome in structure.outcomes.items():
        if task not in (MORTALITY, STAY, THORACIC_TASK):
            noisy = score(task) + rng.logistic(size=a)
            diagnoses[task] = noisy > np.quantile(noisy, 1 - outcome.prevalence)
    male = people.male[people.patient]
    if "prostate_cancer" in diagnoses:
        diagnoses["prostate_cancer"] &= male
    if "breast_cancer" in diagnoses:
        diagnoses["breast_cancer"] &= ~male | (rng.random(a) < 0.02)
    if INFECTION in diagnoses and "pneumonia" in diagnoses:
        # The paper counts every pneumonia among the hospital-acquired infections.
        diagnoses[INFECTION] |= diagnoses["pneumonia"]
    dying, hours = _discharge(structure, people, score, rng)
    thoracic = np.full(n, -1)
    if THORACIC_TASK in structure.outcomes:
        severity = score(THORACIC_TASK)[people.row_admission]
        steepness = np.linspace(-1, 1, len(THORACIC))
        utility = severity[:, None] * steepness + rng.gumbel(size=(n, len(THORACIC)))
        observed = rng.random(n) < structure.outcomes[THORACIC_TASK].prevalence
        thoracic = np.where(observed, utility.argmax(1), -1)
    return Outcomes(factors, diagnoses, dying, hours, thoracic, phenotype)


def _discharge(
    structure: Structure, people: People, score: Callable[[str], FloatArray], rng: np.random.Generator
) -> tuple[BoolArray, FloatArray]:
    """Whether each admission ends in death, (a,), and the hours from each image to discharge, (n,)."""
    a = len(people.patient)
    soon = score(MORTALITY) + rng.logistic(size=a)
    soon_dead = soon > np.quantile(soon, 1 - structure.outcomes[MORTALITY].prevalence)
    # A worse patient stays shorter where that is because of death or hospice, so that the sign is one.
    days = 7 - 1.2 * score(STAY) + 2.2 * rng.standard_normal(a)
    days = np.maximum(np.logaddexp(0, days - 1.5) + 1.5, 0.3)
    days = np.where(soon_dead, rng.uniform(0.1, 1.95, a), np.maximum(days, 2.1))
    late_dead = ~soon_dead & (rng.random(a) < 0.08)
    # Images lie in the first part of what remains; a later stay of the same admission has later images.
    into = rng.uniform(0, 0.25, len(people.stay))
    hours = 24 * days[people.row_admission] * (1 - into)
    return soon_dead | late_dead, hours.round(2)


@dataclass(frozen=True)
class FeatureModel:
    """How factors and phenotypes show in the features.

    Attributes:
        widths: source -> number of features.
        shown: source -> the factors it shows.
        seed: of loadings and noise.
        signal: strength; a factor's share of the variance along its direction is s²/(1 + s²), s = 3 signal.
    """

    widths: Mapping[str, int]
    shown: Mapping[str, Sequence[int]]
    seed: int
    signal: float
    centres: FloatArray = field(repr=False)

    def draw(self, source: str, people: People, outcomes: Outcomes, first: int, last: int) -> FloatArray:
        """The features of rows ``first`` to ``last``, (rows, width), of unit scale.

        The noise is a function of seed, source and ``first``: cut the rows at the same places to get the same
        features.
        """
        number = list(self.widths).index(source)
        loading = np.random.default_rng([self.seed, 1, number])
        width, shown = self.widths[source], list(self.shown.get(source, ()))
        common = loading.standard_normal((self.centres.shape[1], width))
        directions = np.linalg.qr(loading.standard_normal((width, max(1, len(shown)))))[0][:, : len(shown)]
        rng = np.random.default_rng([self.seed, 2, number, first])
        rows = people.row_admission[first:last]
        x = rng.standard_normal((len(rows), width))
        if shown:
            # Along its direction the factor takes the place of most of the noise, and adds no variance.
            share = 9 * self.signal**2 / (1 + 9 * self.signal**2)
            scores = x @ directions
            wanted = np.sqrt(share) * outcomes.factors[rows][:, shown] + np.sqrt(1 - share) * scores
            x += (wanted - scores) @ directions.T
        # Common variation belongs to the stay's patient: every source shows it.
        spread = np.random.default_rng([self.seed, 3]).standard_normal((len(people.male), common.shape[0]))
        hidden = self.centres[outcomes.phenotype[rows]] + 0.5 * spread[people.row_patient[first:last]]
        return np.asarray(x + 0.6 * hidden @ common / np.sqrt(len(common)))


def feature_model(structure: Structure, widths: Mapping[str, int], signal: float, seed: int) -> FeatureModel:
    """Place the factors in the sources that exist; a factor of none goes to the widest one."""
    shown: dict[str, list[int]] = {}
    usable = {name: width for name, width in widths.items() if name != "demographics"} or dict(widths)
    for i, factor in enumerate(structure.factors):
        sources = [name for name in factor.sources if name in usable] or [max(usable, key=usable.__getitem__)]
        for name in sources:
            if len(shown.setdefault(name, [])) < widths[name]:
                shown[name].append(i)
    centres = np.random.default_rng([seed, 4]).standard_normal((CLUSTERS, 8)) * 2
    return FeatureModel(dict(widths), shown, seed, signal, centres)


def truth_of(structure: Structure) -> dict[str, list[object]]:
    """What a study of the cohort should find, as written to ``truth.json``."""
    return {
        "groups": [[o.task for o in f.outcomes] for f in structure.factors if len(f.outcomes) > 1],
        "conflicts": [list(pair) for pair in structure.conflicts],
        "noise": [o.task for o in structure.noise],
        "rare": [o.task for o in structure.outcomes.values() if o.prevalence < 0.03],
        "missing": [THORACIC_TASK] if THORACIC_TASK in structure.outcomes else [],
    }
