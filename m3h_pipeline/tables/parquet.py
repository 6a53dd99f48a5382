"""Parquet files, and folders of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from m3h_pipeline.config.base import parts_of
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.identifiers import elements
from m3h_pipeline.tables.reader import TableFileReader
from m3h_pipeline.tables.textfile import COPY_AGAIN, open_bytes, other_format, reading
from m3h_pipeline.tables.values import Absent

_ROWS, _LEAST_ROWS = 8192, 256
_NUMBERS = 4_000_000
#: Folders in which some parts hold rows that were changed or deleted since, and what wrote them.
_KEPT_VERSIONS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata/*.metadata.json": "Iceberg"}


class ParquetTable(TableFileReader):
    """A Parquet file, or a folder of parts, one after the other.

    Columns may be numbers, booleans, strings or dictionaries of strings. A column of lists of numbers is one
    of vectors: its elements are columns of their own, ``embedding.0`` and so on, and an empty or absent list
    is a vector of missing values. Of a folder ``year=2023/part-0.parquet`` the year is a column too.

    Raises:
        InputError: a file is absent, empty or damaged, parts have different columns, the folder is of a job
            that did not finish, or of a format that keeps rows which count no more.
    """

    unit = "row"
    repeats = False

    def __init__(self, path: Path, shown: str) -> None:
        self._folder = path if path.is_dir() else None
        self._parts = [path] if self._folder is None else _parts(path, shown)
        first, *others = (self._opened(i, shown).schema_arrow for i in range(len(self._parts)))
        fixed = list(self._fixed(0))
        own = [*first.names, *(name for name in fixed if name not in first.names)]
        for i, schema in enumerate(others, 1):
            if sorted(schema.names) != sorted(first.names) or list(self._fixed(i)) != fixed:
                odd = sorted({*schema.names, *self._fixed(i)} ^ {*first.names, *fixed})
                raise InputError(
                    f"a part has other columns than the first one: {', '.join(odd[:3]) or 'a name twice'}",
                    where=str(self._parts[i]),
                    hint="are all parts of one table?",
                )
        self._widths = {
            field.name: self._width(field)
            for field in first
            if _vectors(field.type) and first.names.count(field.name) == 1
        }
        inside = {name: elements(name, width) for name, width in self._widths.items()}
        super().__init__(shown, [one for name in own for one in inside.get(name, [name])])
        # Keys are composed; the file's own names may not be.
        keys = iter(self.header)
        self._source: dict[str, tuple[str, int | None]] = {}
        for name in own:
            found = [next(keys) for _ in inside.get(name, [name])]
            if name in inside:
                self.arrays[name] = found
            self._source |= {key: (name, j if name in inside else None) for j, key in enumerate(found)}

    def batches(
        self, numeric: Sequence[str], text: Sequence[str], absent: Absent, *, plain: bool
    ) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*numeric, *text]))
        own = list(dict.fromkeys(self._source[key][0] for key in wanted))
        before = 0
        for i in range(len(self._parts)):
            fixed = self._fixed(i)
            stored = [name for name in own if name not in fixed]
            opened = self._opened(i, self.shown)
            with reading(str(self._parts[i])):
                # Thousands of columns at a time are as many numbers in fewer rows.
                size = min(_ROWS, max(_LEAST_ROWS, _NUMBERS // max(1, len(wanted))))
                for batch in opened.iter_batches(batch_size=size, columns=stored):
                    yield self._columns(batch, wanted, fixed, before)
                    before += batch.num_rows

    def _columns(
        self, batch: pa.RecordBatch, wanted: Sequence[str], fixed: dict[str, str | None], before: int
    ) -> pa.RecordBatch:
        """The wanted columns of a batch, of which ``before`` rows stand before."""
        vectors: dict[str, npt.NDArray[np.float64]] = {}
        columns = []
        # By its place: Arrow takes `a` for a prefix of `a.b`.
        place = {name: at for at, name in enumerate(batch.schema.names)}
        for key in wanted:
            name, j = self._source[key]
            if name in fixed:
                columns.append(pa.array([fixed[name]] * batch.num_rows, pa.string()))
            elif j is None:
                columns.append(batch.column(place[name]))
            else:
                if name not in vectors:
                    width = self._widths[name]
                    vectors[name] = self._matrix(batch.column(place[name]), name, width, before)
                columns.append(pa.array(np.ascontiguousarray(vectors[name][:, j])))
        return pa.record_batch(columns, names=list(wanted))

    def _matrix(self, values: pa.Array, name: str, width: int, before: int) -> npt.NDArray[np.float64]:
        """(rows, width) numbers of a column of vectors, NaN where there is none."""
        values = getattr(values, "storage", values)
        lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
        if (wrong := (lengths != width) & (lengths > 0)).any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"a vector of column `{name}` has {lengths[row]:,} elements instead of {width:,}",
                where=self.place([before + row]),
                hint="vectors of a column are of one length; an absent one is null",
            )
        x = np.full((len(values), width), np.nan)
        there = lengths > 0
        flat = pc.list_flatten(values.filter(pa.array(there)))
        x[there] = pc.cast(flat, pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, width)
        return x

    def _width(self, field: pa.Field) -> int:
        """Elements of the vectors of a column, by the first one."""
        kind = getattr(field.type, "storage_type", field.type)
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for i in range(len(self._parts)):
            for batch in self._opened(i, self._parts[i]).iter_batches(batch_size=_ROWS, columns=[field.name]):
                at = batch.schema.names.index(field.name)
                if longest := pc.max(pc.list_value_length(batch.column(at))).as_py():
                    return int(longest)
        return 0

    def expected_rows(self) -> int | None:
        return sum(int(self._opened(i, self.shown).metadata.num_rows) for i in range(len(self._parts)))

    def positions(self, rows: Sequence[int]) -> list[int]:
        return [row + 1 for row in rows]

    def place(self, rows: Sequence[int]) -> str:
        """The file and its rows; of a folder, the part that holds the first of them."""
        if self._folder is None:
            return super().place(rows)
        left = rows[0]
        for i, part in enumerate(self._parts):
            count = self._opened(i, self.shown).metadata.num_rows
            if left < count:
                more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
                return f"{self.shown}, {part.relative_to(self._folder)}, row {left + 1}{more}"
            left -= count
        return super().place(rows)

    def _fixed(self, i: int) -> dict[str, str | None]:
        """Columns that the folders of a part say: ``site=north``."""
        if self._folder is None:
            return {}
        names = self._parts[i].relative_to(self._folder).parts[:-1]
        pairs = [name.partition("=") for name in names if "=" in name]
        absent = "__HIVE_DEFAULT_PARTITION__"
        return {unquote(key): None if value == absent else unquote(value) for key, _, value in pairs}

    def _opened(self, i: int, shown: str | Path) -> pq.ParquetFile:
        """A part, opened for as long as it is used: a folder may have more parts than files may be open."""
        path = self._parts[i]
        shown = shown if self._folder is None else path
        with open_bytes(path) as stream:
            head = stream.read(512)
        packed = not head.startswith(b"PAR1") or path.suffix == ".gz"
        if not head.startswith(b"PAR1") and (other := other_format(head)):
            raise InputError(f"this is no Parquet file but {other[0]}", where=str(shown), hint=other[1])
        source: Any = path
        if packed:
            with open_bytes(path) as stream:
                source = pa.BufferReader(stream.read())
        try:
            with reading(path):
                return pq.ParquetFile(source, memory_map=not packed)
        except (pa.ArrowException, MemoryError, UnicodeDecodeError) as error:
            raise InputError("this is no readable Parquet file", where=str(shown), hint=COPY_AGAIN) from error


def _parts(folder: Path, shown: str) -> list[Path]:
    for pattern, format_ in _KEPT_VERSIONS.items():
        if any(folder.glob(pattern)):
            raise InputError(
                f"this is a table of {format_}, whose parts also hold rows that were changed or deleted",
                where=shown,
                hint="export its present state as Parquet",
            )
    if any(folder.glob("**/_temporary")):
        raise InputError(
            "the job that wrote this folder did not finish (`_temporary`)", where=shown, hint="run it again"
        )
    found = parts_of(folder)
    if not found:
        raise InputError(
            "the folder holds no Parquet file", where=shown, hint="a folder is read as the parts of one table"
        )
    return found


def _vectors(kind: pa.DataType) -> bool:
    """Whether a type holds lists of numbers."""
    kind = getattr(kind, "storage_type", kind)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(test(kind) for test in lists):
        return False
    inner = kind.value_type
    return bool(pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner))
