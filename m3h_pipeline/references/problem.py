"""One fit of a reference model: what it learns from, and what it predicts where nothing can be learned."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import prediction_width

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]
#: How features stand: an array, or a :class:`~m3h_pipeline.references.design.Design`.
Features_co = TypeVar("Features_co", bound=Sized, covariant=True)


@dataclass(frozen=True)
class Problem(Generic[Features_co]):
    """One fit of a reference model.

    Attributes:
        problem_class: binary, multiclass, regression or survival.
        classes: number of classes (0 for regression and survival, 2 for binary).
        x: training features, n rows; NaN = missing where the model knows what to do with it.
        y: training labels, (n,): class indices, values, or signed times.
        scored: features of the rows to predict, m rows.
        categorical: columns that hold codes of categories, not numbers.
        codes: how many codes each of them knows, the missing one included.
    """

    problem_class: str
    classes: int
    x: Features_co
    y: Floats
    scored: Features_co
    categorical: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Numbers per prediction, as in contracts.PREDICTIONS."""
        return prediction_width(self.problem_class, self.classes)


def constant(problem: Problem[Any]) -> Floats:
    """The prediction where the training labels do not vary: that label."""
    return np.tile(constant_row(problem), (len(problem.scored), 1))


def constant_row(problem: Problem[Any]) -> npt.NDArray[np.float64]:
    """The same of one row, (width,)."""
    label = problem.y[0] if len(problem.y) else 0.0
    if problem.problem_class == "multiclass":
        return np.asarray(np.eye(problem.classes)[int(label)])
    return np.array([float(label)])


def marginal(problem: Problem[Any]) -> Floats:
    """The prediction where no training row has a feature: shares of the classes, or the mean."""
    return np.tile(marginal_row(problem), (len(problem.scored), 1))


def marginal_row(problem: Problem[Any]) -> npt.NDArray[np.float64]:
    """The same of one row, (width,)."""
    if problem.problem_class == "regression":
        return np.array([float(problem.y.mean(dtype=np.float64))])
    shares = np.bincount(problem.y.astype(np.intp), minlength=problem.classes) / len(problem.y)
    return np.asarray(shares if problem.problem_class == "multiclass" else shares[1:])


def all_classes(problem: Problem[Any], present: Rows, probabilities: Floats) -> Floats:
    """Probabilities of all classes from those of the classes that the training rows hold."""
    full = np.zeros((len(probabilities), problem.classes))
    full[:, present] = probabilities
    return full if problem.problem_class == "multiclass" else full[:, 1:]
