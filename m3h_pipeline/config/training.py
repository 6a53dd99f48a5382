"""What is trained, and how: the sections ``training``, ``compute``, ``search`` and ``tim``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from m3h_pipeline.config.base import ByName, Count, Fraction, Name, Section
from m3h_pipeline.config.fields import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator


class EarlyStopping(Section):
    """When a fit stops before `training.epochs`."""

    patience: PositiveInt = Field(
        default=30, description="epochs without a smaller loss on the patients set aside"
    )
    fraction: float = Field(
        default=0.15, gt=0, le=0.5, description="training patients that are set aside, with all of their rows"
    )
    refit: bool = Field(
        default=False,
        description="train anew, from the same first weights, on all training patients for as many passes as "
        "the best weights had",
    )


SizeName = Literal["batch_sizes", "epochs", "encoder", "projection", "shared", "task", "decoder"]


def _or_auto(schema: dict[str, Any]) -> None:
    """In a study's file, the word that stands for all that the study does not state."""
    names = {key: schema.pop(key) for key in ("items", "type")}
    schema["anyOf"] = [{"const": "auto"}, names]


class Training(Section):
    """How a fit is trained."""

    sizes: list[SizeName] = Field(
        default_factory=list,
        json_schema_extra=_or_auto,
        description="keys that follow from the study's shape, by a rule (docs/recipes.md): their names, or "
        "`auto` for `batch_sizes`, `epochs` and the widths of `model`, as far as the study leaves them out",
    )
    epochs: Count = Field(default=15, description="passes over the training rows")
    min_steps: int = Field(
        default=0,
        ge=0,
        description="least optimiser steps of a fit: small cohorts get as many more passes as that takes",
    )
    batch_sizes: list[PositiveInt] = Field(
        default=[256, 512], min_length=1, description="batch sizes to choose from"
    )
    learning_rates: list[PositiveFloat] = Field(
        default=[5e-4, 1e-3], min_length=1, description="learning rates to choose from (Adam)"
    )
    weight_decay: NonNegativeFloat = Field(
        default=0.0, description="decoupled weight decay of the weight matrices"
    )
    update: Literal["sum", "sequential", "pcgrad"] = Field(
        default="sum",
        description="one step on the total loss, (`sequential`, published for M3H) one step per loss, or "
        "(`pcgrad`, TxT's option) gradient surgery between the losses",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None,
        description="`{patience: 30, fraction: 0.15}`: each fit stops after so many epochs without a smaller "
        "loss on that share of its training patients, set aside, and keeps its best weights; null: those of "
        "the last epoch",
    )
    balance: Literal["fixed", "uncertainty", "famo", "imtl_l"] = Field(
        default="fixed",
        description="weights of the tasks' losses beside `task_weights`: none, or learned by the losses' "
        "uncertainty (Kendall et al. 2018), by how fast they fall (`famo`, Liu et al. 2023), or so that all "
        "count alike (`imtl_l`, Liu et al. 2021)",
    )
    contrastive_weight: NonNegativeFloat = Field(default=1.0, description="weight of the contrastive loss")
    task_weights: ByName[Name, NonNegativeFloat] = Field(
        default_factory=dict, description="task -> weight of its loss; 1 if not given"
    )
    modality_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="probability that training hides a modality of a row, as if the row lacked it; never all "
        "that a row has",
    )
    rare_below: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="binary tasks rarer than this start from the log odds as output bias",
    )
    output_bias: Literal["rare", "prior"] = Field(
        default="rare",
        description="classes start from their log odds in the training rows: of binary tasks rarer than "
        "`rare_below`, or (`prior`) of all binary and multiclass tasks",
    )
    gradient_clip: PositiveFloat | None = Field(
        default=None, description="largest gradient norm of a model; null: none"
    )

    def passes(self, steps: int) -> int:
        """Passes over the training rows: as configured, or as many as the least number of steps takes.

        Args:
            steps: optimiser steps of one pass.

        Examples:
            >>> Training(epochs=10).passes(4), Training(epochs=10, min_steps=100).passes(4)
            (10, 25)
        """
        return max(self.epochs, -(-self.min_steps // steps))

    @model_validator(mode="after")
    def _balance_has_a_total(self) -> Training:
        if self.balance != "fixed" and self.update != "sum":
            raise ValueError(
                f"`balance: {self.balance}` weighs the terms of one total loss, and `update: {self.update}` "
                "has none: set `update: sum` or `balance: fixed`"
            )
        return self


class Compute(Section):
    """Where and how fits are computed."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="`auto`: the GPU where there is one"
    )
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = Field(
        default="float32", description="arithmetic of training; results carry it"
    )
    threads: PositiveInt = Field(default=1, description="CPU threads of one training job")
    stack: PositiveInt | None = Field(
        default=None, description="most fits trained together; null: as many as fit the memory"
    )
    memory_gb: PositiveFloat = Field(default=4.0, description="memory a stack may take on the CPU")


class Race(Section):
    """How combinations of three and more tasks are raced."""

    z: NonNegativeFloat = Field(
        default=1.0,
        description="a combination is left once its deficit to the `beam`-th best exceeds so many of its "
        "standard errors",
    )


class Search(Section):
    """Greedy search for each task's companions."""

    beam: PositiveInt = Field(default=3, description="combinations kept per source task and round")
    max_size: PositiveInt | None = Field(
        default=None, description="largest combination; null: until no improvement"
    )
    replicates: Count = Field(default=1, description="seeds per combination")
    standard_errors: NonNegativeFloat = Field(
        default=1.0,
        description="a larger combination must beat the best so far by more than so many paired standard "
        "errors (docs/search.md); 0: any gain will do, as published",
    )
    min_improvement: NonNegativeFloat = Field(
        default=0.0, description="and by more than this gain, in the unit of the task's metric"
    )
    halving: bool = Field(
        default=True,
        description="the first seed of a combination chooses its batch size and learning rate, from fold to "
        "fold among half as many; the other seeds are trained at these and score (docs/search.md); false: "
        "every seed is trained at all of them, as published",
    )
    race: Race | None = Field(
        default_factory=Race,
        description="combinations of three and more tasks are trained fold by fold, and left once they fall "
        "behind (docs/search.md); null: all of them are trained whole, as published",
    )
    combinations_per_job: PositiveInt | None = Field(
        default=None,
        description="combinations that one job trains; null: as many as make jobs of 5 to 30 minutes",
    )


class Tim(Section):
    """Task interaction measurement."""

    mode: Literal["pairs", "sampled", "exact"] = Field(
        default="pairs", description="pairs against single tasks (Figure 3), random sets, or all sets"
    )
    controls: int = Field(
        default=3,
        ge=0,
        le=20,
        description="permuted companions beside which every task is learned: they do what sharing costs, and "
        "flags are on what a companion does beyond (0: flags include that cost)",
    )
    replicates: Count = Field(default=3, description="seeds per combination")
    sets: Count | None = Field(
        default=None, description="random sets of the `sampled` mode; null: ten per task"
    )
    max_size: Annotated[int, Field(ge=2)] = Field(
        default=4, description="largest combination of the `sampled` mode"
    )
    draws: Count = Field(default=500, description="bootstrap draws of patients")
    fdr: Fraction = Field(default=0.05, description="false discovery rate of the significance flag")
