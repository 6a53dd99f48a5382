"""Values so far from the others of their feature that they are hardly measurements."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.features.spread import NORMAL, spread

Float32Array = npt.NDArray[np.float32]

#: A value more than this many robust deviations from the median is reported.
FAR: Final = 50.0
#: So many rows are enough for a median distance; of more an even sample of at least these is taken.
_ROWS: Final = 512


class Extremes:
    """Least and largest values of the features of a source, and an even sample of its rows.

    Args:
        width: number of features.
    """

    def __init__(self, width: int) -> None:
        self._low = np.full(width, np.inf, dtype=np.float32)
        self._high = np.full(width, -np.inf, dtype=np.float32)
        self._kept: list[Float32Array] = []
        self._held = self._seen = 0
        self._every = 1

    def add(self, x: Float32Array) -> None:
        """Look at further rows, (rows, F), NaN = missing."""
        if not len(x):
            return
        np.fmin(self._low, np.fmin.reduce(x, axis=0), out=self._low)
        np.fmax(self._high, np.fmax.reduce(x, axis=0), out=self._high)
        # Every so many rows of the whole, whatever the pieces they come in.
        self._kept.append(x[-self._seen % self._every :: self._every].copy())
        self._held += len(self._kept[-1])
        self._seen += len(x)
        while self._held >= 2 * _ROWS:
            kept = np.concatenate(self._kept)[::2]
            self._kept, self._held, self._every = [kept], len(kept), 2 * self._every

    def far(self) -> npt.NDArray[np.bool_]:
        """(F,) True where a value lies more than :data:`FAR` robust deviations from the median.

        The robust deviation follows from the median distance of the values that differ from the median: of a
        rare 0/1 feature it is that of its ones.
        """
        if not self._seen:
            return np.zeros(len(self._low), dtype=bool)
        centre, typical, _, _ = spread(np.concatenate(self._kept))
        known = (typical > 0) & (self._low <= self._high)
        low, high = (np.where(known, end, 0.0).astype(np.float64) for end in (self._low, self._high))
        return known & (np.maximum(high - centre, centre - low) > FAR * NORMAL * typical)
