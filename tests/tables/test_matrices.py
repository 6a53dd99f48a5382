"""Transposed tables and AnnData files give what the plain table of the same content gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config.sources import TableFile, TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_features, read_samples

PATIENTS = [f"p{i}" for i in range(12)]
GENES = ["TP53", "MYC", "ESR1", "KRT5"]


def expression(seed: int = 0) -> pd.DataFrame:
    x = np.random.default_rng(seed).poisson(2.0, size=(len(PATIENTS), len(GENES))).astype(float)
    return pd.DataFrame(x, index=pd.Index(PATIENTS, name="sample"), columns=GENES)


def plain(texts: list[str]) -> pd.Index:
    """Texts as Python objects: not every anndata writes Arrow's strings."""
    return pd.Index(texts, dtype=object)


def ingested(folder: Path, file: dict[str, Any], block: dict[str, Any] | None = None) -> pd.DataFrame:
    source = TableSource.model_validate(
        {
            "files": [{"id": "sample", **file}],
            "blocks": {"expression": {"pattern": "[A-Z].*", **(block or {})}},
        }
    )
    ingest_table(source, ["expression"], folder / "cohort")
    x, names = read_features(folder / "cohort/features/expression.parquet")
    ids = read_samples(folder / "cohort/samples.parquet").column("sample_id").to_pylist()
    return pd.DataFrame(x, index=ids, columns=names)


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet"])
def test_both_orientations_are_one_table(tmp_path: Path, ending: str) -> None:
    frame = expression()
    frame.iloc[2, 1] = np.nan
    turned = frame.T.rename_axis("gene")
    if ending == "parquet":
        turned.reset_index().to_parquet(tmp_path / "t.parquet", index=False)
    else:
        turned.to_csv(tmp_path / f"t.{ending}", sep="\t" if ending == "tsv" else ",", na_rep="NA")
    file = {"path": str(tmp_path / f"t.{ending}"), "transposed": True}
    found = ingested(tmp_path, file)
    expected = frame.loc[sorted(PATIENTS)]
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy(np.float32))
    assert found.index.tolist() == sorted(PATIENTS)
    assert found.columns.tolist() == GENES


@pytest.mark.usefixtures("no_value_is_rare")
@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
@pytest.mark.parametrize("layer", [None, "counts"])
def test_anndata_is_the_same_table(tmp_path: Path, kind: str, layer: str | None) -> None:
    frame = expression()
    dense = frame.to_numpy()
    values: Any = (
        dense if kind == "dense" else (sparse.csr_matrix if kind == "csr" else sparse.csc_matrix)(dense)
    )
    stage = pd.Categorical(plain(["I", "II"] * 6))
    obs = pd.DataFrame({"age": np.arange(12.0), "stage": stage}, index=plain(PATIENTS))
    var = pd.DataFrame({"symbol": plain(GENES)}, index=plain([f"ENSG{i}" for i in range(4)]))
    data = anndata.AnnData(values, obs=obs, var=var, layers={"counts": values * 2})
    data.write_h5ad(tmp_path / "a.h5ad")
    file = {"path": str(tmp_path / "a.h5ad"), "symbols": "symbol", "layer": layer}
    found = ingested(tmp_path, file)
    expected = frame.loc[sorted(PATIENTS)] * (2 if layer else 1)
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy(np.float32))
    clinical = ingested(
        tmp_path, file, {"pattern": None, "columns": ["age", "stage"], "categorical": ["stage"]}
    )
    assert clinical.columns.tolist() == ["age", "stage=I", "stage=II"]
    np.testing.assert_array_equal(clinical["stage=II"], [int(p[1:]) % 2 for p in sorted(PATIENTS)])


def test_a_gene_that_stands_twice_can_become_one(tmp_path: Path) -> None:
    turned = pd.concat([expression().T, expression(1).T.loc[["MYC"]]]).rename_axis("gene")
    turned.to_csv(tmp_path / "t.csv")
    file = {"path": str(tmp_path / "t.csv"), "transposed": True}
    with pytest.raises(InputError, match=r"column `MYC` stands 2 times(.|\n)*duplicates: mean"):
        ingested(tmp_path, file)
    merged = ingested(tmp_path, file, {"genes": {"duplicates": "mean"}})
    assert merged.columns.tolist() == GENES
    mean = (expression()["MYC"] + expression(1)["MYC"]) / 2
    np.testing.assert_allclose(merged["MYC"], mean.loc[sorted(PATIENTS)])


@pytest.mark.usefixtures("no_value_is_rare")
def test_text_of_a_transposed_table_is_read_as_text(tmp_path: Path) -> None:
    rows = [["gene", *PATIENTS], ["Stage", *["I", "II"] * 6], ["Gene", *map(str, range(12))]]
    (tmp_path / "t.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    found = ingested(
        tmp_path, {"path": str(tmp_path / "t.csv"), "transposed": True}, {"categorical": ["Stage"]}
    )
    assert found.columns.tolist() == ["Stage=I", "Stage=II", "Gene"]
    # Text that nobody wants is in nobody's way.
    alone = ingested(tmp_path, {"path": str(tmp_path / "t.csv"), "transposed": True}, {"pattern": "Gene"})
    np.testing.assert_array_equal(alone["Gene"], [float(p[1:]) for p in sorted(PATIENTS)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene,a,a\nMYC,1,2\n", "the sample `a` stands more than once"),
        ("gene,a,b\n,1,2\n", "a feature has no name"),
        ("gene,a,b\nMYC,1,x\n", "column `MYC` holds text"),
        ("gene;a;b\nMYC;1;2\n", "separated by semicolons"),
        ("gene,a,b\nMYC,1\n", "a line has 2 fields instead of 3"),
    ],
)
def test_a_transposed_table_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        ingested(tmp_path, {"path": str(tmp_path / "t.csv"), "transposed": True})
    assert "`b`" not in str(caught.value)


def test_an_anndata_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    with pytest.raises(InputError, match="does not exist"):
        ingested(tmp_path, {"path": str(path)})
    path.write_text("no HDF5")
    with pytest.raises(InputError, match="no readable AnnData"):
        ingested(tmp_path, {"path": str(path)})
    frame = expression().set_axis(plain(PATIENTS), axis=0).set_axis(plain(GENES), axis=1)
    anndata.AnnData(frame).write_h5ad(path)
    with pytest.raises(InputError, match="there is no layer `raw`"):
        ingested(tmp_path, {"path": str(path), "layer": "raw"})
    with pytest.raises(InputError, match="`var` has no column `name`"):
        ingested(tmp_path, {"path": str(path), "symbols": "name"})


@pytest.mark.parametrize("options", [{"path": "t.csv", "layer": "x"}, {"path": "t.h5ad", "transposed": True}])
def test_options_fit_the_format(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="h5ad"):
        TableFile.model_validate(options)
