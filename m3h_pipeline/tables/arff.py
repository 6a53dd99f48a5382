"""ARFF files: their header says what a column may hold, their lines are those of a text table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.reader import TableFileReader, no_row
from m3h_pipeline.tables.textfile import open_bytes, other_format
from m3h_pipeline.tables.values import Absent, is_number, why_no_number

_DATA = re.compile(r"\s*@data\s*$", re.IGNORECASE)
_BLANK = re.compile(r"\s*(%|$)")
_WORD = r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\""""
_ATTRIBUTE = re.compile(rf"\s*@attribute\s+({_WORD}|[^\s{{}}]+)\s*(\{{.*\}}|\S.*)$", re.IGNORECASE)
_QUOTED = re.compile(rf"[ ]*({_WORD})[ ]*")
_NUMERIC = frozenset({"numeric", "real", "integer"})
_LISTED = "correct the value, or write ? where it is missing; a nominal attribute lists every value"


@dataclass(frozen=True)
class _Attribute:
    """A column: numeric, date, string or nominal, and of a nominal one its values."""

    name: str
    kind: str
    values: frozenset[str] = frozenset()


class ArffTable(TableFileReader):
    """An ARFF file of numeric, nominal, string and date attributes, one line per row (none sparse)."""

    def __init__(self, path: Path, shown: str) -> None:
        with open_bytes(path) as stream:
            data = stream.read()
        if other := other_format(data[:512]):
            raise InputError(f"this is no ARFF file but {other[0]}", where=shown, hint=other[1])
        try:
            lines = re.split(r"\r\n|\r|\n", data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise InputError("the file is not UTF-8", where=shown, hint="export it as UTF-8") from error
        start = next((i for i, line in enumerate(lines) if _DATA.match(line)), None)
        if start is None:
            raise InputError("there is no @data line", where=shown, hint="is this an ARFF file?")
        self._attributes = [
            _attribute(line, f"{shown}, line {i + 1}")
            for i, line in enumerate(lines[:start])
            if line.strip().lower().startswith("@attribute")
        ]
        rows = [(i, lines[i]) for i in range(start + 1, len(lines)) if not _BLANK.match(lines[i])]
        self._lines = [i + 1 for i, _ in rows]
        self._records = [line for _, line in rows]
        super().__init__(shown, [attribute.name for attribute in self._attributes])

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], absent: Absent, *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        if not self._records:
            raise no_row(self)
        wanted = list(dict.fromkeys([*numeric, *text]))
        at = [self.header.index(name) for name in wanted]
        columns: list[list[str | None]] = [[] for _ in wanted]
        for row, record in enumerate(self._records):
            fields = self._fields(record, row)
            for column, j in zip(columns, at, strict=True):
                value = fields[j]
                if value is not None and (wrong := _wrong(value, self._attributes[j], absent)):
                    raise InputError(
                        f"column `{self.header[j]}` holds {wrong}", where=self.place([row]), hint=_LISTED
                    )
                column.append(value)
        arrays = [_array(column, self._attributes[j]) for column, j in zip(columns, at, strict=True)]
        yield pa.record_batch(arrays, names=wanted)

    def _fields(self, record: str, row: int) -> list[str | None]:
        if record.lstrip().startswith("{"):
            raise InputError(
                "the rows are sparse", where=self.place([row]), hint="export them in full, or as CSV"
            )
        fields = _split(record, "," if "," in record or "\t" not in record else "\t")
        if fields is None:
            raise InputError(
                "quotation marks that do not match", where=self.place([row]), hint="correct the line"
            )
        if len(fields) != len(self.header):
            raise InputError(
                f"a line has {len(fields)} fields instead of {len(self.header)}",
                where=self.place([row]),
                hint="correct the line; a value that holds the delimiter must stand in quotation marks",
            )
        return fields

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [self._lines[row] for row in rows]


def _attribute(line: str, where: str) -> _Attribute:
    found = _ATTRIBUTE.match(line)
    if not found:
        raise InputError(
            "the line is no attribute of an ARFF file", where=where, hint="write @attribute name type"
        )
    name, kind = _unquoted(found[1]), found[2].strip()
    if kind.startswith("{"):
        values = _split(kind[1:-1], ",")
        if values is None:
            raise InputError("quotation marks that do not match", where=where, hint="correct the line")
        return _Attribute(name, "nominal", frozenset((value or "").strip() for value in values))
    word = kind.split()[0].lower()
    if word not in _NUMERIC | {"string", "date"}:
        raise InputError(
            f"attribute `{name}` is of no known type",
            where=where,
            hint="valid: numeric, real, integer, string, date, {value, value}",
        )
    return _Attribute(name, "numeric" if word in _NUMERIC else word)


def _split(text: str, delimiter: str) -> list[str | None] | None:
    """The values of a line, None for ``?``, the format's sign of a missing one; None: it makes no sense."""
    values: list[str | None] = []
    start = 0
    while True:
        quoted = _QUOTED.match(text, start)
        if quoted is None:
            end = found if (found := text.find(delimiter, start)) >= 0 else len(text)
            value = text[start:end].strip()
            if value[:1] in ("'", '"'):
                return None
            values.append(None if value == "?" else value)
        else:
            end = quoted.end()
            if end < len(text) and text[end] != delimiter:
                return None
            values.append(_unquoted(quoted[1]))
        if end >= len(text):
            return values
        start = end + 1


def _unquoted(word: str) -> str:
    if len(word) > 1 and word[0] in "'\"" and word[-1] == word[0]:
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    return word


def _wrong(value: str, attribute: _Attribute, absent: Absent) -> str:
    """What a value is that its attribute does not allow; empty if it does."""
    value = value.strip()
    if attribute.kind == "nominal" and value not in attribute.values and not absent.one(value):
        return "a value that its attribute line does not list"
    if attribute.kind == "numeric" and not is_number(value) and not absent.one(value):
        return "text where a number is expected" + (f" ({why})" if (why := why_no_number(value)) else "")
    return ""


def _array(values: list[str | None], attribute: _Attribute) -> pa.Array:
    if attribute.kind == "date" and any(value is not None for value in values):
        # Its own format is not read: no use is made of dates.
        return pa.array([None if value is None else 0 for value in values], pa.timestamp("s"))
    return pa.array(values, pa.string())
