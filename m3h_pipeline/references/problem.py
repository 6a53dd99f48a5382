"""One fit of a reference model: what it learns from, and what it predicts where nothing can be learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import prediction_width
from m3h_pipeline.features.scaling import CLIP
from m3h_pipeline.training.data import StudyData

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """One fit of a reference model.

    Attributes:
        problem_class: binary, multiclass, regression or survival.
        classes: number of classes (0 for regression and survival, 2 for binary).
        x: training features, (n, F) float, NaN = missing where the model knows what to do with it.
        y: training labels, (n,): class indices, values, or signed times.
        scored: features of the rows to predict, (m, F).
    """

    problem_class: str
    classes: int
    x: Floats
    y: Floats
    scored: Floats

    @property
    def width(self) -> int:
        """Numbers per prediction, as in contracts.PREDICTIONS."""
        return prediction_width(self.problem_class, self.classes)


def scaled_features(data: StudyData, training: Rows, rows: Rows) -> npt.NDArray[np.float32]:
    """Features scaled robustly by their values in ``training``, clipped, missing values 0.

    Shape:
        (len(rows), F) float32
    """
    scaled = data.scaled
    centre, inverse, _ = scaled.statistics(training, "robust")
    x = scaled.x[rows]
    for start in range(0, len(x), 4096):
        part = x[start : start + 4096]
        part[...] = np.clip((part - centre) * inverse, -CLIP, CLIP)
    return np.nan_to_num(x, copy=False, nan=0.0)


def constant(problem: Problem) -> Floats:
    """The prediction where the training labels do not vary: that label."""
    label = problem.y[0] if len(problem.y) else 0.0
    if problem.problem_class == "multiclass":
        return np.tile(np.eye(problem.classes)[int(label)], (len(problem.scored), 1))
    return np.full((len(problem.scored), 1), float(label))


def all_classes(problem: Problem, present: Rows, probabilities: Floats) -> Floats:
    """Probabilities of all classes from those of the classes that the training rows hold."""
    full = np.zeros((len(probabilities), problem.classes))
    full[:, present] = probabilities
    return full if problem.problem_class == "multiclass" else full[:, 1:]
