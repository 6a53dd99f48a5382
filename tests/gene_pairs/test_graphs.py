"""Networks as GraphML, and gene sets against Fisher's exact test."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from m3h_pipeline.contracts.gene_pairs import GENE_PAIRS
from m3h_pipeline.errors import InputError
from m3h_pipeline.gene_pairs.attention import compare
from m3h_pipeline.gene_pairs.function import Effects
from m3h_pipeline.gene_pairs.graphs import over_represented, read_gene_sets, write_graphml
from m3h_pipeline.gene_pairs.stage import pairs_table, top_pairs

GENES = ["MYC", "TP53", "ESR1", "KRT5"]


def found(classes: int = 1) -> Effects:
    rng = np.random.default_rng(0)
    signed = rng.normal(size=(classes, 4, 4))
    signed = signed + signed.transpose(0, 2, 1)
    return Effects(np.arange(4.0), signed, np.abs(signed) * 1.5)


def test_pairs_are_named_and_of_the_class_that_matters_most() -> None:
    one = found(3)
    values = np.random.default_rng(1).normal(size=(20, 6))
    table = pairs_table(GENES, [one], values.mean(0), compare(values, np.arange(20) < 10, 19, 0), 0.05)
    assert table.schema == GENE_PAIRS
    assert len(table) == 6
    for row in table.to_pylist():
        assert row["gene_a"] < row["gene_b"]
        i, j = GENES.index(row["gene_a"]), GENES.index(row["gene_b"])
        most = np.abs(one.signed[:, i, j]).argmax()
        assert row["effect"] == one.signed[most, i, j]
        above = [(int(a), int(b)) for a, b in zip(*np.triu_indices(4, 1), strict=True)]
        place = above.index((min(i, j), max(i, j)))
        assert row["attention"] == pytest.approx(values.mean(0)[place])
    assert [abs(row["effect"]) for row in top_pairs(table, 3).to_pylist()] == sorted(
        np.abs(table.column("effect").to_numpy()), reverse=True
    )[:3]


def test_graphml_is_read_back(tmp_path: Path) -> None:
    table = pairs_table(GENES, [found()], np.full(6, 0.25), None, 0.05)
    write_graphml(table, dict(zip(GENES, range(4), strict=True)), tmp_path / "network.graphml")
    graph = nx.read_graphml(tmp_path / "network.graphml")
    assert sorted(graph) == sorted(GENES)
    assert graph.nodes["ESR1"]["importance"] == 2
    for row in table.to_pylist():
        edge = graph.edges[row["gene_a"], row["gene_b"]]
        assert edge["effect"] == pytest.approx(row["effect"])
        assert edge["weight"] == pytest.approx(abs(row["effect"]))
        assert "p" not in edge


def test_over_representation_is_fisher_s(tmp_path: Path) -> None:
    background = [f"G{i}" for i in range(50)]
    chosen = background[:12]
    sets = {"A": [*background[:8], "elsewhere"], "B": background[6:20], "C": background[30:], "none": ["X"]}
    path = tmp_path / "sets.gmt"
    path.write_text("".join(f"{name}\tof\t" + "\t".join(genes) + "\n" for name, genes in sets.items()))
    rows = over_represented(chosen, background, str(path)).to_pylist()
    assert [row["gene_set"] for row in rows] == ["A", "B", "C"]
    for row in rows:
        members = set(sets[row["gene_set"]]) & set(background)
        both = len(members & set(chosen))
        table = [[both, len(members) - both], [12 - both, 50 - 12 - len(members) + both]]
        assert row["p"] == pytest.approx(stats.fisher_exact(np.array(table), "greater").pvalue)
        assert (row["overlap"], row["size"]) == (both, len(members))
    assert [row["q"] for row in rows] == pytest.approx(stats.false_discovery_control([r["p"] for r in rows]))
    assert rows[0]["genes"].split() == sorted(background[:8])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\tof\n", "the line is no gene set"),
        ("A\tof\tG1\nA\tof\tG2\n", "stands twice"),
        ("A\tof\tX\n", "no gene set holds a gene of the modality"),
    ],
)
def test_a_file_of_gene_sets_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sets.gmt").write_text(text)
    with pytest.raises(InputError, match=message):
        over_represented(["G1"], ["G1", "G2"], str(tmp_path / "sets.gmt"))


def test_empty_lines_of_a_gmt_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "s.gmt").write_text("\nA\tof\tG1\t\tG2\n\n")
    assert read_gene_sets(str(tmp_path / "s.gmt")) == {"A": ["G1", "G2"]}
    assert pa.schema(GENE_PAIRS)
