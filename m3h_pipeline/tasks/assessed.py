"""The tasks of a study as they were assessed: what ``labels/tasks.json`` says, for every stage behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3h_pipeline.coding import prediction_width
from m3h_pipeline.errors import ContractError, TaskError
from m3h_pipeline.files import read_json

#: Why nothing can be learned of a control (:attr:`Task.control`).
PERMUTED_LABELS, PLANTED_NOISE = "permuted labels", "planted noise"


@dataclass(frozen=True)
class Task:
    """A task that was assessed.

    Attributes:
        id: its name in files.
        problem_class: binary, multiclass, ...; of a class of the user's own the one it derives from.
        metric: name of its metric, or the dotted path of the user's own.
        title: its name for people.
        department: group of tasks in tables and figures.
        unit: of a regression label, or of the time of a survival label.
        classes: names of a multiclass task's classes, in the order of their indices.
        status: ``ok``: it is learned; ``dropped``: it cannot be evaluated.
        reason: why it was dropped.
        own_class: dotted path of a problem class of the user's own; empty: it is a shipped one.
        control: why nothing can be learned of it: ``permuted labels``, ``planted noise``; else empty.
    """

    id: str
    problem_class: str
    metric: str
    title: str = ""
    department: str = ""
    unit: str = ""
    classes: tuple[str, ...] = ()
    status: str = "ok"
    reason: str = ""
    own_class: str = ""
    control: str = ""

    @property
    def learned(self) -> bool:
        """Whether it can be evaluated, and so is learned."""
        return self.status == "ok"

    @property
    def n_classes(self) -> int:
        """Number of classes of a multiclass task, else 0."""
        return len(self.classes) if self.problem_class == "multiclass" else 0

    @property
    def width(self) -> int:
        """Numbers per prediction, as in contracts.PREDICTIONS."""
        return prediction_width(self.problem_class, len(self.classes))


def marked(
    rows: Iterable[Mapping[str, Any]], tasks: Mapping[str, Task], of: str = "task", name: str = "control"
) -> list[dict[str, Any]]:
    """Rows of a table, each with why nothing can be learned of its task, or of another one that it names."""
    return [{**row, name: tasks[row[of]].control} for row in rows]


def read_assessed(path: Path) -> dict[str, Task]:
    """Every task of ``labels/tasks.json``, the dropped ones too, in the order of the file.

    Raises:
        InputError: the file is absent or no JSON.
        ContractError: it does not describe tasks.
    """
    described = read_json(path)
    try:
        return {
            name: Task(
                id=name,
                problem_class=str(entry["problem_class"]),
                metric=str(entry["metric"]),
                title=str(entry.get("title") or name),
                department=str(entry.get("department") or ""),
                unit=str(entry.get("unit") or ""),
                classes=tuple(str(c) for c in entry.get("classes") or ()),
                status=str(entry["status"]),
                reason=str(entry.get("reason") or ""),
                own_class=str(entry.get("own_class") or ""),
                control=str(entry.get("control") or ""),
            )
            for name, entry in described["tasks"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ContractError(
            "this file does not describe tasks", where=str(path), hint="run the stage `assess` again"
        ) from error


def read_tasks(path: Path) -> dict[str, Task]:
    """The tasks of ``labels/tasks.json`` that are learned, sorted by name.

    Raises:
        InputError: the file is absent or no JSON.
        ContractError: it does not describe tasks.
        TaskError: no task can be learned.
    """
    learned = {name: task for name, task in sorted(read_assessed(path).items()) if task.learned}
    if not learned:
        raise TaskError(
            "no task is left to learn: all were dropped",
            where=str(path),
            hint="the file gives the reasons; see `tasks.min_per_fold` and `tasks.include`",
        )
    return learned
