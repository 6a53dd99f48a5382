"""TIM from random sets of tasks, every member of which is scored: regression plus residual.

For a task i the score f_i(S + i) of a set is a function of the others in it, and TIM(i, j) the mean of
f_i(S + i + j) - f_i(S + i) over the sets S of at most ``max_size`` - 2 other tasks, each with the same weight
(the paper's formula, cut off at that size; with ``max_size`` the number of tasks it is the exact score). One
fit of a set T tells f_i for every i in T, so that a fit serves all of its tasks and all of their companions.

The estimate is that of Regression-MSR (Witter, Liu and Musco 2025, "Regression-adjusted Monte Carlo
estimators for Shapley values and probabilistic values"): a regression of the scores on what stands in the
set, whose TIM is known in closed form, plus the TIM of its residuals, which all sets estimate at once by
their weights over the probability that they were drawn. The regression is one value per size of the set and
one slope per companion, the slopes shrunk (ridge); it is fitted without the sets whose residuals it gives
(cross-fitting), so that it may be wrong and the estimate is nearly right on average over draws of sets.
An estimate is a weighted sum of scores, and everything about patients and seeds follows as for other modes.

A quarter of the sets has one of the permuted companions in the place of a task: they are companions like
others to the regression, and no part of any S.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from m3h_pipeline.contracts import combination_key, combination_tasks
from m3h_pipeline.inference.metrics import Float64

#: Most parts of the sets; the regression of one is of the others.
_PARTS = 20
#: Ridge penalties of the slopes and of the values per size, in sets.
_SLOPES, _SIZES = 0.3, 1.0
#: Least weight of a size that is drawn, of the largest.
_LEAST = 0.1
#: Every so many sets hold a permuted companion.
_JOINED = 4
#: Random sets of which the one is taken that holds the tasks and pairs of tasks seen least.
_TRIED = 20


@dataclass(frozen=True)
class Sets:
    """Random sets of tasks.

    Attributes:
        tasks: of the study, sorted.
        controls: permuted companions, sorted.
        drawn: key of each set -> how often it was drawn.
        shares: weight of each number of tasks in S, from 0; they sum to 1.
    """

    tasks: tuple[str, ...]
    controls: tuple[str, ...]
    drawn: dict[str, int]
    shares: tuple[float, ...]

    @property
    def keys(self) -> list[str]:
        """All sets to be learned: the drawn ones and every task alone; ascending."""
        return sorted({*self.tasks, *self.drawn})

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(task, companion), ascending."""
        companions = [*self.tasks, *self.controls]
        return sorted((task, other) for task in self.tasks for other in companions if other != task)

    def weights(self, task: str, scored: Collection[str]) -> dict[str, dict[str, float]]:
        """Companion -> set -> weight of the task's score; none if it has none by itself or in no set.

        A companion that no set holds beside the task has none either: what the regression would say of it is
        what it says of the average companion.

        Args:
            task: the source task.
            scored: sets in which it has a score.
        """
        keys = self._dealt(task, scored)
        if task not in scored or len(keys) < 2:
            return {}
        companions, found = weights_of(self, task, keys)
        beside = {name for key in keys for name in combination_tasks(key)}
        return {
            companion: {key: float(w) for key, w in zip(keys, row, strict=True) if w}
            for companion, row in zip(companions, found, strict=True)
            if companion in beside or companion in self.controls
        }

    def _dealt(self, task: str, scored: Collection[str]) -> list[str]:
        """The task alone, and its sets size by size; those of one size in no order that means anything."""
        mine = [key for key in self.drawn if key in scored and task in combination_tasks(key)]
        return [task, *sorted(mine, key=lambda key: (key.count("+"), crc32(key.encode()), key))]

    def jackknife(self, task: str, scores: Mapping[str, float]) -> tuple[float, int]:
        """Variance of one set's score around the regression, from estimates with one set left out each.

        The jackknife's variances of the estimates of all companions, over what they would be for independent
        scores of variance 1: the jackknife itself is too large where sets are few.

        Args:
            task: the source task.
            scores: set -> its score; with the task by itself.

        Returns:
            NaN with fewer than two sets; and the number of sets.
        """
        keys = self._dealt(task, scores)
        value, n, k = np.array([scores[key] for key in keys]), len(keys) - 1, len(self.tasks) - 1
        if n < 2:
            return float("nan"), n
        left_out = np.zeros((n, k, n + 1))
        for out in range(1, n + 1):
            kept = np.flatnonzero(np.arange(n + 1) != out)
            left_out[out - 1][:, kept] = weights_of(self, task, [keys[i] for i in kept])[1][:k]
        found, unit = (left_out @ value).var(axis=0).sum(), left_out.var(axis=0).sum()
        return float(found / unit), n


def shares_of_sizes(n_tasks: int, max_size: int) -> tuple[float, ...]:
    """The share that sets S of 0, 1, ... tasks have among all of at most ``max_size`` - 2.

    Examples:
        >>> [round(share, 3) for share in shares_of_sizes(10, 4)]
        [0.027, 0.216, 0.757]
    """
    counts = [math.comb(n_tasks - 2, size) for size in range(max(2, min(max_size, n_tasks)) - 1)]
    return tuple(count / sum(counts) for count in counts)


def draw_sets(
    tasks: Collection[str], controls: Collection[str], number: int, max_size: int, seed: int
) -> Sets:
    """Random sets of 2 to ``max_size`` tasks.

    Each is the one of some random sets whose tasks and pairs of tasks have stood in the fewest sets: in what
    is drawn, every pair of tasks stands about equally often. Names play no part, so that every set of a size
    is as likely as any other.

    Args:
        tasks: at least two.
        controls: the permuted companions; every fourth set has one of them in the place of a task.
        number: of sets.
        max_size: most tasks of a set.
        seed: of the draw.
    """
    names, permuted = sorted(tasks), sorted(controls)
    shares = shares_of_sizes(len(names), max_size)
    generator = np.random.default_rng([seed, len(names)])
    counts = sized_draws(number, len(names), shares)
    sizes = generator.permutation(np.repeat(np.arange(2, 2 + len(counts)), counts))
    together, beside = np.zeros((len(counts) + 2, len(names), len(names))), np.zeros(len(names))
    drawn: Counter[str] = Counter()
    for turn, size in enumerate(sizes.tolist()):
        joined = bool(permuted) and turn % _JOINED == _JOINED - 1
        own = size - joined
        order = generator.random((_TRIED, len(names)))
        tried = order.argpartition(own - 1, axis=1)[:, :own]
        seen = (together[0] + together[size])[tried[:, :, None], tried[:, None, :]]
        alone = np.einsum("kii->k", seen)
        cost = (seen.sum(axis=(1, 2)) - alone) / max(own * (own - 1), 1) + alone / own
        best = tried[int((cost + joined * beside[tried].mean(axis=1)).argmin())]
        for level in (0, size):
            together[level][np.ix_(best, best)] += 1
        beside[best] += joined
        members = [names[i] for i in best]
        if joined:
            members.append(permuted[turn // _JOINED % len(permuted)])
        drawn[combination_key(members)] += 1
    return Sets(tuple(names), tuple(permuted), dict(drawn), shares)


def sized_draws(number: int, n_tasks: int, shares: Sequence[float]) -> list[int]:
    """How many sets of 2, 3, ... tasks are drawn: in proportion to what a size weighs in an estimate.

    That is the best there is where residuals of all sizes have one variance and a set of t tasks serves t
    (Neyman 1934). Sizes of little weight are not drawn: what residuals they have the
    estimate does without, the regression stands for them.

    Args:
        number: of all sets.
        n_tasks: of the study.
        shares: weight of each number of tasks in S.

    Examples:
        >>> sized_draws(100, 10, shares_of_sizes(10, 4))
        [12, 41, 47]
    """
    k, padded = n_tasks - 1, [0.0, *shares, 0.0]
    weight = np.zeros(len(shares))
    for c in range(1, len(shares) + 1):
        without = padded[c + 1] ** 2 * k / (k - c) if c < k else 0.0
        weight[c - 1] = math.sqrt((padded[c] ** 2 * k / c + without) / (c + 1))
    weight[weight < _LEAST * weight.max()] = 0
    exact = number * weight / weight.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(-(exact - counts), kind="stable")[: number - counts.sum()]] += 1
    return [int(count) for count in counts]


def weights_of(sets: Sets, task: str, keys: Sequence[str]) -> tuple[list[str], Float64]:
    """The weights of a task's scores in TIM of each of its companions.

    Args:
        sets: as drawn.
        task: the source task.
        keys: the sets that hold it and in which it has a score; the task alone is the first.

    Returns:
        Companions (tasks, then permuted ones), and weights of shape (companions, keys). Rows of permuted
        companions are empty where no set holds one.
    """
    others = [name for name in sets.tasks if name != task]
    companions = [*others, *sets.controls]
    column = {name: i for i, name in enumerate(companions)}
    n, held, n_others = len(keys), np.zeros((len(keys), len(companions))), len(others)
    for row, key in enumerate(keys):
        for name in combination_tasks(key):
            if name != task:
                held[row, column[name]] = 1
    size = held.sum(axis=1).astype(int)
    base = _base(sets.shares)
    times = np.array([1, *(sets.drawn[key] for key in keys[1:])], dtype=float)
    permuted = held[:, n_others:].any(axis=1)
    design = np.hstack([base[size], held])
    levels = base.shape[1]
    penalty = np.diag([1e-9, 1e-6, *[_SIZES] * (levels - 2), *[_SLOPES] * len(companions)])
    part = np.full(n, -1)
    part[1:] = np.arange(n - 1) % min(_PARTS, max(n - 1, 1))
    fits = []
    for number in range(max(part) + 1):
        kept = times * (part != number)
        fits.append(
            np.linalg.solve(design.T @ (kept[:, None] * design) + penalty, (kept[:, None] * design).T)
        )
    mean = np.mean(fits, axis=0) if fits else np.zeros((design.shape[1], n))

    found = np.zeros((len(companions), n))
    zero = np.zeros(n)
    zero[0] = 1
    sums = _Sums(sets.shares, n_others, len(companions))
    for c in range(len(sets.shares) + 1):
        for joined in (False, True):
            if c == 0 or (joined and not permuted.any()):
                continue
            here = (size == c) & (permuted == joined)
            total = times[here].sum()
            expected, weight = sums.closed(c, joined), sums.weights(c, joined, held)
            if not total:
                found += expected @ mean
                continue
            for number, fit in enumerate(fits):
                rows = np.flatnonzero(here & (part == number))
                if not len(rows):
                    continue
                share = times[rows] / total
                closed = expected
                if joined:
                    closed = expected.copy()
                    which = share @ held[rows][:, n_others:] / share.sum()
                    closed[n_others:, levels + n_others :] += sets.shares[c - 1] * which
                found += share.sum() * (closed @ fit)
                w = weight[:, rows] * share
                found[:, rows] += w
                found -= w @ (design[rows] @ fit)
    found -= sets.shares[0] * zero
    if sets.controls:
        if permuted.any():
            slopes = mean[levels + n_others :]
            found[n_others:] += slopes - slopes.mean(axis=0)
        else:
            found[n_others:] = 0
    return companions, found


def _base(shares: Sequence[float]) -> Float64:
    """What the regression has of a set of 0, 1, ... companions: a line, and its own value.

    Shape:
        (sizes, 2 + sizes)
    """
    size = np.arange(len(shares) + 1)
    return np.column_stack([np.ones(len(size)), size, np.eye(len(size))])


@dataclass(frozen=True)
class _Sums:
    """TIM's sums over all sets of one size, of a regression and of residuals.

    Attributes:
        shares: weight of each size of S.
        others: number of other tasks of the study.
        companions: with the permuted ones.
    """

    shares: tuple[float, ...]
    others: int
    companions: int

    def share(self, size: int) -> float:
        return self.shares[size] if 0 <= size < len(self.shares) else 0.0

    def weights(self, c: int, joined: bool, held: Float64) -> Float64:
        """Weight of the mean over drawn sets of ``c`` companions; (companions, sets)."""
        k = self.others
        found = np.zeros((self.companions, len(held)))
        if joined:
            found[k:] = self.share(c - 1)
            return found
        inside = held[:, :k].T > 0
        without = self.share(c) * k / (k - c) if c < k else 0.0
        found[:k] = np.where(inside, self.share(c - 1) * k / c, -without)
        found[k:] = -self.share(c)
        return found

    def closed(self, c: int, joined: bool) -> Float64:
        """The same of the regression, in its coefficients, over all sets; (companions, coefficients)."""
        k, level = self.others, _base(self.shares)[c]
        found = np.zeros((self.companions, len(level) + self.companions))
        slopes = found[:, len(level) :]
        before, at = self.share(c - 1), self.share(c)
        if joined:
            found[k:, : len(level)] = before * level
            slopes[k:, :k] = before * (c - 1) / k
            return found
        found[:k, : len(level)] = (before - at) * level
        rest = (before * (c - 1) - at * c) / (k - 1) if k > 1 else 0.0
        slopes[:k, :k] = rest
        np.fill_diagonal(slopes[:k, :k], before)
        found[k:, : len(level)] = -at * level
        slopes[k:, :k] = -at * c / k
        return found
