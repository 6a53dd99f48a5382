"""Looking at a table: all columns of its first rows, and of all rows those that may name or divide them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.draft.columns import Column, Table, summarise
from m3h_pipeline.tables.formats import open_table
from m3h_pipeline.tables.identifiers import called, normal_ids
from m3h_pipeline.tables.reader import TableFileReader, no_row
from m3h_pipeline.tables.values import Absent, as_text, is_time, unwrapped

#: Rows that decide which columns are plain numbers: of the others all rows are read.
FIRST = 2000
#: Least share of different values of a column that may name rows.
_NAMING = 0.02


def look(path: str, *, transposed: bool = False, annotation: Sequence[str] = ()) -> Table:
    """Look at a file.

    Args:
        path: of the file, in any format of a ``table`` source.
        transposed: whether its samples stand in columns.
        annotation: columns of a transposed file that are no samples.

    Raises:
        InputError: it cannot be read, or has no row.
        ConfigError: its ending is of no format.
    """
    with ExitStack() as stack:
        reader = open_table(path, stack, transposed=transposed, annotation=annotation)
        vectors = [name for name in reader.arrays if name not in reader.names]
        inside = {key for keys in reader.arrays.values() for key in keys}
        names = [key for key in reader.names if key not in inside]
        first = _texts(reader, names, FIRST)
        known = {name: summarise(called(name), first[name]) for name in names}
        rows = max((one.rows for one in known.values()), default=0)
        if rows == 0:
            raise no_row(reader)
        if rows >= FIRST:
            # Plain numbers say nothing new; names and categories do.
            again = [name for name, one in known.items() if not one.numeric or one.whole or one.limits]
            full = _texts(reader, again, None)
            known |= {name: summarise(called(name), full[name]) for name in again}
            first |= full
            rows = max((known[name].rows for name in again), default=rows)
        ids = {
            one.name: frozenset(normal_ids(first[name].drop_null()).unique().to_pylist())
            for name, one in known.items()
            if one.name == name and _names_rows(one)
        }
        columns = [_marked(known[name], reader) for name in names if called(name) == name]
        columns += [Column(name, rows, rows, rows, vector=True) for name in vectors]
    return Table(path, rows, columns, ids, transposed, tuple(annotation))


def _marked(column: Column, reader: TableFileReader) -> Column:
    return replace(column, repeated=True) if reader.count(column.name) > 1 else column


def _names_rows(column: Column) -> bool:
    if column.dates or (column.numeric and not column.whole):
        return False
    return column.unique or column.distinct > max(2, _NAMING * column.rows)


def _texts(reader: TableFileReader, names: Sequence[str], most: int | None) -> dict[str, pa.Array]:
    """The columns as text, null = missing; of the first rows, or of all."""
    absent = Absent()
    parts: dict[str, list[pa.Array]] = {name: [pa.array([], pa.string())] for name in names}
    left = most
    try:
        for batch in reader.batches([], list(names), absent, plain=True):
            taken = batch if left is None else batch.slice(0, left)
            for name in names:
                parts[name].append(_text(taken.column(name), absent))
            if left is not None and (left := left - taken.num_rows) <= 0:
                break
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise reader.explain(error) from None
    return {name: pa.concat_arrays(texts) for name, texts in parts.items()}


def _text(values: pa.Array, absent: Absent) -> pa.Array:
    plain = unwrapped(values)
    if is_time(plain.type):
        return pc.cast(plain, pa.string()) if not pa.types.is_duration(plain.type) else _spans(plain)
    if pa.types.is_nested(plain.type):
        return pa.nulls(len(plain), pa.string())
    return as_text(plain, absent)


def _spans(values: pa.Array) -> pa.Array:
    return pa.array([None if value is None else "1 days" for value in values.is_valid().to_pylist()])


def texts_of(table: Table, names: Sequence[str], most: int | None) -> dict[str, list[str | None]]:
    """Columns of the first rows of a table as texts, None = missing; identifiers without ``.0``.

    Raises:
        InputError: it cannot be read.
    """
    with ExitStack() as stack:
        reader = open_table(table.path, stack, transposed=table.transposed, annotation=table.annotation)
        found = _texts(reader, list(dict.fromkeys(names)), most)
    return {
        name: (normal_ids(texts) if name in table.ids else texts).to_pylist() for name, texts in found.items()
    }


def look_at(paths: Iterable[str]) -> list[Table]:
    """Look at several files; one whose samples stand in columns is told by the names that others have.

    Raises:
        InputError: no file is given, one cannot be read, or has no row.
    """
    found = [look(path) for path in paths]
    turned = [_annotation(one, [other for other in found if other is not one]) for one in found]
    return [
        one if annotation is None else look(one.path, transposed=True, annotation=annotation)
        for one, annotation in zip(found, turned, strict=True)
    ]


def _annotation(table: Table, others: Sequence[Table]) -> list[str] | None:
    """The columns that are no samples, of a table with its samples in columns; None: it has them in rows."""
    names = [column.name for column in table.columns]
    known = {name for other in others for values in other.ids.values() for name in values}
    samples = [name for name in names if name in known]
    if len(samples) < max(3, len(names) // 2):
        return None
    return [name for name in names[1:] if name not in known][:20]
