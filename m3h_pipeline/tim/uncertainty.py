"""How uncertain a TIM score is: patients, seeds, companions, and sampled contexts.

A TIM score is a contrast: a weighted sum of scores of one task within several combinations (*slots*), whose
weights sum to 0. Its variance is a sum of components, each with its degrees of freedom (Satterthwaite):

- *patients*: the variance when patients are resampled, models fixed. Its degrees of freedom are the number of
  patients that carry the information (those of the rarest class) minus one.
- *seeds*: of the scores of a task in its slots and replicates, what neither the slot nor the replicate
  explains is a fit's own luck: (slots - 1) (replicates - 1) degrees of freedom instead of the replicates - 1
  of a single difference, whose variance is by luck now tiny, now huge. Replicates share initial weights and
  minibatches over all combinations, and what they share cancels in a contrast. From this variance is taken
  what patients explain of it, the same sum of squares under resampled patients, since the first component
  has that already; so rare tasks, whose luck is mostly patients', do not count it twice.
- *companions*, of the estimate less the permuted companions: these differ among themselves by nothing that is
  planted. If they differ by more than patients and seeds explain, both components are multiplied by that
  factor, which all source tasks of a metric tell together; so a companion without signal is called different
  no more often than it should be.
- *contexts* (mode ``sampled``): the variance between differences of one size over their number, less the
  share of sets of that size that were seen.

With one replicate seeds cannot be counted, and the result's metadata says so. Everything is conditional on
the split and the training part: that another cohort would have trained other models is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m3h_pipeline.inference.metrics import Float64, Integers

Component = tuple[Float64, Float64]
#: A variance below this is rounding.
_ROUNDING = 1e-28


@dataclass(frozen=True)
class Luck:
    """What seeds change of one task's scores, beyond what all its combinations share.

    Attributes:
        variance: of one slot's mean over replicates, without what patients explain; 0 with one replicate.
        freedom: its degrees of freedom.
    """

    variance: float
    freedom: float

    def of(self, weights: Float64) -> tuple[float, float]:
        """Variance of a contrast with these weights, and its degrees of freedom."""
        return float((weights**2).sum()) * self.variance, self.freedom


def luck(scores: Float64, drawn: Float64 | None) -> Luck:
    """The luck of a task's fits, from its scores and their draws.

    Args:
        scores: of each slot and replicate, shape (slots, replicates).
        drawn: the same under resampled patients, shape (slots, replicates, draws); None: the metric cannot be
            resampled, and what patients explain stays in.

    Examples:
        >>> luck(np.array([[0.5, 1.0], [0.5, 0.5]]), None)
        Luck(variance=0.03125, freedom=1.0)
    """
    slots, replicates = scores.shape
    freedom = float((slots - 1) * (replicates - 1))
    total = float((interaction(scores) ** 2).sum()) / max(freedom, 1.0)
    if freedom < 1 or total < _ROUNDING:
        return Luck(0.0, np.inf)
    known = 0.0
    if drawn is not None and np.isfinite(drawn).any():
        defined = drawn[..., np.isfinite(drawn).all(axis=(0, 1))]
        if defined.shape[-1] > 1:
            moved = interaction(defined - defined.mean(axis=-1, keepdims=True))
            known = float((moved**2).sum(axis=(0, 1)).mean()) / freedom
    own = max(total - known, 0.0)
    if own == 0:
        return Luck(0.0, np.inf)
    return Luck(own / replicates, freedom * (own / total) ** 2)


def interaction(values: Float64) -> Float64:
    """What neither rows nor columns explain of a table; further axes are tables of their own.

    Shape:
        (rows, columns, ...) -> (rows, columns, ...)
    """
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    return np.asarray(values - rows - columns + values.mean(axis=(0, 1), keepdims=True))


@dataclass(frozen=True)
class Spread:
    """How much the permuted companions of one task differ, and how much patients and seeds explain of it.

    Attributes:
        found: variance between their estimates.
        explained: what it would be with patients and seeds alone.
        freedom: companions - 1.
    """

    found: float
    explained: float
    freedom: float


def spread(estimates: Float64, drawn: Float64 | None, weights: Float64, own: Luck) -> Spread:
    """The spread of a task's permuted companions.

    Args:
        estimates: of each, shape (companions,).
        drawn: under resampled patients, shape (companions, draws).
        weights: of each in the task's slots, shape (companions, slots).
        own: luck of the task's fits.
    """
    freedom = float(len(estimates) - 1)
    explained = own.variance * float(((weights - weights.mean(axis=0)) ** 2).sum()) / freedom
    if drawn is not None:
        defined = drawn[:, np.isfinite(drawn).all(axis=0)]
        explained += float((defined - defined.mean(axis=1, keepdims=True)).var(axis=0, ddof=1).mean())
    return Spread(float(estimates.var(ddof=1)), explained, freedom)


def inflation(spreads: Sequence[Spread]) -> tuple[float, float]:
    """By how much permuted companions differ more than patients and seeds explain; at least 1.

    Returns:
        The factor of variances, and its degrees of freedom.

    Examples:
        >>> inflation([Spread(0.03, 0.01, 2.0), Spread(0.01, 0.01, 2.0)])
        (2.0, 4.0)
        >>> inflation([])
        (1.0, inf)
    """
    known = [one for one in spreads if one.explained > 0 and np.isfinite(one.found)]
    freedom = sum(one.freedom for one in known)
    if not freedom:
        return 1.0, float("inf")
    return max(1.0, sum(one.freedom * one.found / one.explained for one in known) / freedom), freedom


def inflated(parts: Sequence[tuple[float, float]], factor: tuple[float, float]) -> list[tuple[float, float]]:
    """Components of a variance, with what permuted companions differ by beyond them as one more.

    Args:
        parts: variances with their degrees of freedom.
        factor: as of :func:`inflation`.
    """
    times, freedom = factor
    if times <= 1:
        return list(parts)
    total = sum(variance for variance, _ in parts)
    return [*parts, ((times - 1) * total, freedom * ((times - 1) / times) ** 2)]


def context_component(
    values: Sequence[Sequence[tuple[int, int, float, float]]],
    metric: Integers,
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
