"""The plan of the final fits: every selected combination and every single-task control, trained alike.

Both arms of the comparison get the same protocol and budget: the setting that the cross-validation chose for
them, the whole training part, the same replicates (seeds), the same test part. Nothing was chosen by these
replicates: the luck of a seed persists from fold to fold, and that of the search's seeds would flatter what
it chose. Each is trained on the folds of the cross-validation, too: predictions out of fold of the same kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Evaluation, Search, Tim
from m3h_pipeline.contracts import SELECTION, combination_tasks
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_table, write_json
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.search.combinations import Entry, PerJob, Setting, share
from m3h_pipeline.tasks.assessed import Task, read_tasks

#: The fold number of a fit on the whole training part: that of the part it is scored on.
WHOLE = TEST


def plan_final(
    selection: Path,
    tasks: Path,
    out: Path,
    evaluation: Evaluation,
    search: Search,
    tim: Tim,
    folds: int,
    per_job: PerJob,
) -> None:
    """Write the plan (``plan.json`` of docs/architecture.md) of the final fits.

    A combination that several tasks selected with the same setting is trained once. Combinations that can be
    stacked share packs.

    Args:
        selection: table of contracts.SELECTION.
        tasks: ``labels/tasks.json``.
        out: the plan's file.
        evaluation: gives the number of replicates.
        search, tim: whose replicates are not used again.
        folds: number of folds of the cross-validation.
        per_job: most combinations of one pack.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: the selection is empty or names a task that ``tasks`` does not describe.
    """
    known = read_tasks(tasks)
    wanted = final_combinations(selection)
    for key in wanted:
        for task in combination_tasks(key):
            if task not in known:
                raise ContractError(f"task `{task}` of combination `{key}` is unknown", where=str(tasks))
    replicates = final_replicates(evaluation.replicates, search, tim)
    settings = {combination_tasks(key): sorted(chosen) for key, chosen in wanted.items()}
    write_json(final_plan(settings, known, replicates, folds, per_job), out)


def final_replicates(number: int, search: Search, tim: Tim) -> tuple[int, ...]:
    """The replicates of the final fits: the first that neither search nor TIM has trained.

    Examples:
        >>> final_replicates(2, Search(replicates=1), Tim(replicates=3))
        (3, 4)
    """
    first = max(search.replicates, tim.replicates)
    return tuple(range(first, first + number))


def final_plan(
    settings: Mapping[tuple[str, ...], Sequence[Setting]],
    tasks: Mapping[str, Task],
    replicates: tuple[int, ...],
    folds: int,
    per_job: PerJob,
) -> dict[str, Any]:
    """The plan of final fits: the whole training part and every fold.

    Args:
        settings: combination -> what it is trained with.
        tasks: the tasks that can be evaluated.
        replicates: of every fit.
        folds: number of folds of the cross-validation.
        per_job: most combinations of one pack.
    """

    def described(entry: Entry) -> dict[str, Any]:
        return {
            "combination": list(entry.combination),
            "replicates": list(replicates),
            "folds": [*range(folds), WHOLE],
            "settings": [list(setting) for setting in settings[entry.combination]],
        }

    return share("final", [Entry(key, replicates) for key in settings], tasks, described, per_job)


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
