"""A study's configuration: one pydantic model per section, and the whole of them.

A verb's function takes its own section, never the whole. Every field carries its description: the shipped
default file, the JSON schema and the table in ``config/README.md`` are generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from m3h_pipeline.config.base import ByName, Count, Folder, Fraction, Name, Section
from m3h_pipeline.config.model import Modality, Model
from m3h_pipeline.config.recipes import RecipeName, with_recipes
from m3h_pipeline.config.results import TAKEN, Evaluation, Figures, GenePairs, Networks, Purpose
from m3h_pipeline.config.sources import SOURCE_KINDS, Source
from m3h_pipeline.config.training import Compute, Search, Tim, Training
from m3h_pipeline.errors import nearest


class TaskSelection(Section):
    """Which tasks are learned and where they are defined."""

    definitions: list[str] = Field(
        default_factory=lambda: ["resources/tasks/m3h.yaml"], description="YAML files of task definitions"
    )
    variant: Literal["published", "corrected"] = Field(
        default="corrected", description="`published`: to the paper's letter; `corrected`: its slips mended"
    )
    include: list[Name] | Literal["all"] = Field(default="all", description="task ids, or `all`")
    exclude: list[Name] = Field(default_factory=list, description="task ids left out")
    permute: list[Name] = Field(
        default_factory=list,
        description="tasks whose labels are shuffled between patients: negative controls",
    )
    min_per_fold: PositiveInt = Field(
        default=5,
        description="least samples of each class of a task in every fold and in the test part",
    )
    unevaluable: Literal["drop", "refuse"] = Field(
        default="drop", description="what happens to a task with fewer than that"
    )


class Split(Section):
    """Patients into parts and folds."""

    test_fraction: Fraction = Field(default=0.2, description="share of the patients in the test part")
    folds: int = Field(default=5, ge=2, description="folds of the cross-validation")
    stratify_by: list[Name] = Field(
        default_factory=list,
        description="tasks whose prevalence is balanced over parts and folds (it depends on no other)",
    )
    seed: int = Field(default=0, description="another seed gives another split")
    candidates: Count = Field(
        default=1,
        description="splits that are tried, of which the one with parts and folds most alike over all tasks "
        "is taken (docs/participants.md); with more than one an edit of any task may move patients",
    )


class Study(Section):
    """A whole study."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        description="name; results go to `results/<study>/`"
    )
    recipe: RecipeName = Field(
        default="default",
        description="what stands for keys of `model`, `training` and `modalities` that a study leaves out "
        "(docs/recipes.md)",
    )
    seed: int = Field(default=20240418, ge=0, description="seed of everything random but the split")
    results: Folder = Field(default="results", description="folder of the results")
    data: str = Field(default=".", description="folder that relative paths of the source start from")
    source: Source = Field(description="where the cohort comes from")
    modalities: ByName[Name, Modality] = Field(
        min_length=1, description="modality -> its sources and encoder"
    )
    tasks: TaskSelection = Field(default=TaskSelection(), description="which tasks are learned")
    split: Split = Field(default=Split(), description="patients into parts and folds")
    model: Model = Field(default=Model(), description="the network")
    training: Training = Field(default=Training(), description="how a fit is trained")
    compute: Compute = Field(default=Compute(), description="where and how fits are computed")
    search: Search = Field(default=Search(), description="search for companions")
    tim: Tim = Field(default=Tim(), description="task interaction")
    evaluation: Evaluation = Field(default=Evaluation(), description="final fits and comparison")
    gene_pairs: GenePairs | None = Field(
        default=None, description="gene-gene interactions in the final models; null: not looked for"
    )
    networks: Networks | None = Field(
        default=None, description="networks compared with the study's own; null: none"
    )
    bundle: Purpose = Field(default=Purpose(), description="what the model card says of its use")
    figures: Figures = Field(default=Figures(), description="figures")

    @model_validator(mode="before")
    @classmethod
    def _source_kind(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("source"), dict) and "kind" not in data["source"]:
            raise ValueError(f"source.kind is missing; valid: {', '.join(SOURCE_KINDS)}")
        return data

    @model_validator(mode="before")
    @classmethod
    def _recipes(cls, data: Any) -> Any:
        return with_recipes(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _modalities_have_sources(self) -> Study:
        available = set(self.source.names)
        seen: dict[str, str] = {}
        for modality, spec in self.modalities.items():
            for source in spec.sources:
                if source not in available:
                    raise ValueError(
                        f"modalities.{modality}.sources names `{source}`, which the source does not have; "
                        + nearest(source, available)
                    )
                if source in seen:
                    raise ValueError(
                        f"source `{source}` stands in two modalities: {seen[source]} and {modality}"
                    )
                seen[source] = modality
        for source in self.evaluation.clinical:
            if source not in seen:
                raise ValueError(
                    f"evaluation.clinical names `{source}`, which is a source of no modality; "
                    + nearest(source, seen)
                )
        return self

    @model_validator(mode="after")
    def _networks_are_no_references(self) -> Study:
        # Both stand in one table.
        for name in self.networks.names if self.networks else []:
            if name in TAKEN or name in self.evaluation.given:
                raise ValueError(
                    f"networks: another model of the tables is called `{name}`; choose another name"
                )
        return self
