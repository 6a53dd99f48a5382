"""The verb ``plan-variant``: the fits by which networks are compared, the same for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Training
from m3h_pipeline.contracts import write_json
from m3h_pipeline.evaluation.final import WHOLE
from m3h_pipeline.search.combinations import Entry, PerJob, Task, read_tasks, settings_of, share


def plan_variant(
    tasks: Path, out: Path, replicates: int, training: Training, folds: int, per_job: PerJob
) -> None:
    """Write the plan (``plan.json`` of docs/architecture.md) of one network.

    Each task alone and all tasks together, on every fold and on the whole training part.

    Args:
        tasks: ``labels/tasks.json``.
        out: the plan's file.
        replicates: seeds.
        training: gives the hyper-parameter settings.
        folds: number of folds of the cross-validation.
        per_job: most combinations of a pack.

    Raises:
        InputError: the file is absent or unreadable.
        TaskError: no task is left.
    """
    write_json(variant_plan(read_tasks(tasks), replicates, training, folds, per_job), out)


def variant_plan(
    tasks: Mapping[str, Task], replicates: int, training: Training, folds: int, per_job: PerJob
) -> dict[str, Any]:
    """The plan: each task alone and, where there are several, all of them together."""
    settings = [list(setting) for setting in settings_of(training)]
    names = tuple(sorted(tasks))
    wanted = [*((name,) for name in names), *([names] if len(names) > 1 else [])]

    def described(entry: Entry) -> dict[str, Any]:
        return {
            "combination": list(entry.combination),
            "replicates": list(entry.replicates),
            "folds": [*range(folds), WHOLE],
            "settings": settings,
        }

    entries = [Entry(combination, tuple(range(replicates))) for combination in wanted]
    return share("variants", entries, tasks, described, per_job)
