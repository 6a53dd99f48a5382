"""Which values are missing, as features: that a test was not ordered says something of a patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.features.scaling import told_by_few

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def indicated(x: Float32Array, train: BoolArray, patient: IntArray) -> IntArray:
    """The features of which it is told where they are missing.

    Those that are missing of at least 11 patients of the training part and there of as many; of features that
    are missing together there (a panel of tests) the first. Rows without any value do not count: that they
    lack the modality is known otherwise.

    Args:
        x: (n, F), NaN = missing.
        train: (n,) True in the training part.
        patient: (n,) number of each row's patient.

    Returns:
        Their numbers, ascending.
    """
    gone = np.isnan(x[train])
    gone, whose = gone[~gone.all(1)], patient[train][~gone.all(1)]
    some = np.flatnonzero(gone.any(0) & ~gone.all(0))
    some = some[~told_by_few(gone[:, some].astype(np.float32), whose)]
    if not len(some):
        return some
    first = np.unique(np.packbits(gone[:, some], axis=0), axis=1, return_index=True)[1]
    return np.sort(some[first]).astype(np.int64)


def with_indicators(x: npt.NDArray[Any], which: IntArray) -> npt.NDArray[Any]:
    """Features with a column behind them for each of ``which``: 1 where it is missing, else 0.

    A row without any value has no indicators either (NaN): it lacks the modality.

    Shape:
        (n, F) -> (n, F + len(which))
    """
    gone = np.isnan(x)
    told = gone[:, which].astype(x.dtype)
    told[gone.all(1)] = np.nan
    return np.concatenate([x, told], axis=1)
