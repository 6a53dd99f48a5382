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
_COLUMNS = 256


class Spread(NamedTuple):
    """How the values of columns lie, (F,) float64 each; 0 of a column without any value.

    Attributes:
        centre: median.
        typical: median distance from it of the values that differ from it.
        deviation: root mean square of the distances from it, in which one beyond :data:`FARTHEST` typical
            ones counts as that. Without absurd values it is the deviation about the median, of rare values
            among zeros as well, whose interquartile range is 0.
    """

    centre: Float64Array
    typical: Float64Array
    deviation: Float64Array


def spread(x: Floats) -> Spread:
    """How the values of each column lie, ignoring NaN.

    Args:
        x: (n, F), NaN = missing; no infinite values.

    Examples:
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0], [1e30]])
        >>> [round(float(value[0]), 2) for value in spread(x)]
        [2.0, 1.5, 6.8]
    """
    found = np.zeros((3, x.shape[1]))
    for a in range(0, x.shape[1], _COLUMNS):
        part = np.ascontiguousarray(x[:, a : a + _COLUMNS].T, dtype=np.float64)
        part.sort(axis=1)
        # NaN stand last.
        count = part.shape[1] - np.isnan(part).sum(axis=1)
        centre = _median(part, np.zeros_like(count), count)
        distance = np.abs(part - centre[:, None])
        distance.sort(axis=1)
        typical = _median(distance, (distance == 0).sum(axis=1), count)
        np.fmin(distance, FARTHEST * typical[:, None], out=distance, where=~np.isnan(distance))
        total = np.nansum(np.square(distance), axis=1)
        found[:, a : a + _COLUMNS] = centre, typical, np.sqrt(total / np.maximum(count, 1))
    return Spread(*found)


def _median(ordered: Float64Array, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Float64Array:
    """Medians of the entries [start, end) of ordered rows; 0 where there is none."""
    if not ordered.shape[1]:
        return np.zeros(len(ordered))
    rows, last = np.arange(len(ordered)), ordered.shape[1] - 1
    low = ordered[rows, np.clip((start + end - 1) // 2, 0, last)]
    high = ordered[rows, np.clip((start + end) // 2, 0, last)]
    return np.where(end > start, 0.5 * low + 0.5 * high, 0.0)
