"""Files of a study: read and checked against the contracts, written whole or not at all.

A file is written under a temporary name beside its destination, sealed with its digest, synced and renamed: a
reader never meets a half-written one, nor one that has changed since. Unknown columns are an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.coding import Float32Array, signed_time, time_and_event
from m3h_pipeline.contracts import LABELS, SURVIVAL_LABELS, samples_schema
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files.durable import make_folder, moved
from m3h_pipeline.files.leftovers import prefix_of
from m3h_pipeline.files.makers import again, maker
from m3h_pipeline.files.sealed import CHANGED, KEY, UNSEALED, check_seal, damaged, seal

Kind = TypeVar("Kind", bound=dict[str, Any] | list[Any])
_JSON_KINDS: Final[Mapping[type, str]] = {dict: "object", list: "list"}


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
            make_folder(target.parent)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix_of(target.name), suffix=".part")
            os.close(handle)
            temporary = Path(name)
            yield temporary
            # mkstemp makes private files; results are shared with the group as the user's umask says.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            moved(temporary, target)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_table(table: pa.Table, path: Path | str, schema: pa.Schema | None = None, **options: Any) -> None:
    """Write a Parquet file whole or not at all, checked against ``schema`` if one is given."""
    if schema is not None:
        table = check_schema(table, schema, str(path))
    size = options.pop("row_group_size", None)
    with replacing(path) as temporary:
        with parquet_writer(temporary, table.schema, **options) as writer:
            writer.write_table(table, size)
        seal(temporary, path)


def parquet_writer(path: Path, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """A writer of a Parquet file that has room for a seal: :func:`sealed.seal` it once it is closed."""
    writer = pq.ParquetWriter(path, schema, **{"compression": "zstd", **options})
    writer.add_key_value_metadata({KEY: UNSEALED})
    return writer


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Check the seal of a file of a study, and say of it that it is absent or damaged, and what to do.

    Args:
        path: the file that the block reads.
        what: the format, in words.

    Raises:
        InputError: the file is absent, or its seal or what is done inside found it damaged.
    """
    try:
        check_seal(path)
        yield
    except FileNotFoundError as error:
        made = maker(path)
        hint = f"run the stage that makes it{f': rule `{made[0]}`' if made else ''}"
        raise InputError("the file does not exist", where=str(path), hint=hint) from error
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise damaged(Path(path), f"this is no readable {what}: {error}") from error


def read_table(
    path: Path | str, schema: pa.Schema | None = None, columns: list[str] | None = None
) -> pa.Table:
    """Read a Parquet file, checked against ``schema`` if one is given; then keep ``columns``.

    Raises:
        InputError: the file is absent, damaged or no Parquet file.
        ContractError: the file does not follow the schema: of a finished study, another version wrote it.
    """
    with reading(path, "Parquet file"):
        table = pq.read_table(path, memory_map=True)
    if schema is not None:
        try:
            table = check_schema(table, schema, str(path))
        except ContractError as error:
            raise ContractError(error.what, where=error.where, hint=_of_another_version(path)) from error
    return table if columns is None else table.select(columns)


def _of_another_version(path: Path | str) -> str | None:
    """What to do where a table of a study has other columns than this version writes; None: no such table."""
    made = maker(Path(path))
    rule = f"rule `{made[0]}` makes it again" if made else ""
    return f"another version may have written it: run `snakemake` on its study; {rule}" if rule else None


def metadata_of(table: pa.Table, name: str, kind: type[Kind], path: Path | str) -> Kind:
    """A JSON value that stands in the metadata of a table of a study.

    Raises:
        ContractError: there is none, or it is of another kind.
    """
    text = (table.schema.metadata or {}).get(name.encode(), b"null")
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        what = f"the metadata `{name}` cannot be read: it is no JSON {_JSON_KINDS[kind]}"
        raise ContractError(what, where=str(path), hint=again(path))
    return value


def write_json(value: Mapping[str, Any], path: Path | str, *, sort_keys: bool = True) -> None:
    """Write JSON whole or not at all, with sorted keys unless their order has a meaning."""
    with replacing(path) as temporary:
        noted = {**value, KEY: UNSEALED}
        text = json.dumps(noted, indent=1, sort_keys=sort_keys, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        seal(temporary, path)


def read_json(path: Path | str) -> dict[str, Any]:
    """Read JSON.

    Raises:
        InputError: the file is absent, damaged or no JSON.
    """
    with reading(path, "JSON file"):
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    content.pop(KEY, None)
    return content


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
    names = metadata_of(table, "names", list, path)
    if len(names) != kind.list_size:
        raise ContractError(
            f"{len(names)} feature names for {kind.list_size} columns", where=str(path), hint=again(path)
        )
    return np.ascontiguousarray(x.reshape(len(column), kind.list_size)), names


def write_labels(
    y: Float32Array,
    path: Path | str,
    metadata: Mapping[str, Any],
    audit: str = "",
    definition: Mapping[str, Any] | None = None,
) -> None:
    """Write one task's labels, ``y`` of shape (n,), with the task's description in the schema metadata.

    Labels of a survival task are given as by :func:`signed_time`, and written as ``SURVIVAL_LABELS``.

    Args:
        audit: text of the audit table, which has no room for a digest: it stands in the metadata here.
        definition: how the labels are made of columns, by which a bundle makes those of other patients.
    """
    digest = hashlib.sha256(audit.encode()).hexdigest()
    described = {"task": json.dumps(dict(metadata), sort_keys=True), "audit": digest}
    if definition is not None:
        described["definition"] = json.dumps(dict(definition), sort_keys=True)
    if metadata.get("problem_class") != "survival":
        schema = LABELS.with_metadata(described)
        write_table(pa.Table.from_arrays([pa.array(y, type=pa.float32())], schema=schema), path)
        return
    time, event = time_and_event(np.asarray(y))
    observed = np.where(np.isnan(time), np.nan, event.astype(np.float32))
    columns = [pa.array(values.astype(np.float32), type=pa.float32()) for values in (observed, time)]
    write_table(pa.Table.from_arrays(columns, schema=SURVIVAL_LABELS.with_metadata(described)), path)


def read_audit(path: Path, labels: Path) -> str:
    """Read a task's audit table, whose digest its labels carry.

    Raises:
        InputError: one of the two is absent or damaged.
    """
    digest = (read_table(labels).schema.metadata or {}).get(b"audit", b"").decode()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise damaged(path, f"cannot read the audit table: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise damaged(path, CHANGED)
    return content.decode("utf-8")


def read_definition(path: Path | str) -> dict[str, Any]:
    """How one task's labels are made of columns; empty where its labels do not say it.

    Raises:
        InputError: the file is absent or no Parquet file.
    """
    table = read_table(path)
    known = b"definition" in (table.schema.metadata or {})
    found: dict[str, Any] = metadata_of(table, "definition", dict, path) if known else {}
    return found


def read_labels(path: Path | str) -> tuple[Float32Array, dict[str, Any]]:
    """Read one task's labels, shape (n,), NaN = not observed, and the task's description.

    Labels of a survival task come as of :func:`signed_time`.

    Raises:
        InputError: the file is absent or no Parquet file.
        ContractError: the file does not follow its schema, a time is negative, an event neither 0 nor 1.
    """
    table = read_table(path)
    description: dict[str, Any] = metadata_of(table, "task", dict, path)
    if description.get("problem_class") != "survival":
        return check_schema(table, LABELS, str(path)).column("y").to_numpy(), description
    table = check_schema(table, SURVIVAL_LABELS, str(path))
    y, time = (table.column(name).to_numpy() for name in ("y", "time"))
    if not (np.isnan(y) | np.isin(y, (0, 1))).all():
        raise ContractError("an event is neither 0 nor 1", where=str(path), hint="run `label` again")
    if (time < 0).any() or np.isinf(time).any():
        raise ContractError("a time is negative or infinite", where=str(path), hint="run `label` again")
    return signed_time(time, y), description
