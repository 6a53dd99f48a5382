"""Variances, intervals and tests: t with Satterthwaite's degrees of freedom, jackknife, folds, Wilson, false
discovery rate.

The variance of an estimate is a sum of independent components, each a variance *of the estimate* with its
degrees of freedom (which may be infinite).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.inference.lent import lent_seeds
from m3h_pipeline.inference.metrics import BOUNDS, Float64, Floats


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


#: Where nothing is known.
UNDEFINED = Interval(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)


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


def bounded(interval: Interval, metric_name: str) -> tuple[float, float]:
    """The ends of a score's interval, within what its metric can be; one of the user's own has no bounds."""
    low, high = BOUNDS.get(metric_name, (-np.inf, np.inf))
    return max(interval.low, low) if np.isfinite(interval.low) else interval.low, (
        min(interval.high, high) if np.isfinite(interval.high) else interval.high
    )


def jackknife_variance(left_out: Float64) -> float:
    """Variance of an estimate from its values with one replicate left out each (Tukey 1958).

    Returns:
        NaN with fewer than two replicates.
    """
    n = len(left_out)
    return float((n - 1) * left_out.var()) if n > 1 else float("nan")


@dataclass(frozen=True)
class Quantity:
    """An estimate with the variances of its two components, patients and seeds.

    Attributes:
        value: the estimate; NaN = undefined.
        patients: its variance over patients.
        units: patients that carry the information.
        seeds: its variance over replicates (:func:`jackknife_variance`); NaN where that is not known.
        seeds_freedom: degrees of freedom of this variance.
        known: what patients explain of ``seeds``: replicates differ in what they say of each patient, and the
            variance over patients has that already.
    """

    value: float
    patients: float
    units: int
    seeds: float = float("nan")
    seeds_freedom: float = float("nan")
    known: float = 0.0


def pooled_intervals(quantities: Sequence[Quantity], metrics: Sequence[str]) -> list[Interval]:
    """95 % intervals of one quantity of several tasks, which lend each other their variance between seeds.

    The variance between seeds is that of :func:`~m3h_pipeline.inference.lent.lent_seeds`, less what patients
    explain of it.

    Args:
        quantities: of each task.
        metrics: name of each task's metric.
    """
    variance, freedom = lent_seeds(
        np.array([q.seeds for q in quantities]),
        np.array([q.patients for q in quantities]),
        np.array([q.seeds_freedom for q in quantities]),
        np.unique(np.array(metrics, dtype=str), return_inverse=True)[1].reshape(-1),
    )
    found = []
    for q, total, degrees in zip(quantities, variance.tolist(), freedom.tolist(), strict=True):
        components = [(q.patients, float(max(q.units - 1, 1)))]
        if total > q.known:
            components.append((total - q.known, max(1.0, degrees * (1 - q.known / total) ** 2)))
        found.append(paired_interval(q.value, components))
    return found


def fold_component(by_fold: Float64) -> tuple[float, float]:
    """Variance of a mean over folds from its values in the folds, for metrics that cannot be resampled here.

    Folds share most of their training rows, so that the variance between them is inflated (Nadeau and Bengio,
    Machine Learning 2003; 52:239): (1/k + 1/(k - 1)) s² for k folds, with k - 1 degrees of freedom. Undefined
    folds do not count.
    """
    values = by_fold[np.isfinite(by_fold)]
    k = len(values)
    if k < 2:
        return float("nan"), 1.0
    return float(values.var(ddof=1)) * (1 / k + 1 / (k - 1)), float(k - 1)


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


def wilson(rate: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, JASA 1927; 22:209).

    Examples:
        >>> tuple(round(end, 4) for end in wilson(0.2, 50))
        (0.1124, 0.3304)
    """
    scale = 1 + z**2 / n
    middle = (rate + z**2 / (2 * n)) / scale
    reach = z / scale * float(np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2)))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def effective_size(event: Floats, patient: npt.NDArray[np.intp]) -> float:
    """How many independent samples say as much about the event rate as these, of patients with several.

    The number of samples over the design effect: the variance of the rate with patients as clusters over its
    binomial variance (Kish, Survey Sampling, 1965; Rao and Scott, Biometrics 1992; 48:577). It is the number
    of samples where every patient has one, and the number of patients where there is no event, or nothing
    else.

    Examples:
        >>> effective_size(np.array([1.0, 0, 0, 1]), np.array([0, 1, 2, 3]))
        4.0
        >>> effective_size(np.array([1.0, 1, 0, 0]), np.array([0, 0, 1, 1]))
        2.0
    """
    n, rate = len(event), float(event.mean())
    members = np.unique(patient, return_inverse=True)[1].reshape(-1)
    if rate in (0.0, 1.0):
        return float(members.max() + 1)
    residual = np.bincount(members, weights=np.asarray(event, dtype=np.float64) - rate)
    effect = float((residual**2).sum()) / (n * rate * (1 - rate))
    return n / max(effect, 1.0)
