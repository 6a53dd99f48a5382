"""A table read column by column, and what is an error in it.

Each format is a :class:`TableFileReader` that yields Arrow batches. The values are judged once for all
formats (:mod:`m3h_pipeline.tables.values`), so that the same table means the same in each of them.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.config.base import composed
from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.tables.identifiers import called, keys_of
from m3h_pipeline.tables.textfile import COPY_AGAIN
from m3h_pipeline.tables.values import TRUTH, Absent, is_text

#: From here on a float is not every whole number.
_EXACT: Final = 2.0**53
#: How programs write large floats: 1.2345678901234568e+18, 9007199254740994.0.
_FLOATS = r"^-?([0-9](\.[0-9]+)?[eE]\+[0-9]{1,3}|[0-9]{16,}\.0*)$"


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

    def expected_rows(self) -> int | None:
        """About how many rows there are, without reading them; None: that is not known."""
        return None

    def check_delimiter(self) -> None:  # noqa: B027 - not every format has one
        """Raise InputError if the columns stand under another delimiter; called where one is absent."""

    def explain(self, error: Exception) -> InputError:
        """What Arrow could not read, for people."""
        return InputError("the file cannot be read as a table", where=self.shown, hint=COPY_AGAIN)


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


class Slips:
    """What is noted of the columns of a file while it is read, and refused where it matters.

    A column of the words true and false is one of 1 and 0; among other numbers they are a slip. A whole
    number of more than 15 digits that passed through a float is another one: as an identifier it may be
    somebody else's.

    Args:
        reader: of the file.
    """

    def __init__(self, reader: TableFileReader) -> None:
        self._reader = reader
        self._truths: dict[str, int] = {}
        self._others: set[str] = set()
        self._rounded: dict[str, int] = {}

    def note_truths(self, name: str, values: pa.Array, before: int, known: npt.NDArray[np.bool_]) -> None:
        """Note the first truth of a column.

        Args:
            name: key of the column.
            values: n of its values.
            before: rows that stand before them.
            known: (n,) which of them are not missing: a study may say that a word means nothing.
        """
        if is_text(values.type) and name not in self._truths:
            found = pc.match_substring_regex(pc.utf8_trim_whitespace(values), TRUTH)
            _first(self._truths, name, _true(found) & known, before)

    def note_floats(self, name: str, values: pa.Array, before: int) -> None:
        """Note the first large float of a column that is read as text.

        Args:
            name: key of the column.
            values: some of its values.
            before: rows that stand before them.
        """
        if pa.types.is_floating(values.type) and name not in self._rounded:
            _first(self._rounded, name, np.abs(_floats(values)) >= _EXACT, before)

    def check_numbers(self, name: str, numbers: npt.NDArray[np.float64]) -> None:
        """See that a column with truths holds no numbers but 1 and 0, here or in an earlier call.

        Args:
            name: key of the column.
            numbers: some of its values, NaN = missing.

        Raises:
            InputError: it does.
        """
        if name not in self._others and ((numbers != 0) & (numbers != 1) & ~np.isnan(numbers)).any():
            self._others.add(name)
        if name in self._others and name in self._truths:
            raise InputError(
                f"column `{called(name)}` holds true or false among numbers other than 1 and 0",
                where=self._reader.place([self._truths[name]]),
                hint="correct the value, or leave it empty if it was not observed",
            )

    def check_ids(self, name: str, text: pa.Array, before: int = 0) -> None:
        """See that no identifier of a column has passed through a float that does not hold all its digits.

        Args:
            name: key of the column.
            text: some of its values.
            before: rows that stand before them.

        Raises:
            InputError: one has.
        """
        if name not in self._rounded:
            found = _true(pc.match_substring_regex(pc.utf8_trim_whitespace(text), _FLOATS))
            at = np.flatnonzero(found)
            large = np.abs(_floats(pc.cast(text.take(pa.array(at)), pa.float64()))) >= _EXACT
            found[at] = large
            _first(self._rounded, name, found, before)
        if name in self._rounded:
            raise InputError(
                f"column `{called(name)}` holds identifiers as floats, which lose digits beyond the 15th",
                where=self._reader.place([self._rounded[name]]),
                hint="export it anew as text or as whole numbers (in pandas, read it with `dtype=str`)",
            )


def _first(found: dict[str, int], name: str, rows: npt.NDArray[np.bool_], before: int) -> None:
    if rows.any():
        found[name] = before + int(np.argmax(rows))


def _true(found: pa.Array) -> npt.NDArray[np.bool_]:
    return np.array(pc.fill_null(found, False).to_numpy(zero_copy_only=False), dtype=bool)


def _floats(values: pa.Array) -> npt.NDArray[np.float64]:
    x: npt.NDArray[np.float64] = values.to_numpy(zero_copy_only=False).astype(np.float64)
    return x
