"""What is made of trained models: sections ``evaluation``, ``gene_pairs``, ``networks`` and ``figures``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from m3h_pipeline.config.base import ByName, Count, Fraction, InOrder, Name, Section
from m3h_pipeline.config.recipes import RecipeName

#: Names that stand for a model in the tables of the evaluation.
TAKEN = frozenset(
    {"single", "multi", "linear", "gradient_boosting", "realmlp", "tabm", "clinical", "kaplan_meier"}
    | {"alone", "together", "blend", "chosen"}
)
#: What a column of predictions holds -> problem classes whose tasks it can be held against.
MEANINGS = {
    "event": ("binary", "survival"),
    "no_event": ("binary", "survival"),
    "score": ("binary", "regression", "survival"),
    "value": ("regression",),
}


class Given(Section):
    """A prediction that came with the data: of another model, of physicians, a clinical score."""

    column: str = Field(min_length=1, description="column of `source.columns` that holds it; never a feature")
    means: Literal["event", "no_event", "score", "value"] = Field(
        description="`event`: probability of the event (survival tasks: until some time); `no_event`: of "
        "none, as a probability of survival; `value`: the outcome itself; `score`: any number that goes with "
        "the outcome, which a model of this column alone translates"
    )


class Thresholds(Section):
    """Thresholds of a probability at which rates and net benefit are told."""

    alerts: list[Fraction] = Field(
        default=[0.05, 0.1, 0.2],
        description="shares of the samples to be alerted, as many as somebody can look at; the thresholds "
        "are found out of fold",
    )
    sensitivity: list[Fraction] = Field(
        default=[0.8, 0.9, 0.95],
        description="shares of the events to be found, where missing one is what matters; likewise",
    )
    risks: list[Fraction] = Field(
        default=[0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5],
        description="risks from which on one would act, as false alerts weigh against events; also those of "
        "the decision curve",
    )


class Evaluation(Section):
    """Final fits and the comparison on the test part."""

    replicates: Count = Field(default=5, description="seeds per final model; their predictions are averaged")
    draws: Count = Field(default=1000, description="bootstrap draws of patients")
    fdr: Fraction = Field(
        default=0.05, description="false discovery rate of better and worse, among the tasks that were tested"
    )
    baselines: list[Literal["linear", "gradient_boosting", "realmlp", "tabm"]] = Field(
        default=["linear", "gradient_boosting"],
        description="references trained on the same rows; the last two from the optional package pytabkit",
    )
    clinical: list[Name] = Field(
        default_factory=list,
        description="sources of the reference `clinical`, a linear or Cox model of these alone; empty: none",
    )
    blend: bool = Field(
        default=True,
        description="a blend of network and reference, weighted out of fold, can be chosen, too",
    )
    thresholds: Thresholds = Field(
        default_factory=Thresholds, description="where rates and net benefit are told"
    )
    horizons: list[PositiveFloat] = Field(
        default_factory=list,
        description="times, in the unit of survival tasks, at which calibration is told; empty: until which "
        "a quarter, half and three quarters of the training events have happened",
    )
    given: ByName[Name, ByName[Name, Given]] = Field(
        default_factory=dict,
        description="references that are predictions in the data: name -> task -> column and its meaning",
    )

    @model_validator(mode="after")
    def _names_of_their_own(self) -> Evaluation:
        for name in self.given:
            if name in TAKEN:
                raise ValueError(f"given.{name}: another model is called so; choose another name")
        return self

    def has_references(self, task: str) -> bool:
        """Whether a supervised task is held against any reference."""
        return bool(self.baselines or self.clinical) or any(task in tasks for tasks in self.given.values())


class Stratum(Section):
    """Patients of one class of a task."""

    task: Name = Field(description="a binary or multiclass task")
    value: str = Field(description="the class; of a binary task `0` or `1`")


class GenePairs(Section):
    """Gene-gene interactions in the final models; needs a modality with a `transcriptome` encoder."""

    tasks: list[Name] = Field(min_length=1, description="tasks whose final models are read")
    groups: Name | None = Field(
        default=None,
        description="binary or survival task that divides patients for differential attention; null: the "
        "task itself",
    )
    horizon: PositiveFloat | None = Field(
        default=None,
        description="time, in the unit of a survival task, that divides patients: those with an event until "
        "then from those known to be without one beyond it; null: a survival task divides nobody",
    )
    within: Stratum | None = Field(default=None, description="only patients of this class; null: all")
    permutations: PositiveInt = Field(default=1000, description="permutations of patients between the groups")
    samples: PositiveInt = Field(
        default=200, description="most test samples over which interactions are averaged"
    )
    fdr: Fraction = Field(default=0.05, description="false discovery rate of differential attention")
    top: PositiveInt = Field(default=40, description="pairs in networks, heatmaps and gene sets")
    gene_sets: str | None = Field(
        default=None, description="GMT file; genes of the top pairs are tested for over-representation"
    )


class Network(Section):
    """Another network: what differs from the study's own, key by key; a value replaces, null too."""

    recipe: RecipeName | None = Field(
        default=None,
        description="recipe of this network; keys that the study states stay as they are; null: the study's",
    )
    modalities: ByName[Name, dict[str, Any]] = Field(
        default_factory=dict, description="modality -> keys of `modalities.<name>`"
    )
    model: ByName[str, Any] = Field(default_factory=dict, description="keys of `model`")
    training: ByName[str, Any] = Field(default_factory=dict, description="keys of `training`")


class Networks(Section):
    """Networks compared on the same rows and folds: all tasks together, and each of them alone."""

    own: Name = Field(default="own", description="what the study's own network is called")
    others: InOrder[Name, Network] = Field(
        default_factory=dict,
        description="further networks, in the order of tables: name -> what differs",
    )
    replicates: Count = Field(
        default=5, description="seeds of each; their predictions are averaged, as in the evaluation"
    )
    alone: bool = Field(default=True, description="learn each task alone, too")

    @model_validator(mode="after")
    def _names_differ(self) -> Networks:
        if self.own in self.others:
            raise ValueError(f"`{self.own}` is the name of the study's own network and of another one")
        return self

    @property
    def names(self) -> list[str]:
        """The networks, the study's own one first."""
        return [self.own, *self.others]


class Purpose(Section):
    """What the makers say of the models that leave the study in its bundle."""

    intended_use: str = Field(default="", description="for whom, for what decision; empty: not stated")
    not_for: str = Field(default="", description="what they must not be used for; empty: not stated")
    licence: str = Field(
        default="", description="under which the bundle may be given away; empty: not stated"
    )
    contact: str = Field(default="", description="whom to ask; empty: not stated")


class Figures(Section):
    """What the figures show."""

    formats: list[Literal["svg", "png"]] = Field(
        default=["svg", "png"], min_length=1, description="file formats"
    )
    calibration_tasks: list[Name] = Field(
        default_factory=list,
        description="binary tasks of the calibration figure; empty: death, then those with most events",
    )
    calibration_subgroup: str = Field(default="sex", description="subgroup of the calibration figure")
    quantiles: PositiveInt = Field(default=10, description="risk quantiles of the calibration figure")
    phenotype_map: Literal["tsne", "umap"] = Field(
        default="tsne",
        description="how the phenotype map is made: t-SNE, or UMAP as published (optional part `umap`, whose "
        "compiler takes 0.2 GB; never chosen by what is installed)",
    )
    map_samples: PositiveInt = Field(default=3000, description="samples drawn in the phenotype map")
