"""Which tasks a synthetic cohort plants, and which latent factor each of them depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from m3h_pipeline.cohort.synthetic import interactions
from m3h_pipeline.cohort.synthetic.interactions import Interaction
from m3h_pipeline.config.sources import Source, SyntheticSource

#: Tasks that are no diagnosis.
MORTALITY, STAY, THORACIC_TASK = "mortality_48h", "length_of_stay", "thoracic_pathology"
INFECTION = "hospital_acquired_infection"


@dataclass(frozen=True)
class Outcome:
    """One planted task.

    Attributes:
        task: its id.
        prevalence: share of positives among the admissions; of the thoracic task, share of samples with a
            label; not used for the length of stay.
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
        sources: that show it; where none of them exists, the widest one does.
        outcomes: that depend on it.
        loud: 0: hidden, with no more variance than any other direction of the features; else the factor is
            added on top with this gain.
        masks: name of an earlier factor whose direction this loud one partly covers, in the sources of both.
    """

    name: str
    sources: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    loud: float = 0.0
    masks: str | None = None


@dataclass(frozen=True)
class Structure:
    """Everything that is planted.

    Attributes:
        factors: latent factors; those with several outcomes make groups of related tasks.
        noise: outcomes that depend on nothing.
        silhouette: number of the factor that tells apart thoracic classes of equal severity; None: none does.
        interactions: task -> what its log odds hold beyond the factor; of most tasks nothing.
    """

    factors: tuple[Factor, ...]
    noise: tuple[Outcome, ...]
    silhouette: int | None = None
    interactions: Mapping[str, Interaction] = field(default_factory=dict)

    @cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Every outcome by its task, in order."""
        grouped = [outcome for factor in self.factors for outcome in factor.outcomes]
        return {outcome.task: outcome for outcome in (*grouped, *self.noise)}

    @cached_property
    def factor_of(self) -> dict[str, int]:
        """Task -> number of its factor; noise is absent."""
        return {o.task: i for i, factor in enumerate(self.factors) for o in factor.outcomes}

    def truth(self) -> dict[str, Any]:
        """What a study of the cohort should find, as written to ``truth.json``.

        ``interactions`` names, per task, the shape of what is planted beyond linear reach, the task's factor,
        what modifies it, and the log odds per unit of the term; it is absent where nothing is.
        """
        tasks = {factor.name: [o.task for o in factor.outcomes] for factor in self.factors}
        covered = [(factor.masks, factor.name) for factor in self.factors if factor.masks]
        beyond = {
            task: {
                "shape": interaction.shape,
                "factor": self.factors[self.factor_of[task]].name,
                "modifier": interaction.modifier,
                "weight": interaction.weight * self.outcomes[task].slope,
            }
            for task, interaction in self.interactions.items()
        }
        return {
            "groups": [group for group in tasks.values() if len(group) > 1],
            "conflicts": [[a, b] for below, above in covered for a in tasks[below] for b in tasks[above]],
            "noise": [o.task for o in self.noise],
            "rare": [o.task for o in self.outcomes.values() if o.prevalence < 0.03],
            "missing": [THORACIC_TASK],
            **({"interactions": beyond} if beyond else {}),
        }


def planted_noise(source: Source) -> list[str]:
    """Tasks that the source of a cohort makes of nothing; of a cohort that is not synthetic none."""
    if not isinstance(source, SyntheticSource):
        return []
    return [outcome.task for outcome in structure_of(source.tasks, source.interactions).noise]


def structure_of(which: Literal["default", "all"], strength: float) -> Structure:
    """The planted structure: ``default`` (a dozen tasks) or ``all`` (the 41 of the paper).

    Args:
        which: tasks.
        strength: of what is beyond linear reach; 1: as the
            interactions' module says; 0: nothing is, and no measurement is recorded.
    """
    structure, planted = (_DEFAULT, interactions.DEFAULT) if which == "default" else (_ALL, interactions.ALL)
    if strength == 0:
        return structure
    scaled = {task: replace(item, weight=strength * item.weight) for task, item in planted.items()}
    return replace(structure, interactions=scaled)


def _outcomes(slope: float, **prevalences: float) -> tuple[Outcome, ...]:
    return tuple(Outcome(task, prevalence, slope) for task, prevalence in prevalences.items())


_LABS = ("ts_lab", "ts_chart")
_VISION = ("vision_dense", "vision_dense_multi")
_SEEN = ("ts_procedure", "note_echo", "vision_probabilities")
_NOTES = ("note_radiology", "note_ecg")

_DEFAULT = Structure(
    factors=(
        Factor(
            "cardiorenal",
            _LABS,
            _outcomes(2.5, heart_failure=0.38, chronic_kidney_disease=0.33, diabetes=0.42),
        ),
        Factor(
            "pulmonary",
            _VISION,
            (*_outcomes(2.5, pneumonia=0.38, copd=0.33), Outcome(THORACIC_TASK, 0.6, 1.5)),
        ),
        Factor(
            "acuity",
            _NOTES,
            (Outcome("sepsis", 0.38, 2.0), Outcome(MORTALITY, 0.18, 3.5), Outcome(STAY, 1.0, 2.5)),
        ),
        # Liver disease disturbs the same laboratory values, visibly: it covers what tells of the kidneys.
        Factor("hepatic", _LABS, _outcomes(3.0, chronic_liver_disease=0.2), loud=1.5, masks="cardiorenal"),
        # Rare, but seen in two modalities, on whose agreement every model is trained.
        Factor("mycobacterial", _SEEN, _outcomes(5.0, tuberculosis=0.027), loud=3.0),
        Factor("silhouette", _VISION, (), loud=1.0),
    ),
    noise=_outcomes(0.0, gout=0.3),
    silhouette=5,
)

_ALL = Structure(
    factors=(
        Factor(
            "cardiorenal",
            _LABS,
            _outcomes(
                2.5,
                heart_failure=0.32,
                ischemic_heart_disease=0.33,
                chronic_kidney_disease=0.25,
                diabetes=0.32,
            ),
        ),
        Factor("pulmonary", _VISION, _outcomes(2.5, copd=0.2, asthma=0.09, thoracic_pathology=0.6)),
        Factor(
            "infection",
            ("ts_chart", "ts_procedure"),
            _outcomes(
                2.5,
                pneumonia=0.22,
                sepsis=0.25,
                hospital_acquired_infection=0.18,
                antimicrobial_resistance=0.05,
                bacterial_intestinal_infections=0.05,
            ),
        ),
        Factor("acuity", _NOTES, _outcomes(2.5, mortality_48h=0.06, length_of_stay=1.0)),
        Factor(
            "neurological",
            ("note_radiology",),
            _outcomes(2.5, stroke=0.12, epilepsy=0.07, alzheimers_disease=0.035, parkinsons_disease=0.02),
        ),
        Factor(
            "psychiatric",
            ("note_ecg", "note_echo"),
            _outcomes(
                2.5,
                major_depressive_disorder=0.17,
                bipolar_disorder=0.04,
                schizophrenia=0.02,
                fibromyalgia=0.02,
            ),
        ),
        Factor(
            "hepatic",
            _LABS,
            _outcomes(3.0, chronic_liver_disease=0.12, hepatitis_bc=0.06, hiv_aids=0.02),
            loud=1.5,
            masks="cardiorenal",
        ),
        Factor(
            "haematological",
            ("vision_dense_multi", "vision_probabilities_multi"),
            _outcomes(2.5, anemia=0.4, leukemia=0.035, lymphoma=0.035),
        ),
        Factor(
            "frailty",
            ("vision_dense", "vision_probabilities"),
            _outcomes(
                2.5,
                osteoporosis=0.09,
                urinary_incontinence=0.035,
                macular_degeneration=0.02,
                glaucoma=0.04,
            ),
        ),
        Factor("metabolic", ("ts_chart",), _outcomes(2.5, obesity=0.15, gout=0.07)),
        Factor("mycobacterial", _SEEN, _outcomes(5.0, tuberculosis=0.015), loud=1.5),
        Factor("silhouette", _VISION, (), loud=1.0),
    ),
    noise=_outcomes(
        0.0,
        lupus=0.015,
        inflammatory_bowel_disease=0.03,
        breast_cancer=0.03,
        prostate_cancer=0.04,
        melanoma=0.015,
    ),
    silhouette=11,
)
