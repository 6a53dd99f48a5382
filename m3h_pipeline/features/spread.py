"""Where most values of a column lie and how far they spread, whatever a few absurd ones say."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]

#: A value further from the median than this many typical distances counts as one at that distance.
FARTHEST: Final = 10.0
#: The deviation of a normal distribution whose typical distance is 1.
NORMAL: Final = 1.4826
#: So few columns at a time stay in the cache.
_COLUMNS = 32


class Spread(NamedTuple):
    """How the values of columns lie, (F,) float64 each; 0 of a column without any value.

    Attributes:
        median: of the values.
        typical: median distance from it of the values that differ from it.
        mean: of the values, each of which counts as at most :data:`FARTHEST` typical distances from the
            median. Without absurd values it is the mean.
        deviation: of these values from that mean. Without absurd values it is the deviation, of rare values
            among zeros as well, whose interquartile range is 0.
    """

    median: Float64Array
    typical: Float64Array
    mean: Float64Array
    deviation: Float64Array


def spread(x: Floats) -> Spread:
    """How the values of each column lie, ignoring NaN.

    Args:
        x: (n, F), NaN = missing; no infinite values.

    Examples:
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0], [1e30]])
        >>> [round(float(value[0]), 2) for value in spread(x)]
        [2.0, 1.5, 4.6, 6.28]
    """
    found = np.zeros((4, x.shape[1]))
    for a in range(0, x.shape[1], _COLUMNS):
        ordered = np.ascontiguousarray(x[:, a : a + _COLUMNS].T)
        # NaN stand last.
        ordered.sort(axis=1)
        part: Float64Array = ordered.astype(np.float64)
        missing = np.isnan(part)
        count = part.shape[1] - missing.sum(axis=1)
        n = np.maximum(count, 1)
        median = _median(part, np.zeros_like(count), count)
        part -= median[:, None]
        distance = np.abs(part)
        distance.sort(axis=1)
        typical = _median(distance, (distance == 0).sum(axis=1), count)
        farthest = FARTHEST * typical[:, None]
        np.clip(part, -farthest, farthest, out=part)
        part[missing] = 0
        shift = part.sum(axis=1) / n
        part -= shift[:, None]
        part[missing] = 0
        deviation = np.sqrt(np.einsum("ij,ij->i", part, part) / n)
        found[:, a : a + _COLUMNS] = median, typical, median + shift, deviation
    return Spread(*found)


def _median(ordered: Float64Array, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Float64Array:
    """Medians of the entries [start, end) of ordered rows; 0 where there is none."""
    if not ordered.shape[1]:
        return np.zeros(len(ordered))
    rows, last = np.arange(len(ordered)), ordered.shape[1] - 1
    low = ordered[rows, np.clip((start + end - 1) // 2, 0, last)]
    high = ordered[rows, np.clip((start + end) // 2, 0, last)]
    return np.where(end > start, 0.5 * low + 0.5 * high, 0.0)
