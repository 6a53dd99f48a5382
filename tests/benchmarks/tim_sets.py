"""Error of TIM's random sets against fits, beside the chains that were there before and beside shapiq.

Ten tasks whose scores are made up by six set functions, and noise of fits (0.008 for a seed, three seeds).
Sizes of sets and penalties were chosen on the first three functions; the others were named beforehand and
looked at last. Errors are root mean squares over all pairs and some draws; the fits of chains for an
equal error are interpolated in logarithms. Chains are random orders of the tasks: each prefix and the
next task give a difference for all tasks of the prefix; sizes are weighed by how many sets they have.
shapiq (permutation sampling of the Shapley value, which it has) learns the game of each task by itself:
no fit of one task's game serves another's, unless the same set was drawn.

    python -m tests.benchmarks.tim_sets
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.tim.sampled import draw_sets, shares_of_sizes

M, DRAWS = 10, 4
NAMES = [f"t{i}" for i in range(M)]
NOISE = 0.008 / math.sqrt(3)
CHOSEN, CONFIRMED = ("additive", "pairs", "saturating"), ("best", "groups", "diluted")
#: Score of task i in a set, and of fits too once noise is added.
Score = Callable[[frozenset[int], int], float]
Estimates = dict[tuple[int, int], float]


def function(kind: str, seed: int) -> Score:
    """A set function: what companions do to a task's score."""
    rng = np.random.default_rng(seed)
    effect, both = rng.normal(0, 0.01, (M, M)), rng.normal(0, 0.006, (M, M, M))
    group = rng.integers(0, 3, M)

    def score(learned: frozenset[int], i: int) -> float:
        others = sorted(learned - {i})
        n, single = len(others), [float(effect[i, j]) for j in others]
        if kind == "additive":
            return 0.75 + sum(single) - 0.004 * n
        if kind == "pairs":
            two = sum(float(both[i, a, b]) for a, b in itertools.combinations(others, 2))
            return 0.75 + sum(single) + two - 0.004 * n
        if kind == "saturating":
            return 0.75 + 0.04 * math.tanh(sum(single) / 0.02) - 0.01 * math.sqrt(n)
        if kind == "best":
            return 0.75 + max(single, default=0) + min(single, default=0) - 0.003 * n
        if kind == "groups":
            own = sum(group[j] == group[i] for j in others)
            return float(0.75 + 0.015 * min(own, 2) - 0.004 * (n - own) - 0.002 * (n - own) ** 1.5)
        return 0.75 + 2 * sum(single) / (1 + 0.3 * n) - 0.006 * math.log1p(n)

    return score


def truth(score: Score, max_size: int) -> Estimates:
    """The paper's formula of sets S of at most ``max_size`` - 2 tasks."""
    found, shares = {}, shares_of_sizes(M, max_size)
    for i, j in itertools.permutations(range(M), 2):
        rest = [x for x in range(M) if x not in (i, j)]
        found[i, j] = sum(
            share
            * float(
                np.mean(
                    [
                        score(frozenset({*s, i, j}), i) - score(frozenset({*s, i}), i)
                        for s in itertools.combinations(rest, size)
                    ]
                )
            )
            for size, share in enumerate(shares)
        )
    return found


class Fits:
    """Scores with the noise of fits, each set learned once."""

    def __init__(self, score: Score, seed: int) -> None:
        self._score, self._rng = score, np.random.default_rng([seed, 5])
        self._known: dict[frozenset[int], dict[int, float]] = {}

    def __call__(self, learned: frozenset[int], i: int) -> float:
        if learned not in self._known:
            self._known[learned] = {
                t: self._score(learned, t) + NOISE * self._rng.normal() for t in sorted(learned)
            }
        return self._known[learned][i]

    def __len__(self) -> int:
        return len(self._known)


def members(key: str) -> frozenset[int]:
    return frozenset(NAMES.index(name) for name in combination_tasks(key))


def random_sets(fits: Fits, number: int, max_size: int, seed: int) -> Estimates:
    sets = draw_sets(NAMES, (), number, max_size, seed)
    found = {}
    for i, task in enumerate(NAMES):
        keys = {key for key in sets.keys if task in combination_tasks(key)}
        for other, mine in sets.weights(task, keys).items():
            found[i, NAMES.index(other)] = sum(w * fits(members(key), i) for key, w in mine.items())
    return found


def chains(fits: Fits, number: int, max_size: int, seed: int) -> Estimates:
    """As the package did it before."""
    rng = np.random.default_rng(seed)
    links = [(frozenset({i}), j) for i, j in itertools.permutations(range(M), 2)]
    for _ in range(number):
        order = rng.permutation(M)[:max_size].tolist()
        links += [(frozenset(order[:k]), order[k]) for k in range(1, len(order))]
    found: dict[tuple[int, int], dict[int, dict[frozenset[int], float]]] = {}
    for learned, j in dict.fromkeys(links):
        for i in learned:
            difference = fits(learned | {j}, i) - fits(learned, i)
            found.setdefault((i, j), {}).setdefault(len(learned) - 1, {})[learned] = difference
    estimates = {}
    for pair, sizes in found.items():
        share = {size: math.comb(M - 2, size) for size in sizes}
        mean = {size: float(np.mean(list(seen.values()))) for size, seen in sizes.items()}
        estimates[pair] = sum(share[s] * mean[s] for s in sizes) / sum(share.values())
    return estimates


def by_shapiq(fits: Fits, budget: int, seed: int) -> Estimates:
    """Shapley values, each task's game by itself."""
    import shapiq  # type: ignore[import-not-found]  # no part of the project

    found: Estimates = {}
    for i in range(M):
        others = [j for j in range(M) if j != i]

        def game(coalitions: Any, i: int = i, others: list[int] = others) -> Any:
            rows = np.atleast_2d(coalitions)
            return np.array([fits(frozenset({i, *itertools.compress(others, row)}), i) for row in rows])

        values = shapiq.PermutationSamplingSV(n=M - 1, random_state=seed).approximate(budget, game)
        found |= {(i, j): float(values[(place,)]) for place, j in enumerate(others)}
    return found


def shapley(score: Score) -> Estimates:
    found = {}
    for i, j in itertools.permutations(range(M), 2):
        rest = [x for x in range(M) if x not in (i, j)]
        sizes = [
            np.mean(
                [
                    score(frozenset({*s, i, j}), i) - score(frozenset({*s, i}), i)
                    for s in itertools.combinations(rest, size)
                ]
            )
            for size in range(M - 1)
        ]
        found[i, j] = float(np.mean(sizes))
    return found


def error(found: Estimates, wanted: Estimates) -> float:
    return float(np.mean([(found[pair] - wanted[pair]) ** 2 for pair in wanted]))


def curve(
    way: Callable[[Fits, int, int], Estimates], numbers: tuple[int, ...], kind: str, wanted: list[Estimates]
) -> list[tuple[float, float]]:
    """(fits, error in thousandths) of each number."""
    found = []
    for number in numbers:
        errors, counts = [], []
        for seed in range(DRAWS):
            fits = Fits(function(kind, seed), seed)
            errors.append(error(way(fits, number, seed), wanted[seed]))
            counts.append(len(fits))
        found.append((float(np.mean(counts)), 1000 * math.sqrt(float(np.mean(errors)))))
    return found


def fits_for(points: list[tuple[float, float]], wanted: float) -> float:
    """Fits for an error, interpolated in logarithms; beyond the last point by the last slope."""
    log = np.log(points)
    order = np.argsort(-log[:, 1])
    x, y = log[order, 1], log[order, 0]
    at = math.log(wanted)
    if at < x[-1]:
        return math.exp(y[-1] + (at - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2]))
    return math.exp(float(np.interp(-at, -x, y)))


def main() -> None:
    print("| max_size | scores | sets: fits, error | chains: fits for it | share |")
    print("|---|---|---|---|---|")
    for max_size in (4, M):
        for kind in (*CHOSEN, *CONFIRMED):
            wanted = [truth(function(kind, seed), max_size) for seed in range(DRAWS)]
            new = curve(lambda f, n, s: random_sets(f, n, max_size, s), (100,), kind, wanted)[0]  # noqa: B023
            old = curve(lambda f, n, s: chains(f, n, max_size, s), (5, 20, 60, 150, 400), kind, wanted)  # noqa: B023
            need = fits_for(old, new[1])
            said = f"{new[0]:.0f}, {new[1]:.1f}"
            print(f"| {max_size} | {kind} | {said} | {need:.0f} | {new[0] / need:.2f} |", flush=True)
    try:
        import shapiq  # noqa: F401
    except ImportError:
        print("shapiq is not installed: its rows are left out")
        return
    for kind in (*CHOSEN, *CONFIRMED):
        wanted = [shapley(function(kind, seed)) for seed in range(DRAWS)]
        points = curve(lambda f, n, s: by_shapiq(f, n, s), (30, 60, 120, 300), kind, wanted)
        said = "; ".join(f"{fits:.0f}, {wrong:.1f}" for fits, wrong in points)
        print(f"shapiq, {kind}: fits, error: {said}", flush=True)


if __name__ == "__main__":
    main()
