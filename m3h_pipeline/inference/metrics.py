"""Metrics under many weight vectors at once.

A draw of the bootstrap gives every patient a count and every row the count of its patient; a metric under a
draw is the metric with these counts as sample weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.dotted import call, is_path

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]

#: What a model that knows nothing scores. A silhouette, or a metric of the user's own, has no such level.
CHANCE = {"auroc": 0.5, "macro_auroc": 0.5, "r2": 0.0, "concordance": 0.5}
#: The least and the largest value of each metric.
BOUNDS = {
    "auroc": (0.0, 1.0),
    "macro_auroc": (0.0, 1.0),
    "r2": (-np.inf, 1.0),
    "silhouette": (-1.0, 1.0),
    "concordance": (0.0, 1.0),
}
#: Draws worked on together: the weights of a thousand patients then stay in a core's cache.
_CHUNK = 128
#: Numbers of a matrix of pairs that is in memory at once.
_PAIRS = 4_000_000


def metric(name: str, y: Floats, prediction: Floats) -> float:
    """A metric of one set of predictions; NaN where it is undefined (see :func:`metric_draws`)."""
    return float(metric_draws(name, y, prediction, np.ones((1, len(y)), dtype=np.float32))[0])


def metric_draws(name: str, y: Floats, prediction: Floats, weights: Floats) -> Float64:
    """A metric under many vectors of sample weights at once.

    Rows without a label (``y`` NaN; silhouette: no value) do not count. A metric is NaN under a draw that
    leaves it undefined (one class only; a constant target; no weight) and wherever a prediction that counts
    is not finite. The result equals scikit-learn's with ``sample_weight``.

    - ``auroc``: ties between scores count one half (Mann-Whitney).
    - ``macro_auroc``: mean over classes of the AUROC of the class against the rest; a class that is absent
      under a draw is left out of that draw's mean.
    - ``r2``: 1 - weighted residual sum of squares / weighted total sum of squares about the weighted mean.
    - ``silhouette``: weighted mean of the samples' silhouettes (column 1); NaN if there is one cluster only.
      Of ``y`` only whether it is NaN counts. Clusters are not computed anew under a draw.
    - ``concordance``: Harrell's, of the risk (column 0: the larger, the sooner the event is expected) for
      signed times (coding.signed_time). A pair counts if the one with the shorter time had the event; of
      equal times, if one had the event and the other was censored. Equal risks count half. The weight of a
      pair is the product of its weights.

    Args:
        name: ``auroc``, ``macro_auroc``, ``r2``, ``silhouette`` or ``concordance``; or the dotted path of a
            function of labels (n,), predictions (n, width) and weights (n,).
        y: labels, NaN = not observed; class indices for the first two. Shape (n,).
        prediction: shape (n, width) or (n,): score of class 1; scores of C classes; value; (cluster,
            silhouette); risk and survival curve.
        weights: shape (draws, n); fastest as the transpose of a C-contiguous (n, draws) array of float32.

    Shape:
        (draws,)

    Raises:
        ValueError: the metric is unknown, or shapes do not fit.
        ConfigError: a metric of the user's own is not there, or fails.
    """
    if weights.ndim != 2 or weights.shape[1] != len(y):
        raise ValueError(f"{len(y)} labels, weights of shape {weights.shape}")
    return metric_draws_by_unit(name, y, prediction, weights.T, np.arange(len(y)))


def metric_draws_by_unit(
    name: str, y: Floats, prediction: Floats, weights: Floats, unit: npt.NDArray[np.intp]
) -> Float64:
    """:func:`metric_draws` where the rows of a unit (a patient) share their weight: less memory, less work.

    Args:
        name: as there.
        y: as there.
        prediction: as there.
        weights: shape (units, draws), best C-contiguous float32: the bootstrap's counts, transposed.
        unit: number of each row's unit, shape (n,).

    Shape:
        (draws,)
    """
    if not can_be_resampled(name):
        raise ValueError(f"unknown metric {name!r}; known: {', '.join(sorted(_DRAWS))}")
    values = prediction[:, None] if prediction.ndim == 1 else prediction
    if not len(y) == len(values) == len(unit):
        raise ValueError(f"{len(y)} labels, {len(values)} predictions, {len(unit)} units")
    counts = ~np.isnan(y)
    if name == "silhouette":
        counts &= ~np.isnan(values[:, -1])
    y, values, unit = y[counts], values[counts], unit[counts]
    n_draws = weights.shape[1]
    if not len(y) or not np.isfinite(values).all():
        return np.full(n_draws, np.nan)
    if is_path(name):
        return _own_draws(name, y, values, unit, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [
            _DRAWS[name](y, values, unit, np.ascontiguousarray(weights[:, start : start + _CHUNK]))
            for start in range(0, n_draws, _CHUNK)
        ]
    return np.concatenate(parts)


def _auroc(positive: npt.NDArray[np.bool_], scores: Floats, unit: Integers, weights: Floats) -> Float64:
    """Weighted AUROC; ``weights`` is (units, draws).

    One pass over the weights: the distinct scores of the rarer class cut the other class's scores into
    segments, a sparse one-hot matrix sums each segment's weights, and a cumulative sum over the few segments
    gives the weight below every score of the rarer class.
    """
    flipped = positive.sum() * 2 > len(positive)
    rare = ~positive if flipped else positive
    if not rare.any():
        return np.full(weights.shape[1], np.nan)
    cuts, cut_of = np.unique(scores[rare], return_inverse=True)
    others = scores[~rare]
    left, right = np.searchsorted(cuts, others, "left"), np.searchsorted(cuts, others, "right")
    weight = _segment_sums(cut_of.reshape(-1), unit[rare], weights, len(cuts))
    # A score of the other class in the gap `right` is below the cuts from there on; one with left < right
    # is tied with cut `left`, and counts half there.
    between = _segment_sums(right, unit[~rare], weights, len(cuts) + 1)
    reached = _cumulative_rows(between)
    total = reached[-1] * weight.sum(axis=0)
    if (tied := left < right).any():
        # Tied scores stand in the gap after their cut: half of them still belongs to it.
        half = _segment_sums(left[tied], unit[~rare][tied], weights, len(cuts))
        reached[:-1] += 0.5 * half
    area = np.einsum("kd,kd->d", weight, reached[:-1]) / total
    return np.asarray(1 - area if flipped else area)


def _segment_sums(segment: Integers, unit: Integers, weights: Floats, n_segments: int) -> Float64:
    """Sums over the rows of each segment of the weights of their units: (n_segments, draws)."""
    from scipy.sparse import csr_array

    order = np.argsort(segment, kind="stable")
    starts = np.zeros(n_segments + 1, dtype=np.int64)
    np.cumsum(np.bincount(segment, minlength=n_segments), out=starts[1:])
    ones = np.ones(len(segment), dtype=weights.dtype)
    selection = csr_array((ones, unit[order], starts), shape=(n_segments, len(weights)))
    return np.asarray(selection @ weights, dtype=np.float64)


def _cumulative_rows(values: Float64) -> Float64:
    """``np.cumsum(values, axis=0)`` by blocks of rows: that one strides through memory column by column."""
    n, width = values.shape
    length = max(1, round(n**0.5))
    blocks = np.zeros((-(-n // length), length, width))
    blocks.reshape(-1, width)[:n] = values
    for row in range(1, length):
        blocks[:, row] += blocks[:, row - 1]
    for block in range(1, len(blocks)):
        blocks[block] += blocks[block - 1, -1]
    return blocks.reshape(-1, width)[:n]


def _own_draws(path: str, y: Floats, values: Floats, unit: Integers, weights: Floats) -> Float64:
    """A metric of the user's own, draw by draw: a function of labels, predictions and the rows' weights."""
    found = np.full(weights.shape[1], np.nan)
    for draw, counts in enumerate(weights.T):
        of_rows = counts[unit].astype(np.float64)
        if of_rows.any():
            found[draw] = float(call(path, y, values, of_rows))
    return found


def _auroc_draws(y: Floats, values: Floats, unit: Integers, weights: Floats) -> Float64:
    return _auroc(y == 1, values[:, -1], unit, weights)


def _macro_auroc_draws(y: Floats, values: Floats, unit: Integers, weights: Floats) -> Float64:
    each = np.stack([_auroc(y == c, values[:, c], unit, weights) for c in range(values.shape[1])])
    defined = ~np.isnan(each)
    return np.asarray(np.where(defined, each, 0.0).sum(axis=0) / defined.sum(axis=0))


def _r2_draws(y: Floats, values: Floats, unit: Integers, weights: Floats) -> Float64:
    observed = y.astype(np.float64)
    centred = observed - observed.mean()  # against cancellation in the total sum of squares
    residual = observed - values[:, -1]
    columns = (np.ones_like(centred), centred, centred**2, residual**2)
    sums = _unit_sums(columns, unit, len(weights)) @ weights.astype(np.float64)
    total = sums[2] - sums[1] ** 2 / sums[0]
    constant = total <= 1e-12 * (centred**2).mean() * sums[0]
    return np.asarray(np.where(constant, np.nan, 1 - sums[3] / total))


def _silhouette_draws(y: Floats, values: Floats, unit: Integers, weights: Floats) -> Float64:
    if (values[:, 0] == values[0, 0]).all():
        return np.full(weights.shape[1], np.nan)
    columns = (np.ones(len(y)), values[:, -1].astype(np.float64))
    sums = _unit_sums(columns, unit, len(weights)) @ weights.astype(np.float64)
    return np.asarray(sums[1] / sums[0])


def _concordance_draws(y: Floats, values: Floats, unit: Integers, weights: Floats) -> Float64:
    time, event = time_and_event(y)
    risk = values[:, 0]
    units = len(weights)
    good, pairs = np.zeros((units, units)), np.zeros((units, units))
    rows = np.flatnonzero(event)
    step = max(1, _PAIRS // max(len(y), 1))
    for start in range(0, len(rows), step):
        i = rows[start : start + step]
        later = (time[i, None] < time) | ((time[i, None] == time) & ~event)
        right = 0.5 * ((risk[i, None] > risk).astype(np.float64) + (risk[i, None] >= risk))
        first, second = np.nonzero(later)
        flat = unit[i[first]] * units + unit[second]
        pairs += np.bincount(flat, minlength=units**2).reshape(units, units)
        good += np.bincount(flat, right[first, second], minlength=units**2).reshape(units, units)
    w = weights.astype(np.float64)
    total = np.einsum("ud,ud->d", w, pairs @ w)
    return np.asarray(np.einsum("ud,ud->d", w, good @ w) / np.where(total > 0, total, np.nan))


def _unit_sums(columns: Sequence[Float64], unit: Integers, n_units: int) -> Float64:
    """Sums of each column over the rows of every unit: (len(columns), n_units)."""
    return np.stack([np.bincount(unit, weights=column, minlength=n_units) for column in columns])


_DRAWS: dict[str, Callable[[Floats, Floats, Integers, Floats], Float64]] = {
    "auroc": _auroc_draws,
    "macro_auroc": _macro_auroc_draws,
    "r2": _r2_draws,
    "silhouette": _silhouette_draws,
    "concordance": _concordance_draws,
}


def can_be_resampled(name: str) -> bool:
    """Whether :func:`metric_draws` knows a metric: a shipped one, or a function of the user's own."""
    return name in _DRAWS or is_path(name)
