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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from m3h_pipeline.errors import InputError, TaskError, nearest

#: Endings of task lists among the files of task definitions, and their delimiters.
ENDINGS = {".csv": ",", ".tsv": "\t"}
TYPES = ("regression", "classification", "survival_time", "survival_event", "survival")
#: Columns that list values, and the kinds of task they belong to.
_EVENT = ("survival", "survival_event")
LISTS = {
    "classes": ("classification",),
    "observed": _EVENT,
    "censored": _EVENT,
    "missing": ("regression", "classification", *_EVENT),
}
COLUMNS = ("name", "task", "column", "event", *LISTS, "title", "department", "unit")
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

    def listed(self, column: str) -> list[str]:
        """The values of a column that lists some, in their order."""
        return [part.strip() for part in self[column].split(_SEPARATOR) if part.strip()]

    def lists(self, *columns: str) -> dict[str, list[str]]:
        """The lists that are given, as keys of a criterion."""
        return {column: values for column in columns if (values := self.listed(column))}


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
    for line, event, of_event in _paired(lines, file):
        name = _task_id(line, event)
        if name in entries:
            raise TaskError(f"two tasks are named `{name}`", where=line.place, hint="name one differently")
        kind, criterion = _criterion(line, event, of_event, values)
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

    Classes are sorted, numbers by value. Whether an event was observed is said by 1 and 0, or as the columns
    ``observed`` and ``censored`` of the list name it. The YAML can then be edited: titles, order of classes.

    Returns:
        The number of tasks.

    Raises:
        InputError: a file cannot be read, or the clinical file lacks a column.
        TaskError: the list is wrong, a column of classes has fewer than 2 or more than :data:`MOST_CLASSES`
            values, or an event's column one that is not named.
    """
    import yaml

    from m3h_pipeline.files import replacing

    lines = _lines(str(file))
    wanted = [line for line in lines if line["task"] == "classification" and not line.listed("classes")]
    events = [(event, of_event) for _, event, of_event in _paired(lines, str(file)) if event]
    held = _distinct(Path(clinical), [*(line.label for line in wanted), *(event for event, _ in events)])
    for line in wanted:
        _check_classes(line, held[line.label], clinical)
    entries = task_entries(str(file), {line.label: held[line.label] for line in wanted})
    for event, line in events:
        stated = _stated(event, line, held[event], clinical)
        for entry in entries.values():
            if entry["criterion"].get("event") == event:
                entry["criterion"] |= stated
    text = yaml.safe_dump({"tasks": entries}, sort_keys=False, allow_unicode=True, width=100)
    head = f"# Written by `m3h task-list` from {Path(file).name} and {Path(clinical).name}.\n"
    with replacing(out) as temporary:
        temporary.write_text(head + text, encoding="utf-8")
    return len(entries)


def _distinct(clinical: Path, columns: Iterable[str]) -> dict[str, list[str]]:
    """The values of some columns of a clinical file, sorted, numbers by value."""
    from contextlib import ExitStack

    from m3h_pipeline.tables.content import read_columns
    from m3h_pipeline.tables.formats import open_table
    from m3h_pipeline.tables.identifiers import normal_ids
    from m3h_pipeline.tables.reader import once
    from m3h_pipeline.tables.values import Absent

    names = list(dict.fromkeys(columns))
    with ExitStack() as stack:
        reader = open_table(str(clinical), stack)
        for column in names:
            once(reader, column, "task list")
        text = read_columns(reader, [], names, Absent()).text if names else {}
    return {
        column: sorted(normal_ids(text[column]).drop_null().unique().to_pylist(), key=_order)
        for column in names
    }


def _check_classes(line: _Line, values: Sequence[str], clinical: Path | str) -> None:
    """Whether a column may hold classes."""
    count = len(set(values) - set(line.listed("missing")))
    if not 2 <= count <= MOST_CLASSES:
        raise TaskError(
            f"column `{line.label}` has {count:,} values, and a classification 2 to {MOST_CLASSES}",
            where=f"{line.place}, {clinical}",
            hint="is it a `regression`? Otherwise list its classes in the column `classes` of the list",
        )


def _stated(event: str, line: _Line, values: Sequence[str], clinical: Path | str) -> dict[str, Any]:
    """What the column of an event holds, in the words of a criterion.

    Raises:
        TaskError: a value is not named.
    """
    import pyarrow as pa

    from m3h_pipeline.tasks.columns import Column, Side, sort_out

    lists = line.lists("observed", "censored", "missing")
    sides = [Side(key, lists.get(key, []), key) for key in ("observed", "censored")]
    try:
        rows = sort_out(Column(event, pa.array(values, pa.string())), sides, lists.get("missing", []))
    except TaskError as error:
        raise TaskError(
            error.what,
            where=f"{line.place}, {clinical}",
            hint="name its values in the columns `observed`, `censored` and `missing` of the list, separated "
            f"by {_SEPARATOR}",
        ) from error
    named = {
        side.key: [value for value, mine in zip(values, found, strict=True) if mine]
        for side, found in zip(sides, rows, strict=False)
    }
    return {key: found for key, found in named.items() if found} | lists


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
        for column, kinds in LISTS.items():
            if line[column] and line["task"] not in kinds:
                belongs = " or ".join(f"`{kind}`" for kind in kinds)
                raise TaskError(f"`{column}` belongs to tasks of kind {belongs}", where=place)
        lines.append(line)
    if not lines:
        raise TaskError("the task list names no task", where=file)
    return lines


def _paired(lines: list[_Line], file: str) -> list[tuple[_Line, str, _Line]]:
    """Every task's line, for survival with the event's column and line; the n-th time has the n-th event."""
    times = [line for line in lines if line["task"] == "survival_time"]
    events = [line for line in lines if line["task"] == "survival_event"]
    if len(times) != len(events):
        raise TaskError(
            f"there are {len(times)} `survival_time` and {len(events)} `survival_event`",
            where=file,
            hint="a survival task has one line of each, the first time belonging to the first event",
        )
    event_of = {id(time): event for time, event in zip(times, events, strict=True)}
    for line in lines:
        if line["task"] == "survival" and not line["event"]:
            raise TaskError(
                "the column of the event is missing",
                where=line.place,
                hint="name it in the column `event` (`name` or `column` is that of the time)",
            )
    found = []
    for line in lines:
        if line["task"] == "survival_time":
            of_event = event_of[id(line)]
            found.append((line, of_event.label, of_event))
        elif line["task"] != "survival_event":
            found.append((line, line["event"], line))
    return found


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


def _criterion(
    line: _Line, event: str, of_event: _Line, values: Mapping[str, list[str]] | None
) -> tuple[str, dict[str, Any]]:
    """Problem class and criterion of a task."""
    missing = line.lists("missing")
    if line["task"] == "regression":
        return "regression", {"kind": "number", "column": line.label, **missing}
    if line["task"] != "classification":
        stated = of_event.lists("observed", "censored", "missing")
        return "survival", {"kind": "time_to_event", "time": line.label, "event": event, **stated}
    found = (values or {}).get(line.label, [])
    classes = line.listed("classes") or [value for value in found if value not in line.listed("missing")]
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
            **missing,
        }
    return "multiclass", {
        "kind": "classes",
        "column": line.label,
        "classes": {name: [name] for name in classes},
        **missing,
    }
