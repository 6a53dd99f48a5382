"""The interface of embedders, and a store of embeddings by content: nothing is computed twice.

An embedder turns one item (a note, an image) into one vector. The key of a vector is the SHA-256 of the
model (its weights and everything that changes its output) and of the item's bytes: a run that was killed goes
on, a note that stands in two tables is computed once, and other weights make other vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

import numpy as np
import pyarrow as pa

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import check_schema, read_table, write_table
from m3h_pipeline.progress import Progress

T_contra = TypeVar("T_contra", contravariant=True)
#: Items between two writes: what a killed run loses at most.
KEPT = 256


class Embedder(Protocol[T_contra]):
    """What turns items into vectors.

    Attributes:
        width: numbers of a vector.
        digest: of the weights and of everything else that changes a vector.
    """

    width: int
    digest: str

    def content(self, item: T_contra) -> bytes:
        """What of an item determines its vector."""
        ...

    def embed(self, items: Sequence[T_contra]) -> Float32Array:
        """(n, width) vectors; each depends on its own item only."""
        ...


def store_schema(width: int) -> pa.Schema:
    """Schema of a file of the store."""
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("x", pa.list_(pa.float32(), width), nullable=False),
        ]
    )


def embed_all(
    embedder: Embedder[Any],
    items: Sequence[Any],
    store: Path | str,
    *,
    batch: int = 16,
    stream: TextIO | None = None,
) -> tuple[Float32Array, int]:
    """The vectors of all items; those in the store are taken from there, the others are computed and kept.

    Args:
        embedder: what computes them.
        items: notes or images, in any number; equal ones are computed once.
        store: a folder; files in it are never changed, only added.
        batch: items given to the embedder at a time.
        stream: where progress is written; standard error by default.

    Returns:
        (n, width) vectors in the order of the items, and how many were computed.

    Raises:
        InputError: an item cannot be read, or the store cannot be written.
        ContractError: a file of the store does not follow its schema.
    """
    folder = Path(store) / embedder.digest[:16]
    keys = [hashlib.sha256(embedder.digest.encode() + embedder.content(item)).hexdigest() for item in items]
    found = dict(_stored(folder, embedder.width))
    missing = {key: item for key, item in zip(keys, items, strict=True) if key not in found}
    with Progress("embeddings", len(missing), stream=stream) as progress:
        todo = list(missing)
        for start in range(0, len(todo), KEPT):
            part = todo[start : start + KEPT]
            made: list[Float32Array] = []
            for i in range(0, len(part), batch):
                made.append(embedder.embed([missing[key] for key in part[i : i + batch]]))
                progress.advance(len(made[-1]))
            x = np.concatenate(made)
            if x.shape[1] != embedder.width or not np.isfinite(x).all():
                raise ContractError("the embedder made vectors of another width, or infinite ones")
            _write(folder, part, x)
            found |= dict(zip(part, x, strict=True))
    vectors = [found[key] for key in keys]
    return np.stack(vectors) if vectors else np.empty((0, embedder.width), np.float32), len(missing)


def _stored(folder: Path, width: int) -> Iterator[tuple[str, Float32Array]]:
    for path in sorted(folder.glob("*.parquet")):
        table = check_schema(read_table(path), store_schema(width), str(path))
        x = table["x"].combine_chunks().flatten().to_numpy().reshape(-1, width)
        yield from zip(table["key"].to_pylist(), x, strict=True)


def _write(folder: Path, keys: Sequence[str], x: Float32Array) -> None:
    schema = store_schema(x.shape[1])
    flat = pa.array(np.ascontiguousarray(x, dtype=np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, x.shape[1])
    table = pa.Table.from_arrays([pa.array(keys), column], schema=schema)
    # Named by what is in it: two jobs that compute the same items write the same file.
    name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
    write_table(table, folder / f"{name}.parquet", schema)


def files_digest(paths: Sequence[Path], settings: str = "") -> str:
    """One SHA-256 of the bytes of some files, in the order of their names, and of settings."""
    total = hashlib.sha256(settings.encode())
    for path in sorted(paths, key=lambda path: path.name):
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
