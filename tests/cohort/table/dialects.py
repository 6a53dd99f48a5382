"""One table written in the formats, and the dialects of them, that programs write.

A table is a list of columns of plain values; None is a missing one. What a writer is free to choose (how it
spells a missing value, whether whole numbers become floats, how rows are grouped and ordered) it draws.
"""

from __future__ import annotations

import csv
import decimal
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

#: The number that a study declares missing, as texts of it.
NINE = ("-9", "-9.0", "-9.00", "-9e0")
#: Texts that mean missing; the last one a study declares.
BLANKS = ("", "NA", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None", ".", "-", " NA ", "unknown")
DECLARED = ["-9", "unknown"]

Kind = Literal["whole", "real", "narrow", "decimal", "truth", "text"]


@dataclass(frozen=True)
class Written:
    """A column of a table.

    Attributes:
        name: in the header.
        kind: what its values are: int, float, float of a float32, Decimal, bool, str.
        values: of the rows.
    """

    name: str
    kind: Kind
    values: list[Any]


def _spelled(column: Written, value: Any, rng: random.Random, style: int) -> str:
    """A value as text; a column's fractions are written in one style."""
    if value is None:
        return rng.choice(BLANKS if column.kind in {"text", "truth"} else BLANKS + NINE)
    if column.kind == "truth":
        return str(rng.choice([str(value), str(value).lower(), str(value).upper()]))
    if column.kind == "whole":
        return rng.choice([str(value), f"{value}.0"]) if abs(value) < 2**53 else str(value)
    if column.kind == "narrow":
        return str(np.float32(value))
    if column.kind == "real":
        return [repr(value), f"{value:.17g}", f"{value:.16E}"][style]
    return str(value)


def _typed(column: Written, value: Any, rng: random.Random) -> Any:
    """A value of a typed column: a missing number is a null or the declared number."""
    if value is None and column.kind in {"whole", "real", "narrow"} and rng.random() < 0.3:
        return -9
    if value is None and column.kind == "decimal" and rng.random() < 0.3:
        return decimal.Decimal("-9.00")
    if value is None and column.kind == "text" and rng.random() < 0.6:
        return rng.choice(BLANKS)
    return value


def _shuffled(columns: Sequence[Written], rng: random.Random) -> list[Written]:
    order = list(range(len(columns[0].values)))
    rng.shuffle(order)
    return [Written(c.name, c.kind, [c.values[i] for i in order]) for c in columns]


def delimited(delimiter: str) -> Callable[[Path, Sequence[Written], random.Random], None]:
    """A writer of text tables."""

    def write(path: Path, columns: Sequence[Written], rng: random.Random) -> None:
        with path.open("w", newline="", encoding="utf-8") as stream:
            ends = rng.choice(["\n", "\r\n"])
            quoting: Literal[0, 1] = csv.QUOTE_ALL if rng.random() < 0.5 else csv.QUOTE_MINIMAL
            writer = csv.writer(stream, delimiter=delimiter, lineterminator=ends, quoting=quoting)
            writer.writerow([column.name for column in columns])
            styles = [rng.randrange(3) for _ in columns]
            for i in range(len(columns[0].values)):
                # A line of nothing at all would be no row.
                row = [_spelled(c, c.values[i], rng, style) for c, style in zip(columns, styles, strict=True)]
                writer.writerow(row)

    return write


def pandas_parquet(path: Path, columns: Sequence[Written], rng: random.Random) -> None:
    """As ``DataFrame.to_parquet``: gaps make whole numbers floats, or its own nullable types are used."""
    frame = {}
    for column in columns:
        values = [_typed(column, value, rng) for value in column.values]
        gaps = any(value is None for value in values)
        if column.kind == "whole":
            exact = all(value is None or abs(value) < 2**53 for value in values)
            kind = "float64" if gaps and exact and rng.random() < 0.5 else "Int64"
            frame[column.name] = pd.Series(values, dtype=kind)
        elif column.kind in {"real", "narrow"}:
            frame[column.name] = pd.Series(values, dtype="float64" if column.kind == "real" else "float32")
        elif column.kind == "truth":
            frame[column.name] = pd.Series(
                values, dtype="boolean" if gaps else rng.choice(["bool", "boolean"])
            )
        elif column.kind == "decimal":
            frame[column.name] = pd.Series(values, dtype=object)
        else:
            frame[column.name] = pd.Series(values, dtype=rng.choice(["object", "str", "category"]))
    pd.DataFrame(frame).to_parquet(path, index=rng.random() < 0.5)


def _arrow(
    column: Written, rng: random.Random, text: Sequence[pa.DataType], whole: Sequence[pa.DataType]
) -> pa.Array:
    values = [_typed(column, value, rng) for value in column.values]
    if column.kind == "whole":
        fits = [kind for kind in whole if _fits(values, kind)]
        return pa.array(values, rng.choice(fits or [pa.int64()]))
    if column.kind in {"real", "narrow"}:
        return pa.array(values, pa.float64() if column.kind == "real" else pa.float32())
    if column.kind == "truth":
        return pa.array(values, pa.bool_())
    if column.kind == "decimal":
        return pa.array(values, pa.decimal128(18, 4))
    return pa.array(values, rng.choice(list(text)))


def _fits(values: Sequence[Any], kind: pa.DataType) -> bool:
    try:
        pa.array(values, kind)
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def _in_groups(
    path: Path, columns: Sequence[Written], arrays: list[pa.Array], rng: random.Random, **how: Any
) -> None:
    table = pa.table(arrays, names=[column.name for column in columns])
    with pq.ParquetWriter(path, table.schema, **how) as writer:
        # Several row groups, one of them without a row.
        cut = rng.randint(0, table.num_rows)
        for part in (table.slice(0, cut), table.slice(cut)):
            writer.write_table(part, row_group_size=rng.choice([1, 3, 100]))


def polars_parquet(path: Path, columns: Sequence[Written], rng: random.Random) -> None:
    """As polars: long strings and views of strings, dictionaries (its categories), narrow integers, zstd."""
    text = [pa.large_string(), pa.string_view()]
    whole = [pa.int64(), pa.int32(), pa.int8(), pa.uint16(), pa.uint64()]
    arrays = [_arrow(column, rng, text, whole) for column in columns]
    arrays = [
        pa.array(column.to_pylist(), pa.large_string()).dictionary_encode()
        if pa.types.is_large_string(column.type) and rng.random() < 0.5
        else column
        for column in arrays
    ]
    _in_groups(path, columns, arrays, rng, compression="zstd", store_schema=rng.random() < 0.5)


def spark_parquet(path: Path, columns: Sequence[Written], rng: random.Random) -> None:
    """As Spark: its own metadata and no Arrow schema, snappy, text perhaps without its annotation."""
    text = [pa.string(), pa.binary()]
    arrays = [_arrow(column, rng, text, [pa.int32(), pa.int64()]) for column in columns]
    _in_groups(
        path,
        columns,
        arrays,
        rng,
        compression="snappy",
        store_schema=False,
        use_dictionary=rng.random() < 0.5,
        version="1.0",
        data_page_version=rng.choice(["1.0", "2.0"]),
    )


def arff(path: Path, columns: Sequence[Written], rng: random.Random) -> None:
    """As Weka: numbers are numeric; texts and truths are listed values or strings."""
    lines, rows = ["% made", "@relation t"], [[] for _ in columns[0].values]  # type: list[str], list[list[str]]
    for column in columns:
        numeric = column.kind not in {"text", "truth"}
        style = rng.randrange(3)
        texts = [_spelled(column, value, rng, style) for value in column.values]
        fields = [
            "?" if value is None and rng.random() < 0.5 else text if numeric else _quoted(text)
            for value, text in zip(column.values, texts, strict=True)
        ]
        fields = [field if field.strip() else "?" for field in fields]
        listed = "{" + ",".join(sorted({_quoted(text) for text in texts})) + "}"
        kind = rng.choice(["numeric", "real"]) if numeric else rng.choice([listed, "string"])
        lines.append(f"@{rng.choice(['attribute', 'ATTRIBUTE'])} {_quoted(column.name)} {kind}")
        for row, field in zip(rows, fields, strict=True):
            row.append(field)
    lines += ["", "@DATA", *(rng.choice([",", ", "]).join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def h5ad(path: Path, columns: Sequence[Written], rng: random.Random) -> None:
    """As scanpy: the first column is the index of ``obs``; numbers are features, or stand there too."""
    import anndata

    index, *others = columns
    obs, features = {}, {}
    for column in others:
        values = [_typed(column, value, rng) for value in column.values]
        gaps = any(value is None for value in values)
        if column.kind in {"whole", "real", "narrow"} and column.name.startswith("x"):
            features[column.name] = np.array([np.nan if v is None else float(v) for v in values])
        elif column.kind == "whole":
            obs[column.name] = pd.Series(values, dtype="Int64" if gaps else "int64")
        elif column.kind in {"real", "narrow"}:
            obs[column.name] = pd.Series(values, dtype="float64" if column.kind == "real" else "float32")
        elif column.kind == "decimal":
            obs[column.name] = pd.Series([None if v is None else float(v) for v in values], dtype="float64")
        elif column.kind == "truth":
            obs[column.name] = pd.Series(values, dtype="boolean" if gaps else "bool")
        else:
            obs[column.name] = pd.Series(_categorical(values))
    names = pd.Index([str(value) for value in index.values], dtype=object)
    frame = pd.DataFrame(obs).set_axis(names, axis=0)
    frame.columns = pd.Index(list(frame.columns), dtype=object)
    x = np.stack(list(features.values()), 1) if features else np.zeros((len(names), 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.AnnData(x, obs=frame, var=pd.DataFrame(index=pd.Index(list(features), dtype=object)))
        data.write_h5ad(path)


def _categorical(values: Sequence[Any]) -> pd.Categorical:
    """A categorical of plain strings: not every anndata writes Arrow's."""
    names = sorted({value for value in values if value is not None})
    codes = [-1 if value is None else names.index(value) for value in values]
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))


#: Ending -> writer; what stands before the dot of a key tells dialects apart.
WRITERS: dict[str, Callable[[Path, Sequence[Written], random.Random], None]] = {
    "text.csv": delimited(","),
    "text.tsv": delimited("\t"),
    "pandas.parquet": pandas_parquet,
    "polars.parquet": polars_parquet,
    "spark.parquet": spark_parquet,
    "weka.arff": arff,
    "scanpy.h5ad": h5ad,
}


def write(name: str, folder: Path, columns: Sequence[Written], rng: random.Random) -> Path:
    """Write a table in one of :data:`WRITERS`, its rows in an order of their own."""
    path = folder / name
    WRITERS[name](path, _shuffled(columns, rng), rng)
    return path
