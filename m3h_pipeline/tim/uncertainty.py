"""How uncertain a TIM score is: patients, seeds, and sampled contexts.

The variance of an estimate is a sum of components, each with its degrees of freedom (Satterthwaite):

- *patients*: the variance of the estimate when patients are resampled, models fixed. Its degrees of freedom
  are the number of patients that carry the information (those of the rarest class) minus one.
- *seeds*: the variance between replicates over their number. It has a floor
  (:func:`m3h_pipeline.inference.intervals.floored_seeds`): what seeds add relative to what patients add,
  pooled over all companions of the source task, whose own fits stand in all its differences, or, if larger,
  the median of this over the source tasks of the same metric.
- *contexts* (mode ``sampled``): the variance between differences of one size over their number, less the
  share of sets of that size that were seen.

Patients and seeds overlap (what a seed changes at random from patient to patient is in both), so that their
sum errs on the side of caution. With one replicate only patients can be counted, and the result's metadata
says so. Everything is conditional on the split and the training part: that another cohort would have trained
other models is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.inference.intervals import floored_seeds
from m3h_pipeline.inference.metrics import Float64

Component = tuple[Float64, Float64]


def seed_component(
    differences: Float64, patients: Float64, task: npt.NDArray[np.intp], metric: npt.NDArray[np.intp]
) -> Component:
    """Variance from seeds of each pair's estimate, and its degrees of freedom.

    Args:
        differences: each pair's estimate in every replicate, shape (pairs, replicates).
        patients: variance from patients, shape (pairs,).
        task: number of the source task, shape (pairs,).
        metric: number of its metric, shape (pairs,).

    Shape:
        (pairs,) each; variance 0 with infinite degrees of freedom if there is one replicate.
    """
    n_pairs, replicates = differences.shape
    if replicates < 2:
        return np.zeros(n_pairs), np.full(n_pairs, np.inf)
    own = differences.var(axis=1, ddof=1) / replicates
    return floored_seeds(own, patients, np.full(n_pairs, replicates - 1.0), task, metric)


def context_component(
    values: Sequence[Sequence[tuple[int, int, float, float]]],
    metric: npt.NDArray[np.intp],
    total_share: int,
) -> Component:
    """Variance from which contexts were sampled, and its degrees of freedom.

    Contexts of one size that a pair has several of tell their own variance. Its floor is the variance pooled
    over all pairs of the same metric (and size, if known); for a single context, and for sizes of which the
    pair has none, also the variance between all of the pair's contexts.

    Args:
        values: of each pair its contexts: size, number of sets of that size, weight, difference.
        metric: number of the metric of each pair's source task, shape (pairs,).
        total_share: number of all sets S, of every size that chains may reach.

    Shape:
        (pairs,) each; variance 0 where every set was seen, NaN where no pair tells how much contexts differ.
    """
    strata = [_strata(contexts) for contexts in values]
    by_size: dict[tuple[int, int], list[Variance]] = {}
    by_metric: dict[int, list[Variance]] = {}
    for m, mine in zip(metric.tolist(), strata, strict=True):
        for stratum in mine:
            if stratum.n > 1:
                by_size.setdefault((m, stratum.size), []).append(stratum.variance)
                by_metric.setdefault(m, []).append(stratum.variance)
    total, df = np.zeros(len(strata)), np.full(len(strata), np.inf)
    for pair, (m, mine) in enumerate(zip(metric.tolist(), strata, strict=True)):
        overall = _variance([difference for _, _, _, difference in values[pair]])
        parts: list[Variance] = []
        for stratum in mine:
            if stratum.n < stratum.share:
                pooled = _pool(by_size.get((m, stratum.size)) or by_metric.get(m, []))
                variance, freedom = _largest(pooled, overall if stratum.n == 1 else stratum.variance)
                unseen = 1 - stratum.n / stratum.share
                parts.append((stratum.weight**2 * variance / stratum.n * unseen, freedom))
        # The estimate takes sizes without a context to be like the others.
        blind = 1 - sum(stratum.share for stratum in mine) / total_share
        if blind > 0:
            variance, freedom = _largest(_pool(by_metric.get(m, [])), overall)
            parts.append((blind**2 * variance, freedom))
        total[pair] = sum(variance for variance, _ in parts)
        if total[pair] > 0:
            df[pair] = total[pair] ** 2 / sum(variance**2 / freedom for variance, freedom in parts)
    return total, df


#: A variance and its degrees of freedom; NaN and 0 if unknown.
Variance = tuple[float, float]


@dataclass(frozen=True)
class _Stratum:
    """A pair's contexts of one size: how many sets there are, and how many were seen."""

    size: int
    share: int
    weight: float
    n: int
    variance: Variance


def _strata(contexts: Sequence[tuple[int, int, float, float]]) -> list[_Stratum]:
    shares = {size: share for size, share, _, _ in contexts}
    strata = []
    for size, share in sorted(shares.items()):
        found = [(weight, difference) for s, _, weight, difference in contexts if s == size]
        variance = _variance([difference for _, difference in found])
        strata.append(_Stratum(size, share, sum(weight for weight, _ in found), len(found), variance))
    return strata


def _variance(values: Sequence[float]) -> Variance:
    if len(values) < 2:
        return float("nan"), 0.0
    return float(np.var(values, ddof=1)), len(values) - 1.0


def _largest(*found: Variance) -> Variance:
    """The largest known variance; unknown if none is known."""
    known = [variance for variance in found if variance[1] > 0]
    return max(known) if known else (float("nan"), 0.0)


def _pool(found: Sequence[Variance]) -> Variance:
    """The pooled variance; unknown if there is none."""
    freedom = sum(df for _, df in found)
    if not freedom:
        return float("nan"), 0.0
    return sum(variance * df for variance, df in found) / freedom, freedom
