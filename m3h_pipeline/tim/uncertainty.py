"""How uncertain a TIM score is: patients, seeds, companions, and random sets.

A TIM score is a contrast: a weighted sum of scores of one task within several combinations (*slots*), whose
weights sum to 0. Its variance is a sum of components, each with its degrees of freedom (Satterthwaite):

- *patients*: the variance when patients are resampled, models fixed. Its degrees of freedom are the number of
  patients that carry the information (those of the rarest class) minus one. Where there is nothing to
  resample (scores alone, :mod:`m3h_pipeline.tim.measured`) *folds* stand for them: the variance between
  folds, corrected for the training rows that they share, with folds - 1 degrees of freedom
  (:func:`m3h_pipeline.inference.intervals.fold_component`); not with one
  replicate, whose luck all folds share.
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
- *sets* (mode ``sampled``): the jackknife over sets, of all companions of a task together, says how far a
  set's score is from what the regression makes of it; without the luck of fits, which *seeds* has already.

With one replicate seeds cannot be counted, and the result's metadata says so. Everything is conditional on
the split and the training part: that another cohort would have trained other models is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m3h_pipeline.inference.intervals import fold_component
from m3h_pipeline.inference.metrics import Float64

#: A variance below this is rounding.
_ROUNDING = 1e-28


@dataclass(frozen=True)
class Luck:
    """What seeds change of one task's scores, beyond what all its combinations share.

    Attributes:
        variance: of one slot's mean over replicates, without what patients explain; 0 with one replicate.
        freedom: its degrees of freedom.
        total: the same with what patients explain.
    """

    variance: float
    freedom: float
    total: float = 0.0

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
        Luck(variance=0.03125, freedom=1.0, total=0.03125)
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
        return Luck(0.0, np.inf, total / replicates)
    return Luck(own / replicates, freedom * (own / total) ** 2, total / replicates)


def interaction(values: Float64) -> Float64:
    """What neither rows nor columns explain of a table; further axes are tables of their own.

    Shape:
        (rows, columns, ...) -> (rows, columns, ...)
    """
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    return np.asarray(values - rows - columns + values.mean(axis=(0, 1), keepdims=True))


def between_sets(found: float, number: int, own: Luck, weights: Float64) -> tuple[float, float]:
    """Variance of a contrast from which sets were drawn, and its degrees of freedom.

    Args:
        found: variance of one set's score around the regression, luck and all.
        number: of sets.
        own: luck of the task's fits.
        weights: of the drawn sets in the contrast.

    Examples:
        >>> between_sets(0.5, 9, Luck(0.1, 4.0, 0.25), np.array([2.0]))
        (1.0, 2.0)
    """
    beyond = found - own.total
    if not beyond > _ROUNDING:
        return 0.0, float("inf")
    return float((weights**2).sum()) * beyond, max(1.0, (number - 1) * (beyond / found) ** 2)


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


def spread(
    estimates: Float64, drawn: Float64 | None, weights: Float64, own: Luck, by_fold: Float64 | None = None
) -> Spread:
    """The spread of a task's permuted companions.

    Args:
        estimates: of each, shape (companions,).
        drawn: under resampled patients, shape (companions, draws); None: folds stand for them.
        weights: of each in the task's slots, shape (companions, slots).
        own: luck of the task's fits.
        by_fold: the estimates in each fold, shape (companions, folds); needed where nothing is drawn.
    """
    freedom = float(len(estimates) - 1)
    explained = own.variance * float(((weights - weights.mean(axis=0)) ** 2).sum()) / freedom
    if drawn is not None:
        defined = drawn[:, np.isfinite(drawn).all(axis=0)]
        explained += float((defined - defined.mean(axis=1, keepdims=True)).var(axis=0, ddof=1).mean())
    elif by_fold is not None:
        explained += sum(fold_component(one)[0] for one in by_fold - by_fold.mean(axis=0)) / freedom
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
