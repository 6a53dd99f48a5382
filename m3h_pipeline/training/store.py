"""Finished fits by content.

The store is a folder of segments, one Parquet file per finished stack, each written whole or not at all. The
name of a segment is a digest of the keys in it, so that two jobs may write at once, even the same stack.
Finding a fit reads only the columns of the index; the digest of a segment is checked when something is taken
from it. A segment that cannot be read is reported and left alone, and what stood in it is trained again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load, save

from m3h_pipeline.contracts import combination_key, combination_tasks
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import metadata_of, reading, write_table
from m3h_pipeline.files.sealed import check_seal
from m3h_pipeline.training.fitted import model_bytes
from m3h_pipeline.training.spec import FitResult, FitSpec

#: A segment. The first two columns are the index. ``model``: safetensors as of ``fitted.save_model``.
#: ``extra``: safetensors with ``attention`` and ``latents/<task>``.
SEGMENT = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        pa.field("replicate", pa.int16(), nullable=False),
        pa.field("batch_size", pa.int32(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("epochs", pa.int32(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("values", pa.list_(pa.float64()), nullable=False),
        pa.field("n_scored", pa.list_(pa.int32()), nullable=False),
        pa.field("widths", pa.list_(pa.int16()), nullable=False),
        pa.field("predictions", pa.list_(pa.list_(pa.float32())), nullable=False),
        pa.field("model", pa.large_binary()),
        pa.field("extra", pa.large_binary()),
    ]
)
#: What a footer with a flipped bit makes of reading it: it is read before the digest of its file is compared.
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, OverflowError, MemoryError, pa.ArrowException)
_LIGHT = [name for name in SEGMENT.names if name not in ("model", "extra")]


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")


class FitStore:
    """A folder of finished fits.

    Args:
        folder: made when the first fit is saved.
        warn: told about segments that cannot be read; standard error by default.
        environment: what fits are trained with (:mod:`m3h_pipeline.environment`); segments carry it
            in their schema's metadata, and keep it wherever they are used later.
    """

    def __init__(
        self,
        folder: Path | str,
        warn: Callable[[str], None] = _warn,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self._warn = Path(folder), warn
        self._environment = json.dumps(dict(environment or {}), sort_keys=True)
        # Segment -> (its size and time, key -> (row, whether the model is kept)).
        self._index: dict[Path, tuple[tuple[int, int], dict[str, tuple[int, bool]]]] = {}

    def _refresh(self) -> None:
        index = {}
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                stat = path.stat()
                stamp = (stat.st_size, stat.st_mtime_ns)
                if path in self._index and self._index[path][0] == stamp:
                    index[path] = self._index[path]
                    continue
                with _open(path) as file:
                    if file.schema_arrow != SEGMENT:
                        raise ValueError("it has other columns")
                    table = file.read(columns=["fit_key", "kept"])
            except _UNREADABLE as error:
                self._unreadable(path, error)
                continue
            keys, kept = table.column(0).to_pylist(), table.column(1).to_pylist()
            rows = {key: (row, has) for row, (key, has) in enumerate(zip(keys, kept, strict=True))}
            index[path] = (stamp, rows)
        self._index = index

    def _unreadable(self, path: Path, error: Exception) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        self._warn(
            f"the stored fits in {path} cannot be read and are trained again; delete the file ({reason})"
        )

    def load(self, keys: Iterable[str], kept: bool = False) -> dict[str, FitResult]:
        """The fits that are in the store, by key.

        Args:
            keys: what is looked for.
            kept: only fits whose model was kept, with parameters, attention and latents.
        """
        wanted = set(keys)
        self._refresh()
        found: dict[str, FitResult] = {}
        for path, (_, rows) in self._index.items():
            mine = {
                row for key, (row, has) in rows.items() if key in wanted and key not in found and has >= kept
            }
            if not mine:
                continue
            try:
                check_seal(path)
                with _open(path) as file:
                    table = file.read(columns=SEGMENT.names if kept else _LIGHT)
                for row in table.take(sorted(mine)).to_pylist():
                    found[row["fit_key"]] = _result(row)
            except (*_UNREADABLE, SafetensorError, InputError) as error:
                self._unreadable(path, error)
        return found

    def save(self, results: Sequence[FitResult]) -> None:
        """Add finished fits as one segment.

        Raises:
            InputError: the folder cannot be written.
        """
        if not results:
            return
        if any(not result.key for result in results):
            raise InputError("a fit without a key cannot be stored", where=str(self.folder))
        name = hashlib.sha256()
        for result in sorted(results, key=lambda r: r.key):
            name.update(f"{result.key}:{result.kept}\n".encode())
        table = pa.Table.from_pylist([_row(result) for result in results], schema=SEGMENT)
        table = table.replace_schema_metadata({"environment": self._environment})
        path = self.folder / f"{name.hexdigest()[:32]}.parquet"
        write_table(table, path, SEGMENT, write_page_checksum=True, use_dictionary=False)


def _open(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)


def keys_of(path: Path) -> list[str]:
    """Keys of the fits of one segment.

    Raises:
        InputError: the file is no segment, or damaged.
    """
    with reading(path, "segment of the store"), _open(path) as file:
        keys: list[str] = file.read(columns=["fit_key"]).column("fit_key").to_pylist()
        return keys


def environment_of(path: Path) -> dict[str, Any]:
    """What the fits of one segment were trained with.

    Raises:
        InputError: the file is absent or damaged.
    """
    with reading(path, "segment of the store"):
        return metadata_of(pq.read_schema(path).empty_table(), "environment", dict, path)


def read_segment(path: Path) -> tuple[list[FitResult], dict[str, Any]]:
    """The fits of one segment, in the order of their stack, and what they were trained with.

    Raises:
        InputError: the file is no segment, or damaged.
    """
    with reading(path, "segment of the store"):
        rows = pq.read_table(path, columns=_LIGHT).to_pylist()
    return [_result(row) for row in rows], environment_of(path)


def _row(result: FitResult) -> dict[str, Any]:
    spec = result.spec
    tasks = spec.combination
    has = bool(result.predictions)
    row: dict[str, Any] = {
        "fit_key": result.key,
        # A diverged fit has no model to keep: it is as complete as it gets.
        "kept": result.kept or result.status != "ok",
        "combination": combination_key(tasks),
        "fold": spec.fold,
        "replicate": spec.replicate,
        "batch_size": spec.batch_size,
        "learning_rate": spec.learning_rate,
        "status": result.status,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "values": [result.values[task] for task in tasks],
        "n_scored": [result.n_scored[task] for task in tasks],
        "widths": [result.predictions[task].shape[1] for task in tasks] if has else [],
        "predictions": [result.predictions[task].reshape(-1) for task in tasks] if has else [],
        "model": None,
        "extra": None,
    }
    if result.kept:
        extra = {f"latents/{task}": np.ascontiguousarray(x) for task, x in result.latents.items()}
        if result.attention is not None:
            extra["attention"] = np.ascontiguousarray(result.attention)
        row["model"], row["extra"] = model_bytes(result), save(extra)
    return row


def _result(row: dict[str, Any]) -> FitResult:
    tasks = combination_tasks(row["combination"])
    spec = FitSpec(tasks, row["fold"], row["replicate"], row["batch_size"], row["learning_rate"])
    predictions = {
        task: np.asarray(flat, dtype=np.float32).reshape(-1, width)
        for task, flat, width in zip(tasks, row["predictions"], row["widths"], strict=False)
    }
    result = FitResult(
        key=row["fit_key"],
        spec=spec,
        status=row["status"],
        epochs=row["epochs"],
        seconds=row["seconds"],
        values=dict(zip(tasks, row["values"], strict=True)),
        n_scored=dict(zip(tasks, row["n_scored"], strict=True)),
        predictions=predictions,
    )
    if row.get("model") is not None:
        result.parameters, result.metadata = _tensors(row["model"])
        extra = load(row["extra"])
        result.attention = extra.pop("attention", None)
        result.latents = {name.removeprefix("latents/"): x for name, x in extra.items()}
    return result


def _tensors(data: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return load(data), header.get("__metadata__", {})
