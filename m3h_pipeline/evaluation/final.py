"""The plan of the final fits: every selected combination and every single-task control, trained alike.

Both arms of the comparison get the same protocol and budget: the setting that the cross-validation chose for
them, the whole training part, the same replicates (seeds), the same test part.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Evaluation
from m3h_pipeline.contracts import SELECTION, combination_tasks, read_json, read_table, write_json
from m3h_pipeline.errors import ContractError

#: The fold number of a fit on the whole training part.
WHOLE = -1

Setting = tuple[int, float]


def plan_final(
    selection: Path, tasks: Path, out: Path, evaluation: Evaluation, combinations_per_job: int
) -> None:
    """Write the plan (``plan.json`` of docs/architecture.md) of the final fits.

    A combination that several tasks selected with the same setting is trained once. Combinations of one
    signature (how many tasks of each problem class) stand together, so that a job stacks what it can.

    Args:
        selection: table of contracts.SELECTION.
        tasks: ``labels/tasks.json``.
        out: the plan's file.
        evaluation: gives the number of replicates.
        combinations_per_job: most combinations of one pack.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: the selection is empty or names a task that ``tasks`` does not describe.
    """
    classes = _problem_classes(tasks)
    wanted = final_combinations(selection)
    for key in wanted:
        for task in combination_tasks(key):
            if task not in classes:
                raise ContractError(f"task `{task}` of combination `{key}` is unknown", where=str(tasks))
    ordered = sorted(wanted, key=lambda key: (signature(key, classes), key))
    replicates = list(range(evaluation.replicates))
    entries: list[dict[str, Any]] = [
        {
            "combination": list(combination_tasks(key)),
            "replicates": replicates,
            "folds": [WHOLE],
            "settings": [[batch_size, learning_rate] for batch_size, learning_rate in sorted(wanted[key])],
        }
        for key in ordered
    ]
    starts = range(0, len(entries), combinations_per_job)
    packs = {f"{i:04d}": entries[at : at + combinations_per_job] for i, at in enumerate(starts)}
    write_json({"stage": "final", "packs": packs}, out)


def final_combinations(selection: Path) -> dict[str, set[Setting]]:
    """The combinations of both arms and the settings (batch size, learning rate) each is trained with.

    Raises:
        ContractError: the selection is empty.
    """
    rows = read_table(selection, SELECTION).to_pylist()
    if not rows:
        raise ContractError("no task was selected", where=str(selection))
    wanted: dict[str, set[Setting]] = {}
    for row in rows:
        wanted.setdefault(row["combination"], set()).add((row["batch_size"], row["learning_rate"]))
        control = (row["single_batch_size"], row["single_learning_rate"])
        wanted.setdefault(row["task"], set()).add(control)
    return wanted


def signature(key: str, classes: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """How many tasks of each problem class a combination holds, the classes in alphabetical order.

    Examples:
        >>> signature("a+b+c", {"a": "binary", "b": "clustering", "c": "binary"})
        (('binary', 2), ('clustering', 1))
    """
    counts: dict[str, int] = {}
    for task in combination_tasks(key):
        counts[classes[task]] = counts.get(classes[task], 0) + 1
    return tuple(sorted(counts.items()))


def _problem_classes(tasks: Path) -> dict[str, str]:
    described = read_json(tasks)
    try:
        return {task: str(entry["problem_class"]) for task, entry in described["tasks"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ContractError("this file describes no tasks", where=str(tasks)) from error
