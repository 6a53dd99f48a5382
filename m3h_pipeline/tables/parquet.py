"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.reader import TableFileReader
from m3h_pipeline.tables.textfile import open_bytes, reading
from m3h_pipeline.tables.values import Absent


class ParquetTable(TableFileReader):
    """A Parquet file; columns may be numbers, booleans, strings or dictionaries of strings."""

    unit = "row"
    repeats = False

    def __init__(self, path: Path, shown: str) -> None:
        with open_bytes(path) as stream:
            packed = stream.read(4) != b"PAR1" or path.suffix == ".gz"
        source: Any = path
        if packed:
            with open_bytes(path) as stream:
                source = pa.BufferReader(stream.read())
        try:
            with reading(path):
                self._file = pq.ParquetFile(source, memory_map=not packed)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                "this is no readable Parquet file", where=shown, hint="copy or download it again"
            ) from error
        self._own_names = list(self._file.schema_arrow.names)
        super().__init__(shown, self._own_names)

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], absent: Absent, *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*numeric, *text]))
        own = [self._own_names[self.header.index(name)] for name in wanted]
        with reading(self.shown):
            for batch in self._file.iter_batches(batch_size=8192, columns=own):
                # Arrow takes `a` for a prefix of `a.b`.
                yield batch.select(own).rename_columns(wanted)

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [row + 1 for row in rows]
