"""Regression tasks: mean absolute error and root mean squared error, overall and by size of the value."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import is_small
from m3h_pipeline.evaluation.performance.told import Index
from m3h_pipeline.evaluation.performance.weighted import Key, Measured, Weighted, share
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.inference.metrics import Floats

#: Fourths of the training part's values, from the smallest.
SIZES: Final = ("lowest fourth", "second fourth", "third fourth", "highest fourth")


def regression(y: Floats, value: Floats, weighted: Weighted, size: npt.NDArray[np.intp] | None) -> Measured:
    """Errors in the unit of the label.

    Args:
        y: observed, (n,).
        value: predicted, (n,).
        weighted: the samples.
        size: which of :data:`SIZES` each observed value is in, (n,); None: errors by size are not shown.
    """
    error = np.asarray(y, dtype=np.float64) - value
    found: Measured = {}
    parts = {"": np.ones(len(y), dtype=bool)}
    parts |= {} if size is None else {name: size == k for k, name in enumerate(SIZES)}
    for name, rows in parts.items():
        n = weighted.total(rows)
        found[Key("mae", name)] = share(weighted.total(np.abs(error) * rows), n)
        found[Key("rmse", name)] = np.sqrt(share(weighted.total(error**2 * rows), n))
    return found


def sizes(y: Floats, training: Floats, patient: Index) -> npt.NDArray[np.intp] | None:
    """Which fourth of the training part's values each value is in; None: one is of 1 to 10 patients.

    Args:
        y: observed, (n,).
        training: observed values of the training part.
        patient: (n,).
    """
    edges = np.quantile(training, [0.25, 0.5, 0.75])
    found = np.searchsorted(edges, y, side="right")
    few = any(is_small(patients_of(patient, found == k)) for k in range(len(SIZES)))
    return None if few else found
