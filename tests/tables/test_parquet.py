"""Parquet: columns of vectors, whoever stored them, and folders of parts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource
from m3h_pipeline.errors import InputError
from tests.cohort.table.files import Cohort, run

WIDTH, ROWS = 5, 30
IDS = [f"s{i:02d}" for i in range(ROWS)]


def vectors(seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(ROWS, WIDTH)).astype(np.float32)


def source(path: Path, name: str | None = "id", **block: Any) -> TableSource:
    return TableSource.model_validate(
        {"files": [{"path": str(path), "id": name}], "blocks": {"x": block or {"columns": ["embedding"]}}}
    )


def refused(wrong: TableSource, out: Path) -> str:
    with pytest.raises(InputError) as caught:
        ingest_table(wrong, ["x"], out, stream=io.StringIO())
    return str(caught.value)


# --- columns of vectors ----------------------------------------------------------------------------------


def stored(kind: str, x: npt.NDArray[np.float32], path: Path) -> None:
    """The vectors as different tools store them; a missing one is null, or an empty list."""
    missing = [bool(np.isnan(row).all()) for row in x]
    rows = [None if gone else row.tolist() for row, gone in zip(x, missing, strict=True)]
    if kind == "pandas":
        arrays = [None if gone else row for row, gone in zip(x, missing, strict=True)]
        pd.DataFrame({"id": IDS, "embedding": arrays, "n": range(ROWS)}).to_parquet(path)
        return
    if kind == "spark, empty for missing":
        column = pa.array([row or [] for row in rows], pa.list_(pa.float64()))
    elif kind == "tensor":
        inner = pa.array(rows, pa.list_(pa.float32(), WIDTH))
        column = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (WIDTH,)), inner)
    else:
        types = {
            "list": pa.list_(pa.float32()),
            "large list": pa.large_list(pa.float64()),
            "fixed": pa.list_(pa.float32(), WIDTH),
        }
        column = pa.array(rows, types[kind])
    pq.write_table(pa.table({"id": IDS, "embedding": column, "n": range(ROWS)}), path, row_group_size=7)


@pytest.mark.parametrize(
    "kind", ["list", "large list", "fixed", "pandas", "spark, empty for missing", "tensor"]
)
def test_vectors_are_columns_of_their_own(tmp_path: Path, kind: str) -> None:
    x = vectors()
    x[[0, 11]] = np.nan
    if kind not in {"tensor", "pandas"}:
        x[3, 2] = np.nan
    path = tmp_path / "t.parquet"
    stored(kind, x, path)
    names = [f"embedding.{j}" for j in range(WIDTH)]
    for block in ({"columns": ["embedding"]}, {"pattern": "embedding"}, {"pattern": r"embedding\.\d"}):
        cohort = run(source(path, **block), tmp_path / "out")
        assert cohort.names["x"] == names
        np.testing.assert_array_equal(cohort.features["x"], x)
    every = run(source(path, pattern=".+"), tmp_path / "out")
    assert every.names["x"] == [*names, "n"]
    assert run(source(path, pattern=".+", exclude=["embedding"]), tmp_path / "out").names["x"] == ["n"]
    assert run(source(path, columns=["embedding.3"]), tmp_path / "out").features["x"].T.tolist() == [
        pytest.approx(x[:, 3].tolist(), nan_ok=True)
    ]


def test_vectors_of_two_lengths_are_refused_by_row(tmp_path: Path) -> None:
    rows = [[1.0] * 4] * 20 + [[1.0] * 3] + [[1.0] * 4] * 9
    pq.write_table(pa.table({"id": IDS, "embedding": rows}), tmp_path / "t.parquet")
    message = refused(source(tmp_path / "t.parquet"), tmp_path / "out")
    assert "has 3 elements instead of 4" in message
    assert "row 21" in message


@pytest.mark.parametrize("values", [[["a"]] * ROWS, [[[1.0]]] * ROWS, [{"a": 1.0}] * ROWS])
def test_lists_of_anything_else_are_no_vectors(tmp_path: Path, values: list[Any]) -> None:
    pq.write_table(pa.table({"id": IDS, "embedding": values}), tmp_path / "t.parquet")
    assert "column `embedding` is of type" in refused(source(tmp_path / "t.parquet"), tmp_path / "out")


@pytest.mark.parametrize("key", ["X_pca", "X_umap", "X_scVI", "clinical"])
@pytest.mark.parametrize("form", ["array", "frame"])
def test_arrays_of_obsm_are_vectors(tmp_path: Path, key: str, form: str) -> None:
    """Named in `columns`; no pattern takes them for genes."""
    x = vectors()
    names = pd.Index(IDS, dtype=object)
    frame = pd.DataFrame(x, index=names, columns=[str(j) for j in range(WIDTH)])
    data = anndata.AnnData(
        np.ones((ROWS, 2)),
        obs=pd.DataFrame(index=names),
        var=pd.DataFrame(index=pd.Index(["a", "b"], dtype=object)),
        obsm={key: x if form == "array" else frame},
    )
    data.write_h5ad(tmp_path / "t.h5ad")
    cohort = run(source(tmp_path / "t.h5ad", "sample", columns=[f"obsm:{key}"]), tmp_path / "out")
    assert cohort.names["x"] == [f"obsm:{key}.{j}" for j in range(WIDTH)]
    np.testing.assert_array_equal(cohort.features["x"], x)
    assert run(source(tmp_path / "t.h5ad", "sample", pattern=".+"), tmp_path / "out").names["x"] == ["a", "b"]
    assert f"did you mean `obsm:{key}`" in refused(
        source(tmp_path / "t.h5ad", "sample", columns=[f"obsm:{key}s"]), tmp_path / "out"
    )


# --- folders of parts ------------------------------------------------------------------------------------


def frame() -> pd.DataFrame:
    x = vectors()
    return pd.DataFrame(
        {"id": IDS[::-1], "site": ["north", "south", "east"] * 10, "a": x[:, 0], "b": np.arange(ROWS)}
    )


def parts(kind: str, folder: Path) -> None:
    """The table in parts, as different tools write it."""
    table = frame()
    folder.mkdir()
    if kind == "spark":
        (folder / "_SUCCESS").touch()
        for i in range(3):
            name = f"part-{i:05d}-a1b2.c000.snappy.parquet"
            table.iloc[10 * i : 10 * i + 10].to_parquet(folder / name, index=False)
            (folder / f".{name}.crc").write_bytes(b"crc\x00")
        empty = table.iloc[:0].astype({"id": object})
        pq.write_table(pa.Table.from_pandas(empty, preserve_index=False), folder / "part-00003.parquet")
    elif kind == "dask":
        for i in range(15):
            table.iloc[2 * i : 2 * i + 2].to_parquet(folder / f"part.{i}.parquet", index=False)
        (folder / "_metadata").write_bytes(b"PAR1")
        (folder / "_common_metadata").write_bytes(b"PAR1")
    elif kind == "arrow":
        ds.write_dataset(
            pa.Table.from_pandas(table), folder, format="parquet", max_rows_per_file=10, max_rows_per_group=10
        )
    elif kind == "hive":
        flavor = ds.partitioning(pa.schema([("site", pa.string())]), flavor="hive")
        ds.write_dataset(pa.Table.from_pandas(table), folder, format="parquet", partitioning=flavor)
    else:
        # The same column as whole numbers in one part, with a gap (and so floating) in another.
        table.iloc[:10].to_parquet(folder / "0.pq", index=False)
        later = table.iloc[10:].astype({"b": float})
        later[later.columns[::-1]].to_parquet(folder / "1.pq", index=False)


@pytest.mark.parametrize("kind", ["spark", "dask", "arrow", "hive", "types and order differ"])
def test_a_folder_is_the_table_of_its_parts(tmp_path: Path, kind: str) -> None:
    parts(kind, tmp_path / "t")
    frame().to_parquet(tmp_path / "whole.parquet")
    block: dict[str, Any] = {"columns": ["a", "b", "site"], "categorical": ["site"]}
    cohorts: list[Cohort] = [
        run(source(tmp_path / name, **block), tmp_path / "out") for name in ("t", "whole.parquet")
    ]
    found, expected = cohorts
    assert found.names == expected.names
    np.testing.assert_array_equal(found.features["x"], expected.features["x"])
    assert found.samples.equals(expected.samples)
    listed = source(tmp_path / "t").paths()
    assert listed
    assert all(path.endswith(("parquet", "pq")) and "_SUCCESS" not in path for path in listed)


def test_parts_without_an_id_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    parts("dask", tmp_path / "t")
    cohort = run(source(tmp_path / "t", None, columns=["b"]), tmp_path / "out")
    assert cohort.features["x"][:, 0].tolist() == list(range(ROWS))


def test_a_folder_that_is_no_table(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    assert "holds no Parquet file" in refused(source(folder, columns=["a"]), tmp_path / "out")
    table = frame()
    table.to_parquet(folder / "0.parquet")
    table.drop(columns="b").to_parquet(folder / "1.parquet")
    message = refused(source(folder, columns=["a"]), tmp_path / "out")
    assert "other columns than the first one: b" in message
    assert "1.parquet" in message
    (folder / "1.parquet").write_bytes(b"PAR1 is no Parquet")
    assert "1.parquet" in refused(source(folder, columns=["a"]), tmp_path / "out")
    (folder / "1.parquet").unlink()
    table.loc[3, "a"] = np.inf
    table.to_parquet(folder / "1.parquet")
    assert "t, 1.parquet, row 4" in refused(source(folder, columns=["a"]), tmp_path / "out")


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ("_temporary/0", "did not finish"),
        ("_delta_log/0", "Delta Lake"),
        (".hoodie/0", "Hudi"),
        ("metadata/v1.metadata.json", "Iceberg"),
    ],
)
def test_folders_whose_parts_are_not_the_table_are_refused(tmp_path: Path, inside: str, says: str) -> None:
    parts("spark", tmp_path / "t")
    path = tmp_path / "t" / inside
    path.parent.mkdir()
    path.touch()
    assert says in refused(source(tmp_path / "t", columns=["a"]), tmp_path / "out")
