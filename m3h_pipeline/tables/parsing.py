"""One record of a delimited text file into numbers and texts: the rules, in plain Python.

This is the reference: :mod:`m3h_pipeline.tables.kernel` does the same, compiled, for usual records, and hands
every record in which it meets something else back to here.

A field that nobody reads may hold anything, also bytes that are not UTF-8: what is not read decides nothing.
Only the number of fields is a matter of the whole record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config.missing import is_missing

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)
# Bytes that are not UTF-8 are decoded to these, to which no valid UTF-8 is.
_UNDECODED = re.compile("[\udc80-\udcff]")
_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')

Data = bytes | bytearray
Spans = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Which columns of a file to read as what; a column is read once at most.

    Attributes:
        names: all columns of the file, in its order.
        singles: numbers of the columns read as float32.
        doubles: numbers of the columns read as float64.
        texts: numbers of the columns read as text.
    """

    names: tuple[str, ...]
    singles: tuple[int, ...]
    doubles: tuple[int, ...]
    texts: tuple[int, ...]


@dataclass(frozen=True)
class Rows:
    """Parsed records.

    Attributes:
        singles: (n, S) the float32 nearest to the float64 nearest to the text; NaN = missing.
        doubles: (n, D) float64.
        texts: (n, T) strings without blanks around them.
        malformed: per record, why it is unusable, or None; of such a record all numbers are NaN.
    """

    singles: npt.NDArray[np.float32]
    doubles: npt.NDArray[np.float64]
    texts: list[list[str]]
    malformed: list[str | None]


class Malformed(Exception):  # noqa: N818 - a reason, never seen by the user as an error
    """Why a record is unusable; says nothing about what it holds."""


def parse_number(text: str) -> float:
    """A number, NaN if missing.

    Raises:
        ValueError: the text is no number. Python's own extras (``1_0``, digits of other scripts) are none.

    Examples:
        >>> parse_number(" 1.5e3 "), parse_number("NA")
        (1500.0, nan)
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if is_missing(text):
        return math.nan
    raise ValueError("no number")


def decode(record: Data) -> str:
    """The text of a record, whatever its bytes are; see :func:`is_text`."""
    return record.decode("utf-8", "surrogateescape")


def is_text(field: str) -> bool:
    """Whether all bytes of a field were UTF-8.

    Examples:
        >>> [is_text(field) for field in decode(b"h\\xc3\\xa9,h\\xe9").split(",")]
        [True, False]
    """
    return field.isascii() or not _UNDECODED.search(field)


def split_record(text: str, delimiter: str = ",") -> list[str]:
    """The fields of one record; a quotation mark opens a quoted field only at the start of one (RFC 4180).

    Raises:
        Malformed: its quotation marks make no sense.

    Examples:
        >>> split_record('1,"a, b",2')
        ['1', 'a, b', '2']
    """
    if '"' not in text:
        return text.split(delimiter)
    fields: list[str] = []
    start = 0
    while True:
        if text.startswith('"', start):
            quoted = _QUOTED.match(text, start)
            end = len(text) if quoted is None else quoted.end()
            if quoted is None or not (end == len(text) or text.startswith(delimiter, end)):
                raise Malformed("quotation marks that do not match")
            fields.append(quoted[1].replace('""', '"'))
        else:
            found = text.find(delimiter, start)
            end = len(text) if found < 0 else found
            fields.append(text[start:end])
        if end == len(text):
            return fields
        start = end + len(delimiter)


def parse_record(
    record: Data, layout: Layout
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], list[str]]:
    """The singles, doubles and texts of one record.

    Raises:
        Malformed: it has too many or too few fields, text in a numeric column, or a text that is not UTF-8.
    """
    fields = split_record(decode(record))
    if len(fields) != len(layout.names):
        raise Malformed(f"{len(fields)} fields instead of {len(layout.names)}")
    with np.errstate(over="ignore"):
        singles = _numbers(fields, layout.singles, layout).astype(np.float32)
    doubles = _numbers(fields, layout.doubles, layout)
    for i in layout.texts:
        if not is_text(fields[i]):
            raise Malformed(f"bytes that are not UTF-8 in the column `{layout.names[i]}`")
    return singles, doubles, [fields[i].strip() for i in layout.texts]


def _numbers(fields: list[str], wanted: Sequence[int], layout: Layout) -> npt.NDArray[np.float64]:
    values = np.empty(len(wanted), dtype=np.float64)
    for k, i in enumerate(wanted):
        try:
            values[k] = parse_number(fields[i])
        except ValueError:
            raise Malformed(f"text in the numeric column `{layout.names[i]}`") from None
    return values


def empty_rows(n: int, layout: Layout) -> Rows:
    """Room for n records, all of them missing."""
    return Rows(
        np.full((n, len(layout.singles)), np.nan, dtype=np.float32),
        np.full((n, len(layout.doubles)), np.nan, dtype=np.float64),
        [[] for _ in range(n)],
        [None] * n,
    )


def parse_by_rules(data: Data, spans: Spans, chosen: Iterable[int], layout: Layout, rows: Rows) -> None:
    """Parse the chosen records into their place of ``rows``."""
    for i in chosen:
        start, stop = spans[i].tolist()
        try:
            rows.singles[i], rows.doubles[i], rows.texts[i] = parse_record(data[start:stop], layout)
        except Malformed as reason:
            rows.malformed[i] = str(reason)
            rows.singles[i], rows.doubles[i] = np.nan, np.nan


def parse_records(data: Data, spans: Spans, layout: Layout) -> Rows:
    """Parse the records at ``spans`` (n, 2) of ``data``, one after the other."""
    rows = empty_rows(len(spans), layout)
    parse_by_rules(data, spans, range(len(spans)), layout, rows)
    return rows
