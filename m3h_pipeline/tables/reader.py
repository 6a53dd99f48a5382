"""A table read column by column, and what is an error in it.

Each format is a :class:`TableFileReader` that yields Arrow batches. The values are judged once for all
formats (:mod:`m3h_pipeline.tables.values`), so that the same table means the same in each of them.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from m3h_pipeline.config.base import composed
from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.tables.identifiers import called, keys_of
from m3h_pipeline.tables.textfile import COPY_AGAIN
from m3h_pipeline.tables.values import (
    Absent,
)


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
