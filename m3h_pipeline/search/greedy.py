"""The greedy search for each task's companions (the paper, Model Training Pipeline).

Given a source task, its best combinations of a size are each expanded by every task they lack; the best
``beam`` of the results are kept; its search ends with the first round without an improvement. Rounds
of all source tasks advance together: round r trains combinations of r tasks.

The search is a pure function of the scores so far: planning a round and selecting at the end replay it.

Combinations of one size are ranked by all the replicates (seeds) they were trained with. Whether a round is
an improvement compares two sizes, and is asked only of the replicates that both have: these share
initialisation and minibatches (common random numbers), so that their difference is paired.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from m3h_pipeline.config import Search
from m3h_pipeline.contracts import combination_key, combination_tasks
from m3h_pipeline.errors import TaskError
from m3h_pipeline.search.scores import Scores


@dataclass
class Looked:
    """A combination that a source task looked at: its round, its score (NaN = none), whether it was kept."""

    round: int
    combination: str
    score: float
    kept: bool


@dataclass
class TaskSearch:
    """Where the search of one source task stands.

    Attributes:
        task: the source task.
        best: key of the best combination so far.
        beam: combinations to expand next; empty once the search has ended.
        looked: every combination it looked at, by round, best first.
    """

    task: str
    best: str
    beam: list[str]
    looked: list[Looked] = field(default_factory=list)


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
    """Round 1: every source task alone.

    Raises:
        TaskError: a task alone has no score at any setting.
        ContractError: a task was not trained alone.
    """
    states, hopeless = [], []
    for task in tasks:
        score = scores.score(task, task)
        if math.isnan(score):
            hopeless.append(task)
        states.append(TaskSearch(task, task, [task], [Looked(1, task, score, True)]))
    if hopeless:
        raise TaskError(
            "at every hyper-parameter setting a fit of the task alone diverged or could not be scored: "
            + ", ".join(hopeless),
            hint="lower `training.learning_rates`, set `training.gradient_clip`, or exclude the task",
        )
    return states


def advance(
    state: TaskSearch, round_number: int, tasks: Sequence[str], scores: Scores, search: Search
) -> None:
    """Let a source task look at the trained combinations of a round, in place.

    Raises:
        ContractError: a combination of the round was not trained.
    """
    if not state.beam:
        return
    task = state.task
    found = [Looked(round_number, key, scores.score(key, task), False) for key in candidates(state, tasks)]
    ranked = sorted((one for one in found if not math.isnan(one.score)), key=_rank)
    for one in ranked[: search.beam]:
        one.kept = True
    state.looked += ranked + [one for one in found if math.isnan(one.score)]
    state.beam = []
    if ranked and improvement(scores, task, ranked[0].combination, state.best) > search.min_improvement:
        state.best = ranked[0].combination
        state.beam = [one.combination for one in ranked if one.kept]


def _rank(one: Looked) -> tuple[float, str]:
    """Best first; among equals the key decides, so that the order of tasks plays no part."""
    return -one.score, one.combination


def improvement(scores: Scores, task: str, new: str, old: str) -> float:
    """Gain of a source task from one combination to another, over the replicates that both have."""
    shared = scores.common(new, old)
    return scores.score(new, task, shared) - scores.score(old, task, shared)


def replay(
    tasks: Sequence[str], scores: Scores, search: Search, rounds: int | None = None
) -> list[TaskSearch]:
    """The searches of all source tasks after ``rounds`` rounds, or at their end.

    Args:
        tasks: every task that can be learned.
        scores: of all rounds replayed.
        search: beam, largest size, least improvement.
        rounds: how many rounds; None: until no source task has anything left to try.

    Raises:
        TaskError: a task alone has no score.
        ContractError: a combination that the search asks for was not trained.
    """
    names = sorted(tasks)
    states = start(names, scores)
    last = min(len(names), search.max_size or len(names), rounds or len(names))
    for number in range(2, last + 1):
        if not any(state.beam for state in states):
            break
        for state in states:
            advance(state, number, names, scores, search)
    return states
