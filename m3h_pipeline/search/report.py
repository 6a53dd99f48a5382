"""What a search looked at, what it cost, and why it ended, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from m3h_pipeline.contracts import SEARCH_REPORT, TRAJECTORY, combination_tasks
from m3h_pipeline.search.greedy import Looked, TaskSearch
from m3h_pipeline.search.scores import Replicates, Scores


def trajectory_table(states: Sequence[TaskSearch], scores: Scores) -> pa.Table:
    """Table of contracts.TRAJECTORY: by task and size, best first.

    Combinations of different sizes may have different replicates. ``compared`` is the score by those that
    all have which a task looked at to the end, so that it can be shown beside any other.
    """
    rows = []
    for state in states:
        shared = compared_by(state.looked, scores)
        rows += [
            {
                "task": state.task,
                "size": one.size,
                "combination": one.combination,
                "score": _known(one.score),
                "compared": _known(scores.score(one.combination, state.task, shared)),
                "kept": one.kept,
                "left": one.left,
            }
            for one in state.looked
        ]
    return pa.Table.from_pylist(rows, schema=TRAJECTORY)


def compared_by(looked: Iterable[Looked], scores: Scores) -> Replicates:
    """The replicates of every combination that was trained whole."""
    return scores.common(*(one.combination for one in looked if not one.left))


def report_table(states: Sequence[TaskSearch], scores: Scores) -> pa.Table:
    """Table of contracts.SEARCH_REPORT: the whole search, then task by task."""
    every: dict[str, Looked] = {}
    for state in states:
        for one in state.looked:
            known = every.setdefault(one.combination, one)
            # Who left it counts only where nobody had it trained whole.
            assert known.left == one.left
    rows: list[dict[str, Any]] = [{"task": None, **_spent(every.values(), scores)}]
    for state in states:
        shared = scores.common(state.best, state.task)
        rows.append(
            {
                "task": state.task,
                "combination": state.best,
                "size": len(combination_tasks(state.best)),
                "score": scores.score(state.best, state.task, shared),
                "single_score": scores.score(state.task, state.task, shared),
                "stopped": state.stopped,
                "last_size": state.looked[-1].size,
                "last_gain": _known(state.gain),
                "last_error": _known(state.error),
                **_spent(state.looked, scores),
            }
        )
    return pa.Table.from_pylist(rows, schema=SEARCH_REPORT)


def _spent(looked: Iterable[Looked], scores: Scores) -> Mapping[str, int]:
    """Combinations and fits, and what was not trained of those that were left."""
    looked = list(looked)
    spent = {one.combination: scores.fits(one.combination) for one in looked}
    saved = 0
    for one in looked:
        if one.left:
            rest = len(scores.folds) - scores.folds_of(one.combination)
            saved += rest * scores.fits_of_fold(one.combination)
    return {
        "combinations": len(looked),
        "left": sum(one.left for one in looked),
        "fits": sum(spent.values()),
        "saved": saved,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
