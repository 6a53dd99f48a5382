"""The standard error of a difference between two combinations that were trained alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def paired_error(differences: Float64, folds: int) -> Float64:
    """Standard error of the mean of paired differences, one of each replicate and fold.

    Differences are few and depend on each other in two ways, both of which the error of independent numbers
    would miss:

    - The folds' models share most of their training patients. Nadeau and Bengio (Machine Learning 2003;
      52:239, the corrected resampled t-test) count that by the share of scored to training patients, which
      is 1 / (folds - 1): the variance of the folds' means (each over all replicates) counts
      1 / n + 1 / (folds - 1) times.
    - The luck of a seed persists from fold to fold. With several replicates that part is estimated as of a
      random effect (their mean square less that of the residuals, never below 0) and added. With one
      replicate nothing tells it from a gain: the correction for the folds, which is wide, stands for it,
      and what persists of the seed beyond that is missed. More replicates are the only cure.

    Of a single fold the variance between replicates is all there is; a single difference has no error: inf.

    Args:
        differences: shape (..., replicates, n): n of the folds, those in which the task has a score.
        folds: of the cross-validation.

    Returns:
        Shape (...); NaN where a difference is NaN.

    Examples:
        Five folds, one replicate: half as much again as of independent numbers.

        >>> one = np.array([[0.01, 0.02, 0.03, 0.02, 0.01]])
        >>> float(paired_error(one, 5) / (one.std(ddof=1) / 5**0.5)).__round__(6)
        1.5
        >>> float(paired_error(np.array([[0.1]]), 5))
        inf
    """
    replicates, n = differences.shape[-2:]
    if n < 2:
        if n < 1 or replicates < 2:
            return np.full(differences.shape[:-2], np.inf)
        return np.asarray(np.sqrt(differences.mean(axis=-1).var(axis=-1, ddof=1) / replicates))
    of_fold = differences.mean(axis=-2, keepdims=True)
    variance = of_fold[..., 0, :].var(axis=-1, ddof=1) * (1 / n + 1 / max(folds - 1, 1))
    if replicates > 1:
        of_seed = differences.mean(axis=-1, keepdims=True)
        rest = differences - of_fold - of_seed + differences.mean(axis=(-2, -1), keepdims=True)
        residual = (rest**2).sum(axis=(-2, -1)) / ((replicates - 1) * (n - 1))
        between = of_seed[..., 0].var(axis=-1, ddof=1)
        variance = variance + np.maximum(between - residual / n, 0.0) / replicates
    return np.asarray(np.sqrt(variance))
