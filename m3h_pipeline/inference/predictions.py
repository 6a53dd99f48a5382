"""Finding the predictions of given fits in many files, a few in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from m3h_pipeline.contracts import PREDICTIONS
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_table, reading

Float32 = npt.NDArray[np.float32]
#: (fit key, task)
FitTask = tuple[str, str]
#: Rows of a file in memory at once.
_BATCH = 64


def wanted_predictions(
    paths: Sequence[Path],
    rows: Mapping[FitTask, int],
    widths: Mapping[str, int] | None = None,
    advance: Callable[[], None] | None = None,
) -> Iterator[tuple[FitTask, Float32]]:
    """Each wanted prediction once, in the order of the files.

    Args:
        paths: files of contracts.PREDICTIONS; predictions that are not wanted are skipped.
        rows: (fit key, task) -> how many rows the prediction must have.
        widths: task -> how many numbers a row must have; None: any.
        advance: called after each.

    Yields:
        The key and the prediction, shape (rows, width).

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a wanted prediction is missing, or has another number of rows or another width.
    """
    left = set(rows)
    for path in paths:
        if not left:
            break
        for key, values in _read(path, left):
            if len(values) != rows[key]:
                raise ContractError(
                    f"a prediction of task `{key[1]}` has {len(values):,} rows, its part {rows[key]:,}",
                    where=str(path),
                    hint="the split has changed since: run the training again",
                )
            if widths is not None and values.shape[1] != widths[key[1]]:
                raise ContractError(
                    f"a prediction of task `{key[1]}` has {values.shape[1]:,} numbers a row, not "
                    f"{widths[key[1]]}",
                    where=str(path),
                    hint="the task's definition has changed since: run the training again",
                )
            yield key, values
            if advance is not None:
                advance()
    if left:
        task = min(task for _, task in left)
        raise ContractError(
            f"{len(left):,} of {len(rows):,} predictions are missing, of task `{task}` for one",
            hint="give the predictions of every pack whose scores are given",
        )


def _read(path: Path, left: set[FitTask]) -> Iterator[tuple[FitTask, Float32]]:
    with reading(path, "Parquet file"):
        file = pq.ParquetFile(path, memory_map=True)
    with file:
        if not file.schema_arrow.equals(PREDICTIONS):
            read_table(path, PREDICTIONS)  # says what is wrong
        # The keys are a small part of a file: where none is wanted its predictions are not decoded.
        keys = file.read(columns=["fit_key"]).column("fit_key")
        if not pc.any(pc.is_in(keys, pa.array(sorted({key for key, _ in left}), pa.string()))).as_py():
            return
        for batch in file.iter_batches(batch_size=_BATCH):
            names = zip(batch.column("fit_key").to_pylist(), batch.column("task").to_pylist(), strict=True)
            widths, lists = batch.column("width").to_pylist(), batch.column("prediction")
            for row, key in enumerate(names):
                # A fit that two plans ask for stands in the predictions of both.
                if key in left:
                    left.discard(key)
                    values = lists[row].values.to_numpy()
                    if widths[row] < 1 or len(values) % widths[row]:
                        raise ContractError(
                            f"{len(values):,} numbers do not make rows of {widths[row]}", where=str(path)
                        )
                    yield key, values.reshape(-1, widths[row])
