"""Where a table in a text file begins and ends: behind comments, and between the marks of GEO.

Lines before the header that begin with ``#`` are comments (cBioPortal describes its columns in them), and so
is Excel's ``sep=``. A series matrix of GEO has its table between two marks, behind what it says of the series
and of its samples.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.textfile import DELIMITERS, header_fields, open_text

_BEGIN, _END = b"!series_matrix_table_begin", b"!series_matrix_table_end"
_LONGEST = 64 << 20
_VALUE = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")


class Start(NamedTuple):
    """Where a table begins.

    Attributes:
        line: number of the header's line, from 1.
        header: the header, without its line end and a leading ``#``.
        end: what the line behind the last row begins with; empty: the table ends with the file.
    """

    line: int
    header: bytes
    end: bytes


def find_start(path: Path, shown: str, delimiter: str | None, given: int | None) -> Start:
    """Find the header of a table.

    Args:
        path: the file.
        shown: the file as its user names it.
        delimiter: of its fields; None: not known yet.
        given: the line that the study says; None: the first one that is no comment.

    Raises:
        InputError: there is none, or a comment may be the header.
    """
    comment = b""
    with open_text(path) as stream:
        for number in range(1, 1 << 62):
            raw = stream.readline(_LONGEST)
            if not raw:
                break
            if len(raw) == _LONGEST:
                raise InputError(
                    "there is no line end in the first 64 MB", where=shown, hint="is this a text file?"
                )
            line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            line = line.rstrip(b"\r\n")
            if given is not None:
                if number == given:
                    return Start(number, line.removeprefix(b"#"), b"")
            elif line.startswith(b"!") and number == 1:
                return _geo(stream, shown)
            elif number == 1 and line.startswith((b"^DATABASE", b"^SERIES", b"^PLATFORM", b"^SAMPLE")):
                raise InputError(
                    "this is a SOFT file of GEO, which holds many tables",
                    where=shown,
                    hint="take the series matrix (`GSE..._series_matrix.txt.gz`), and read it `transposed`",
                )
            elif _is_comment(line, delimiter):
                comment = line
            elif line.strip() and not (number == 1 and re.fullmatch(rb'"?sep=."?', line)):
                _check_comment(comment, line, number, shown, delimiter)
                return Start(number, line, b"")
    raise InputError(
        "there is no header" if given is None else f"there is no line {given}",
        where=shown,
        hint="is this the whole file?",
    )


def _geo(stream: BinaryIO, shown: str) -> Start:
    """The header behind the mark; the first line is read already."""
    number = 1
    for number, raw in enumerate(stream, 2):
        if raw.strip().lower() == _BEGIN:
            return Start(number + 1, stream.readline(_LONGEST).rstrip(b"\r\n"), _END)
    raise InputError(
        "there is no `!series_matrix_table_begin` in this file of GEO",
        where=f"{shown}, {number:,} lines",
        hint="take the series matrix; expression that lies in a supplementary file is a table of its own",
    )


def _is_comment(line: bytes, delimiter: str | None) -> bool:
    """Whether a line begins with ``#``, and not with a column whose name that is."""
    if not line.startswith((b"#", b'"#')):
        return False
    first = line.decode("utf-8", "replace").lstrip('"')[1:].lstrip('"')[:1]
    return not (first and first in (delimiter or "".join(DELIMITERS)))


def _check_comment(comment: bytes, header: bytes, number: int, shown: str, delimiter: str | None) -> None:
    """Raise InputError if the line before the supposed header may be the header itself."""
    known = delimiter or best_delimiter(header)
    above, here = (header_fields(line.decode("utf-8", "replace"), known, shown) for line in (comment, header))
    if len(above) == len(here) > 1 and not _has_value(above) and _has_value(here):
        raise InputError(
            f"line {number - 1} begins with `#` and may be the header, as line {number} looks like values",
            where=shown,
            hint=f"say which line is the header: `header: {number - 1}` or `header: {number}` of the file",
        )


def _has_value(fields: list[str]) -> bool:
    return any(_VALUE.fullmatch(field.strip()) for field in fields)


def best_delimiter(header: bytes) -> str:
    """The delimiter of a file whose ending does not say it; spaces where there is no other.

    Examples:
        >>> best_delimiter(b"a\\tb c"), best_delimiter(b"protein1 protein2 combined_score")
        ('\\t', ' ')
    """
    text = header.decode("utf-8", "replace")
    counts = {one: len(header_fields(text, one)) for one in DELIMITERS}
    best = max(counts, key=lambda one: counts[one])
    return best if counts[best] > 1 else " " if " " in text.strip() else "\t"


@contextmanager
def open_rows(path: Path, start: Start) -> Iterator[BinaryIO]:
    """The bytes behind the header, up to what ends the table.

    Raises:
        InputError: as :func:`~m3h_pipeline.tables.textfile.open_text`; or the mark of the end is absent.
    """
    with open_text(path) as stream:
        for _ in range(start.line):
            stream.readline()
        yield stream if not start.end else cast(BinaryIO, io.BufferedReader(_Until(stream, start.end, path)))


class _Until(io.RawIOBase):
    """A stream up to the line that begins with a mark."""

    def __init__(self, stream: BinaryIO, mark: bytes, path: Path) -> None:
        super().__init__()
        self._stream, self._mark, self._path = stream, mark, path
        self._held, self._done = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._done:
            lines = self._stream.readlines(1 << 20)
            if not lines:
                raise InputError(
                    f"the table has no end (`{self._mark.decode()}`)",
                    where=str(self._path),
                    hint="the file is not whole: copy or download it again",
                )
            end = next((i for i, line in enumerate(lines) if line.lower().startswith(self._mark)), None)
            self._done = end is not None
            self._held = b"".join(lines[:end])
        size = min(len(buffer), len(self._held))
        buffer[:size], self._held = self._held[:size], self._held[size:]
        return size
