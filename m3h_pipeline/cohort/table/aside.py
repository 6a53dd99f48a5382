"""Rows of a table that are set aside: without a key a row belongs to nobody."""

from __future__ import annotations

from pathlib import Path

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.reader import TableFileReader


class Aside:
    """Rows that are left out, each with its reason, up to a limit.

    Args:
        limit: ``source.max_malformed``.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rows: list[tuple[TableFileReader, int, str]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, reader: TableFileReader, row: int, reason: str) -> None:
        """Set the row of a file aside.

        Raises:
            InputError: there are more than the limit.
        """
        self._rows.append((reader, row, reason))
        if len(self._rows) > self.limit:
            raise InputError(
                f"more than {self.limit} rows have no key, the last for this reason: {reason}",
                where=reader.place([row for other, row, _ in self._rows if other is reader]),
                hint="complete these rows, or raise `source.max_malformed` if they may be left out",
            )

    def of(self, reader: TableFileReader) -> int:
        """How many rows of a file were set aside."""
        return sum(other is reader for other, _, _ in self._rows)

    def lines(self) -> list[tuple[str, int, str]]:
        """File, line and reason of each, for ``quarantine.tsv``."""
        return sorted(
            (Path(reader.shown).name, reader.positions([row])[0], reason)
            for reader, row, reason in self._rows
        )
