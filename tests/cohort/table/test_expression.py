"""Preparation of gene expression: against pandas, whatever the order of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.cohort.ingest import render_summary
from m3h_pipeline.cohort.table.expression import applied, learn_genes
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config.sources import GeneOptions, TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_features

SYMBOLS = ["TP53", "MYC", "TP53", "ESR1", "KRT5", "MYC"]


class Genes(NamedTuple):
    """Expression as a source holds it."""

    x: Any
    names: list[str]
    report: dict[str, int]


def prepare_genes(x: Any, names: Sequence[str], options: GeneOptions, where: str) -> Genes:
    """What is learned of expression, applied to it."""
    kept = learn_genes(x, names, options, where)
    columns = [i for at in kept.columns.values() for i in at]
    widths = [len(at) for at in kept.columns.values()]
    return Genes(applied(x[:, columns], list(kept.columns), widths, options), list(kept.columns), kept.report)


def expression(seed: int = 0, missing: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.gamma(2, 3, size=(30, len(SYMBOLS))) * np.arange(1, 7)
    if missing:
        x[rng.random(x.shape) < 0.2] = np.nan
        x[:25, 3] = np.nan
    return pd.DataFrame(x.astype(np.float32), columns=SYMBOLS)


def by_pandas(frame: pd.DataFrame, options: GeneOptions) -> pd.DataFrame:
    """The same steps, said in pandas."""
    if isinstance(options.keep, list):
        frame = frame.loc[:, frame.columns.isin(options.keep)]
    if options.log != "none":
        shift = options.pseudo_count if options.log == "log2" else 1.0
        frame = (frame + shift).map(np.log2 if options.log == "log2" else np.log)
    if options.clip is not None:
        frame = frame.clip(*options.clip)
    frame = frame.loc[:, frame.notna().mean() >= options.min_observed]
    if options.duplicates == "mean":
        frame = frame.T.groupby(level=0, sort=False).mean().T
    elif options.duplicates == "max_variance":
        order = frame.var(ddof=0).to_numpy()
        best = pd.DataFrame({"name": frame.columns, "v": order}).sort_values("v", ascending=False)
        first = best.drop_duplicates("name").index
        chosen = frame.iloc[:, first]
        frame = chosen[list(dict.fromkeys(frame.columns))]
    else:
        frame = frame.loc[:, ~frame.columns.duplicated()]
    if options.top_variance is not None:
        top = frame.var(ddof=0).sort_values(ascending=False).index[: options.top_variance]
        frame = frame.loc[:, frame.columns.isin(top)]
    return frame


@pytest.mark.parametrize("duplicates", ["mean", "max_variance", "first"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"log": "log2", "pseudo_count": 0.5, "clip": (1.0, 4.0)},
        {"log": "log1p", "top_variance": 2},
        {"min_observed": 0.5, "clip": (0.0, 20.0)},
        {"keep": ["TP53", "KRT5"]},
    ],
)
def test_steps_are_those_of_pandas(duplicates: str, more: dict[str, Any]) -> None:
    frame = expression()
    options = GeneOptions.model_validate({"duplicates": duplicates, **more})
    found = prepare_genes(frame.to_numpy(), SYMBOLS, options, "genes")
    expected = by_pandas(frame.astype(np.float64), options)
    assert found.names == list(expected.columns)
    np.testing.assert_allclose(found.x, expected.to_numpy(), rtol=1e-5)
    dropped = sum(
        found.report.get(k, 0) for k in ("not_listed", "seldom_observed", "merged", "less_variable")
    )
    assert found.report["given"] - dropped == found.report["kept"] == len(found.names)


@given(st.permutations(range(5)))
def test_columns_in_another_order_give_the_same_genes(order: list[int]) -> None:
    frame = expression().iloc[:, :5]
    options = GeneOptions(duplicates="mean", clip=(0, 30), top_variance=3)
    one = prepare_genes(frame.to_numpy(), frame.columns.tolist(), options, "genes")
    moved = frame.iloc[:, order]
    other = prepare_genes(moved.to_numpy(), moved.columns.tolist(), options, "genes")
    assert sorted(one.names) == sorted(other.names)
    at = [other.names.index(name) for name in one.names]
    np.testing.assert_allclose(other.x[:, at], one.x, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "gene `TP53` stands 2 times"),
        ({"keep": ["ESR2"]}, "gene `ESR2` is not in the block"),
        ({"log": "log2", "pseudo_count": 0.5}, "gene `MYC` has values without a logarithm"),
        ({"min_observed": 1.0}, "no gene is left"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], message: str) -> None:
    frame = expression()
    frame.iloc[3, 1] = -0.5
    frame.iloc[0] = np.nan
    with pytest.raises(InputError, match=message):
        prepare_genes(frame.to_numpy(), SYMBOLS, GeneOptions.model_validate(options), "genes")


def test_a_file_may_list_more_than_the_table_has(tmp_path: Path) -> None:
    panel = tmp_path / "panel.txt"
    panel.write_text("KRT5\n\nFOXA1\nESR1\n")
    found = prepare_genes(
        expression().to_numpy(), SYMBOLS, GeneOptions(keep=str(panel), duplicates="mean"), "genes"
    )
    assert found.names == ["ESR1", "KRT5"]
    panel.write_text("FOXA1\n")
    with pytest.raises(InputError, match="none of the listed genes"):
        prepare_genes(expression().to_numpy(), SYMBOLS, GeneOptions(keep=str(panel)), "genes")


def test_a_cohort_holds_the_prepared_genes_and_reports_them(tmp_path: Path) -> None:
    frame = expression(missing=False)
    frame.insert(0, "age", np.arange(30.0))
    frame.to_csv(tmp_path / "t.csv", index_label="id")
    source = TableSource.model_validate(
        {
            "files": [{"path": str(tmp_path / "t.csv"), "id": "id"}],
            "blocks": {
                "expression": {
                    "pattern": "[A-Z].*",
                    "genes": {
                        "duplicates": "first",
                        "log": "log1p",
                        "top_variance": 3,
                    },
                },
                "clinical": {"columns": ["age"]},
            },
        }
    )
    summary = ingest_table(source, ["expression", "clinical"], tmp_path / "cohort")
    x, names = read_features(tmp_path / "cohort/features/expression.parquet")
    options = source.blocks["expression"].genes
    assert options is not None
    expected = by_pandas(frame.drop(columns="age").astype(np.float64), options)
    assert names == list(expected.columns)
    # Samples are sorted by id as text.
    order = np.argsort([str(i) for i in range(30)])
    np.testing.assert_allclose(x, expected.to_numpy()[order], rtol=1e-5)
    assert summary["genes"]["expression"] == {"given": 6, "merged": 2, "less_variable": 1, "kept": 3}
    assert "genes of expression: given <11, merged <11, less variable <11, kept <11" in render_summary(
        summary
    )


def test_a_block_of_genes_has_no_categories() -> None:
    with pytest.raises(ValueError, match="no `categorical` columns"):
        TableSource.model_validate(
            {
                "files": [{"path": "t.csv"}],
                "blocks": {"x": {"pattern": ".", "categorical": ["a"], "genes": {}}},
            }
        )


def test_of_genes_that_vary_alike_the_first_by_name_are_kept() -> None:
    x = np.array([[0, 1, 5, 0], [2, 3, 5, 2]], dtype=np.float32)
    found = prepare_genes(x, ["TP53", "BRCA1", "ESR1", "ACTB"], GeneOptions(top_variance=2), "genes")
    assert found.names == ["BRCA1", "ACTB"]


def test_a_gene_observed_in_just_the_least_share_is_kept() -> None:
    x = np.array([[1, 1, 1], [np.nan, 2, 2], [np.nan, np.nan, 3], [4, np.nan, 4]], dtype=np.float32)
    for least, names in ((0.5, ["A", "B", "C"]), (0.51, ["C"])):
        assert prepare_genes(x, ["A", "B", "C"], GeneOptions(min_observed=least), "genes").names == names


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("ENSG00000141510.16", "ENSG00000141510"),
        ("ENSMUSG00000059552.14", "ENSMUSG00000059552"),
        ("ENST00000269305.9", "ENST00000269305"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("NM_000546.6", "NM_000546"),
        *((name, name) for name in ("RP11-34P13.7", "RP11-34P13.8", "AC114498.1", "AC114498.2", "HLA.A")),
        *((name, name) for name in ("TP53.1", "Y56A3A.20", "7.1", "ENSG.1", "ENSG00000141510", "X1.2.3")),
    ],
)
def test_a_version_is_that_of_a_record_and_no_part_of_a_name(name: str, bare: str) -> None:
    x = np.array([[1.0, 3.0], [2.0, 4.0]], dtype=np.float32)
    options = GeneOptions(strip_version=True, duplicates="mean")
    assert prepare_genes(x, [name, "other"], options, "genes").names == [bare, "other"]
    # Another version of the same record is the same gene; a name with another ending is another gene.
    again = f"{name}7" if bare == name else name.replace(".", ".7", 1)
    assert len(prepare_genes(x, [name, again], options, "genes").names) == 1 + (bare == name)
