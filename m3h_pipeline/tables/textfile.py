"""Delimited text files as they come: gzipped or not, comma or not, whole or truncated.

Everything here raises :class:`~m3h_pipeline.errors.InputError` with the file and, where there is one, the
line; no message repeats what a line holds, because lines may hold what is private.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.csv as pacsv

from m3h_pipeline.errors import InputError, nearest

#: Names of the delimiters that a wrongly exported file may use.
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_LONGEST_HEADER = 64 << 20
#: What unpacks to more than this, and to so many times its size, is refused. Text packs to a tenth, zeros to
#: a thousandth of their size.
_LARGEST_UNPACKED = 256 << 20
_LARGEST_RATIO = 500
COPY_AGAIN = "copy or download it again and compare its checksum"
_LINE_END = re.compile(rb"\r?\n|\r")
#: First bytes of files that have other endings than their own: what they are, and what to do.
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or export the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of old", "export the sheet as CSV"),
    (b"BZh", "packed by bzip2", "unpack it: bunzip2"),
    (b"\xfd7zXZ", "packed by xz", "unpack it: unxz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it: unzstd"),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"\x89HDF", "an HDF5 file", "name it .h5ad if it is AnnData"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"\xff\xfe", "text in UTF-16", "export it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16", "export it as UTF-8"),
    (b"<!doctype", "a web page", "download the file itself: is a login needed?"),
    (b"<html", "a web page", "download the file itself: is a login needed?"),
    (b"ustar", "a tar archive", "unpack it: tar -xf"),
)


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn what goes wrong while reading ``path`` into an :class:`InputError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError("the file does not exist", where=str(path), hint="check the path") from error
    except IsADirectoryError as error:
        raise InputError("this is a folder, not a file", where=str(path), hint="check the path") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            "the gzip file is truncated or damaged",
            where=str(path),
            hint=COPY_AGAIN,
        ) from error
    except OSError as error:
        if error.errno is None:
            # Arrow's word for what stands in a file, not for how it is reached.
            raise InputError("the file is damaged", where=str(path), hint=COPY_AGAIN) from error
        raise InputError(
            f"cannot read the file: {error.strerror or error}", where=str(path), hint="check its permissions"
        ) from error


@contextmanager
def open_bytes(path: Path | str, advance: Callable[[int], None] | None = None) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, decompressed if its first bytes are those of gzip (whatever its name).

    ``advance`` is called with the number of bytes taken from the file, compressed as they are, for progress.

    Raises:
        InputError: it does not exist, is a folder, is empty, or is a truncated gzip.
    """
    with reading(path), Path(path).open("rb") as file:
        raw = file if advance is None else cast(io.BufferedReader, _Counted(file, advance))
        if file.read(1) == b"":
            raise InputError("the file is empty", where=str(path), hint="copy or download it again")
        file.seek(0)
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            # gzip checks length and checksum at the end, so that truncation is an error, never fewer rows.
            limit = max(_LARGEST_UNPACKED, _LARGEST_RATIO * Path(path).stat().st_size)
            with _Unpacked(io.BufferedReader(raw, 1 << 20), limit, str(path)) as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            yield raw


@contextmanager
def open_text(path: Path | str) -> Iterator[BinaryIO]:
    """As :func:`open_bytes`; carriage returns alone become line feeds, another format raises InputError."""
    with open_bytes(path) as stream:
        head = stream.read(1 << 16)
        if other := other_format(head[:512]):
            raise InputError(f"this is no text table but {other[0]}", where=str(path), hint=other[1])
        stream.seek(0)
        alone = b"\r" in head[:-1] and b"\n" not in head
        yield cast(BinaryIO, io.BufferedReader(_Returns(stream), 1 << 20)) if alone else stream


class _Returns(io.RawIOBase):
    """A reader of a file whose lines end in carriage returns alone, as those of Excel for Mac did."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)


def other_format(start: bytes) -> tuple[str, str] | None:
    """What a file is that starts with these bytes (512 are enough), and what to do; None: perhaps text.

    Examples:
        >>> other_format(b"PK\\x03\\x04..."), other_format(b"id,age")
        (('a zip archive or an Excel workbook', 'unpack it, or export the sheet as CSV'), None)
    """
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, what, hint in _SIGNATURES:
        if start.startswith(signature) or head[: len(signature)].lower() == signature.lower():
            return what, hint
    return (_SIGNATURES[-1][1], _SIGNATURES[-1][2]) if start[257:262] == b"ustar" else None


class _Unpacked(gzip.GzipFile):
    """A gzip file that is given up where it unpacks to absurdly much."""

    def __init__(self, packed: io.BufferedReader, limit: int, shown: str) -> None:
        super().__init__(fileobj=packed)
        self._limit, self._shown = limit, shown

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size >= 0:
            return self._within(super().read(size))
        parts = []
        while part := self._within(super().read(4 << 20)):
            parts.append(part)
        return b"".join(parts)

    def read1(self, size: int = -1) -> bytes:
        return self._within(super().read1(size))

    def _within(self, data: bytes) -> bytes:
        if self.tell() > self._limit:
            raise InputError(
                f"the gzip file unpacks to {_LARGEST_RATIO} times its size: over {self._limit >> 20:,} MB",
                where=self._shown,
                hint="is it the right file? If so, unpack it and name the unpacked file",
            )
        return data


class _Counted(io.RawIOBase):
    """A reader that reports how much was read."""

    def __init__(self, stream: BinaryIO, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._stream, self._advance = stream, advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._advance(len(data))
        return len(data)


@contextmanager
def plain_file(path: Path | str, folder: Path) -> Iterator[Path]:
    """The file itself, or, if it is gzipped, an unpacked copy in ``folder`` for as long as the block lasts.

    Raises:
        InputError: the gzip is truncated, or there is no room for the copy.
    """
    with reading(path), Path(path).open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    if not packed:
        yield Path(path)
        return
    copy = folder / "unpacked.csv"
    try:
        with open_bytes(path) as source, copy.open("wb") as target:
            while data := source.read(4 << 20):
                try:
                    target.write(data)
                except OSError as error:
                    raise InputError(
                        f"cannot unpack the file: {error.strerror or error}",
                        where=str(folder),
                        hint="free some space, or unpack it yourself and name the unpacked file",
                    ) from error
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def read_header(stream: BinaryIO, path: Path | str) -> tuple[bytes, bytes]:
    """Read the first line; return it without its line end, and what was read beyond it.

    A line ends in a line feed, perhaps with a carriage return before it, or in a carriage return alone.

    Raises:
        InputError: it is no text.
    """
    data = b""
    while b"\n" not in data and b"\r" not in data[:-1]:
        more = stream.read(1 << 20)
        if not data and (other := other_format(more[:512])):
            raise InputError(f"this is no text table but {other[0]}", where=str(path), hint=other[1])
        if not more:
            break
        data += more
        if len(data) > _LONGEST_HEADER:
            raise InputError(
                "there is no line end in the first 64 MB", where=str(path), hint="is this a text file?"
            )
    end = _LINE_END.search(data)
    line, rest = (data, b"") if end is None else (data[: end.start()], data[end.end() :])
    return line.removeprefix(b"\xef\xbb\xbf"), rest


def split_header(
    line: bytes, path: Path | str, delimiter: str = ",", expect: Sequence[str] = ()
) -> list[str]:
    """The names of the columns.

    Raises:
        InputError: a column of ``expect`` is absent; the message names another delimiter if the line uses
            one, else the nearest name.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("the first line is not UTF-8", where=str(path), hint="export it as UTF-8") from error
    names = header_fields(text, delimiter, f"{path}, line 1")
    missing = [name for name in expect if name not in names]
    if not missing:
        return names
    for other, called in DELIMITERS.items():
        found = header_fields(text, other)
        if other != delimiter and len(found) > 1 and all(name in found for name in missing):
            raise InputError(
                f"the fields are separated by {called}s ({other!r}), not by {DELIMITERS[delimiter]}s",
                where=f"{path}, line 1",
                hint=f"export the file with {DELIMITERS[delimiter]}s",
            )
    raise InputError(
        f"column(s) missing: {', '.join(missing)}", where=f"{path}, line 1", hint=nearest(missing[0], names)
    )


def header_fields(line: str, delimiter: str, where: str | None = None) -> list[str]:
    """The names in a header line; raises InputError if it is none."""
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:
        raise InputError(
            "a line end or over 100,000 letters stand in a name of the header",
            where=where,
            hint="do the lines end in different ways?",
        ) from error


def stream_text(
    path: Path | str, columns: Sequence[str], advance: Callable[[int], None] | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream the named columns of a comma-separated file as strings, whatever its length and other columns.

    ``advance`` is called with the number of bytes taken from the file, for progress.

    Raises:
        InputError: no such file, a truncated gzip, a column is missing, a line has too many or few fields.
    """
    with open_bytes(path, advance) as stream:
        line, rest = read_header(stream, path)
        names = split_header(line, path, expect=columns)
        for name in columns:
            if names.count(name) > 1:
                raise InputError(f"column `{name}` stands twice in the header", where=f"{path}, line 1")
        broken: list[Any] = []

        def refuse(row: Any) -> str:
            broken.append(row)
            return "error"

        source = pa.PythonFile(_Joined(rest, stream), mode="r")
        try:
            reader = pacsv.open_csv(
                source,
                read_options=pacsv.ReadOptions(
                    column_names=[str(i) for i in range(len(names))], use_threads=False, block_size=4 << 20
                ),
                parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
                convert_options=pacsv.ConvertOptions(
                    include_columns=[str(names.index(name)) for name in columns],
                    column_types={str(names.index(name)): pa.string() for name in columns},
                ),
            )
            for batch in reader:
                yield batch.rename_columns(list(columns))
        except pa.ArrowInvalid as error:
            if broken:
                row = broken[0]
                # The header, which Arrow does not see here, is line 1.
                place = f", record {row.number + 1}" if row.number is not None else ""
                raise InputError(
                    f"a line has {row.actual_columns} fields instead of {row.expected_columns}",
                    where=f"{path}{place}",
                    hint="copy or download the file again",
                ) from None
            if "Empty CSV file" in str(error):
                return
            raise InputError("the file is no valid UTF-8 CSV", where=str(path)) from None


class _Joined(io.RawIOBase):
    """A reader of what was already taken from ``stream``, then of the stream itself."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            taken, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
            return taken
        return self._stream.read(size)
