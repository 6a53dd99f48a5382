"""The reference models there are: name -> problem classes, settings, predictions of a fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from m3h_pipeline.references.boosting import TREES, boosting_path
from m3h_pipeline.references.deep import DEEP, deep_path
from m3h_pipeline.references.hazards import cox_path, hazard_boosting_path
from m3h_pipeline.references.linear import STRENGTHS, linear_path
from m3h_pipeline.references.problem import Floats, Problem, Rows, scaled_features
from m3h_pipeline.survival import time_grid
from m3h_pipeline.training.data import StudyData

SUPERVISED = frozenset({"binary", "multiclass", "regression", "survival"})


@dataclass(frozen=True)
class Part:
    """What one fit of a reference model may look at.

    Attributes:
        data: the study.
        task: whose labels are learned.
        problem_class: binary, multiclass, regression or survival.
        classes: number of classes (0 for regression and survival, 2 for binary).
        training: rows to learn from, with a label or without; statistics that scale features are theirs.
        scored: rows to predict.
        seed: of what a model draws.
    """

    data: StudyData
    task: str
    problem_class: str
    classes: int
    training: Rows
    scored: Rows
    seed: int

    @cached_property
    def labelled(self) -> Rows:
        """Rows of the training rows that have a label."""
        return self.training[np.isfinite(self.data.labels[self.task][self.training])]

    @cached_property
    def grid(self) -> Floats:
        """Times of survival curves."""
        return time_grid(self.data.labels[self.task][self.data.train])

    def raw(self) -> Problem:
        """The fit on features as they are; missing values are NaN."""
        x = self.data.scaled.x
        return self._problem(x[self.labelled], x[self.scored])

    def scaled(self) -> Problem:
        """The fit on features as a network sees them: robustly scaled by the training rows, none missing."""
        return self._problem(
            scaled_features(self.data, self.training, self.labelled),
            scaled_features(self.data, self.training, self.scored),
        )

    def _problem(self, x: Floats, scored: Floats) -> Problem:
        y = self.data.labels[self.task][self.labelled]
        return Problem(self.problem_class, self.classes, x, y, scored)


@dataclass(frozen=True)
class Reference:
    """A reference model.

    Attributes:
        problem_classes: which tasks it can learn.
        settings: names of the settings among which one is chosen by the folds.
        path: from what a fit may look at and some indices into ``settings`` to the predictions of the scored
            rows, (len(scored), width) for each index in turn; what a row of them holds says
            ``contracts.BASELINE_PREDICTIONS``.
    """

    problem_classes: frozenset[str]
    settings: Sequence[str]
    path: Callable[[Part, Sequence[int]], list[Floats]]


def _linear(part: Part, chosen: Sequence[int]) -> list[Floats]:
    strengths = tuple(STRENGTHS[i] for i in chosen)
    if part.problem_class == "survival":
        return cox_path(part.scaled(), part.grid, strengths)
    return linear_path(part.scaled(), strengths)


def _boosting(part: Part, chosen: Sequence[int]) -> list[Floats]:
    trees = tuple(TREES[i] for i in chosen)
    if part.problem_class == "survival":
        return hazard_boosting_path(part.scaled(), part.grid, part.seed, trees)
    return boosting_path(part.raw(), part.seed, trees)


def _deep(name: str) -> Reference:
    def path(part: Part, chosen: Sequence[int]) -> list[Floats]:
        found = deep_path(name, part.scaled(), part.data.patients[part.labelled], part.seed)
        return found * len(chosen)

    return Reference(SUPERVISED - {"survival"}, ["tuned defaults"], path)


#: Names are those of ``evaluation.baselines``.
REFERENCES: dict[str, Reference] = {
    # L2 logistic regression (softmax for several classes), ridge regression, Cox regression.
    "linear": Reference(SUPERVISED, [f"C={strength:g}" for strength in STRENGTHS], _linear),
    # Histogram gradient boosting, of survival tasks of Cox's partial likelihood.
    "gradient_boosting": Reference(SUPERVISED, [f"trees={trees}" for trees in TREES], _boosting),
    # Networks of one task, from an optional package.
    **{name: _deep(name) for name in DEEP},
}
