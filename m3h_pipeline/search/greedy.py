"""The greedy search for each task's companions (the paper, Model Training Pipeline).

Given a source task, its best combinations of a size are each expanded by every task they lack; the best
``beam`` of the results are kept; its search ends with the first size without an improvement. All source tasks
advance together: combinations of one size are trained before any larger one, each once, whoever asks for it.

The search is a pure function of the scores so far: planning a round and selecting at the end replay it. A
round is what is trained between two looks at the scores: every task alone, every pair, then instalments of
the combinations of each larger size (:mod:`m3h_pipeline.search.race`).

Combinations of one size are ranked by all the replicates (seeds) they were trained with. Whether a size is
an improvement compares two sizes, and is asked only of the replicates that both have: these share
initialisation and minibatches (common random numbers), so that their difference is paired. It has to exceed
its own standard error (:mod:`m3h_pipeline.search.paired`) ``search.standard_errors`` times, and
``search.min_improvement``. The best of many is lucky: this does not say that a gain is there on other
patients, it says that the next size is not followed for less than the folds and seeds differ by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from m3h_pipeline.config import Search
from m3h_pipeline.contracts import combination_key, combination_tasks
from m3h_pipeline.errors import ContractError, TaskError
from m3h_pipeline.search.paired import paired_error
from m3h_pipeline.search.race import instalments, survivors
from m3h_pipeline.search.scores import Folds, Scores

#: Combinations of this many tasks are the first that not everybody's search asks for: these are raced.
RACED = 3
_IN_ORDER = "run the search rounds in order, and merge the scores of all their packs"
#: Why a source task's search ended.
Stopped = Literal["", "no gain", "within the error", "too small", "largest size", "nothing scored"]


@dataclass
class Looked:
    """A combination that a source task looked at.

    Attributes:
        size: its number of tasks.
        combination: its key.
        score: NaN = none.
        kept: whether the beam kept it.
        left: whether it fell behind before it was trained whole.
    """

    size: int
    combination: str
    score: float
    kept: bool = False
    left: bool = False


@dataclass
class TaskSearch:
    """Where the search of one source task stands.

    Attributes:
        task: the source task.
        best: key of the best combination so far.
        beam: combinations to expand next; empty once the search has ended.
        looked: every combination it looked at, by size, best first.
        stopped: why it ended; empty: it goes on.
        gain: of the best combination of the last size over ``best``; NaN: none was compared.
        error: standard error of that gain.
    """

    task: str
    best: str
    beam: list[str]
    looked: list[Looked] = field(default_factory=list)
    stopped: Stopped = ""
    gain: float = math.nan
    error: float = math.nan


@dataclass(frozen=True)
class Wanted:
    """What is trained next.

    Attributes:
        size: tasks of each combination.
        combinations: keys, ascending.
        folds: of this instalment; None: all.
    """

    size: int
    combinations: tuple[str, ...]
    folds: Folds = None


@dataclass(frozen=True)
class Progress:
    """How far the search is.

    Attributes:
        states: of every source task.
        wanted: what is trained next; None: the search has ended.
        rounds: how many have been trained.
    """

    states: list[TaskSearch]
    wanted: Wanted | None
    rounds: int


def candidates(state: TaskSearch, tasks: Sequence[str]) -> list[str]:
    """The next combinations of a source task: each of its beam, expanded by every task not in it."""
    return sorted(
        {
            combination_key((*members, task))
            for members in map(combination_tasks, state.beam)
            for task in tasks
            if task not in members
        }
    )


def start(tasks: Iterable[str], scores: Scores) -> list[TaskSearch]:
    """Every source task alone.

    Raises:
        TaskError: a task alone has no score at any setting.
        ContractError: a task was not trained alone.
    """
    states, hopeless = [], []
    for task in tasks:
        score = scores.score(task, task)
        if math.isnan(score):
            hopeless.append(task)
        states.append(TaskSearch(task, task, [task], [Looked(1, task, score, kept=True)]))
    if hopeless:
        raise TaskError(
            "at every hyper-parameter setting a fit of the task alone diverged or could not be scored: "
            + ", ".join(hopeless),
            hint="lower `training.learning_rates`, set `training.gradient_clip`, or exclude the task",
        )
    return states


def advance(state: TaskSearch, size: int, tasks: Sequence[str], scores: Scores, search: Search) -> None:
    """Let a source task look at the trained combinations of a size, in place.

    Raises:
        ContractError: a combination was not trained.
    """
    if not state.beam:
        return
    task = state.task
    found = [
        Looked(size, key, scores.score(key, task), left=not scores.trained(key))
        for key in candidates(state, tasks)
    ]
    ranked = sorted((one for one in found if not math.isnan(one.score)), key=_rank)
    for one in ranked[: search.beam]:
        one.kept = True
    state.looked += ranked + [one for one in found if math.isnan(one.score)]
    state.beam = []
    if not ranked:
        state.stopped = "nothing scored"
        return
    new = ranked[0].combination
    state.gain, state.error = improvement(scores, task, new, state.best)
    least = search.standard_errors * state.error if search.standard_errors else 0.0
    if not state.gain > 0:
        state.stopped = "no gain"
    elif not state.gain > least:
        state.stopped = "within the error"
    elif not state.gain > search.min_improvement:
        state.stopped = "too small"
    else:
        state.best = new
        state.beam = [one.combination for one in ranked if one.kept]


def _rank(one: Looked) -> tuple[float, str]:
    """Best first; among equals the key decides, so that the order of tasks plays no part."""
    return -one.score, one.combination


def improvement(scores: Scores, task: str, new: str, old: str) -> tuple[float, float]:
    """Gain of a source task from one combination to another, over the replicates that both have, and its
    standard error.
    """
    shared = scores.common(new, old)
    gain = scores.score(new, task, shared) - scores.score(old, task, shared)
    value = scores.cells([new, old], task, shared)
    return gain, float(paired_error(value[0] - value[1], len(scores.folds)))


def replay(tasks: Sequence[str], scores: Scores, search: Search) -> Progress:
    """The searches of all source tasks, as far as the scores go, and what they want next.

    Args:
        tasks: every task that can be learned.
        scores: of all rounds so far.
        search: beam, largest size, least improvement, race.

    Raises:
        TaskError: a task alone has no score.
        ContractError: a task was not trained alone.
    """
    names = sorted(tasks)
    if not scores.combinations:
        return Progress([], Wanted(1, tuple(names)), 0)
    states, rounds = start(names, scores), 1
    for size in range(2, min(len(names), search.max_size or len(names)) + 1):
        asked = {state.task: candidates(state, names) for state in states if state.beam}
        if not asked:
            break
        wanted, trained = _next(size, asked, scores, search)
        rounds += trained
        if wanted is not None:
            return Progress(states, wanted, rounds)
        for state in states:
            advance(state, size, names, scores, search)
    for state in states:
        if state.beam:
            state.stopped = "largest size"
    return Progress(states, None, rounds)


def _next(
    size: int, asked: dict[str, list[str]], scores: Scores, search: Search
) -> tuple[Wanted | None, int]:
    """What is to be trained of a size that source tasks ask for (None: nothing more), and rounds so far."""
    keys = sorted({key for found in asked.values() for key in found})
    if size < RACED:
        whole = all(scores.trained(key) for key in keys)
        return (None, 1) if whole else (Wanted(size, tuple(keys)), 0)
    replicates = tuple(scores.replicates[: search.replicates])
    steps = instalments(scores.folds, search.race)
    seen: tuple[int, ...] = ()
    for number, folds in enumerate(steps):
        if seen and search.race is not None:
            keys = sorted(
                {
                    key
                    for task, found in asked.items()
                    for key in survivors(scores, task, found, replicates, seen, search.beam, search.race)
                }
            )
        if not keys:
            return None, number
        if not all(scores.has(key, replicates, folds) for key in keys):
            return Wanted(size, tuple(keys), folds if len(steps) > 1 else None), number
        seen += folds
    return None, len(steps)


def ended(progress: Progress, hint: str = _IN_ORDER) -> list[TaskSearch]:
    """The searches of all source tasks at their end.

    Args:
        progress: how far the search is.
        hint: what to do if that is not the end.

    Raises:
        ContractError: more has to be trained first.
    """
    if progress.wanted is None:
        return progress.states
    wanted = progress.wanted
    raise ContractError(
        f"the search has not ended: it wants scores of {len(wanted.combinations):,} combinations of "
        f"{wanted.size} tasks, such as `{wanted.combinations[0]}`"
        + (f", in folds {', '.join(map(str, wanted.folds))}" if wanted.folds else ""),
        hint=hint,
    )
