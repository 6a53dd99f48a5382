"""A source's features a batch of rows at a time: thousands of columns need not be in memory at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import metadata_of, reading
from m3h_pipeline.files.makers import again

#: Rows of a batch.
FEATURE_ROWS: Final = 4096


def feature_names(path: Path) -> list[str]:
    """Names of the features of one source.

    Raises:
        InputError: the file is absent, damaged or no Parquet file.
        ContractError: it does not hold features.
    """
    with reading(path, "Parquet file"):
        schema = pq.read_schema(path)
    if schema.names != ["x"] or not pa.types.is_fixed_size_list(schema.field("x").type):
        raise ContractError("a feature file holds one fixed-size list column `x`", where=str(path))
    kind = schema.field("x").type
    if kind.value_type != pa.float32():
        raise ContractError(f"features are {kind.value_type}, not float32", where=str(path))
    names: list[str] = metadata_of(schema.empty_table(), "names", list, path)
    if len(names) != kind.list_size:
        raise ContractError(
            f"{len(names)} feature names for {kind.list_size} columns", where=str(path), hint=again(path)
        )
    return names


def feature_batches(path: Path) -> Iterator[Float32Array]:
    """Features of one source, (:data:`FEATURE_ROWS`, D) float32 at a time, NaN = missing.

    Raises:
        InputError: the file is absent, damaged or no Parquet file.
    """
    with reading(path, "Parquet file"), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(FEATURE_ROWS):
            column = batch.column(0)
            x = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
            yield x.reshape(len(column), column.type.list_size)
