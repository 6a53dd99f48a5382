"""The database that joins and sorts: DuckDB, bounded in memory, spilling to disk.

Files are parsed by the package's own reader, which checks the gzip to its end and names the line of what is
malformed without repeating it (a database's message quotes the line, and the line holds patient data). What
belongs to the cohort goes into the database as text and gets its types there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError, absent
from m3h_pipeline.tables.textfile import stream_text

if TYPE_CHECKING:
    import duckdb

#: SQL type -> what a person calls a value of it.
TYPES = {"BIGINT": "a whole number", "DOUBLE": "a number", "TIMESTAMP": "a date and time", "VARCHAR": "text"}
_ROWS = 400_000


@contextmanager
def database(folder: Path, memory_gb: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in ``folder`` for as long as the block lasts.

    Raises:
        InputError: the disk or the memory is full, or DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise absent("duckdb", "reading MIMIC-IV's tables", "source.kind") from error
    path = folder / "events.duckdb"
    try:
        connection = duckdb.connect(
            str(path),
            config={
                "memory_limit": f"{round(memory_gb * 1000)}MB",
                "temp_directory": str(folder / "spilled"),
                "threads": min(4, len(os.sched_getaffinity(0))),
                "preserve_insertion_order": False,
                # Nothing is ever fetched from anywhere.
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
    except duckdb.Error as error:
        raise InputError(
            "cannot make the database", where=str(folder), hint="check space and permissions"
        ) from error
    try:
        with connection:
            yield connection
    except duckdb.OutOfMemoryException as error:
        # DuckDB names a full disk (for what it spills) an out-of-memory error, too.
        raise InputError(
            "the database ran out of memory, or of disk for what it spills",
            where=str(folder),
            hint="raise `source.memory_gb`, or name a roomier folder under `source.temp`",
        ) from error
    except duckdb.IOException as error:
        raise InputError(
            "the database cannot write", where=str(folder), hint="check the free space of `source.temp`"
        ) from error
    finally:
        path.unlink(missing_ok=True)


def run(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """Run a statement to its end and return its rows: DuckDB 2 refuses work beside an open result."""
    return db.execute(query).fetchall()


def load(
    db: duckdb.DuckDBPyConnection,
    name: str,
    batches: Iterable[pa.RecordBatch],
    columns: Mapping[str, str],
    where: Path | str,
) -> int:
    """Make the table ``name`` of text batches; empty text is null.

    Args:
        db: the database.
        name: of the new table.
        batches: of text; further columns than those of ``columns`` are left out.
        columns: name -> SQL type.
        where: the file they come from, for messages.

    Returns:
        The number of rows.

    Raises:
        InputError: a value is not of its type; the message has the column and how many, never the value.
    """
    defined = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
    run(db, f'CREATE TABLE "{name}" ({defined})')
    chosen = ", ".join(_cast(column, kind) for column, kind in columns.items())
    typed = [column for column, kind in columns.items() if kind != "VARCHAR"]
    wrong = ", ".join(
        f"count(*) FILTER (trim(\"{column}\") <> '' AND {_cast(column, columns[column])} IS NULL)"
        for column in typed
    )
    rows = 0
    bad = dict.fromkeys(typed, 0)
    for table in _tables(batches):
        db.register("incoming", table)
        if wrong:
            (counted,) = run(db, f"SELECT {wrong} FROM incoming")
            for column, count in zip(typed, counted, strict=True):
                bad[column] += count
        run(db, f'INSERT INTO "{name}" SELECT {chosen} FROM incoming')
        db.unregister("incoming")
        rows += table.num_rows
    for column, count in bad.items():
        if count:
            raise InputError(
                f"{small_count(count)} values of column `{column}` are not {TYPES[columns[column]]}",
                where=str(where),
                hint="give the table as distributed",
            )
    return rows


def load_file(
    db: duckdb.DuckDBPyConnection, name: str, path: Path, columns: Mapping[str, str], rows: bool = True
) -> None:
    """Make the table ``name`` of a file.

    Raises:
        InputError: it is absent, truncated or malformed, a column is missing, a value is not of its type, or
            (unless ``rows`` is false) there is no row.
    """
    if not load(db, name, stream_text(path, list(columns)), columns, path) and rows:
        raise InputError("there is no row after the header", where=str(path), hint="is this the whole file?")


def unique(db: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str], where: Path | str) -> None:
    """Check that no two rows of a table have the same key.

    Raises:
        InputError: two rows have, or a key is empty.
    """
    keys = ", ".join(columns)
    empty = " OR ".join(f"{column} IS NULL" for column in columns)
    (found,) = run(db, f"SELECT count(*) - count(DISTINCT ({keys})), count(*) FILTER ({empty}) FROM {name}")
    for count, what in zip(found, ("stand there more than once", "are empty"), strict=True):
        if count:
            raise InputError(
                f"{small_count(count)} values of `{keys}` {what}",
                where=str(where),
                hint="give the table as distributed",
            )


def _cast(column: str, kind: str) -> str:
    text = f"nullif(trim(\"{column}\"), '')"
    if kind == "VARCHAR":
        return text
    if kind == "BIGINT":
        # A cast alone would round 7.25; pandas writes whole numbers of a column with gaps as "7.0".
        number = f"TRY_CAST({text} AS DOUBLE)"
        return f"CASE WHEN {number} = trunc({number}) THEN TRY_CAST({number} AS BIGINT) END"
    return f"TRY_CAST({text} AS {kind})"


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches, joined to tables of some hundred thousand rows."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if batch.num_rows:
            held.append(batch)
            size += batch.num_rows
        if size >= _ROWS:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)
