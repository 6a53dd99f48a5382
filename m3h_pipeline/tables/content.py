"""The columns of a table as numbers and texts, whole or some rows at a time, and what is an error in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.dates import dates_error, holds_dates
from m3h_pipeline.tables.identifiers import called
from m3h_pipeline.tables.reader import Slips, TableFileReader
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
        slips: what was noted of its columns.
    """

    rows: int
    numeric: dict[str, int]
    numbers: Float32Array
    text: dict[str, pa.Array]
    slips: Slips


class NotNumericError(InputError):
    """A column that is read as numbers holds something else.

    Attributes:
        value: whether it is a single value, or else the type of the whole column.
    """

    def __init__(self, what: str, *, where: str, value: bool) -> None:
        hint = "correct the value, or leave it empty if it was not observed" if value else "read it as text"
        super().__init__(what, where=where, hint=hint)
        self.value = value


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
        InputError: a numeric column holds an infinite value or one beyond 3.4e38, or truths among other
            numbers; a column holds dates; a line has too many or too few fields; the file is damaged. All
            messages name file, line and column.
    """
    slips = Slips(reader)
    for plain in (False, True):
        # Values are counted once, whichever pass they come from.
        before = dict(limits.counts) if limits is not None else {}
        try:
            parts = list(_contents(reader, numeric, text, absent, limits, None, slips, plain=plain))
            break
        except (pa.ArrowException, UnicodeDecodeError) as error:
            # Arrow's own conversion is fast and strict; the second pass takes blanks off and finds the place.
            if plain:
                raise reader.explain(error) from None
            if limits is not None:
                limits.counts.clear()
                limits.counts.update(before)
    empty: Float32Array = np.empty((0, len(numeric)), dtype=np.float32)
    numbers = [part.numbers for part in parts]
    joined = np.concatenate(numbers) if len(numbers) > 1 else numbers[0] if numbers else empty
    texts = {name: pa.concat_arrays([_NO_TEXT, *(part.text[name] for part in parts)]) for name in text}
    places = {name: j for j, name in enumerate(numeric)}
    return Content(sum(part.rows for part in parts), places, joined, texts, slips)


#: Called with each column that cannot be read, once, and with what is wrong; its numbers are then missing.
OnProblem = Callable[[str, InputError], None]


def stream_columns(
    reader: TableFileReader,
    numeric: Sequence[str],
    text: Sequence[str],
    absent: Absent,
    limits: Limits | None = None,
    problem: OnProblem | None = None,
) -> Iterator[Content]:
    """The same as :func:`read_columns`, some rows at a time.

    Args:
        reader, numeric, text, absent, limits: as there.
        problem: takes what is wrong with a column; None: it is raised.

    Raises:
        NotNumericError, InputError: as :func:`read_columns`; with ``problem`` only what is wrong with lines.
    """
    done, slips = 0, Slips(reader)
    for plain in (False, True):
        try:
            before = 0
            found = _contents(reader, numeric, text, absent, limits, problem, slips, plain=plain, skip=done)
            for part in found:
                before += part.rows
                if before > done:
                    # Of the rows that an earlier pass gave out, the first of these are some.
                    given = part.rows - (before - done)
                    done = before
                    yield part if given == 0 else _after(part, given)
            return
        except (pa.ArrowException, UnicodeDecodeError) as error:
            if plain:
                raise reader.explain(error) from None


def _after(part: Content, rows: int) -> Content:
    text = {name: values.slice(rows) for name, values in part.text.items()}
    return Content(part.rows - rows, part.numeric, part.numbers[rows:], text, part.slips)


def _contents(
    reader: TableFileReader,
    numeric: Sequence[str],
    text: Sequence[str],
    absent: Absent,
    limits: Limits | None,
    problem: OnProblem | None,
    slips: Slips,
    *,
    plain: bool,
    skip: int = 0,
) -> Iterator[Content]:
    """The batches of a file; the numbers of the first ``skip`` rows, as far as batches go, are not read."""
    places, words = {name: j for j, name in enumerate(numeric)}, set(text)
    rows = 0
    for batch in reader.batches(numeric, text, absent, plain=plain):
        n = batch.num_rows
        if rows + n <= skip:
            empty: Float32Array = np.empty((n, 0), dtype=np.float32)
            yield Content(n, {}, empty, {}, slips)
        else:
            columns: dict[str, pa.Array] = {}
            for name in dict.fromkeys([*numeric, *text]):
                try:
                    columns[name] = _plain(batch.column(name), name, reader)
                    if name in words:
                        _check_flat(columns[name], name, reader)
                except InputError as error:
                    if problem is None:
                        raise
                    problem(name, error)
                    columns[name] = pa.nulls(n)
            x = _numbers(reader, columns, n, numeric, absent, limits, rows, problem, slips)
            texts = {name: as_text(columns[name], absent) for name in text}
            for name, values in texts.items():
                slips.note_truths(name, columns[name], rows, values.is_valid().to_numpy(zero_copy_only=False))
                slips.note_floats(name, columns[name], rows)
            yield Content(n, places, x, texts, slips)
        rows += n


def _check_flat(values: pa.Array, name: str, reader: TableFileReader) -> None:
    if pa.types.is_nested(values.type):
        raise InputError(
            f"column `{name}` is of type {values.type}, neither text nor number", where=reader.shown
        )


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
    problem: OnProblem | None,
    slips: Slips,
) -> Float32Array:
    """The named columns of a batch, of which ``before`` rows stand before, as (n, D) float32."""
    x = np.empty((rows, len(names)), dtype=np.float64)
    for j, name in enumerate(names):
        try:
            x[:, j] = found = _column(reader, columns[name], name, absent, limits, before)
            slips.note_truths(name, columns[name], before, ~np.isnan(found))
            slips.check_numbers(name, found)
        except InputError as error:
            if problem is None:
                raise
            problem(name, error)
            x[:, j] = np.nan
    # The comparison is false for NaN, and true for what would become infinite as float32.
    if (beyond := np.abs(x) > _LARGEST).any():
        for j in np.flatnonzero(beyond.any(0)).tolist():
            row = int(np.argmax(beyond[:, j]))
            what = "an infinite value" if np.isinf(x[row, j]) else "a value beyond 3.4e38"
            wrong = InputError(
                f"column `{called(names[j])}` holds {what}",
                where=reader.place([before + row]),
                hint="correct it, or leave it empty if it was not observed",
            )
            if problem is None:
                raise wrong
            problem(names[j], wrong)
            x[beyond[:, j], j] = np.nan
    # There is one zero.
    x += 0.0
    return x.astype(np.float32)


def _column(
    reader: TableFileReader,
    values: pa.Array,
    name: str,
    absent: Absent,
    limits: Limits | None,
    before: int,
) -> npt.NDArray[np.float64]:
    """One column of a batch as numbers."""
    if not (is_text(values.type) or _is_numeric(values.type)):
        raise NotNumericError(
            f"column `{called(name)}` is of type {values.type}, not numbers", where=reader.shown, value=False
        )
    found, wrong, text = as_numbers(values, absent)
    if wrong is not None and limits is not None:
        found, wrong = parse_numbers(text := limits.taken(called(name), text))
    if wrong is not None:
        if holds_dates(text):
            raise dates_error(called(name), where=reader.shown)
        raise NotNumericError(
            f"column `{called(name)}` holds text where a number is expected{_quoted(text, wrong)}",
            where=reader.place([before + wrong]),
            value=True,
        )
    return found


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
