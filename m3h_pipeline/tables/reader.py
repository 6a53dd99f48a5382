"""A table read column by column: what is a number, what is missing, what is an error.

Each format is a :class:`TableFileReader` that yields Arrow batches. The values are judged here once for all
formats, so that the same table means the same in each of them.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.contracts import Float32Array
from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.tables.names import called, keys_of

_LARGEST = float(np.finfo(np.float32).max)
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
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
        header: keys of its columns in order, each once (see :mod:`m3h_pipeline.tables.names`).
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
        self.header = keys_of(names)
        self.names = list(self.header)
        self.arrays: dict[str, list[str]] = {}
        self.listed_only: frozenset[str] = frozenset()
        self._counts = Counter(names)

    def count(self, name: str) -> int:
        """How often a name stands in the header."""
        return self._counts[name]

    def keys(self, name: str) -> list[str]:
        """The keys of the columns of a name, in order."""
        return [key for key in self.names if called(key) == name] if self._counts[name] else []

    def leave_out(self, names: Sequence[str], key: str) -> None:
        """Read the table as if the named columns did not stand in it.

        Raises:
            InputError: there is no such column; ``key`` of the configuration names it.
        """
        for name in names:
            if not self._counts[name]:
                raise InputError(
                    f"column `{name}` of `{key}` is absent",
                    where=self.shown,
                    hint=nearest(name, set(self._counts)),
                )
        self.names = [one for one in self.names if called(one) not in set(names)]
        for name in names:
            del self._counts[name]

    @abc.abstractmethod
    def batches(
        self, numeric: Sequence[str], text: Sequence[str], missing: Sequence[str], *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        """Yield the columns ``numeric`` then ``text``, those in both once, in row order.

        A numeric column may come as numbers or as text. ``plain`` forbids the reader to convert text itself.
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
        return InputError("the file cannot be read as a table", where=self.shown)


def read_columns(
    reader: TableFileReader, numeric: Sequence[str], text: Sequence[str], missing: Sequence[str]
) -> Content:
    """Read columns of one file as numbers, as text, or (named in both) as both.

    Blanks around a value do not count; a missing value is a text of ``missing``, a null, or not a number.

    Raises:
        NotNumericError: a numeric column holds text, or is of another type.
        InputError: a numeric column holds an infinite value or one beyond 3.4e38; a line has too many or too
            few fields; the file is damaged. All messages name file, line and column.
    """
    for plain in (False, True):
        try:
            return _collect(reader, numeric, text, missing, plain=plain)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            # Arrow's own conversion is fast and strict; the second pass takes blanks off and finds the place.
            if plain:
                raise reader.explain(error) from None
    raise AssertionError("unreachable")


def _collect(
    reader: TableFileReader,
    numeric: Sequence[str],
    text: Sequence[str],
    missing: Sequence[str],
    *,
    plain: bool,
) -> Content:
    absent = pa.array(list(missing), type=pa.string())
    parts: list[Float32Array] = []
    texts: dict[str, list[pa.Array]] = {name: [] for name in text}
    rows = 0
    for batch in reader.batches(numeric, text, missing, plain=plain):
        parts.append(_numbers(reader, batch, numeric, absent, rows))
        for name in text:
            values = batch.column(name)
            if pa.types.is_nested(values.type):
                raise InputError(
                    f"column `{name}` is of type {values.type}, neither text nor number", where=reader.shown
                )
            texts[name].append(as_text(values, absent))
        rows += batch.num_rows
    empty: Float32Array = np.empty((0, len(numeric)), dtype=np.float32)
    numbers = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else empty
    places = {name: j for j, name in enumerate(numeric)}
    return Content(rows, places, numbers, {name: pa.concat_arrays([_NO_TEXT, *texts[name]]) for name in text})


_NO_TEXT = pa.array([], type=pa.string())


def as_text(values: pa.Array, absent: pa.Array) -> pa.Array:
    """Any column as strings without surrounding blanks; those in ``absent`` become null.

    Examples:
        >>> as_text(pa.array([" a", "NA", None]), pa.array(["NA"])).to_pylist()
        ['a', None, None]
        >>> as_text(pa.array([True, False]), pa.array(["NA"])).to_pylist()
        ['1', '0']
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_boolean(values.type):
        values = pc.cast(values, pa.int8())
    if pa.types.is_floating(values.type):
        texts = [
            None if value is None or value != value else _shortest(value) for value in values.to_pylist()
        ]
        values = pa.array(texts, pa.string())
    trimmed = pc.utf8_trim_whitespace(pc.cast(values, pa.string()))
    return pc.if_else(pc.is_in(trimmed, value_set=absent), pa.scalar(None, pa.string()), trimmed)


def _shortest(value: float) -> str:
    # Identifiers that a missing one has made floats: 10003400.0 is the text 10003400 in other files.
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def parse_numbers(text: pa.Array) -> tuple[npt.NDArray[np.float64], int | None]:
    """Strings as float64 (null = NaN), and the first row that is no number, or None.

    Examples:
        >>> parse_numbers(pa.array(["1.5", None, "2e3"]))
        (array([1.5e+00,     nan, 2.0e+03]), None)
        >>> parse_numbers(pa.array(["1.5", None, "<3"]))[1]
        2
    """
    try:
        return pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False), None
    except pa.ArrowInvalid:
        low, high = 0, len(text)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                pc.cast(text.slice(low, middle - low), pa.float64())
                low = middle
            except pa.ArrowInvalid:
                high = middle
        return np.full(len(text), np.nan), low


def _numbers(
    reader: TableFileReader, batch: pa.RecordBatch, names: Sequence[str], absent: pa.Array, before: int
) -> Float32Array:
    """The named columns of a batch, of which ``before`` rows stand before, as (n, D) float32."""
    x = np.empty((batch.num_rows, len(names)), dtype=np.float64)
    for j, name in enumerate(names):
        values = batch.column(name)
        kind = values.type
        if _is_text(kind):
            text = as_text(values, absent)
            x[:, j], wrong = parse_numbers(text)
            if wrong is not None:
                raise NotNumericError(
                    f"column `{called(name)}` holds text where a number is expected{_quoted(text, wrong)}",
                    where=reader.place([before + wrong]),
                    value=True,
                )
        elif _is_numeric(kind):
            x[:, j] = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
        else:
            raise NotNumericError(
                f"column `{called(name)}` is of type {kind}, not numbers", where=reader.shown, value=False
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
    return x.astype(np.float32)


def _is_text(kind: pa.DataType) -> bool:
    tests: list[Callable[[Any], bool]] = [
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_dictionary,
    ]
    return any(test(kind) for test in tests)


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
    """The offending text, if it is short and a slip among numbers.

    Where the other values are no numbers either, the column may hold names or dates of birth.
    """
    value = text[row].as_py()
    numbers = pc.sum(pc.match_substring_regex(text, _NUMBER)).as_py() or 0
    if len(value) > _SHORT or 2 * numbers < len(text) - text.null_count:
        return ""
    return f": {value!r}"


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
