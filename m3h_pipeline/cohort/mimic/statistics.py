"""The eleven statistics of a series, for all series of many samples at once.

The values of all series lie one after the other in one array, each series in the order of its events; every
statistic is a few passes over that array, whatever the number of series.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from m3h_pipeline.cohort.mimic.series import STATISTICS

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def series_statistics(values: FloatArray, counts: IntArray, *, zero_appended: bool = False) -> FloatArray:
    """The statistics of ``m`` series.

    Args:
        values: (sum of counts,) the values, series after series, without NaN.
        counts: (m,) events of each series, possibly 0.
        zero_appended: as the published code does, append a 0 to each series and report 0 for what is
            undefined.

    Returns:
        (m, 11) in the order of ``STATISTICS``. The variance is the sample variance; differences are between
        neighbours, ``maxdiff`` and ``sumabsdiff`` of their magnitudes, ``diff`` last minus first; a peak is
        higher than what stands on both sides of it, and a flat one counts once; the trend is the slope of the
        least-squares line over the number of the event. NaN where a statistic is undefined: everything of no
        event; variance, the mean and largest differences and the trend of one.

    Examples:
        >>> series_statistics(np.array([1.0, 3.0, 2.0]), np.array([3]))[0, [0, 2, 7, 8, 9, 10]].tolist()
        [3.0, 2.0, 3.0, 1.0, 1.0, 0.5]
    """
    if zero_appended:
        values = np.insert(values, np.cumsum(counts), 0.0)
        counts = counts + 1
    out = np.full((len(counts), len(STATISTICS)), np.nan)
    some = np.flatnonzero(counts > 0)
    if len(some):
        out[some] = _statistics(values, counts[some])
    return np.nan_to_num(out, nan=0.0) if zero_appended else out


def _statistics(v: FloatArray, n: IntArray) -> FloatArray:
    """As ``series_statistics``, for series that all have events."""
    starts = np.cumsum(n) - n
    which = np.repeat(np.arange(len(n)), n)
    first, last = v[starts], v[starts + n - 1]
    highest, lowest = np.maximum.reduceat(v, starts), np.minimum.reduceat(v, starts)
    # Relative to the first value: the mean of equal values is that value, and rounding makes no variance.
    shifted = v - first[which]
    mean_shifted = np.add.reduceat(shifted, starts) / n
    deviation = shifted - mean_shifted[which]
    several = n > 1
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(several, np.add.reduceat(deviation**2, starts) / (n - 1), np.nan)
        mean_difference = np.where(several, (last - first) / (n - 1), np.nan)
    # The first event of a series has no difference: 0 changes neither sum nor largest magnitude.
    change = np.diff(v, prepend=v[:1])
    change[starts] = 0.0
    size = np.abs(change)
    total = np.add.reduceat(size, starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_size = np.where(several, total / (n - 1), np.nan)
        place = np.arange(len(v)) - starts[which] - (n[which] - 1) / 2
        slope = np.add.reduceat(place * deviation, starts) / (n * (n**2 - 1.0) / 12)
    largest = np.where(several, np.maximum.reduceat(size, starts), np.nan)
    slope = np.where(several, slope, np.nan)
    return np.stack(
        [
            highest,
            lowest,
            first + mean_shifted,
            variance,
            mean_difference,
            mean_size,
            largest,
            total,
            last - first,
            _peaks(v, which, change, len(n)),
            slope,
        ],
        axis=1,
    )


def _peaks(v: FloatArray, which: IntArray, change: FloatArray, m: int) -> FloatArray:
    """Local maxima within each series; its first and last value are none."""
    # One entry for every run of equal values: where the value changes, and where a series starts.
    entry = np.flatnonzero(np.r_[True, (change[1:] != 0) | (which[1:] != which[:-1])])
    value, owner = v[entry], which[entry]
    inner = (owner[1:-1] == owner[:-2]) & (owner[1:-1] == owner[2:])
    peak = inner & (value[1:-1] > value[:-2]) & (value[1:-1] > value[2:])
    return np.bincount(owner[1:-1][peak], minlength=m).astype(np.float64)
