"""Which values of features are observed: infinite ones are not, nor rows of zeros where a source says so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import Float32Array


class Observed(NamedTuple):
    """Features of some rows as they count.

    Attributes:
        x: (n, D) float32, NaN = missing.
        missing: values that are missing; ``infinite``: of these, those that were infinite.
        without: rows of which all are; ``zero``: rows that were zero throughout.
    """

    x: Float32Array
    missing: int
    infinite: int
    without: int
    zero: int


def observed(x: Float32Array, *, zero_is_missing: bool) -> Observed:
    """Features with what is not observed as NaN.

    Args:
        x: (n, D); it is not changed.
        zero_is_missing: whether rows that are zero throughout are not observed.

    Examples:
        >>> found = observed(np.array([[0, 0], [1, np.inf]], dtype=np.float32), zero_is_missing=True)
        >>> found.x.tolist(), found.missing, found.without
        ([[nan, nan], [1.0, nan]], 3, 1)
    """
    missing = infinite = without = 0
    if (zero := _zero_rows(x)).size and zero_is_missing:
        x = x.copy()
        x[zero] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is several times faster than a look at every value, and finite only if all are.
        finite = bool(np.isfinite(x.sum()))
    if not finite and (absent := ~np.isfinite(x)).any():
        infinite = int(np.isinf(x).sum())
        if infinite:
            x = np.where(absent, np.float32(np.nan), x)
        missing, without = int(absent.sum()), int(absent.all(axis=1).sum())
    return Observed(x, missing, infinite, without, len(zero))


def _zero_rows(x: Float32Array) -> npt.NDArray[np.int64]:
    """Numbers of the rows that are zero throughout."""
    if not x.shape[1]:
        return np.zeros(0, dtype=np.int64)
    # One column rules most rows out.
    rows = np.flatnonzero(x[:, 0] == 0)
    return rows[~x[rows].any(axis=1)]
