"""The planted structure of a synthetic cohort: who the patients are, what befalls them, how that shows in the
features. Pure functions of a seed; files are written by :mod:`m3h_pipeline.cohort.synthetic.simulate`.

An admission has independent standard normal *factors*, in part the patient's own. An outcome is a noisy
view of one factor: ``logit P(outcome) = intercept + slope * factor``. So outcomes of one factor are
related, and those of two factors independent. A hidden factor shows in the features of its sources as one
direction among many, with the variance of any other: neither reconstruction nor the agreement of modalities
reveals it, only labels do, and those of a related task serve as well as a task's own. A loud factor adds
variance along a direction that may partly cover a hidden one. The patients' phenotypes, strong variation
common to all sources, lie on top and tell nothing of any outcome.

To the log odds of some outcomes a term is added that no linear function of features is
(:mod:`~m3h_pipeline.cohort.synthetic.interactions`): the factor's effect depends on age, sex or a
measurement, or risk rises on both sides of a measurement. Nothing but these terms depends on a measurement,
which is one column of its source, as a laboratory records it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from m3h_pipeline.cohort.synthetic.interactions import AGE, MEASURED, SEX
from m3h_pipeline.cohort.synthetic.structure import INFECTION, MORTALITY, STAY, THORACIC_TASK, Structure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: The classes of the thoracic task, each with its severity and silhouette.
THORACIC: Mapping[str, tuple[int, int]] = {
    "Atelectasis": (-1, -1),
    "Cardiomegaly": (-1, 1),
    "Consolidation": (1, -1),
    "Edema": (1, 1),
    "Enlarged Cardiomediastinum": (-1, 1),
    "Lung Opacity": (1, 1),
    "Pneumonia": (1, -1),
    "Pneumothorax": (-1, -1),
}
#: Number of phenotypes, as many as the phenotype task looks for.
PHENOTYPES = 15
#: How much of a factor's variance is the patient's own rather than the admission's.
_OWN = 0.7
#: Chance that a further image of a patient belongs to another stay, and that stay to another admission.
_NEW_STAY, _NEW_ADMISSION = 0.35, 0.8
#: Deviation of what all sources have in common, in those of a feature's own noise; its dimensions; spread of
#: the patients about the centre of their phenotype, in units of the centres' spread.
_COMMON, _DIMENSIONS, _SPREAD = 1.2, 8, 0.25
#: A hidden factor's signal to noise along its direction, in deviations, at ``signal: 1``.
_CLARITY = 3.0
#: Mean and deviation of the patients' ages, in years.
_AGE, _AGES = 65, 16
#: Cosine between a loud factor's direction and that of the factor it masks.
_COVER = 0.6


@dataclass(frozen=True)
class People:
    """Who the samples are: n rows of s stays of a admissions of p patients.

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
    """What befalls the patients.

    Attributes:
        factors: (a, F) standard normal.
        diagnoses: task -> (a,).
        death: (a,) whether the patient dies in hospital.
        hours: (n,) from image to discharge.
        thoracic: (n,) number of the class in :data:`THORACIC`, -1 where there is no label.
        phenotype: (p,).
        modifiers: age, sex and measurement -> (a,), each of mean about 0 and deviation about 1.
    """

    factors: FloatArray
    diagnoses: Mapping[str, BoolArray]
    death: BoolArray
    hours: FloatArray
    thoracic: IntArray
    phenotype: IntArray
    modifiers: Mapping[str, FloatArray]


def draw_people(samples: int, per_patient: float, rng: np.random.Generator) -> People:
    """Draw patients, admissions and stays for ``samples`` rows, on average ``per_patient`` rows each."""
    counts = rng.geometric(1 / per_patient, samples)
    patients = int(np.searchsorted(np.cumsum(counts), samples)) + 1
    patient = np.repeat(np.arange(patients), counts[:patients])[:samples]
    first = np.diff(patient, prepend=-1) > 0
    new_stay = first | (rng.random(samples) < _NEW_STAY)
    new_admission = first | (new_stay & (rng.random(samples) < _NEW_ADMISSION))
    return People(
        stay=np.cumsum(new_stay) - 1,
        admission=(np.cumsum(new_admission) - 1)[new_stay],
        patient=patient[new_admission],
        male=rng.random(patients) < 0.54,
        age=np.clip(rng.normal(_AGE, _AGES, patients), 18, 91).round(),
    )


def draw_outcomes(structure: Structure, people: People, rng: np.random.Generator) -> Outcomes:
    """Draw the factors and everything that follows from them."""
    a, p, n = len(people.patient), len(people.male), len(people.stay)
    k = len(structure.factors)
    own = rng.standard_normal((p, k))[people.patient]
    factors = np.sqrt(_OWN) * own + np.sqrt(1 - _OWN) * rng.standard_normal((a, k))

    modifiers = {
        AGE: ((people.age - _AGE) / _AGES)[people.patient],
        SEX: np.where(people.male, 1.0, -1.0)[people.patient],
        # A stream of their own: what else is drawn does not depend on them.
        **dict(zip(MEASURED, rng.spawn(1)[0].standard_normal((len(MEASURED), a)), strict=True)),
    }

    def score(task: str) -> FloatArray:
        number = structure.factor_of.get(task)
        if number is None:
            return np.zeros(a)
        risk = factors[:, number]
        if interaction := structure.interactions.get(task):
            risk = risk + interaction.weight * interaction.term(risk, modifiers[interaction.modifier])
        return np.asarray(structure.outcomes[task].slope * risk)

    diagnoses: dict[str, BoolArray] = {}
    for task, outcome in structure.outcomes.items():
        if task not in (MORTALITY, STAY, THORACIC_TASK):
            diagnoses[task] = _most(score(task) + rng.logistic(size=a), outcome.prevalence)
    male = people.male[people.patient]
    if "prostate_cancer" in diagnoses:
        diagnoses["prostate_cancer"] &= male
    if "breast_cancer" in diagnoses:
        diagnoses["breast_cancer"] &= ~male | (rng.random(a) < 0.02)
    if INFECTION in diagnoses:
        # The paper counts every pneumonia among the hospital-acquired infections.
        diagnoses[INFECTION] |= diagnoses["pneumonia"]
    death, hours = _discharge(structure, people, score, rng)
    severity, silhouette = np.array(list(THORACIC.values())).T
    utility = np.outer(score(THORACIC_TASK)[people.row_admission], severity)
    if structure.silhouette is not None:
        utility += np.outer(factors[people.row_admission, structure.silhouette], silhouette)
    utility += rng.gumbel(size=utility.shape)
    seen = rng.random(n) < structure.outcomes[THORACIC_TASK].prevalence
    phenotype = rng.integers(PHENOTYPES, size=p)
    classes = np.where(seen, utility.argmax(1), -1)
    return Outcomes(factors, diagnoses, death, hours, classes, phenotype, modifiers)


def _most(score: FloatArray, share: float) -> BoolArray:
    """The ``share`` of the admissions with the highest scores: the prevalence holds exactly."""
    chosen = np.zeros(len(score), dtype=bool)
    chosen[np.argsort(score)[len(score) - round(share * len(score)) :]] = True
    return chosen


def _discharge(
    structure: Structure, people: People, score: Callable[[str], FloatArray], rng: np.random.Generator
) -> tuple[BoolArray, FloatArray]:
    """Whether each admission ends in death, (a,), and the hours from each image to discharge, (n,)."""
    a = len(people.patient)
    soon = _most(score(MORTALITY) + rng.logistic(size=a), structure.outcomes[MORTALITY].prevalence)
    # The more acute, the sooner the stay ends, in death or in transfer: one sign for both tasks.
    days = 7.5 - 0.8 * score(STAY) + 2.6 * rng.standard_normal(a)
    days = np.logaddexp(0, days - 3) + 3
    days = np.where(soon, rng.uniform(0.1, 1.95, a), days)
    later = ~soon & (rng.random(a) < 0.08)
    # Images are taken in the first fifth of what remains of the stay.
    elapsed = rng.uniform(0, 0.2, len(people.stay))
    return soon | later, (24 * days[people.row_admission] * (1 - elapsed)).round(2)


class FeatureModel:
    """How factors and phenotypes show in the features.

    Args:
        structure: what is planted.
        widths: source -> number of features.
        signal: strength of the factors.
        seed: of loadings and noise.
    """

    def __init__(self, structure: Structure, widths: Mapping[str, int], signal: float, seed: int) -> None:
        # Sources are numbered by name: the order in which a configuration lists them changes no cohort.
        widths = dict(sorted(widths.items()))
        self.widths, self._structure, self._signal, self._seed = widths, structure, signal, seed
        self._centres = np.random.default_rng([seed, 1]).standard_normal((PHENOTYPES, _DIMENSIONS))
        usable = {name: width for name, width in widths.items() if name != "demographics"} or widths
        self.shown: dict[str, list[int]] = {name: [] for name in widths}
        for number, factor in enumerate(structure.factors):
            present = [name for name in factor.sources if name in usable]
            for name in present or [max(usable, key=usable.__getitem__)]:
                # A direction of its own needs a dimension of its own.
                if len(self.shown[name]) < widths[name]:
                    self.shown[name].append(number)
        # As does a column.
        self.recorded: dict[str, list[str]] = {name: [] for name in widths}
        used = {interaction.modifier for interaction in structure.interactions.values()}
        for measured, name in MEASURED.items():
            source = name if name in usable else max(usable, key=usable.__getitem__)
            room = widths[source] - len(self.shown[source]) - len(self.recorded[source])
            if measured in used and room > 0:
                self.recorded[source].append(measured)

    def directions(self, source: str) -> FloatArray:
        """Unit directions of the factors that ``source`` shows, (factors, width)."""
        shown, width = self.shown[source], self.widths[source]
        rng = np.random.default_rng([self._seed, 2, list(self.widths).index(source)])
        found = np.linalg.qr(rng.standard_normal((width, max(1, len(shown)))))[0].T[: len(shown)]
        names = [self._structure.factors[number].name for number in shown]
        for i, number in enumerate(shown):
            masked = self._structure.factors[number].masks
            if masked in names:
                found[i] = _COVER * found[names.index(masked)] + np.sqrt(1 - _COVER**2) * found[i]
        return np.asarray(found)

    def draw(self, source: str, people: People, outcomes: Outcomes, first: int, last: int) -> FloatArray:
        """The features of rows ``first`` to ``last``, (rows, width), each about standard normal.

        The noise is a function of the seed, the source and ``first``: rows cut at the same places have the
        same features.
        """
        number, width = list(self.widths).index(source), self.widths[source]
        rng = np.random.default_rng([self._seed, 3, number, first])
        rows, patients = people.row_admission[first:last], people.row_patient[first:last]
        x = rng.standard_normal((len(rows), width))
        directions = self.directions(source)
        loud = np.array([self._structure.factors[i].loud for i in self.shown[source]])
        hidden = directions[loud == 0]
        factors = outcomes.factors[rows][:, self.shown[source]]
        # Along its direction a hidden factor takes the place of most of the noise, and adds no variance.
        clarity = (_CLARITY * self._signal) ** 2
        noise = x @ hidden.T
        wanted = np.sqrt(clarity / (1 + clarity)) * factors[:, loud == 0] + np.sqrt(1 / (1 + clarity)) * noise
        x += (wanted - noise) @ hidden
        x += self._signal * (factors * loud) @ directions
        spread = np.random.default_rng([self._seed, 4]).standard_normal((len(people.male), _DIMENSIONS))
        common = (self._centres[outcomes.phenotype] + _SPREAD * spread)[patients]
        loadings = np.random.default_rng([self._seed, 5, number]).standard_normal((_DIMENSIONS, width))
        x = (x + _COMMON * common @ loadings / np.sqrt(_DIMENSIONS)) / np.hypot(1, _COMMON)
        # The last columns are measurements, as clear as a factor along its direction.
        error = np.random.default_rng([self._seed, 15, number, first])
        for column, measured in enumerate(self.recorded[source], start=1):
            value = np.sqrt(clarity) * outcomes.modifiers[measured][rows] + error.standard_normal(len(rows))
            x[:, -column] = value / np.sqrt(1 + clarity)
        return np.asarray(x)
