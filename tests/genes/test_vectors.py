"""Vectors that genes start from: networks, walks, node2vec, files; nothing of a patient who is scored."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from m3h_pipeline.config.model import GeneVectors, Modality, Transcriptome
from m3h_pipeline.contracts import SPLIT
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.files import read_features, write_features, write_table
from m3h_pipeline.genes.networks import (
    Network,
    coexpression,
    network_of,
    node2vec,
    random_walks,
    read_network,
)
from m3h_pipeline.genes.vectors import embed_genes, read_vectors

GENES = [f"G{i}" for i in range(12)]


def how(kind: str = "coexpression", **more: Any) -> GeneVectors:
    return GeneVectors.model_validate({"kind": kind, **more})


def edges_of(network: Network) -> dict[tuple[str, str], float]:
    source = np.repeat(np.arange(len(network.genes)), np.diff(network.start))
    return {
        (network.genes[u], network.genes[v]): w
        for u, v, w in zip(source, network.neighbour, network.weight, strict=True)
    }


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0.1, 9)), min_size=1, max_size=20))
def test_a_network_is_symmetric_and_keeps_the_strongest_of_repeated_edges(
    edges: list[tuple[int, int, float]],
) -> None:
    names = ["f", "b", "d", "a", "c", "e"]
    first, second, weight = (np.array(part) for part in zip(*edges, strict=True))
    expected: dict[tuple[str, str], float] = {}
    for u, v, w in edges:
        if u != v:
            for pair in ((names[u], names[v]), (names[v], names[u])):
                expected[pair] = max(w, expected.get(pair, 0.0))
    network = network_of(names, first, second, weight)
    assert edges_of(network) == expected
    assert network.genes == sorted({gene for pair in expected for gene in pair})


def test_coexpression_links_those_that_correlate_most() -> None:
    mixed = np.random.default_rng(0).normal(size=(80, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    x = np.asarray(mixed, dtype=np.float32)
    x[:, 3] = 7.0
    correlation = np.abs(np.nan_to_num(pd.DataFrame(x.astype(np.float64)).corr().to_numpy()))
    np.fill_diagonal(correlation, 0)
    expected: dict[tuple[str, str], float] = {}
    for i in range(12):
        for j in np.argsort(-correlation[i])[:3]:
            if correlation[i, j] >= 0.3:
                expected |= {(GENES[i], GENES[j]): correlation[i, j], (GENES[j], GENES[i]): correlation[i, j]}
    found = edges_of(coexpression(x, GENES, 3, 0.3))
    assert found.keys() == expected.keys()
    assert list(found.values()) == pytest.approx([expected[pair] for pair in found], abs=1e-9)
    assert not any("G3" in pair for pair in found)


def test_steps_follow_the_published_probabilities() -> None:
    """The distribution of third genes given the first two, against its definition."""
    edges = [(0, 1, 1.0), (1, 2, 2.0), (0, 2, 1.0), (1, 3, 3.0), (3, 4, 1.0)]
    first, second, weight = (np.array(part) for part in zip(*edges, strict=True))
    network = network_of(["a", "b", "c", "d", "e"], first, second, weight)
    options = how(walks=8000, walk_length=3, p=0.5, q=4.0)
    walks = random_walks(network, options, 1)
    after = walks[(walks[:, 0] == 0) & (walks[:, 1] == 1)][:, 2]
    # From b, come from a: back to a (1 / p), to its neighbour c (1), on to d (1 / q).
    probability = np.array([1.0 / 0.5, 0, 2.0, 3.0 / 4.0, 0])
    count = np.bincount(after, minlength=5)
    assert count[[1, 4]].tolist() == [0, 0]
    part = [0, 2, 3]
    expected = probability[part] / probability.sum() * len(after)
    assert stats.chisquare(count[part], expected).pvalue > 1e-3
    linked = edges_of(network)
    for walk in walks[:200]:
        assert all((network.genes[u], network.genes[v]) in linked for u, v in pairwise(walk))


def test_the_order_of_genes_and_edges_changes_nothing() -> None:
    x = np.random.default_rng(3).normal(size=(60, 12)).astype(np.float32)
    x[:, :6] += 2 * x[:, [0]]
    order = np.random.default_rng(4).permutation(12)
    options = how(walks=3, walk_length=10)
    one = coexpression(x, GENES, 4, 0.3)
    other = coexpression(x[:, order], [GENES[i] for i in order], 4, 0.3)
    assert one.genes == other.genes
    np.testing.assert_allclose(node2vec(one, 8, options, 5), node2vec(other, 8, options, 5), atol=1e-6)


def test_node2vec_puts_communities_together() -> None:
    edges = [(i, j) for block in (range(6), range(6, 12)) for i in block for j in block if i < j] + [(0, 6)]
    first, second = (np.array(part) for part in zip(*edges, strict=True))
    network = network_of(GENES, first, second, np.ones(len(edges)))
    vectors = node2vec(network, 16, how(walks=100, walk_length=40, window=3), 0)
    assert np.square(vectors).mean() == pytest.approx(1.0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    side = np.array([int(gene[1:]) < 6 for gene in network.genes])
    within = cosine[np.equal.outer(side, side) & ~np.eye(12, dtype=bool)].mean()
    assert within > cosine[np.not_equal.outer(side, side)].mean() + 0.5


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    x = np.random.default_rng(7).normal(size=(40, 12)).astype(np.float32)
    x[:, :6] += 2 * x[:, [0]]
    write_features(x, GENES, tmp_path / "features/expression.parquet")
    part = ["train"] * 30 + ["test"] * 10
    fold = [i % 3 for i in range(30)] + [-1] * 10
    write_table(split_table(part, fold), tmp_path / "split.parquet", SPLIT)
    return tmp_path


def split_table(part: list[str], fold: list[int]) -> Any:
    import pyarrow as pa

    given = {"part": part, "fold": fold}
    columns = []
    for entry in SPLIT:
        values = given.get(entry.name, [str(i) for i in range(len(part))])
        columns.append(pa.array(values).cast(entry.type))
    return pa.Table.from_arrays(columns, schema=SPLIT)


def embed(cohort: Path, options: GeneVectors, out: str = "genes.parquet", width: int = 8) -> dict[Any, Any]:
    transcriptome = Transcriptome(width=width, heads=2, genes=options)
    modality = Modality(sources=["expression"], encoder="transcriptome", transcriptome=transcriptome)
    embed_genes(modality, cohort, cohort / "split.parquet", 1, cohort / out, io.StringIO())
    return read_vectors(cohort / out, GENES)


def test_coexpression_of_a_fold_sees_neither_that_fold_nor_the_test_part(cohort: Path) -> None:
    options = how(min_correlation=0.3, walks=2, walk_length=10)
    before = embed(cohort, options)
    assert sorted(before) == [-1, 0, 1, 2]
    x, names = read_features(cohort / "features/expression.parquet")
    changed = x.copy()
    changed[30:] = np.random.default_rng(8).normal(size=(10, 12))
    changed[0:30:3] = np.random.default_rng(9).normal(size=(10, 12))
    write_features(changed, names, cohort / "features/expression.parquet")
    after = embed(cohort, options, "again.parquet")
    np.testing.assert_array_equal(before[0], after[0])
    for fold in (-1, 1, 2):
        assert not np.array_equal(before[fold], after[fold], equal_nan=True)


def test_vectors_of_a_file_are_matched_by_name(cohort: Path) -> None:
    table = pd.DataFrame(np.random.default_rng(1).normal(size=(3, 4)), index=["G5", "other", "G0"])
    table.to_csv(cohort / "vectors.csv", index_label="gene")
    vectors = embed(cohort, how("file", path=str(cohort / "vectors.csv")), width=4)[None]
    assert np.flatnonzero(~np.isnan(vectors).any(1)).tolist() == [0, 5]
    ratio = vectors[[5, 0]] / table.loc[["G5", "G0"]].to_numpy()
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)
    assert np.nanmean(np.square(vectors)) == pytest.approx(1.0, rel=1e-5)


def test_an_edge_list_is_cut_to_the_genes(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("protein1,protein2,score\nG1,G2,9\nG2,G1,3\nG2,X,4\nG7,G7,1\nG3,G1,1\n")
    assert edges_of(read_network(str(path), GENES)).keys() == {
        *(("G1", "G2"), ("G2", "G1")),
        *(("G1", "G3"), ("G3", "G1")),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nG1,G2\n", "column `protein1` .* is absent"),
        ("protein1,protein2\nX,Y\n", "no edge of the network lies between two genes"),
        ("protein1,protein2\nG1\n", "fields instead of 2"),
    ],
)
def test_a_network_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "net.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_network(str(path), GENES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene,a\nG1,1\n", "the vectors have 1 entries, but `width` is 2"),
        ("gene,a,b\nG1,1,x\n", "no number"),
        ("gene,a,b\nG1,1,\n", "missing or infinite"),
        ("gene,a,b\nG1,1,2\nG1,1,2\n", "gene `G1` has two vectors"),
        ("gene,a,b\nX,1,2\n", "none of the modality's genes has a vector"),
    ],
)
def test_a_file_of_vectors_that_is_none(cohort: Path, text: str, message: str) -> None:
    (cohort / "v.csv").write_text(text)
    with pytest.raises((InputError, ConfigError), match=message):
        embed(cohort, how("file", path=str(cohort / "v.csv")), width=2)


@pytest.mark.parametrize("given", [{"kind": "network"}, {"kind": "coexpression", "path": "x"}])
def test_a_path_belongs_to_networks_and_files(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="path"):
        GeneVectors.model_validate(given)
