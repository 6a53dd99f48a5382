"""How features become what a network sees: a centre that is taken off, a scale that is divided by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import LEAST, round_step
from m3h_pipeline.features.spread import spread as spread_of

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
#: How a modality is scaled: by mean and deviation, robust or not, or to the range 0 to 1,
#: whose ends are round numbers just outside what was seen.
Kind = Literal["robust", "standard", "minmax"]

#: Scaled features are clipped to plus or minus this.
CLIP: Final = 10.0
#: A deviation below this, on features scaled to a deviation of 1, is rounding: the feature is constant.
_CONSTANT: Final = 1e-6
#: A deviation this many times the robust one is that of a few absurd values.
_ABSURD: Final = 1e3
#: So much of a step is rounding.
_ROUNDING: Final = 1e-3
#: Kept values are within this, so that no arithmetic in float32 makes one infinite.
_LARGEST: Final = 1e30
_COLUMNS = 256


@dataclass(frozen=True)
class Scaled:
    """Features scaled by the whole training part, only for the sake of rounding.

    What a fit sees is scaled again with the statistics of its own training rows; since both maps are affine,
    the result is what scaling the raw values would give.

    Attributes:
        x: (n, F) float32, NaN = missing.
        shift: (F,) float64, what was taken off the raw features.
        scale: (F,) float64, what they were then divided by.
    """

    x: Float32Array
    shift: Float64Array
    scale: Float64Array

    def statistics(
        self, rows: IntArray, kind: Kind, features: BoolArray | None = None
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """What scales features by their values in ``rows``.

        Args:
            rows: of the training part.
            kind: how.
            features: (F,) which; None: all.

        Returns:
            Per feature what is taken off, what the rest is multiplied by (0 of features constant there, which
            become 0), and what a missing value becomes.
        """
        x = self.x if features is None or features.all() else self.x[:, features]
        if kind == "robust":
            found = spread_of(x[rows])
            return found.mean, _reciprocal(found.deviation), np.zeros_like(found.mean)
        mean, deviation = moments(x, rows)
        if kind == "standard":
            return mean, _reciprocal(deviation), np.zeros_like(mean)
        these = slice(None) if features is None else features
        low, high = _outwards(*_range(x, rows), self.shift[these], self.scale[these])
        inverse = _reciprocal(high - low)
        return low, inverse, (mean - low) * inverse


def scaled_once(x: Float32Array, train: IntArray) -> Scaled:
    """Scale features in place by the training part's mean and deviation, or robustly where these are absurd.

    Args:
        x: (n, F), NaN = missing; it is changed.
        train: rows of the training part.
    """
    shift, scale = moments(x, train)
    robust = spread_of(x[train])
    absurd = scale > _ABSURD * robust.deviation
    shift = np.where(absurd, robust.mean, shift)
    scale = np.where(absurd, robust.deviation, scale)
    scale[scale == 0] = 1.0
    for a in range(0, x.shape[1], _COLUMNS):
        part = slice(a, a + _COLUMNS)
        x[:, part] = scaled_by(x[:, part], shift[part], scale[part])
    return Scaled(x, shift, scale)


def scaled_by(x: Float32Array, shift: Float64Array, scale: Float64Array) -> Float64Array:
    """Raw features as :class:`Scaled` has them, before rounding to float32."""
    values = (x.astype(np.float64) - shift) / scale
    return np.asarray(np.clip(values, -_LARGEST, _LARGEST), dtype=np.float64)


def moments(x: Float32Array, rows: IntArray) -> tuple[Float64Array, Float64Array]:
    """Mean and deviation (of the population) of each column over ``rows``, in float64, ignoring NaN.

    A column without any value has mean and deviation 0.
    """
    mean = np.zeros(x.shape[1])
    deviation = np.zeros(x.shape[1])
    for a in range(0, x.shape[1], _COLUMNS):
        part = x[rows, a : a + _COLUMNS].astype(np.float64)
        seen = ~np.isnan(part)
        count = np.maximum(seen.sum(0), 1)
        m = np.where(seen, part, 0.0).sum(0) / count
        v = np.square(np.where(seen, part - m, 0.0)).sum(0) / count
        mean[a : a + _COLUMNS], deviation[a : a + _COLUMNS] = m, np.sqrt(v)
    return mean, deviation


def told_by_few(x: Float32Array, patient: IntArray) -> BoolArray:
    """Which columns are the same for all but fewer than 11 patients, missing values left out.

    Args:
        x: (n, F), NaN = missing.
        patient: (n,).

    Shape:
        (F,)
    """
    n = len(x)
    if not n:
        return np.ones(x.shape[1], dtype=bool)
    # What nearly all rows have, so have most of a few of them.
    probe = np.sort(x[np.unique(np.linspace(0, n - 1, 63).astype(int))], axis=0)
    seen = (~np.isnan(probe)).sum(0)
    usual = probe[np.maximum(seen - 1, 0) // 2, np.arange(x.shape[1])]
    differs = (x != usual) & ~np.isnan(x)
    most = int(np.unique(patient, return_counts=True)[1].max())
    rows = differs.sum(0)
    few: BoolArray = rows < LEAST
    for j in np.flatnonzero(~few & (rows < LEAST * most)):
        few[j] = len(np.unique(patient[differs[:, j]])) < LEAST
    return few


def _range(x: Float32Array, rows: IntArray) -> tuple[Float64Array, Float64Array]:
    """Least and largest value of each column over ``rows``; 0 and 0 of a column without any."""
    low, high = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for a in range(0, x.shape[1], _COLUMNS):
        part = x[rows, a : a + _COLUMNS].astype(np.float64)
        low[a : a + _COLUMNS] = np.fmin.reduce(part, axis=0)
        high[a : a + _COLUMNS] = np.fmax.reduce(part, axis=0)
    return np.nan_to_num(low), np.nan_to_num(high)


def _outwards(
    low: Float64Array, high: Float64Array, shift: Float64Array, scale: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Ranges widened, in the raw unit, to multiples of a round step of at least a hundredth of each.

    The least and the largest value are each one patient's, and a model is given away with its range.
    """
    width = (high - low) * scale
    varied = (high - low) >= _CONSTANT
    step = np.array([round_step(w / 100) if one else 1.0 for w, one in zip(width, varied, strict=True)])
    # A value that is a multiple, but for its rounding to float32, stays where it is.
    below = np.floor((low * scale + shift) / step + _ROUNDING) * step
    above = np.ceil((high * scale + shift) / step - _ROUNDING) * step
    low, high = (
        np.where(varied, (below - shift) / scale, low),
        np.where(varied, (above - shift) / scale, high),
    )
    return low, high


def _reciprocal(scale: npt.NDArray[Any]) -> Float64Array:
    constant = scale < _CONSTANT
    return np.asarray(np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, scale)), dtype=np.float64)
