"""Statistics that search, TIM and evaluation share: the bootstrap over patients, metrics under many weights
at once, intervals of paired differences, control of the false discovery rate.

All functions are pure: randomness comes in as a seed. Patients, not rows, are resampled: the samples of one
patient are not independent. A draw gives every patient a count and every row the count of its patient; a
metric under a draw is the metric with these counts as sample weights. Draws are shared by all models and
tasks, so that differences are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]

#: A relative improvement is only reported where the reference score is at least this large: an R² near 0 (or
#: below) as denominator gives a percentage that means nothing.
RELATIVE_FLOOR = 0.05


# --- the bootstrap over patients ---------------------------------------------------------------------------


def patient_index(patients: Sequence[str] | npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Number the patients of the rows from 0, in the order of their sorted identifiers.

    Shape:
        (n_rows,) -> (n_rows,)

    Examples:
        >>> patient_index(["p9", "p2", "p9"]).tolist()
        [1, 0, 1]
    """
    inverse = np.unique(np.asarray(patients), return_inverse=True)[1]
    return np.asarray(inverse, dtype=np.intp).reshape(-1)


def patient_counts(n_patients: int, n_draws: int, seed: int) -> npt.NDArray[np.float32]:
    """How often each patient is drawn: ``n_patients`` draws with replacement, ``n_draws`` times.

    A draw depends on the seed, its number and ``n_patients`` only: more draws begin with the same ones.

    Shape:
        (n_draws, n_patients); float32 holds these integers exactly.

    Examples:
        >>> patient_counts(4, 3, seed=0).sum(axis=1).tolist()
        [4.0, 4.0, 4.0]
    """
    if n_patients < 1 or n_draws < 1:
        raise ValueError(f"{n_patients} patients, {n_draws} draws: both must be positive")
    generator = np.random.default_rng(seed)
    counts = np.empty((n_draws, n_patients), dtype=np.float32)
    for draw in range(n_draws):
        counts[draw] = np.bincount(generator.integers(0, n_patients, n_patients), minlength=n_patients)
    return counts


def bootstrap_counts(
    patient_index: npt.NDArray[np.integer[Any]], n_draws: int, seed: int
) -> npt.NDArray[np.float32]:
    """Weights of the rows under ``n_draws`` bootstrap samples of the patients.

    Memory is 4 bytes per row and draw (1,000 draws of 7,000 rows: 28 MB); for chunks of rows or draws index
    :func:`patient_counts` instead.

    Args:
        patient_index: number of each row's patient, 0 to n_patients - 1, shape (n_rows,).
        n_draws: number of bootstrap samples.
        seed: the draws' seed.

    Shape:
        (n_draws, n_rows), the transpose of a C-contiguous array, which :func:`metric_draws` does not copy.
    """
    counts = patient_counts(int(patient_index.max()) + 1, n_draws, seed)
    by_row: npt.NDArray[np.float32] = np.ascontiguousarray(counts.T)[patient_index]
    return by_row.T


# --- metrics under many weight vectors ---------------------------------------------------------------------


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
    - ``concordance``: Harrell's, of the risk (column 0) for signed times (contracts.signed_time).

    Args:
        name: ``auroc``, ``macro_auroc``, ``r2``, ``silhouette`` or ``concordance``.
        y: labels, NaN = not observed; class indices for the first two. Shape (n,).
        prediction: shape (n, width) or (n,): score of class 1; scores of C classes; value; (cluster,
            silhouette); risk and survival curve.
        weights: shape (draws, n); fastest as the transpose of a C-contiguous (n, draws) array of float32.

    Shape:
        (draws,)

    Raises:
        ValueError: the metric is unknown, or shapes do not fit.
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
    if name not in _DRAWS:
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
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [
            _DRAWS[name](y, values, unit, np.ascontiguousarray(weights[:, start : start + _CHUNK]))
            for start in range(0, n_draws, _CHUNK)
        ]
    return np.concatenate(parts)


#: Draws worked on together: the weights of a thousand patients then stay in a core's cache.
_CHUNK = 128


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
    from m3h_pipeline.survival import concordance_draws

    return concordance_draws(y, values[:, 0], unit, weights)


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
#: The metrics that :func:`metric_draws` knows.
METRIC_NAMES = frozenset(_DRAWS)
#: What a model that knows nothing scores. A silhouette has no such level.
CHANCE = {"auroc": 0.5, "macro_auroc": 0.5, "r2": 0.0, "concordance": 0.5}


# --- intervals and tests -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """An estimate with its t interval and two-sided p-value against 0.

    Attributes:
        estimate: the difference.
        low: lower end of the interval.
        high: upper end.
        p: p-value; 1 where nothing varies (two identical models), NaN where the estimate is undefined.
        standard_error: square root of the summed variances.
        degrees_of_freedom: of the t distribution (Satterthwaite).
    """

    estimate: float
    low: float
    high: float
    p: float
    standard_error: float
    degrees_of_freedom: float


def paired_interval(
    estimate: float,
    components: Sequence[tuple[float, float]],
    level: float = 0.95,
) -> Interval:
    """t interval of a difference whose variance is a sum of independent components.

    Degrees of freedom after Satterthwaite (Biometrics Bulletin 1946; 2:110): (Σ v)² / Σ (v² / df).

    Args:
        estimate: the difference.
        components: pairs of a variance *of the estimate* and its degrees of freedom (which may be infinite),
            for example :func:`bootstrap_variance`, and the variance between replicates over their number.
        level: coverage.

    Examples:
        >>> i = paired_interval(2.0, [(1.0, 10.0)])
        >>> round(i.low, 3), round(i.high, 3), round(i.p, 4)
        (-0.228, 4.228, 0.0734)
    """
    from scipy import stats

    variance = sum(v for v, _ in components)
    if not (np.isfinite(estimate) and np.isfinite(variance)):
        return Interval(estimate, np.nan, np.nan, np.nan, np.nan, np.nan)
    if variance <= 0:
        return Interval(estimate, estimate, estimate, 1.0, 0.0, np.nan)
    spread = sum(v**2 / df for v, df in components)
    df = variance**2 / spread if spread > 0 else np.inf
    error = float(np.sqrt(variance))
    reach = float(stats.t.ppf(0.5 + level / 2, df)) * error
    p = float(2 * stats.t.sf(abs(estimate) / error, df))
    return Interval(estimate, estimate - reach, estimate + reach, p, error, float(df))


def bootstrap_variance(draws: Float64, n_patients: int) -> float:
    """Variance of an estimate from its bootstrap draws; draws in which it is undefined are left out.

    The bootstrap's variance is too small by (m - 1) / m for ``m`` units; the factor m / (m - 1) undoes this.

    Args:
        draws: shape (n_draws,).
        n_patients: units that carry the information: patients, for a rare class the patients that have it.

    Returns:
        NaN with fewer than 2 defined draws or units.
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) < 2 or n_patients < 2:
        return float("nan")
    return float(defined.var(ddof=1)) * n_patients / (n_patients - 1)


def percentile_interval(draws: Float64, level: float = 0.95) -> tuple[float, float]:
    """The central share ``level`` of bootstrap draws, undefined ones left out; NaN if none is defined."""
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def benjamini_hochberg(p: Floats) -> Float64:
    """Adjusted p-values (q) that control the false discovery rate over all defined p-values.

    An undefined test (NaN) stays NaN and does not count as a member of the family.

    Shape:
        (m,) -> (m,)

    Examples:
        >>> benjamini_hochberg(np.array([0.01, np.nan, 0.04])).tolist()
        [0.02, nan, 0.04]
    """
    from scipy.stats import false_discovery_control

    q = np.full(len(p), np.nan)
    defined = np.isfinite(p)
    if defined.any():
        q[defined] = false_discovery_control(np.asarray(p, dtype=np.float64)[defined], method="bh")
    return q


def relative_improvement(multi: Floats, single: Floats, floor: float = RELATIVE_FLOOR) -> Float64:
    """(multi - single) / single, as in Figure 2 of the paper; NaN where ``single`` is below ``floor``.

    Below the floor (a regression that explains almost nothing, a negative R² or silhouette) the ratio
    explodes or changes its sign: the absolute difference is to be read instead.

    Shape:
        broadcasts

    Examples:
        >>> relative_improvement(np.array([0.88, 0.1]), np.array([0.8, -0.01])).round(3).tolist()
        [0.1, nan]
    """
    multi, single = np.broadcast_arrays(np.asarray(multi, np.float64), np.asarray(single, np.float64))
    out = np.full(single.shape, np.nan)
    np.divide(multi - single, single, out=out, where=single >= floor)
    return out


def relative_interval(
    multi: Float64, single: Float64, level: float = 0.95, floor: float = RELATIVE_FLOOR
) -> tuple[float, float]:
    """Percentile interval of the relative improvement from paired draws of both scores, shape (draws,) each.

    NaN where more than 1 % of the draws have an undefined ratio: leaving them out would flatter the interval.
    """
    ratio = relative_improvement(multi, single, floor)
    usable = np.isfinite(multi) & np.isfinite(single)
    if not usable.any() or np.isnan(ratio[usable]).mean() > 0.01:
        return float("nan"), float("nan")
    return percentile_interval(ratio[usable], level)
