"""A table means the same in every format."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import arff

from m3h_pipeline.config import (
    Subgroup,
    TableBlock,
)
from tests.cohort.table.files import one, run, shipped, table

# --- formats ---------------------------------------------------------------------------------------------

_DATA: Mapping[str, list[Any]] = {
    "id": [30000001, 10000002, 20000003],
    "v": [0.1, None, -3.5],
    "whole": [1, 2, None],
    "flag": [1, 0, 1],
    "kind": ["b", "a", None],
    "y": ["high", None, "low"],
}


def _parquet(path: Path) -> None:
    frame = pa.table(
        {
            "id": pa.array([float(i) for i in _DATA["id"]], pa.float64()),
            "v": pa.array(_DATA["v"], pa.float64()),
            "whole": pa.array(_DATA["whole"], pa.int16()),
            "flag": pa.array([bool(flag) for flag in _DATA["flag"]], pa.bool_()),
            "kind": pa.array(_DATA["kind"], pa.string()).dictionary_encode(),
            "y": pa.array(_DATA["y"], pa.large_string()),
            "y.more": pa.array([0, 0, 0]),
        }
    )
    pq.write_table(frame, path)


def _arff(path: Path) -> None:
    rows = zip(*(_DATA[name] for name in _DATA), strict=True)
    lines = [",".join("?" if value is None else str(value) for value in row) for row in rows]
    header = (
        "% a comment\n@relation t\n@attribute id numeric\n@attribute v numeric\n@attribute whole numeric\n"
    )
    header += "@attribute flag {0,1}\n@attribute kind {a,b}\n@attribute y {high,low}\n@data\n% a comment\n\n"
    path.write_text(header + "\n".join(lines) + "\n")


def _write(path: Path) -> None:
    rows = list(zip(*(_DATA[name] for name in _DATA), strict=True))
    if ".parquet" in path.name or ".pq" in path.name:
        _parquet(path)
    elif ".arff" in path.name:
        _arff(path)
    else:
        table(
            path.with_suffix("") if path.suffix == ".gz" else path,
            list(_DATA),
            rows,
            "," if "csv" in path.name else "\t",
        )
        if path.suffix == ".gz":
            path.write_bytes(path.with_suffix("").read_bytes())
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.usefixtures("no_value_is_rare")
@pytest.mark.parametrize(
    "name",
    [
        "t.csv",
        "t.tsv",
        "t.tab",
        "t.csv.gz",
        "t.TSV",
        "t.parquet",
        "t.pq",
        "t.parquet.gz",
        "t.arff",
        "t.arff.gz",
    ],
)
def test_a_table_means_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    _write(tmp_path / name)
    source = one(
        str(tmp_path / name),
        id="id",
        blocks={"x": TableBlock(columns=["v", "whole", "flag", "kind"], categorical=["kind"])},
        columns=["y"],
        subgroups={
            "kind": Subgroup(column="kind"),
            "flag": Subgroup(column="flag", values={"1": "yes", "0": "no"}),
        },
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["10000002", "20000003", "30000001"]
    assert cohort.samples["kind"].astype(object).where(cohort.samples["kind"].notna(), None).tolist() == [
        "a",
        None,
        "b",
    ]
    assert cohort.samples["flag"].tolist() == ["no", "yes", "yes"]
    nan = np.nan
    expected = np.array([[nan, 2, 0, 1, 0], [-3.5, nan, 1, nan, nan], [0.1, 1, 1, 0, 1]], np.float32)
    np.testing.assert_array_equal(cohort.features["x"], expected)
    assert cohort.columns["y"].astype(object).where(cohort.columns["y"].notna(), None).tolist() == [
        None,
        "low",
        "high",
    ]


def test_a_compressed_file_without_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    cohort = run(one(str(path), blocks={"x": TableBlock(pattern=".")}), tmp_path / "out")
    assert cohort.features["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize("name", sorted(path.name for path in shipped().glob("*.arff")))
def test_arff_of_a_package_as_loadarff_reads_it(name: str, tmp_path: Path) -> None:
    """Every column of every data set that scikit-survival carries."""
    data, meta = arff.loadarff(io.StringIO((shipped() / name).read_text()))
    numeric = next(n for n in meta.names() if meta[n][0] == "numeric")
    labels = [n for n in meta.names() if n != numeric]
    source = one(
        f"python:sksurv/datasets/data/{name}", blocks={"x": TableBlock(columns=[numeric])}, columns=labels
    )
    cohort = run(source, tmp_path / "out")
    np.testing.assert_array_equal(cohort.features["x"][:, 0], data[numeric].astype(np.float32))
    for label in labels:
        if meta[label][0] == "numeric":
            np.testing.assert_array_equal(cohort.columns[label].to_numpy(float), data[label])
            continue
        expected = [None if value in {b"?", b"NA"} else value.decode() for value in data[label]]
        if cohort.columns[label].dtype == np.float64:
            expected_numbers = [np.nan if value is None else float(value) for value in expected]
            np.testing.assert_array_equal(cohort.columns[label].to_numpy(), expected_numbers)
        else:
            assert [None if pd.isna(v) else v for v in cohort.columns[label]] == expected
