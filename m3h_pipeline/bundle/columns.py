"""What `m3h predict` writes: one row per sample, the columns of every task, flags; in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from m3h_pipeline.bundle.load import Prediction
from m3h_pipeline.bundle.schema import TaskModel
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import replacing

Float64 = npt.NDArray[np.float64]
#: Columns that every file has: the sample, and what to know before its numbers are used.
SAMPLE, FLAGS = "sample_id", "flags"
_ENDINGS = (".csv", ".parquet")


def task_columns(name: str, task: TaskModel, said: Prediction) -> dict[str, Float64]:
    """The columns of one task.

    Args:
        name: of the task.
        task: what the bundle says of it.
        said: of n samples.

    Returns:
        Column -> (n,): of a binary task the calibrated probability ``name`` and ``name.raw``; of several
        classes ``name.CLASS`` and ``name.raw.CLASS``; a value ``name``, ``name.raw``, and its interval from
        ``name.low`` to ``name.high``; of a survival task ``name.survival.TIME``, ``name.raw.survival.TIME``
        and the risk's logarithm ``name.raw``; of a clustering task ``name.phenotype``, ``name.distance``,
        ``name.typical``.
    """
    raw, calibrated = said.raw, said.calibrated
    kind = task.problem_class
    if kind == "binary":
        return {name: calibrated[:, 0], f"{name}.raw": raw[:, 0]}
    if kind == "multiclass":
        return {f"{name}.{c}": calibrated[:, i] for i, c in enumerate(task.classes)} | {
            f"{name}.raw.{c}": raw[:, i] for i, c in enumerate(task.classes)
        }
    if kind == "regression":
        found = {name: calibrated[:, 0], f"{name}.raw": raw[:, 0]}
        if said.interval is not None:
            found |= {f"{name}.low": said.interval[:, 0], f"{name}.high": said.interval[:, 1]}
        return found
    if kind == "survival":
        times = [f"{time:g}" for time in task.times]
        return (
            {f"{name}.survival.{time}": calibrated[:, 1 + i] for i, time in enumerate(times)}
            | {f"{name}.raw": raw[:, 0]}
            | {f"{name}.raw.survival.{time}": raw[:, 1 + i] for i, time in enumerate(times)}
        )
    found = {f"{name}.phenotype": raw[:, 0], f"{name}.distance": raw[:, 1]}
    return found if said.typical is None else found | {f"{name}.typical": said.typical}


class Table:
    """A table that grows by batches.

    Args:
        path: where it is written; its ending says the format.
        format_: that ending.
    """

    def __init__(self, path: Path, format_: str) -> None:
        self._path, self._format = path, format_
        self._writer: Any = None
        self.rows = 0

    def add(self, ids: Sequence[str], columns: Mapping[str, Float64], flags: Sequence[str]) -> None:
        """Add samples; every batch has the same columns."""
        arrays = [pa.array(ids, pa.string())]
        for name, values in columns.items():
            whole = name.endswith(".phenotype")
            kind = pa.int64() if whole else pa.float64()
            arrays.append(pa.array(values.astype(np.int64) if whole else values, kind, from_pandas=True))
        batch = pa.record_batch([*arrays, pa.array(flags, pa.string())], names=[SAMPLE, *columns, FLAGS])
        if self._writer is None:
            make = pq.ParquetWriter if self._format == ".parquet" else pacsv.CSVWriter
            self._writer = make(str(self._path), batch.schema)
        self._writer.write_batch(batch)
        self.rows += len(ids)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def writing_table(path: Path) -> Iterator[Table]:
    """A table that takes its place at ``path`` when the block ends without an error.

    Raises:
        InputError: the ending is neither .csv nor .parquet, or the disk is full.
    """
    if path.suffix not in _ENDINGS:
        raise InputError(
            "predictions are written as .csv or .parquet", where=str(path), hint="name the file so"
        )
    with replacing(path) as temporary:
        table = Table(temporary, path.suffix)
        try:
            yield table
        finally:
            table.close()
