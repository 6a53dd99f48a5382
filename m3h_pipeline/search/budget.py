"""A control of equal budget: what the luck of seeds alone would have made of as many fits.

A search that looks at n combinations keeps the best of n scores. A task alone, trained n times as often, with
the best kept, is as lucky in its seeds, and owes nothing to companions. Nothing is trained for it: the
expected best of n equal models is the score of one plus the expected largest of n standard normal numbers
times the deviation of a score by its seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import integrate, stats

from m3h_pipeline.search.scores import Scores


def expected_largest(n: int) -> float:
    """Mean of the largest of n independent standard normal numbers.

    Examples:
        >>> [round(expected_largest(n), 3) for n in (1, 2, 41)]
        [0.0, 0.564, 2.171]
    """
    if n == 1:
        return 0.0

    def weighed(x: float) -> float:
        return float(x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1))

    # Beyond ten deviations there is nothing, for any number of models that can be trained.
    return float(integrate.quad(weighed, -10.0, 10.0, limit=200)[0])


def deviation_by_seed(scores: Scores, task: str, combinations: Sequence[str]) -> float:
    """Standard deviation of a task's mean score over folds by the seed of its fits; NaN if none has two.

    What a combination is worth is taken out; what a seed does to all of them stays in, as another fit of the
    task alone would have a seed of its own.

    Args:
        scores: of the search.
        task: scored.
        combinations: those that it looked at, with a score.
    """
    total, degrees = 0.0, 0
    for key in combinations:
        replicates = scores.scoring(scores.trained(key))
        value = scores.cells([key], task, replicates)[0].mean(axis=1)
        if len(replicates) > 1 and np.isfinite(value).all():
            total += float(((value - value.mean()) ** 2).sum())
            degrees += len(value) - 1
    return float(np.sqrt(total / degrees)) if degrees else float("nan")


def equal_budget(scores: Scores, task: str, selected: str, combinations: Sequence[str]) -> float:
    """The score that the best of as many fits of the task alone would show; NaN where no seeds tell.

    Args:
        scores: of the search.
        task: a source task.
        selected: what was selected: a score is the mean over as many seeds.
        combinations: those that it looked at, with a score.
    """
    alone = scores.score(task, task)
    if len(combinations) == 1:
        return alone
    deviation = deviation_by_seed(scores, task, combinations)
    seeds = len(scores.scoring(scores.trained(selected)))
    return alone + expected_largest(len(combinations)) * deviation / float(np.sqrt(seeds))
