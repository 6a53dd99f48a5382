"""Tasks of a model by the columns of a data frame that hold their outcomes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from m3h_pipeline.api.frames import kind_of, numbers, texts
from m3h_pipeline.coding import METRICS, Float32Array, signed_time
from m3h_pipeline.errors import TaskError, nearest
from m3h_pipeline.tasks.assessed import Task

#: Keys of a task that is more than the name of its class.
_KEYS = {
    "binary": {"column"},
    "multiclass": {"column"},
    "regression": {"column", "unit"},
    "survival": {"time", "event", "unit"},
    "clustering": {"clusters"},
}
_COMMON = {"class", "title", "department"}
_EXAMPLE = 'for example {"died": "binary", "stay": {"class": "regression", "unit": "days"}}'
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Outcome:
    """A task, and where its labels stand.

    Attributes:
        id: of the task.
        problem_class: binary, multiclass, regression, survival or clustering.
        columns: of the frame: the outcome, or time and event; none of a clustering task.
        title, department, unit: for people.
        clusters: of a clustering task.
        classes: of a multiclass task, as they stand in the column, ascending; known once it is learned.
    """

    id: str
    problem_class: str
    columns: tuple[str, ...]
    title: str
    department: str = ""
    unit: str = ""
    clusters: int = 15
    classes: tuple[Any, ...] = ()

    @property
    def description(self) -> dict[str, Any]:
        """As in the metadata of a task's labels (docs/architecture.md)."""
        return {
            "id": self.id,
            "title": self.title,
            "department": self.department,
            "problem_class": self.problem_class,
            "metric": METRICS[self.problem_class],
            "unit": self.unit,
            **({"classes": [str(one) for one in self.classes]} if self.problem_class == "multiclass" else {}),
            **({"clusters": self.clusters} if self.problem_class == "clustering" else {}),
        }

    @property
    def task(self) -> Task:
        """As the stages behind training know it."""
        said = self.description
        return Task(
            id=self.id,
            problem_class=self.problem_class,
            metric=said["metric"],
            title=self.title,
            department=self.department,
            unit=self.unit,
            classes=tuple(said.get("classes", ())),
        )


def outcomes_of(tasks: Any) -> dict[str, Outcome]:
    """The tasks of a model, sorted by name.

    Args:
        tasks: name -> problem class, or a mapping with ``class`` and what else there is to say.

    Raises:
        TaskError: a task cannot be understood.

    Examples:
        >>> relapse = {"class": "survival", "time": "t", "event": "e"}
        >>> found = outcomes_of({"died": "binary", "relapse": relapse})
        >>> [(name, one.problem_class, one.columns) for name, one in found.items()]
        [('died', 'binary', ('died',)), ('relapse', 'survival', ('t', 'e'))]
    """
    if not isinstance(tasks, Mapping) or not tasks:
        raise TaskError(
            "`tasks` is a mapping of names to problem classes with at least one task",
            hint=_EXAMPLE,
        )
    return {name: _outcome(name, tasks[name]) for name in sorted(tasks, key=str)}


def _outcome(name: Any, said: Any) -> Outcome:
    where = f"tasks[{name!r}]"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TaskError(
            "the name of a task has letters, digits and `_`, and begins with a letter",
            where=where,
            hint='the column may be called otherwise: {"class": "binary", "column": ...}',
        )
    if not isinstance(said, str | Mapping):
        raise TaskError("a task is its problem class, or a mapping with `class`", where=where, hint=_EXAMPLE)
    given: dict[str, Any] = {"class": said} if isinstance(said, str) else dict(said)
    kind = given.get("class")
    if kind not in _KEYS:
        raise TaskError(f"`{kind}` is no problem class", where=where, hint=nearest(str(kind), _KEYS))
    for key in given:
        if key not in _COMMON | _KEYS[kind]:
            hint = nearest(str(key), _COMMON | _KEYS[kind])
            raise TaskError(f"a {kind} task has no `{key}`", where=where, hint=hint)
    if kind == "survival":
        columns: Sequence[Any] = (given.get("time"), given.get("event"))
        if None in columns:
            raise TaskError("a survival task names its columns `time` and `event`", where=where)
    else:
        columns = () if kind == "clustering" else (given.get("column", name),)
    clusters = given.get("clusters", 15)
    if not isinstance(clusters, int) or isinstance(clusters, bool) or clusters < 2:
        raise TaskError("`clusters` is a whole number from 2 on", where=where)
    return Outcome(
        name,
        kind,
        tuple(columns),
        title=str(given.get("title", name.replace("_", " "))),
        department=str(given.get("department", "")),
        unit=str(given.get("unit", "")),
        clusters=clusters,
    )


def learned(outcome: Outcome, frame: pd.DataFrame) -> Outcome:
    """The task with the classes that its column holds.

    Raises:
        TaskError: the column does not hold what the problem class asks for.
    """
    if outcome.problem_class == "multiclass":
        kind = kind_of(frame[outcome.columns[0]])
        if kind not in {"number", "category"}:
            raise TaskError(f"the classes are {kind}", where=_place(outcome))
        classes = tuple(sorted(dict.fromkeys(_classes(outcome, frame)).keys() - {None}, key=_order))
        if len(classes) < 2:
            raise TaskError(
                f"a multiclass task needs two classes; its column holds {len(classes)}", where=_place(outcome)
            )
        outcome = replace(outcome, classes=classes)
    y = labels(outcome, frame)
    seen = y[~np.isnan(y)]
    if not len(seen):
        raise TaskError("no label is observed: every value is missing", where=_place(outcome))
    if outcome.problem_class == "binary" and len(np.unique(seen)) < 2:
        raise TaskError(
            f"all observed labels are {seen[0]:g}: there is nothing to tell apart", where=_place(outcome)
        )
    if outcome.problem_class == "survival" and np.signbit(seen).all():
        raise TaskError("no event is observed: all times are censored", where=_place(outcome))
    return outcome


def labels(outcome: Outcome, frame: pd.DataFrame) -> Float32Array:
    """Labels of a task as training takes them, (n,): NaN = not observed; of survival tasks signed times.

    Raises:
        TaskError: a value is no label: it is refused, and never taken for another one.
    """
    if outcome.problem_class == "clustering":
        return np.zeros(len(frame), dtype=np.float32)
    if outcome.problem_class == "multiclass":
        place = {one: i for i, one in enumerate(outcome.classes)}
        given = _classes(outcome, frame)
        if unknown := sorted({one for one in given if one is not None} - place.keys(), key=_order):
            raise TaskError(
                f"{len(unknown)} value(s) are no class that was learned, `{unknown[0]}` for one",
                where=_place(outcome),
                hint=f"the classes are {', '.join(map(str, outcome.classes[:20]))}; NaN = not observed",
            )
        return np.array([np.nan if one is None else place[one] for one in given], dtype=np.float32)
    first, *rest = (_numbers(outcome, frame[column]) for column in outcome.columns)
    if outcome.problem_class == "regression":
        return first.astype(np.float32)
    _only_zero_and_one(outcome, first if outcome.problem_class == "binary" else rest[0])
    if outcome.problem_class == "binary":
        return first.astype(np.float32)
    if (first < 0).any():
        raise TaskError(f"{int((first < 0).sum()):,} time(s) are negative", where=_place(outcome))
    return signed_time(first, rest[0])


def _numbers(outcome: Outcome, values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    kind = kind_of(values)
    if kind not in {"number", "nothing"}:
        hint = (
            "1 where it happened, 0 where not, NaN where that is not known"
            if outcome.problem_class in {"binary", "survival"}
            else "NaN where it is not known"
        )
        raise TaskError(
            f"column `{values.name}` holds {'text' if kind == 'category' else kind}, not numbers",
            where=f"tasks[{outcome.id!r}]",
            hint=hint,
        )
    return numbers(values)


def _only_zero_and_one(outcome: Outcome, y: npt.NDArray[np.float64]) -> None:
    others = sorted(set(y[~np.isnan(y)].tolist()) - {0.0, 1.0})
    if others:
        raise TaskError(
            f"{len(others)} value(s) are neither 0 nor 1, {others[0]:g} for one",
            where=_place(outcome),
            hint="1 where it happened, 0 where not, NaN where that is not known",
        )


def _classes(outcome: Outcome, frame: pd.DataFrame) -> list[Any]:
    """The values of a column of classes, None = not observed; whole numbers are numbers again."""
    values = frame[outcome.columns[0]]
    if kind_of(values) == "number":
        return [
            None if np.isnan(v) else int(v) if v.is_integer() else float(v) for v in numbers(values).tolist()
        ]
    return list(texts(values))


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _place(outcome: Outcome) -> str:
    return f"tasks[{outcome.id!r}], column {' and '.join(f'`{name}`' for name in outcome.columns) or 'none'}"
