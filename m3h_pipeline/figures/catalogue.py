"""The study's tasks as figures show them: one order, one title each, grouped by department."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3h_pipeline.errors import ContractError
from m3h_pipeline.figures.text import plain
from m3h_pipeline.files import read_json

# Departments of binary tasks come first, as in the paper's Figure 2, then those with other classes.
_CLASS_RANK = {"binary": 0, "multiclass": 1, "regression": 2, "survival": 3, "clustering": 4}


@dataclass(frozen=True)
class Task:
    """A task's description, as ``labels/tasks.json`` has it."""

    id: str
    title: str
    department: str
    problem_class: str = "binary"
    metric: str = "auroc"
    unit: str = ""


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
        return self._tasks.get(task) or Task(task, task.replace("_", " "), "Other")

    def title(self, task: str) -> str:
        """The task's title; its id if nothing is known about it."""
        return self[task].title

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
    """Read ``labels/tasks.json``; tasks that were dropped are left out.

    Raises:
        InputError: the file is absent or no JSON.
        ContractError: it does not hold tasks.
    """
    content = read_json(path)
    tasks = content.get("tasks") if isinstance(content, Mapping) else None
    if not isinstance(tasks, Mapping) or not all(isinstance(t, Mapping) for t in tasks.values()):
        raise ContractError("`tasks` is no mapping of tasks", where=str(path))
    return Catalogue(
        _task(str(name), entry) for name, entry in tasks.items() if entry.get("status", "ok") == "ok"
    )


def _task(name: str, entry: Mapping[str, Any]) -> Task:
    given = {key: plain(str(entry[key])) for key in ("title", "department") if entry.get(key)}
    optional = {key: plain(str(entry[key])) for key in ("problem_class", "metric", "unit") if entry.get(key)}
    defaults = {"title": name.replace("_", " "), "department": "Other"}
    return Task(id=name, **(defaults | given), **optional)


def _rank(task: Task) -> int:
    return _CLASS_RANK.get(task.problem_class, len(_CLASS_RANK))
