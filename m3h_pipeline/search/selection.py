"""The verb ``select``: the best combination of each task, beside the task alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from m3h_pipeline.config import Search
from m3h_pipeline.contracts import SEARCH_REPORT, SELECTION, TRAJECTORY, combination_tasks
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.files import replacing, write_table
from m3h_pipeline.search.greedy import ended, replay
from m3h_pipeline.search.report import report_table, trajectory_table
from m3h_pipeline.search.scores import Scores, read_scores
from m3h_pipeline.tasks.assessed import Task, marked, read_tasks

_SUMMARY = (
    "task",
    "problem class",
    "control",
    "metric",
    "learned with",
    "validation, alone",
    "validation, selected",
    "batch size",
    "learning rate",
)


def select(
    tasks: Path,
    scores: Sequence[Path],
    out: Path,
    trajectory: Path,
    report: Path,
    summary: Path,
    search: Search,
) -> None:
    """Write each task's selected combination and what its search looked at.

    If no combination improves on the task alone, the selection is the task alone. Both arms of a row, the
    combination and the task alone, take their setting and score from the same replicates: those that both
    were trained with. The trajectory's scores use all the replicates of their round.

    Args:
        tasks: ``labels/tasks.json``.
        scores: scores of all rounds (contracts.SCORES).
        out: table of contracts.SELECTION, one row per task, sorted by task.
        trajectory: table of contracts.TRAJECTORY, by task and size, best first.
        report: table of contracts.SEARCH_REPORT.
        summary: the selection as a person reads it, tab-separated.
        search: as in planning.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: rounds are incomplete.
        TaskError: no task is left, or one has no score at any setting.
    """
    known = read_tasks(tasks)
    table = read_scores(scores)
    states = ended(replay(list(known), table, search))
    rows = marked((_row(known[state.task], state.best, table) for state in states), known)
    write_table(trajectory_table(states, table), trajectory, TRAJECTORY)
    write_table(report_table(states, table), report, SEARCH_REPORT)
    write_table(pa.Table.from_pylist(rows, schema=SELECTION), out, SELECTION)
    with replacing(summary) as path:
        path.write_text(tsv([_SUMMARY, *map(_line, rows)]), encoding="utf-8")


def _line(row: Mapping[str, Any]) -> list[str]:
    others = [task for task in combination_tasks(row["combination"]) if task != row["task"]]
    scores = (row["single_score"], row["score"])
    return [
        row["task"],
        row["problem_class"],
        row["control"],
        row["metric"],
        ", ".join(others) or "alone",
        *(f"{score:.4f}" for score in scores),
        f"{row['batch_size']}",
        f"{row['learning_rate']:g}",
    ]


def _row(task: Task, best: str, scores: Scores) -> dict[str, Any]:
    shared = scores.common(best, task.id)
    setting, single = scores.setting(best, shared), scores.setting(task.id, shared)
    assert setting is not None  # the search never takes a combination, or a task alone, without a score
    assert single is not None
    return {
        "task": task.id,
        "problem_class": task.problem_class,
        "metric": task.metric,
        "combination": best,
        "size": len(combination_tasks(best)),
        "batch_size": setting[0],
        "learning_rate": setting[1],
        "score": scores.score(best, task.id, shared),
        "single_batch_size": single[0],
        "single_learning_rate": single[1],
        "single_score": scores.score(task.id, task.id, shared),
    }
