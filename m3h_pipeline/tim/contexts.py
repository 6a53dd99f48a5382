"""Which differences make up a TIM score (the paper, Task Interaction Measurement Score).

TIM(i, j) is the mean, over sets S of other tasks, of f_i(S + i + j) - f_i(S + i), where f_i is the score of
task i when a set is learned jointly. With the paper's uniform weights this is a Banzhaf index. Three modes:

- ``pairs``: S empty, as in the paper's Figure 3.
- ``exact``: every S.
- ``sampled``: every S up to a size, from random sets: :mod:`m3h_pipeline.tim.sampled`.

Permuted companions (:mod:`m3h_pipeline.tasks.permuted`) join every task alone, and are source tasks beside
every task; in the exact mode every set of tasks but the largest is joined by one of them, in turn, so that
the sets S are those of the tasks' own scores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from m3h_pipeline.config import Tim
from m3h_pipeline.contracts import combination_key, combination_tasks
from m3h_pipeline.errors import ConfigError

#: Most tasks of the exact mode: 2^8 - 1 = 255 combinations.
EXACT_LIMIT = 8


@dataclass(frozen=True)
class Context:
    """One difference behind TIM(task, companion): the score at ``with_companion`` minus that at ``without``.

    Attributes:
        without: key of S + task.
        with_companion: key of S + task + companion.
        size: number of tasks in S.
        share: number of sets S of this size; contexts of one size divide it evenly among themselves.
    """

    without: str
    with_companion: str
    size: int
    share: int


Contexts = dict[tuple[str, str], list[Context]]


def contexts(tasks: Iterable[str], settings: Tim, controls: Iterable[str] = ()) -> Contexts:
    """The contexts of every ordered pair (task, companion), in the mode ``pairs`` or ``exact``.

    Args:
        tasks: the tasks, in any order.
        settings: the mode.
        controls: the permuted companions.

    Raises:
        ConfigError: the exact mode is asked for more tasks than it can do.
    """
    names, permuted = sorted(tasks), sorted(controls)
    if settings.mode == "exact":
        if len(names) > EXACT_LIMIT:
            raise ConfigError(
                f"`tim.mode: exact` with {len(names)} tasks means training {2 ** len(names) - 1:,} "
                f"combinations; the limit is {EXACT_LIMIT} tasks ({2**EXACT_LIMIT - 1} combinations)",
                where="tim.mode",
                hint="use `pairs` or `sampled`, or fewer tasks",
            )
        sets = [set(s) for size in range(1, len(names)) for s in itertools.combinations(names, size)]
        links = [(learned, other) for learned in sets for other in names if other not in learned]
        if permuted:
            links += [(learned, permuted[i % len(permuted)]) for i, learned in enumerate(sets)]
    else:
        links = [({task}, other) for task in names for other in names if other != task]
        links += [({task}, other) for task in names for other in permuted]
        links += [({other}, task) for task in names for other in permuted]
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for learned, other in links:
        keys = combination_key(learned), combination_key({*learned, other})
        for task in learned:
            found.setdefault((task, other), set()).add(keys)
    return {
        pair: [_context(without, added, len(names)) for without, added in sorted(keys, key=_by_size)]
        for pair, keys in sorted(found.items())
    }


def _by_size(keys: tuple[str, str]) -> tuple[int, str]:
    return len(combination_tasks(keys[0])), keys[0]


def _context(without: str, added: str, n_tasks: int) -> Context:
    size = len(combination_tasks(without)) - 1
    return Context(without, added, size, math.comb(n_tasks - 2, size))


def needed(pairs: Contexts) -> list[str]:
    """Keys of all combinations behind the contexts, ascending."""
    found = {key for each in pairs.values() for c in each for key in (c.without, c.with_companion)}
    return sorted(found)


def weights(found: Sequence[Context]) -> list[float]:
    """The weights of a pair's contexts; they sum to 1.

    A size has the weight of its number of sets, divided evenly among its contexts.

    Examples:
        >>> a, b, c = Context("i", "i+j", 0, 1), Context("i+k", "i+j+k", 1, 2), Context("i+l", "i+j+l", 1, 2)
        >>> [round(w, 3) for w in weights([a, b, c])], weights([a])
        ([0.333, 0.333, 0.333], [1.0])
    """
    total = sum({c.size: c.share for c in found}.values())
    counts = {c.size: sum(other.size == c.size for other in found) for c in found}
    return [c.share / counts[c.size] / total for c in found]


@dataclass(frozen=True)
class Differences:
    """A design whose estimates are weighted means of differences.

    Attributes:
        contexts: of each pair.
    """

    contexts: Contexts

    @property
    def keys(self) -> list[str]:
        """All combinations to be learned, ascending."""
        return needed(self.contexts)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(task, companion), ascending."""
        return list(self.contexts)

    def weights(self, task: str, scored: Collection[str]) -> dict[str, dict[str, float]]:
        """Companion -> combination -> weight of the task's score in it; a context needs both of its scores.

        Args:
            task: the source task.
            scored: combinations in which it has a score.
        """
        found: dict[str, dict[str, float]] = {}
        for (source, companion), every in self.contexts.items():
            if source != task:
                continue
            mine = found.setdefault(companion, {})
            usable = [c for c in every if c.without in scored and c.with_companion in scored]
            for context, weight in zip(usable, weights(usable), strict=True):
                mine[context.with_companion] = mine.get(context.with_companion, 0.0) + weight
                mine[context.without] = mine.get(context.without, 0.0) - weight
        return found
