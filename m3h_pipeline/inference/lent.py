"""The variance between seeds of several tasks' estimates, lent from task to task.

With two to five replicates a task's own variance is now tiny, now huge by luck, and among many tasks the
lucky ones come out significant. So it is drawn towards what other tasks say. Empirical Bayes as for genes of
few arrays (Smyth, Statistical Applications in Genetics and Molecular Biology 2004; 3:3; a prior that follows
a covariate: Law et al., Genome Biology 2014; 15:R29): log variances scatter around a line in the log of the
variance from patients, by their own luck and by how much tasks differ. The line makes tasks of like
prevalence say most: seeds move a rare task's score little more than a common one's, where patients move it
much more. How much tasks differ decides how far each is drawn, and the degrees of freedom that has.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from m3h_pipeline.inference.metrics import Float64, Integers

#: From so many tasks on they tell the slope of the line. Below, variances from seeds and from patients are
#: taken to be in one proportion, whatever the metric's unit.
_LEAST: Final = 4
#: The slopes that a line may have: no larger variance from seeds where patients add less.
_SLOPES: Final = (0.0, 1.0)
#: Least variance that a logarithm is taken of, of the median: one task whose seeds happen to agree says that
#: they do, not that tasks differ beyond all measure.
_TINY: Final = 0.01
#: More degrees of freedom of what tasks differ by, and they do not differ.
_ENDLESS: Final = 1e7


def lent_seeds(
    own: Float64, patients: Float64, freedom: Float64, family: Integers
) -> tuple[Float64, Float64]:
    """Variances from seeds, and their degrees of freedom, each drawn towards those of its family.

    Args:
        own: variance from seeds of each estimate, NaN = unknown.
        patients: its variance from patients.
        freedom: degrees of freedom of ``own``.
        family: number of the family of estimates that lend each other their variance (a metric).

    Returns:
        As they are where an estimate lacks one of both, or is the only one of its family.

    Shape:
        (n,) each
    """
    variance, degrees = np.array(own, dtype=np.float64), np.array(freedom, dtype=np.float64)
    usable = np.isfinite(own) & np.isfinite(patients) & (patients > 0)
    for one in np.unique(family[usable]).tolist():
        here = usable & (family == one)
        if here.sum() > 1 and np.median(own[here]) > 0:
            variance[here], degrees[here] = _drawn(own[here], np.log(patients[here]), degrees[here])
    return variance, degrees


def _drawn(own: Float64, place: Float64, freedom: Float64) -> tuple[Float64, Float64]:
    """Variances drawn towards the line, and their degrees of freedom, (n,) each."""
    from scipy.special import digamma, polygamma

    n, half = len(own), freedom / 2
    # The logarithm of a variance of few degrees of freedom is too small on average, and scatters.
    seen = np.log(np.maximum(own, _TINY * np.median(own))) - digamma(half) + np.log(half)
    apart = place - place.mean()
    slope, told = _SLOPES[1], 1
    if n >= _LEAST and (spread := float((apart**2).sum())) > 0:
        slope, told = float(np.clip(apart @ seen / spread, *_SLOPES)), 2
    line = seen.mean() + slope * apart
    between = float(((seen - line) ** 2).sum()) / (n - told) - float(polygamma(1, half).mean())
    # Its level is that of the variances, not of their logarithms: what is lent is theirs on average.
    middle = np.exp(slope * apart)
    middle *= (own / middle).mean()
    whole = freedom.sum() - told
    prior = 2 * _inverse_trigamma(between) if between > 0 else _ENDLESS
    if prior >= _ENDLESS:
        return middle, np.full(n, whole)
    return (prior * middle + freedom * own) / (prior + freedom), np.minimum(prior + freedom, whole)


def _inverse_trigamma(value: float) -> float:
    """Where the trigamma function, which falls, has a positive value; by bisection of the logarithm."""
    from scipy.special import polygamma

    low, high = 1e-8, _ENDLESS
    while high / low > 1 + 1e-9:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if polygamma(1, middle) > value else (low, middle)
    return low
