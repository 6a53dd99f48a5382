"""What the models of a bundle say of rows, and what its description makes of that."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.schema import TaskModel, Weights
from m3h_pipeline.coding import prediction_width
from m3h_pipeline.evaluation.choice.blend import Blend
from m3h_pipeline.evaluation.choice.maps import Recalibration

Float64 = npt.NDArray[np.float64]


class Models(Protocol):
    """What the models of a bundle say of some rows."""

    #: How many rows.
    n: int

    def network(self, file: str) -> dict[str, Float64]:
        """Of a network: task -> (n, width)."""
        ...

    def reference(self, file: str) -> Float64:
        """Of a reference: (n, width)."""
        ...


def rounded(values: Float64) -> Float64:
    """To single precision, as predictions are kept: what differs behind its digits is the order of sums."""
    return values.astype(np.float32).astype(np.float64)


def width_of(task: TaskModel) -> int:
    """Numbers per prediction of a task."""
    return prediction_width(task.problem_class, len(task.classes))


def typical_share(task: TaskModel, distance: Float64) -> Float64 | None:
    """Share of training samples at least as far from the centre of their cluster, in steps of 5 %."""
    if task.typical is None:
        return None
    below = np.searchsorted(np.array(task.typical.distances), distance, side="left")
    return np.asarray(1 - below / (len(task.typical.distances) + 1))


def calibration_of(task: TaskModel) -> Recalibration:
    """The recalibration of a task that has one."""
    assert task.calibrator is not None
    known = task.calibrator
    blend = None if known.map is None else blend_of(known.map)
    return Recalibration(task.problem_class, known.method, blend, np.array(known.knots).reshape(-1, 2).T)


def blend_of(weights: Weights) -> Blend:
    """Weights as they stand in a bundle."""
    told = None if weights.told is None else np.array(weights.told, dtype=bool)
    return Blend(np.array(weights.weights), np.array(weights.intercepts), told)
