"""Figures of interactions are legible, for few and many pairs, and say so where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.figures import gene_pairs, style
from tests.figures.legibility import problems, texts


def pairs(count: int, genes: int, seed: int = 0, hub: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = np.triu_indices(genes, 1)
    if hub:
        a, b = np.zeros(genes - 1, dtype=int), np.arange(1, genes)
    chosen = rng.permutation(len(a))[:count]
    names = [f"GENE{i}A_s_at" if i % 7 == 0 else f"G{i}" for i in range(genes)]
    p = rng.uniform(size=len(chosen)) ** 3
    return pd.DataFrame(
        {
            "gene_a": [names[i] for i in a[chosen]],
            "gene_b": [names[i] for i in b[chosen]],
            "effect": rng.normal(size=len(chosen)),
            "magnitude": 1.0,
            "attention": 0.01,
            "difference": rng.normal(size=len(chosen)) / 1000,
            "statistic": 1.0,
            "p": p,
            "q": p,
            "called": pd.array(p < 0.01, dtype="boolean"),
        }
    )


@pytest.mark.parametrize(
    ("count", "genes", "hub"), [(1, 2, False), (40, 30, False), (40, 90, False), (25, 26, True)]
)
def test_networks_are_legible(count: int, genes: int, hub: bool) -> None:
    top = gene_pairs.strongest(pairs(count, genes, hub=hub), count)
    importance = {gene: float(i) for i, gene in enumerate(pd.concat([top["gene_a"], top["gene_b"]]).unique())}
    with style.applied():
        figure = gene_pairs.network(top, importance, "A task with quite a long title " * 4)
        assert problems(figure) == []
    shown = {text.get_text() for text in texts(figure)} & set(importance)
    assert len(shown) >= min(len(importance), 20)


@pytest.mark.parametrize(("layers", "heads"), [(1, 2), (8, 4)])
def test_head_maps_are_legible(layers: int, heads: int) -> None:
    top = gene_pairs.strongest(pairs(40, 30), 40)
    rows = [
        {"layer": layer, "head": head, "gene_a": row["gene_a"], "gene_b": row["gene_b"], "ratio": 1.5}
        for row in top.to_dict("records")
        for layer in range(layers)
        for head in range(heads)
    ]
    with style.applied():
        assert problems(gene_pairs.head_map(pd.DataFrame(rows), "A task")) == []


@pytest.mark.parametrize("count", [1, 400])
def test_volcanoes_are_legible(count: int) -> None:
    with style.applied():
        figure = gene_pairs.volcano(pairs(count, 90), 0.05, "A task")
        assert problems(figure) == []


def test_the_largest_difference_at_the_smallest_p_is_named_at_either_edge() -> None:
    frame = pairs(50, 90).assign(p=1e-6, called=pd.array([True] * 50, dtype="boolean"))
    for largest in (0.5, -0.5):
        frame.loc[7, "difference"] = largest
        name = " – ".join(frame[["gene_a", "gene_b"]].iloc[7])
        with style.applied():
            shown = [text.get_text() for text in texts(gene_pairs.volcano(frame, 0.05, "A task"))]
        assert name in shown


def test_where_there_is_nothing_it_is_said() -> None:
    frame = pairs(5, 10)
    none = frame.assign(effect=0.0, p=np.nan, called=pd.array([None] * 5, dtype="boolean"))
    with style.applied():
        for figure, text in (
            (gene_pairs.network(none, {}, "A task"), "hold no interaction"),
            (gene_pairs.volcano(none, 0.05, "A task"), "attention was not compared"),
            (gene_pairs.head_map(frame.iloc[:0].assign(layer=[], head=[], ratio=[]), "A task"), "no pairs"),
        ):
            assert any(text in shown.get_text().replace("\n", " ") for shown in texts(figure))


def test_the_strongest_come_first_whatever_their_sign() -> None:
    top = gene_pairs.strongest(pairs(50, 40), 10)
    size = top["effect"].abs().tolist()
    assert size == sorted(size, reverse=True)
    assert size[-1] >= pairs(50, 40)["effect"].abs().nlargest(11).iloc[-1]
