"""The study's tasks as figures show them: one order, one title each, grouped by department."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from m3h_pipeline.figures.text import plain
from m3h_pipeline.tasks.assessed import Task, read_assessed

# Departments of binary tasks come first, as in the paper's Figure 2, then those with other classes.
_CLASS_RANK = {"binary": 0, "multiclass": 1, "regression": 2, "survival": 3, "clustering": 4}

#: What stands behind the title of a control, a task of which nothing can be learned.
CONTROL = "†"
#: What a figure says of the mark, in its key or in a note.
EXPLAINED = f"{CONTROL} control"

#: Where tasks without a department stand.
_NO_DEPARTMENT = "Other"


@dataclass(frozen=True)
class Group:
    """Tasks that stand together: rows ``start`` to ``stop`` (exclusive) of the order."""

    department: str
    start: int
    stop: int


class Catalogue:
    """The tasks of a study in the order of all figures.

    Departments are sorted by the problem classes they hold (binary ones first), then by name; tasks within a
    department by problem class, then by title. Tasks that a table names but the catalogue does not know come
    last, under their id.

    Args:
        tasks: any order.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        known = list(tasks)
        rank: dict[str, int] = {}
        for task in known:
            rank[task.department] = max(rank.get(task.department, 0), _rank(task))
        known.sort(key=lambda t: (rank[t.department], t.department, _rank(t), t.title.casefold(), t.id))
        self._tasks = {task.id: task for task in known}

    def __getitem__(self, task: str) -> Task:
        return self._tasks.get(task) or Task(
            task, "binary", "auroc", title=task.replace("_", " "), department=_NO_DEPARTMENT
        )

    def title(self, task: str) -> str:
        """The task's title; its id if nothing is known about it."""
        return self[task].title

    def explained(self, tasks: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
        """The entry of a key that explains the mark, where one of the tasks that are drawn is a control."""
        return [(EXPLAINED, {"marker": "None"})] if any(self[task].control for task in tasks) else []

    def order(self, tasks: Iterable[str]) -> list[str]:
        """The given tasks, each once, in the order of all figures."""
        given = set(tasks)
        return [t for t in self._tasks if t in given] + sorted(given - set(self._tasks))

    def groups(self, ordered: list[str]) -> list[Group]:
        """Runs of tasks of one department."""
        found: list[Group] = []
        for i, task in enumerate(ordered):
            department = self[task].department
            if found and found[-1].department == department:
                found[-1] = Group(department, found[-1].start, i + 1)
            else:
                found.append(Group(department, i, i + 1))
        return found


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue of ``labels/tasks.json``; tasks that were dropped are left out.

    Raises:
        InputError: the file is absent or no JSON.
        ContractError: it does not describe tasks.
    """
    return Catalogue(_shown(task) for task in read_assessed(path).values() if task.learned)


def with_controls(
    frame: pd.DataFrame, catalogue: Catalogue, of: str = "task", name: str = "control"
) -> pd.DataFrame:
    """A table behind a figure with a mark of its controls.

    Args:
        frame: with the tasks' ids in the column ``of``.
        catalogue: the study's tasks.
        of: whose control is named: the task, or its companion.
        name: of the new column, which stands behind ``of``: why nothing can be learned of the task
            (``permuted labels``, ``planted noise``); empty of an outcome. A table that has it stays as it is.
    """
    if name in frame:
        return frame
    frame = frame.copy()
    reasons = [catalogue[task].control for task in frame[of]]
    frame.insert(list(frame.columns).index(of) + 1, name, pd.Series(reasons, frame.index, dtype=object))
    return frame


def _shown(task: Task) -> Task:
    """A task with texts that a figure can hold; a control is marked."""
    title = plain(task.title) or task.id
    return replace(
        task,
        title=f"{title} {CONTROL}" if task.control else title,
        department=plain(task.department) or _NO_DEPARTMENT,
        unit=plain(task.unit),
    )


def _rank(task: Task) -> int:
    return _CLASS_RANK.get(task.problem_class, len(_CLASS_RANK))
