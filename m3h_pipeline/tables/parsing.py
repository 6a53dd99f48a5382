"""One record of a CSV file into numbers: the rules, in plain Python.

This is the reference; :mod:`m3h_pipeline.tables.kernel` does the same for plain records, compiled, and hands
every record that holds something unusual (a quotation mark, a blank, a text) back to here.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Texts that mean "not observed" in a numeric column, in any case.
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """What to take from each field of a record.

    Attributes:
        names: all columns of the file, in its order.
        features: fields of the features; several sources lie behind one another.
        numbers: fields read as float64.
        texts: fields read as text.
    """

    names: tuple[str, ...]
    features: tuple[int, ...]
    numbers: tuple[int, ...]
    texts: tuple[int, ...]


@dataclass(frozen=True)
class Rows:
    """Parsed records.

    Attributes:
        features: (n, F) float32, the float32 nearest to the float64 nearest to the text; NaN = missing.
        numbers: (n, M) float64.
        texts: (n, T) strings.
        malformed: per record, why it is unusable, or None.
    """

    features: npt.NDArray[np.float32]
    numbers: npt.NDArray[np.float64]
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
    if text.lower() in MISSING:
        return math.nan
    raise ValueError("no number")


def split_record(text: str, delimiter: str = ",") -> list[str]:
    """The fields of one record.

    Raises:
        Malformed: its quotation marks make no sense.

    Examples:
        >>> split_record('1,"a, b",2')
        ['1', 'a, b', '2']
    """
    if '"' not in text:
        return text.split(delimiter)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        rows = []
    if len(rows) != 1:
        raise Malformed("quotation marks that do not match")
    return rows[0]


def parse_record(
    record: bytes | bytearray, layout: Layout, delimiter: str = ","
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], list[str]]:
    """The features, numbers and texts of one record.

    Raises:
        Malformed: it has too many or too few fields, text in a numeric column, or is not UTF-8.
    """
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    fields = split_record(text, delimiter)
    if len(fields) != len(layout.names):
        raise Malformed(f"{len(fields)} fields instead of {len(layout.names)}")
    with np.errstate(over="ignore"):
        features = _numbers(fields, layout.features, layout).astype(np.float32)
    return features, _numbers(fields, layout.numbers, layout), [fields[i].strip() for i in layout.texts]


def _numbers(fields: list[str], wanted: Sequence[int], layout: Layout) -> npt.NDArray[np.float64]:
    values = np.empty(len(wanted), dtype=np.float64)
    for k, i in enumerate(wanted):
        try:
            values[k] = parse_number(fields[i])
        except ValueError:
            raise Malformed(f"text in the numeric column `{layout.names[i]}`") from None
    return values


def parse_rows(data: bytes | bytearray, spans: npt.NDArray[np.int64], layout: Layout) -> Rows:
    """Parse the records at ``spans`` (n, 2) of ``data``, one after the other."""
    n = len(spans)
    features = np.full((n, len(layout.features)), np.nan, dtype=np.float32)
    numbers = np.full((n, len(layout.numbers)), np.nan, dtype=np.float64)
    texts: list[list[str]] = [[] for _ in range(n)]
    malformed: list[str | None] = [None] * n
    for row, (start, stop) in enumerate(spans.tolist()):
        try:
            features[row], numbers[row], texts[row] = parse_record(data[start:stop], layout)
        except Malformed as reason:
            malformed[row] = str(reason)
    return Rows(features, numbers, texts, malformed)
