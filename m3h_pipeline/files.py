"""Files of a study: read and checked against the contracts, written whole or not at all.

A file is written under a temporary name beside its destination and renamed, so that a reader never meets a
half-written one. Unknown columns are an error.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.contracts import (
    LABELS,
    SURVIVAL_LABELS,
    Float32Array,
    samples_schema,
    signed_time,
    time_and_event,
)
from m3h_pipeline.errors import ContractError, InputError


def check_schema(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """Return ``table`` if it has exactly the columns and types of ``schema``, in that order.

    Raises:
        ContractError: a column is missing, unknown, of another type, or holds nulls it may not hold.
    """
    have, want = set(table.column_names), set(schema.names)
    if missing := sorted(want - have):
        raise ContractError(f"column(s) missing: {', '.join(missing)}", where=where)
    if unknown := sorted(have - want):
        raise ContractError(f"unknown column(s): {', '.join(unknown)}", where=where)
    for field in schema:
        column = table.column(field.name)
        if column.type != field.type:
            raise ContractError(f"column `{field.name}` is {column.type}, not {field.type}", where=where)
        if not field.nullable and column.null_count:
            raise ContractError(f"column `{field.name}` has {column.null_count} empty values", where=where)
    return table.select(schema.names)


@contextmanager
def writing(
    path: Path | str, hint: str = "check the free space and the permissions of the folder"
) -> Iterator[None]:
    """Say in a message what the system says in the block of a file or folder that cannot be written.

    Args:
        path: what is written, as the user knows it.
        hint: what to do.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror or error}", where=str(path), hint=hint) from error


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends without an error.

    Raises:
        InputError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
            os.close(handle)
            temporary = Path(name)
            yield temporary
            # mkstemp makes private files; results are shared with the group as the user's umask says.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(target)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_table(table: pa.Table, path: Path | str, schema: pa.Schema | None = None, **options: Any) -> None:
    """Write a Parquet file whole or not at all, checked against ``schema`` if one is given."""
    if schema is not None:
        table = check_schema(table, schema, str(path))
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", **options)


@contextmanager
def reading_parquet(path: Path | str) -> Iterator[None]:
    """Say of a Parquet file of a study that it is absent or damaged, and what to do.

    Raises:
        InputError: what is done inside found it so.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(
            "the file does not exist", where=str(path), hint="run the stage that makes it"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"this is no readable Parquet file: {error}", where=str(path), hint="delete it and run again"
        ) from error


def read_table(
    path: Path | str, schema: pa.Schema | None = None, columns: list[str] | None = None
) -> pa.Table:
    """Read a Parquet file, checked against ``schema`` if one is given; then keep ``columns``.

    Raises:
        InputError: the file is absent or no Parquet file.
        ContractError: the file does not follow the schema.
    """
    with reading_parquet(path):
        table = pq.read_table(path, memory_map=True)
    if schema is not None:
        table = check_schema(table, schema, str(path))
    return table if columns is None else table.select(columns)


def write_json(value: Any, path: Path | str, *, sort_keys: bool = True) -> None:
    """Write JSON whole or not at all, with sorted keys unless their order has a meaning."""
    with replacing(path) as temporary:
        text = json.dumps(value, indent=1, sort_keys=sort_keys, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is absent or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "the file does not exist", where=str(path), hint="run the stage that makes it"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"this is no JSON file: {error}", where=str(path)) from error


def read_samples(path: Path | str) -> pa.Table:
    """Read ``cohort/samples.parquet``: the three identifiers, then any number of subgroup dictionaries.

    Raises:
        ContractError: an identifier is missing, a subgroup is no dictionary, or rows are not sorted.
    """
    table = read_table(path)
    subgroups = [name for name in table.column_names if name not in samples_schema([]).names]
    table = check_schema(table, samples_schema(subgroups), str(path))
    ids = table.column("sample_id").to_numpy()
    if len(ids) > 1 and not bool(np.all(ids[:-1] < ids[1:])):
        raise ContractError("`sample_id` is not sorted, or not unique", where=str(path))
    return table


def features_schema(names: list[str], units: list[str] | None = None) -> pa.Schema:
    """Schema of a feature file of ``D`` named features."""
    metadata = {"names": json.dumps(names), "units": json.dumps(units or [""] * len(names))}
    kind = pa.list_(pa.float32(), len(names))
    return pa.schema([pa.field("x", kind, nullable=False)], metadata=metadata)


def write_features(
    x: Float32Array, names: list[str], path: Path | str, units: list[str] | None = None
) -> None:
    """Write one source's features, ``x`` of shape (n, D), as one fixed-size list column."""
    n, width = x.shape
    if len(names) != width:
        raise ContractError(f"{len(names)} feature names for {width} columns", where=str(path))
    flat = pa.array(np.ascontiguousarray(x, dtype=np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, width)
    schema = features_schema(names, units)
    write_table(pa.Table.from_arrays([column], schema=schema), path, row_group_size=max(1, min(n, 65536)))


def read_features(path: Path | str) -> tuple[Float32Array, list[str]]:
    """Read one source's features.

    Shape:
        (n, D) contiguous float32, NaN = missing; and the D feature names.
    """
    table = read_table(path)
    if table.column_names != ["x"] or not pa.types.is_fixed_size_list(table.schema.field("x").type):
        raise ContractError("a feature file holds one fixed-size list column `x`", where=str(path))
    kind = table.schema.field("x").type
    if kind.value_type != pa.float32():
        raise ContractError(f"features are {kind.value_type}, not float32", where=str(path))
    column = table.column("x").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], type=kind)
    x = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    metadata = table.schema.metadata or {}
    names = json.loads(metadata.get(b"names", b"[]"))
    return np.ascontiguousarray(x.reshape(len(column), kind.list_size)), names


def write_labels(y: Float32Array, path: Path | str, metadata: Mapping[str, Any]) -> None:
    """Write one task's labels, ``y`` of shape (n,), with the task's description in the schema metadata.

    Labels of a survival task are given as by :func:`signed_time`, and written as ``SURVIVAL_LABELS``.
    """
    described = {"task": json.dumps(dict(metadata), sort_keys=True)}
    if metadata.get("problem_class") != "survival":
        schema = LABELS.with_metadata(described)
        write_table(pa.Table.from_arrays([pa.array(y, type=pa.float32())], schema=schema), path)
        return
    time, event = time_and_event(np.asarray(y))
    observed = np.where(np.isnan(time), np.nan, event.astype(np.float32))
    columns = [pa.array(values.astype(np.float32), type=pa.float32()) for values in (observed, time)]
    write_table(pa.Table.from_arrays(columns, schema=SURVIVAL_LABELS.with_metadata(described)), path)


def read_labels(path: Path | str) -> tuple[Float32Array, dict[str, Any]]:
    """Read one task's labels, shape (n,), NaN = not observed, and the task's description.

    Labels of a survival task come as of :func:`signed_time`.

    Raises:
        InputError: the file is absent or no Parquet file.
        ContractError: the file does not follow its schema, a time is negative, an event neither 0 nor 1.
    """
    table = read_table(path)
    metadata = pq.read_schema(path).metadata or {}
    description: dict[str, Any] = json.loads(metadata.get(b"task", b"{}"))
    if description.get("problem_class") != "survival":
        return check_schema(table, LABELS, str(path)).column("y").to_numpy(), description
    table = check_schema(table, SURVIVAL_LABELS, str(path))
    y, time = (table.column(name).to_numpy() for name in ("y", "time"))
    if not (np.isnan(y) | np.isin(y, (0, 1))).all():
        raise ContractError("an event is neither 0 nor 1", where=str(path), hint="run `label` again")
    if (time < 0).any() or np.isinf(time).any():
        raise ContractError("a time is negative or infinite", where=str(path), hint="run `label` again")
    return signed_time(time, y), description
