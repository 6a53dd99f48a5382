"""A table read column by column, and what is an error in it.

Each format is a :class:`TableFileReader` that yields Arrow batches. The values are judged once for all
formats (:mod:`m3h_pipeline.tables.values`), so that the same table means the same in each of them.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.config.base import composed
from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.tables.dates import dates_error, holds_dates
from m3h_pipeline.tables.identifiers import called, keys_of
from m3h_pipeline.tables.textfile import COPY_AGAIN
from m3h_pipeline.tables.values import (
    NUMBER,
    Absent,
    Limits,
    as_numbers,
    as_text,
    is_text,
    is_time,
    parse_numbers,
    unwrapped,
    why_no_number,
)

_LARGEST = float(np.finfo(np.float32).max)
#: Longer texts are not repeated in a message.
_SHORT = 20


@dataclass(frozen=True)
class Content:
    """The wanted columns of one file, in the file's row order.

    Attributes:
        rows: number of rows n.
        numeric: column -> its place in ``numbers``.
        numbers: (n, number of numeric columns) float32, NaN = missing.
        text: column -> n strings without surrounding blanks, null = missing.
    """

    rows: int
    numeric: dict[str, int]
    numbers: Float32Array
    text: dict[str, pa.Array]


class NotNumericError(InputError):
    """A column that is read as numbers holds something else.

    Attributes:
        value: whether it is a single value, or else the type of the whole column.
    """

    def __init__(self, what: str, *, where: str, value: bool) -> None:
        hint = "correct the value, or leave it empty if it was not observed" if value else "read it as text"
        super().__init__(what, where=where, hint=hint)
        self.value = value


class TableFileReader(abc.ABC):
    """One table.

    Attributes:
        shown: the file as its user names it, for messages.
        header: keys of its columns in order, each once (:func:`~m3h_pipeline.tables.identifiers.called`).
        names: of these, the keys of the columns that are offered, all but those :meth:`leave_out` names.
        arrays: name of a column of vectors -> the keys of its elements; a pattern takes no column of
            ``listed_only``.
        unit: what :meth:`positions` counts, ``line`` or ``row``.
        repeats: whether a column whose name stands again can be read.
    """

    unit = "line"
    repeats = True

    def __init__(self, shown: str, names: Sequence[str]) -> None:
        self.shown = shown
        own = [composed(name) for name in names]
        self.header = keys_of(own)
        self.names = list(self.header)
        self.arrays: dict[str, list[str]] = {}
        self.listed_only: frozenset[str] = frozenset()
        self._counts = Counter(own)
        self._keys: dict[str, list[str]] = {}
        for key, name in zip(self.header, own, strict=True):
            self._keys.setdefault(name, []).append(key)

    def count(self, name: str) -> int:
        """How often a name stands in the header."""
        return self._counts[name]

    def keys(self, name: str) -> list[str]:
        """The keys of the columns of a name, in order."""
        return self._keys[name] if self._counts[name] else []

    def leave_out(self, names: Sequence[str], key: str) -> None:
        """Read the table as if the named columns did not stand in it.

        Raises:
            InputError: there is no such column; ``key`` of the configuration names it.
        """
        for name in [one for given in names for one in self.arrays.get(given, [given])]:
            if not self._counts[name]:
                raise InputError(
                    f"column `{name}` of `{key}` is absent",
                    where=self.shown,
                    hint=nearest(name, set(self._counts)),
                )
        left = {one for name in names for one in self.arrays.pop(name, [name])}
        self.names = [one for one in self.names if called(one) not in left]
        for name in left:
            del self._counts[name]

    @abc.abstractmethod
    def batches(
        self, numeric: Sequence[str], text: Sequence[str], absent: Absent, *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        """Yield the columns ``numeric`` then ``text``, those in both once, in row order.

        A numeric column may come as numbers or as text; in numbers that were text, the spellings of
        ``absent`` are null. ``plain`` forbids the reader to convert text itself.
        """

    @abc.abstractmethod
    def positions(self, rows: Sequence[int]) -> list[int]:
        """Where the given rows (from 0) stand in the file, counted from 1 in :attr:`unit`."""

    def place(self, rows: Sequence[int]) -> str:
        """The file and where the rows stand in it; at most ten are named."""
        at = ", ".join(str(position) for position in self.positions(list(rows)[:10]))
        more = f" and {len(rows) - 10:,} more" if len(rows) > 10 else ""
        return f"{self.shown}, {self.unit}{'s' if len(rows) > 1 else ''} {at}{more}"

    def check_delimiter(self) -> None:  # noqa: B027 - not every format has one
        """Raise InputError if the columns stand under another delimiter; called where one is absent."""

    def explain(self, error: Exception) -> InputError:
        """What Arrow could not read, for people."""
        return InputError("the file cannot be read as a table", where=self.shown, hint=COPY_AGAIN)


def read_columns(
    reader: TableFileReader,
    numeric: Sequence[str],
    text: Sequence[str],
    absent: Absent,
    limits: Limits | None = None,
) -> Content:
    """Read columns of one file as numbers, as text, or (named in both) as both.

    What a value means is the matter of :mod:`m3h_pipeline.tables.values`; ``limits`` makes numbers of values
    such as ``<5``, which else are none.

    Raises:
        NotNumericError: a numeric column holds text, or is of another type.
        InputError: a numeric column holds an infinite value or one beyond 3.4e38; a column holds dates; a
            line has too many or too few fields; the file is damaged. All messages name file, line and column.
    """
    for plain in (False, True):
        try:
            return _collect(reader, numeric, text, absent, limits, plain=plain)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            # Arrow's own conversion is fast and strict; the second pass takes blanks off and finds the place.
            if plain:
                raise reader.explain(error) from None
    raise AssertionError("unreachable")


def _collect(
    reader: TableFileReader,
    numeric: Sequence[str],
    text: Sequence[str],
    absent: Absent,
    limits: Limits | None,
    *,
    plain: bool,
) -> Content:
    parts: list[Float32Array] = []
    texts: dict[str, list[pa.Array]] = {name: [] for name in text}
    rows = 0
    for batch in reader.batches(numeric, text, absent, plain=plain):
        columns = {
            name: _plain(batch.column(name), name, reader) for name in dict.fromkeys([*numeric, *text])
        }
        parts.append(_numbers(reader, columns, batch.num_rows, numeric, absent, limits, rows))
        for name in text:
            if pa.types.is_nested(columns[name].type):
                raise InputError(
                    f"column `{name}` is of type {columns[name].type}, neither text nor number",
                    where=reader.shown,
                )
            texts[name].append(as_text(columns[name], absent))
        rows += batch.num_rows
    empty: Float32Array = np.empty((0, len(numeric)), dtype=np.float32)
    numbers = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else empty
    places = {name: j for j, name in enumerate(numeric)}
    return Content(rows, places, numbers, {name: pa.concat_arrays([_NO_TEXT, *texts[name]]) for name in text})


_NO_TEXT = pa.array([], type=pa.string())


def _plain(values: pa.Array, name: str, reader: TableFileReader) -> pa.Array:
    values = unwrapped(values)
    if not is_time(values.type):
        return values
    if values.null_count < len(values):
        raise dates_error(name, where=reader.shown)
    return pa.nulls(len(values))


def _numbers(
    reader: TableFileReader,
    columns: Mapping[str, pa.Array],
    rows: int,
    names: Sequence[str],
    absent: Absent,
    limits: Limits | None,
    before: int,
) -> Float32Array:
    """The named columns of a batch, of which ``before`` rows stand before, as (n, D) float32."""
    x = np.empty((rows, len(names)), dtype=np.float64)
    for j, name in enumerate(names):
        values = columns[name]
        if not (is_text(values.type) or _is_numeric(values.type)):
            raise NotNumericError(
                f"column `{called(name)}` is of type {values.type}, not numbers",
                where=reader.shown,
                value=False,
            )
        x[:, j], wrong, text = as_numbers(values, absent)
        if wrong is not None and limits is not None:
            x[:, j], wrong = parse_numbers(text := limits.taken(called(name), text))
        if wrong is not None:
            if holds_dates(text):
                raise dates_error(called(name), where=reader.shown)
            raise NotNumericError(
                f"column `{called(name)}` holds text where a number is expected{_quoted(text, wrong)}",
                where=reader.place([before + wrong]),
                value=True,
            )
    # The comparison is false for NaN, and true for what would become infinite as float32.
    if (beyond := np.abs(x) > _LARGEST).any():
        row, j = (int(i) for i in np.argwhere(beyond)[0])
        what = "an infinite value" if np.isinf(x[row, j]) else "a value beyond 3.4e38"
        raise InputError(
            f"column `{called(names[j])}` holds {what}",
            where=reader.place([before + row]),
            hint="correct it, or leave it empty if it was not observed",
        )
    # There is one zero.
    x += 0.0
    return x.astype(np.float32)


def _is_numeric(kind: pa.DataType) -> bool:
    tests: list[Callable[[Any], bool]] = [
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_boolean,
        pa.types.is_null,
    ]
    return any(test(kind) for test in tests)


def _quoted(text: pa.Array, row: int) -> str:
    """The offending text, if it is short and a slip among numbers, and what keeps it from being one.

    Where the other values are no numbers either, the column may hold names.
    """
    value = text[row].as_py()
    if holds_dates(text[row : row + 1]):
        return " (a date)"
    why = f" ({why})" if (why := why_no_number(value)) else ""
    numbers = pc.sum(pc.match_substring_regex(text, NUMBER)).as_py() or 0
    if len(value) > _SHORT or 2 * numbers < len(text) - text.null_count:
        return why
    return f": {value!r}{why}"


def no_row(reader: TableFileReader) -> InputError:
    """What to say of a file with nothing but its header."""
    return InputError("there is no row after the header", where=reader.shown, hint="is this the whole file?")


def once(reader: TableFileReader, name: str, key: str) -> None:
    """Check that the column which ``key`` of a configuration names stands in a table exactly once.

    Raises:
        InputError: it is absent (the message has the nearest name or another delimiter), or stands twice.
    """
    count = reader.count(name)
    if count == 0:
        reader.check_delimiter()
        raise InputError(
            f"column `{name}` of `{key}` is absent",
            where=reader.shown,
            hint=nearest(name, set(map(called, reader.names))),
        )
    if count > 1:
        raise InputError(
            f"column `{name}` stands {count} times in the header",
            where=reader.shown,
            hint="rename or remove the others; of genes, say what becomes of them: "
            "`genes: {duplicates: mean}`",
        )
