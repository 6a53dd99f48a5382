"""Task lists: tables that name the outcomes of a clinical file and what kind of prediction each is.

TxT's layout has two columns, ``name`` and ``task``::

    name,task
    Age,regression
    PAM50,classification
    OS_duration,survival_time
    OS_event,survival_event

``docs/txt.md`` says what further columns are read. The classes of a classification stand in a column
``classes`` or are found in the clinical file by :func:`write_definitions` (`m3h task-list`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from m3h_pipeline.errors import InputError, TaskError, nearest

#: Endings of task lists among the files of task definitions, and their delimiters.
ENDINGS = {".csv": ",", ".tsv": "\t"}
TYPES = ("regression", "classification", "survival_time", "survival_event", "survival")
COLUMNS = ("name", "task", "column", "event", "classes", "title", "department", "unit")
#: More distinct values are no classes but numbers or names.
MOST_CLASSES = 50
_SEPARATOR = "|"


@dataclass(frozen=True)
class _Line:
    """One line of a task list; what a line does not give is empty."""

    place: str
    fields: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.fields.get(column, "")

    @property
    def label(self) -> str:
        """The column of the clinical file."""
        return self["column"] or self["name"]

    @property
    def classes(self) -> list[str]:
        """The classes as listed, in their order."""
        return [part.strip() for part in self["classes"].split(_SEPARATOR) if part.strip()]


def task_entries(file: str, values: Mapping[str, list[str]] | None = None) -> dict[str, dict[str, Any]]:
    """The tasks of a task list, as the entries of a YAML file of task definitions.

    Args:
        file: the list; its ending says how its fields are separated (:data:`ENDINGS`).
        values: column -> its distinct values in the order of the classes, for classifications without
            ``classes``.

    Returns:
        Task id -> entry. A classification of two classes is binary and predicts the second one.

    Raises:
        InputError: the file cannot be read.
        TaskError: a line is wrong; the message has its number.
    """
    lines = _lines(file)
    entries: dict[str, dict[str, Any]] = {}
    for line, event in _paired(lines, file):
        name = _task_id(line, event)
        if name in entries:
            raise TaskError(f"two tasks are named `{name}`", where=line.place, hint="name one differently")
        kind, criterion = _criterion(line, event, values)
        entries[name] = {
            "title": line["title"] or name.replace("_", " "),
            "department": line["department"] or "Outcomes",
            "class": kind,
            **({"unit": line["unit"]} if line["unit"] else {}),
            "criterion": criterion,
        }
    return entries


def write_definitions(file: Path | str, clinical: Path | str, out: Path | str) -> int:
    """Write the task definitions of a task list as YAML, classes taken from the clinical file.

    Classes are sorted, numbers by value. The YAML can then be edited: titles, departments, order of classes.

    Returns:
        The number of tasks.

    Raises:
        InputError: a file cannot be read, or the clinical file lacks a column.
        TaskError: the list is wrong, or a column has fewer than 2 or more than :data:`MOST_CLASSES` values.
    """
    import yaml

    from m3h_pipeline.files import replacing

    lines = _lines(str(file))
    wanted = [line for line in lines if line["task"] == "classification" and not line.classes]
    entries = task_entries(str(file), _distinct(Path(clinical), wanted))
    text = yaml.safe_dump({"tasks": entries}, sort_keys=False, allow_unicode=True, width=100)
    head = f"# Written by `m3h task-list` from {Path(file).name} and {Path(clinical).name}.\n"
    with replacing(out) as temporary:
        temporary.write_text(head + text, encoding="utf-8")
    return len(entries)


def _distinct(clinical: Path, lines: Iterable[_Line]) -> dict[str, list[str]]:
    """The classes of some columns of a clinical file."""
    from contextlib import ExitStack

    from m3h_pipeline.tables.formats import open_table
    from m3h_pipeline.tables.identifiers import normal_ids
    from m3h_pipeline.tables.reader import once, read_columns
    from m3h_pipeline.tables.values import Absent

    columns = {line.label: line for line in lines}
    with ExitStack() as stack:
        reader = open_table(str(clinical), stack)
        for column in columns:
            once(reader, column, "task list")
        text = read_columns(reader, [], list(columns), Absent()).text if columns else {}
    found = {}
    for column, line in columns.items():
        values = normal_ids(text[column]).drop_null().unique().to_pylist()
        if not 2 <= len(values) <= MOST_CLASSES:
            raise TaskError(
                f"column `{column}` has {len(values):,} values, and a classification 2 to {MOST_CLASSES}",
                where=f"{line.place}, {clinical}",
                hint="is it a `regression`? Otherwise list its classes in the column `classes` of the list",
            )
        found[column] = sorted(values, key=_order)
    return found


def _order(value: str) -> tuple[int, float, str]:
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)


def _lines(file: str) -> list[_Line]:
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=file) from error
    except UnicodeDecodeError as error:
        raise InputError("the task list is not UTF-8", where=file, hint="export it as UTF-8") from error
    reader = csv.reader(io.StringIO(text), delimiter=ENDINGS[Path(file).suffix.lower()])
    header = [{"type": "task"}.get(name.strip(), name.strip()) for name in next(reader, [])]
    for name in ("name", "task"):
        if name not in header:
            raise TaskError(
                f"the task list has no column `{name}`",
                where=f"{file}, line 1",
                hint="its first line is `name,task`, with commas in a .csv and tabs in a .tsv file",
            )
    for name in header:
        if name not in COLUMNS or header.count(name) > 1:
            what = "stands twice" if name in COLUMNS else "is no column of a task list"
            raise TaskError(f"`{name}` {what}", where=f"{file}, line 1", hint=nearest(name, COLUMNS))
    lines = []
    for fields in reader:
        place = f"{file}, line {reader.line_num}"
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            raise TaskError(f"a line has {len(fields)} fields instead of {len(header)}", where=place)
        line = _Line(place, {name: field.strip() for name, field in zip(header, fields, strict=True)})
        if not line["name"]:
            raise TaskError("the name is missing", where=place)
        if line["task"] not in TYPES:
            raise TaskError(
                f"`{line['task']}` is no kind of task", where=place, hint=nearest(line["task"], TYPES)
            )
        if line["event"] and line["task"] != "survival":
            raise TaskError("`event` belongs to tasks of kind `survival`", where=place)
        if line["classes"] and line["task"] != "classification":
            raise TaskError("`classes` belongs to tasks of kind `classification`", where=place)
        lines.append(line)
    if not lines:
        raise TaskError("the task list names no task", where=file)
    return lines


def _paired(lines: list[_Line], file: str) -> list[tuple[_Line, str]]:
    """Every task's line, with the column of the event for survival; the n-th time has the n-th event."""
    times = [line for line in lines if line["task"] == "survival_time"]
    events = [line for line in lines if line["task"] == "survival_event"]
    if len(times) != len(events):
        raise TaskError(
            f"there are {len(times)} `survival_time` and {len(events)} `survival_event`",
            where=file,
            hint="a survival task has one line of each, the first time belonging to the first event",
        )
    event_of = {id(time): event.label for time, event in zip(times, events, strict=True)}
    for line in lines:
        if line["task"] == "survival" and not line["event"]:
            raise TaskError(
                "the column of the event is missing",
                where=line.place,
                hint="name it in the column `event` (`name` or `column` is that of the time)",
            )
    return [
        (line, event_of.get(id(line), line["event"])) for line in lines if line["task"] != "survival_event"
    ]


def _task_id(line: _Line, event: str) -> str:
    """The name as an identifier; of a time and an event, the words that both begin with.

    ``OS_duration`` and ``OS_event`` make ``OS``, ``time`` and ``event`` make ``time``.
    """
    name = line["name"]
    if line["task"] == "survival_time":
        words = zip(re.split(r"[\W_]+", name), re.split(r"[\W_]+", event), strict=False)
        name = "_".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], words)) or name
    name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise TaskError(
            f"`{line['name']}` cannot name a task",
            where=line.place,
            hint="begin `name` with a letter, and name the column of the clinical file under `column`",
        )
    return name


def _criterion(line: _Line, event: str, values: Mapping[str, list[str]] | None) -> tuple[str, dict[str, Any]]:
    """Problem class and criterion of a task."""
    if line["task"] == "regression":
        return "regression", {"kind": "number", "column": line.label}
    if line["task"] != "classification":
        return "survival", {"kind": "time_to_event", "time": line.label, "event": event}
    classes = line.classes or list((values or {}).get(line.label, []))
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise TaskError(
            f"the classes of `{line['name']}` are not given"
            if not classes
            else f"the classes of `{line['name']}` must be two or more, no two alike",
            where=line.place,
            hint=f"list them in a column `classes`, separated by {_SEPARATOR}, or let `m3h task-list` "
            "find them in the clinical file",
        )
    if len(classes) == 2:
        return "binary", {
            "kind": "values",
            "column": line.label,
            "positive": [classes[1]],
            "negative": [classes[0]],
        }
    return "multiclass", {
        "kind": "classes",
        "column": line.label,
        "classes": {name: [name] for name in classes},
    }
