"""The verb ``plan-network``: the fits by which networks are compared, the same for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Networks, Training
from m3h_pipeline.evaluation.final import WHOLE
from m3h_pipeline.files import write_json
from m3h_pipeline.search.combinations import Entry, PerJob, settings_of, share
from m3h_pipeline.tasks.assessed import Task, read_tasks


def plan_network(
    tasks: Path, out: Path, networks: Networks, training: Training, folds: int, per_job: PerJob
) -> None:
    """Write the plan (``plan.json`` of docs/architecture.md) of one network.

    All tasks together and, if ``networks.alone``, each of them alone, on every fold and on the whole training
    part.

    Args:
        tasks: ``labels/tasks.json``.
        out: the plan's file.
        networks: gives the number of seeds, and whether tasks are learned alone.
        training: gives the hyper-parameter settings.
        folds: number of folds of the cross-validation.
        per_job: most combinations of a pack.

    Raises:
        InputError: the file is absent or unreadable.
        TaskError: no task is left.
    """
    write_json(network_plan(read_tasks(tasks), networks, training, folds, per_job), out)


def network_plan(
    tasks: Mapping[str, Task], networks: Networks, training: Training, folds: int, per_job: PerJob
) -> dict[str, Any]:
    """The plan: each task alone, if wanted, and all of them together; a single task is always learned."""
    settings = [list(setting) for setting in settings_of(training)]
    together = tuple(sorted(tasks))
    wanted = {together, *(((name,) for name in together) if networks.alone else ())}

    def described(entry: Entry) -> dict[str, Any]:
        return {
            "combination": list(entry.combination),
            "replicates": list(entry.replicates),
            "folds": [*range(folds), WHOLE],
            "settings": settings,
        }

    entries = [Entry(combination, tuple(range(networks.replicates))) for combination in sorted(wanted)]
    return share("networks", entries, tasks, described, per_job)
