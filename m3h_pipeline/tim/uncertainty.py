"""How uncertain a TIM score is: patients, seeds, and sampled contexts.

The variance of an estimate is a sum of components, each with its degrees of freedom (Satterthwaite):

- *patients*: the variance of the estimate when patients are resampled, models fixed. Its degrees of freedom
  are the number of patients that carry the information (those of the rarest class) minus one.
- *seeds*: the variance between replicates over their number. With the usual two or three replicates it is too
  often tiny by luck, and among hundreds of pairs those lucky ones come out significant: with 41 tasks, 3
  replicates and seeds as noisy as patients, t tests on each pair's own variance reported a false positive in
  20 to 40 % of simulated studies, and in all of them with seeds five times as noisy. So the variance has a
  floor: what seeds add relative to what patients add, pooled over all companions of the source task or, if
  larger, the median of this over the source tasks of the same metric. The floor also guards against the
  source task's own fits: they stand in all its differences and may agree by luck.
- *contexts* (mode ``sampled``): the variance between differences of one size over their number, less the
  share of sets of that size that were seen.

Patients and seeds overlap (what a seed changes at random from patient to patient is in both), so that their
sum errs on the side of caution. With one replicate only patients can be counted, and the result's metadata
says so. Everything is conditional on the split and the training part: that another cohort would have trained
other models is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from m3h_pipeline.statistics import Float64

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
    usable = np.isfinite(own) & np.isfinite(patients) & (patients > 0)
    ratio = {
        t: own[(task == t) & usable].sum() / patients[(task == t) & usable].sum()
        for t in np.unique(task[usable]).tolist()
    }
    floor, df = np.zeros(n_pairs), np.full(n_pairs, float(replicates - 1))
    for m in np.unique(metric[usable]).tolist():
        here = usable & (metric == m)
        sources = np.unique(task[here]).tolist()
        typical = float(np.median([ratio[t] for t in sources]))
        for t in sources:
            floor[here & (task == t)] = max(ratio[t], typical)
        # Companions of a task share its own fits: independent seeds are counted per source task.
        df[here] = (replicates - 1) * min(max(2, len(sources)), int(here.sum()))
    floor *= np.where(usable, patients, 0.0)
    return np.maximum(own, floor), np.where(own > floor, replicates - 1.0, df)


def context_component(
    values: Sequence[Sequence[tuple[int, int, float, float]]], metric: npt.NDArray[np.intp]
) -> Component:
    """Variance from which contexts were sampled, and its degrees of freedom.

    Args:
        values: of each pair its contexts: size, number of sets of that size, weight, difference.
        metric: number of the metric of each pair's source task, shape (pairs,).

    Shape:
        (pairs,) each; variance 0 where every set was seen, NaN where no pair tells how much contexts differ.
    """
    spread: dict[tuple[int, int], list[tuple[float, int]]] = {}
    strata: list[list[tuple[int, int, float, int, float]]] = []
    for m, contexts in zip(metric.tolist(), values, strict=True):
        mine = []
        for size, share in sorted({(size, share) for size, share, _, _ in contexts}):
            found = [(w, d) for s, _, w, d in contexts if s == size]
            variance = float(np.var([d for _, d in found], ddof=1)) if len(found) > 1 else np.nan
            mine.append((size, share, sum(w for w, _ in found), len(found), variance))
            if len(found) > 1:
                spread.setdefault((m, size), []).append((variance, len(found) - 1))
        strata.append(mine)
    pooled = {key: _pool(found) for key, found in spread.items()}
    total, df = np.zeros(len(strata)), np.full(len(strata), np.inf)
    for pair, (m, mine) in enumerate(zip(metric.tolist(), strata, strict=True)):
        weighed = 0.0
        for size, share, weight, n, own in mine:
            if n >= share:
                continue
            common, freedom = pooled.get(
                (m, size), _pool([x for k, v in spread.items() if k[0] == m for x in v])
            )
            variance = common if n == 1 else max(own, common)
            part = weight**2 * variance / n * (1 - n / share)
            total[pair] += part
            weighed += part**2 / (n - 1 if n > 1 and own > common else freedom)
        if weighed > 0:
            df[pair] = total[pair] ** 2 / weighed
    return total, df


def _pool(found: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Pooled variance and its degrees of freedom, from (variance, degrees of freedom)."""
    freedom = sum(df for _, df in found)
    if not freedom:
        return float("nan"), 1.0
    return sum(variance * df for variance, df in found) / freedom, float(freedom)


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
