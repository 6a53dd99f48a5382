"""The reference models there are: name -> problem classes, settings, predictions of a fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from m3h_pipeline.references.boosting import SETTINGS, boosting_path
from m3h_pipeline.references.columns import FIRST, MISSING, Columns
from m3h_pipeline.references.deep import DEEP, deep_path
from m3h_pipeline.references.design import Design, designs, seen
from m3h_pipeline.references.hazards import cox_path, hazard_boosting_path
from m3h_pipeline.references.kept.models import Kept, kept_reference
from m3h_pipeline.references.linear import STRENGTHS, linear_path
from m3h_pipeline.references.penalised import Basis, basis_of
from m3h_pipeline.references.problem import Floats, Problem, Rows
from m3h_pipeline.survival import time_grid
from m3h_pipeline.training.data import StudyData

#: Told a model; of a survival task its cumulative baseline hazard, too.
Keep = Callable[..., None]
KeptPath = Callable[["Part", int], tuple[Floats, Kept]]
X = TypeVar("X", Floats, Design)
SUPERVISED = frozenset({"binary", "multiclass", "regression", "survival"})


@dataclass(frozen=True)
class Study:
    """A task of a study, as references see it.

    Attributes:
        columns: the features.
        data: labels and split.
        task: whose labels are learned.
        problem_class: binary, multiclass, regression or survival.
        classes: number of classes (0 for regression and survival, 2 for binary).
        seed: of what a model draws.
    """

    columns: Columns
    data: StudyData
    task: str
    problem_class: str
    classes: int
    seed: int

    @property
    def y(self) -> Floats:
        """(n,) labels, NaN = not observed."""
        return self.data.labels[self.task]

    @cached_property
    def grid(self) -> Floats:
        """Times of survival curves."""
        return time_grid(self.y[self.data.train])

    @cached_property
    def basis(self) -> Basis | None:
        """Coordinates in which weights of linear models are found fast, from the training part's features.

        None: there are fewer rows than features in one of the fits.
        """
        rows = np.flatnonzero(self.data.train)
        if len(rows) < self.columns.width:
            return None
        return basis_of(designs(self.columns, rows, [rows])[0])


@dataclass(frozen=True)
class Part:
    """What one fit of a reference model may look at.

    Attributes:
        study: its features and labels.
        training: rows to learn from, with a label or without; statistics that scale features are theirs.
        scored: rows to predict.
    """

    study: Study
    training: Rows
    scored: Rows

    @property
    def problem_class(self) -> str:
        """Of the task."""
        return self.study.problem_class

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.study.classes

    @property
    def seed(self) -> int:
        """Of what a model draws."""
        return self.study.seed

    @cached_property
    def labelled(self) -> Rows:
        """Rows of the training rows that have a label."""
        return self.training[np.isfinite(self.study.y[self.training])]

    def raw(self) -> Problem[Floats]:
        """The fit on numbers, and 0 or 1 for each value of a category; missing values are NaN."""
        features = self.study.columns.features
        return self._problem(features(self.labelled), features(self.scored))

    def mixed(self) -> Problem[Floats]:
        """The fit on numbers, and on one code for each category; missing values are NaN."""
        x, scored = (self._mixed(rows) for rows in (self.labelled, self.scored))
        first = self.study.columns.numbers.x.shape[1]
        return self._problem(x, scored, tuple(range(first, x.shape[1])))

    def scaled(self) -> Problem[Floats]:
        """The fit on features as a network sees them: robustly scaled by the training rows, none missing."""
        columns = self.study.columns
        return self._problem(
            seen(columns, self.training, self.labelled), seen(columns, self.training, self.scored)
        )

    def design(self) -> Problem[Design]:
        """As :meth:`scaled`, for linear models with an intercept: known by products, centred."""
        x, scored = designs(self.study.columns, self.training, [self.labelled, self.scored])
        return self._problem(x, scored)

    def _mixed(self, rows: Rows) -> Floats:
        columns = self.study.columns
        codes = columns.codes[rows].astype(np.float32)
        codes[codes == MISSING] = np.nan
        return np.concatenate([columns.numbers.x[rows], codes], axis=1)

    def _problem(self, x: X, scored: X, categorical: tuple[int, ...] = ()) -> Problem[X]:
        one = self.study
        codes = tuple(FIRST + size for size in one.columns.sizes) if categorical else ()
        return Problem(one.problem_class, one.classes, x, one.y[self.labelled], scored, categorical, codes)


@dataclass(frozen=True)
class Reference:
    """A reference model.

    Attributes:
        problem_classes: which tasks it can learn.
        settings: problem class -> the settings among which folds choose, by what they are called.
        path: from what a fit may look at and some indices into the settings to the predictions of the scored
            rows, (len(scored), width) for each index in turn; what a row of them holds says
            ``contracts.BASELINE_PREDICTIONS``.
        stored: whether finished fits are kept: not where they cost nothing or depend on more than the part.
        kept: the model with one setting, by itself, and what it predicts; None: it cannot be kept.
    """

    problem_classes: frozenset[str]
    settings: Callable[[str], Sequence[Any]]
    path: Callable[[Part, Sequence[int]], list[Floats]]
    stored: bool = True
    kept: KeptPath | None = None


def _linear(part: Part, chosen: Sequence[int], keep: Keep | None = None) -> list[Floats]:
    strengths = [STRENGTHS[i] for i in chosen]
    problem, basis = part.design(), part.study.basis
    if part.problem_class == "survival":
        return cox_path(problem, part.study.grid, strengths, basis, keep)
    return linear_path(problem, strengths, basis, keep)


def _boosting(part: Part, chosen: Sequence[int], keep: Keep | None = None) -> list[Floats]:
    settings = [SETTINGS[i] for i in chosen]
    if part.problem_class == "survival":
        return hazard_boosting_path(part.mixed(), part.study.grid, part.seed, settings, keep)
    return boosting_path(part.mixed(), part.seed, settings, keep)


def kept_by(path: Callable[[Part, Sequence[int], Keep | None], list[Floats]]) -> KeptPath:
    """What keeps a model of ``path``."""

    def kept(part: Part, chosen: int) -> tuple[Floats, Kept]:
        found: list[tuple[Any, ...]] = []
        prediction = path(part, [chosen], lambda *model: found.append(model))[0]
        columns, y = part.study.columns, part.study.y[part.labelled]
        model = kept_reference(columns, part.training, part.problem_class, part.classes, y, *found[0])
        return prediction, model

    return kept


def _deep(name: str) -> Reference:
    def path(part: Part, chosen: Sequence[int]) -> list[Floats]:
        found = deep_path(name, part.scaled(), part.study.data.patients[part.labelled], part.seed)
        return found * len(chosen)

    return Reference(SUPERVISED - {"survival"}, lambda _: ["tuned defaults"], path)


#: Names are those of ``evaluation.baselines``.
REFERENCES: dict[str, Reference] = {
    # L2 logistic regression (softmax for several classes), ridge regression, Cox regression.
    "linear": Reference(
        SUPERVISED, lambda _: [f"C={strength:g}" for strength in STRENGTHS], _linear, kept=kept_by(_linear)
    ),
    # Histogram gradient boosting, of survival tasks of Cox's partial likelihood.
    "gradient_boosting": Reference(
        SUPERVISED, lambda _: [str(one) for one in SETTINGS], _boosting, kept=kept_by(_boosting)
    ),
    # Networks of one task, from an optional package.
    **{name: _deep(name) for name in DEEP},
}
