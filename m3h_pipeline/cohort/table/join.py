"""The files of a table joined: which samples there are, and where each stands in every file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.cohort.table.columns import Column
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.reader import Content, TableFileReader

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """Columns of several files in the order of the samples.

    Attributes:
        readers: of the files.
        contents: their columns, in their own order.
        ids: (n,) ascending sample ids.
        rows: per file (n,) row numbers, -1 where the file lacks the sample.
        surplus: per file the number of rows that belong to no sample.
    """

    readers: Sequence[TableFileReader]
    contents: Sequence[Content]
    ids: list[str]
    rows: list[IntArray]
    surplus: list[int]

    def text(self, column: Column) -> pa.Array:
        """(n,) strings, null = missing."""
        rows = self.rows[column.file]
        return self.contents[column.file].text[column.name].take(pa.array(rows, mask=rows < 0))

    def place(self, column: Column, sample: int) -> str:
        """The file and line of a sample's value."""
        return self.readers[column.file].place([int(self.rows[column.file][sample])])


def join(
    keys: Sequence[str | None], readers: Sequence[TableFileReader], contents: Sequence[Content]
) -> Joined:
    """Find the rows of every sample.

    Args:
        keys: per file the column of the id; None (of a single file): the row number is the id.
        readers: of the files; the first one decides which samples exist.
        contents: their columns.

    Raises:
        InputError: an id is missing or stands twice in one file, or a file has no row of any sample.
    """
    if keys[0] is None:
        n = contents[0].rows
        width = len(str(n))
        numbered = [f"{i:0{width}d}" for i in range(1, n + 1)]
        return Joined(readers, contents, numbered, [np.arange(n, dtype=np.int64)], [0])
    found = [
        _unique_ids(content.text[key], key, reader)
        for key, reader, content in zip(keys, readers, contents, strict=True)
        if key is not None
    ]
    names = np.array(found[0].to_pylist(), dtype=object)
    order = np.argsort(names, kind="stable")
    ids = pa.array(names[order], type=pa.string())
    rows = [order.astype(np.int64)]
    surplus = [0]
    for theirs, reader in zip(found[1:], readers[1:], strict=True):
        place = pc.fill_null(pc.index_in(ids, value_set=theirs), -1).to_numpy(zero_copy_only=False)
        rows.append(place.astype(np.int64))
        surplus.append(len(theirs) - int((place >= 0).sum()))
        if not (place >= 0).any():
            raise InputError(
                f"no row belongs to any of the samples of {readers[0].shown}",
                where=reader.shown,
                hint="are the ids of the same kind and written in the same way?",
            )
    return Joined(readers, contents, ids.to_pylist(), rows, surplus)


def _unique_ids(text: pa.Array, column: str, reader: TableFileReader) -> pa.Array:
    keys = normal_ids(text)
    nameless = pc.or_kleene(pc.is_null(keys), pc.equal(keys, ""))
    if pc.any(nameless).as_py():
        raise InputError(
            f"the id is missing in column `{column}`",
            where=reader.place(np.flatnonzero(nameless.to_numpy(zero_copy_only=False)).tolist()),
            hint="complete or remove these rows",
        )
    codes = keys.dictionary_encode().indices.to_numpy()
    twice = np.bincount(codes)[codes] > 1
    if twice.any():
        raise InputError(
            f"an id stands more than once in column `{column}`",
            where=reader.place(np.flatnonzero(twice).tolist()),
            hint="keep one row per id; samples of one patient need an id each, and `source.patient_id`",
        )
    return keys
