"""Racing: combinations are trained by instalments of folds, and those that fall behind are left.

Maron and Moore (Artificial Intelligence Review 1997; 11:193) race models over test points; here over folds,
with every replicate, and by paired differences: combinations of one size have their seeds and minibatches in
common, and what a fold's patients do to all of them alike cancels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m3h_pipeline.config import Race
from m3h_pipeline.search.paired import paired_error
from m3h_pipeline.search.scores import Replicates, Scores

#: Folds of the first instalment: fewer have no standard error.
FIRST = 2


def instalments(folds: Sequence[int], race: Race | None) -> list[tuple[int, ...]]:
    """The folds that are trained one instalment after the other.

    Examples:
        >>> instalments(range(5), Race())
        [(0, 1), (2,), (3,), (4,)]
        >>> instalments(range(5), None)
        [(0, 1, 2, 3, 4)]
    """
    if race is None:
        return [tuple(folds)]
    return [tuple(folds[:FIRST]), *((fold,) for fold in folds[FIRST:])]


def survivors(
    scores: Scores,
    task: str,
    candidates: Sequence[str],
    replicates: Replicates,
    folds: tuple[int, ...],
    beam: int,
    race: Race,
) -> list[str]:
    """The candidates of a source task that are worth the next instalment.

    One goes once its paired deficit to the ``beam``-th best exceeds ``race.z`` standard errors
    (:func:`~m3h_pipeline.search.paired.paired_error`) by all the folds so far. The error is that of all
    deficits together, in quadratic mean: of two folds with one seed each a deficit's own error has a single
    degree of freedom, and is now and then next to nothing, whatever the candidate. Those that went
    earlier lack some of these folds and are not asked again, unless another task's search had them trained:
    one fit scores all its members. One without a score goes at once.

    Args:
        scores: so far.
        task: the source task.
        candidates: its combinations of one size.
        replicates: of the race.
        folds: of all instalments so far.
        beam: combinations that will be kept.
        race: how far one may fall behind.
    """
    running = [key for key in candidates if scores.has(key, replicates, folds)]
    value = scores.cells(running, task, scores.scoring(replicates), folds)
    if not value.shape[2]:
        return running
    mean = value.mean(axis=(1, 2))
    known = np.isfinite(mean)
    running = [key for key, one in zip(running, known, strict=True) if one]
    value, mean = value[known], mean[known]
    if len(running) <= beam:
        return running
    order = sorted(range(len(running)), key=lambda i: (-mean[i], running[i]))
    behind = value[order[beam - 1]] - value
    others = np.delete(behind, order[beam - 1], axis=0)
    error = np.sqrt((paired_error(others, len(scores.folds)) ** 2).mean())
    gone = behind.mean(axis=(1, 2)) > race.z * error
    return [key for key, one in zip(running, gone, strict=True) if not one]
