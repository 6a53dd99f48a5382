"""Gene networks, and vectors for their genes by node2vec (Grover & Leskovec, KDD 2016).

Genes are worked through in the order of their names and walks are drawn by numpy's Philox, so that a network
is given the same vectors however its file is sorted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config.model import GeneVectors
from m3h_pipeline.errors import InputError, absent
from m3h_pipeline.tables.content import read_columns
from m3h_pipeline.tables.formats import open_table
from m3h_pipeline.tables.reader import once
from m3h_pipeline.tables.values import Absent

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Columns of an edge list, as TxT names them.
EDGE = ("protein1", "protein2")
_BLOCK = 512


@dataclass(frozen=True)
class Network:
    """An undirected network of genes.

    Attributes:
        genes: names, sorted.
        start: (G + 1,) where each gene's neighbours begin in ``neighbour``.
        neighbour: (2 E,) numbers of the neighbours, ascending per gene.
        weight: (2 E,) weights of the edges, above 0.
    """

    genes: list[str]
    start: IntArray
    neighbour: IntArray
    weight: Float64Array


def network_of(genes: Sequence[str], first: IntArray, second: IntArray, weight: Float64Array) -> Network:
    """A network from edges between numbered genes; loops are left out, of a repeated edge the largest weight.

    Genes without an edge are left out.

    Examples:
        >>> net = network_of(["b", "a", "c"], np.array([0, 1]), np.array([1, 0]), np.array([1.0, 2.0]))
        >>> net.genes, net.weight.tolist()
        (['a', 'b'], [2.0, 2.0])
    """
    names = sorted(set(genes))
    number = {name: i for i, name in enumerate(names)}
    place = np.array([number[name] for name in genes], dtype=np.int64)
    u, v = place[first], place[second]
    proper = u != v
    u, v, w = u[proper], v[proper], np.asarray(weight, dtype=np.float64)[proper]
    u, v, w = np.concatenate([u, v]), np.concatenate([v, u]), np.concatenate([w, w])
    order = np.lexsort([-w, v, u])
    u, v, w = u[order], v[order], w[order]
    fresh = np.ones(len(u), dtype=bool)
    fresh[1:] = (u[1:] != u[:-1]) | (v[1:] != v[:-1])
    u, v, w = u[fresh], v[fresh], w[fresh]
    linked = np.unique(u)
    u, v = np.searchsorted(linked, u), np.searchsorted(linked, v)
    start = np.searchsorted(u, np.arange(len(linked) + 1))
    return Network([names[i] for i in linked], start, v, w)


def read_network(path: str, genes: Sequence[str]) -> Network:
    """The part of a network that lies between the given genes, from an edge list with a header.

    Args:
        path: a table with columns ``protein1`` and ``protein2``, one edge per row; other columns are not
            read, an edge may stand twice.
        genes: names; those that the network does not link stay out.

    Raises:
        InputError: the file is unreadable or no edge lies between two of the genes.
    """
    with ExitStack() as stack:
        reader = open_table(path, stack)
        for name in EDGE:
            once(reader, name, "transcriptome.genes.path")
        pairs = read_columns(reader, [], EDGE, Absent(usual=False)).text
    known = {gene: i for i, gene in enumerate(dict.fromkeys(genes))}
    ends = [np.array([known.get(name, -1) for name in pairs[side].to_pylist()]) for side in EDGE]
    inside = (ends[0] >= 0) & (ends[1] >= 0) & (ends[0] != ends[1])
    if not inside.any():
        raise InputError(
            "no edge of the network lies between two genes of the modality",
            where=path,
            hint="both must name genes alike: symbols, or identifiers of the same kind",
        )
    first, second = ends[0][inside].astype(np.int64), ends[1][inside].astype(np.int64)
    return network_of(list(known), first, second, np.ones(len(first)))


def coexpression(x: npt.NDArray[np.float32], genes: Sequence[str], neighbours: int, least: float) -> Network:
    """The network that links each gene with those it correlates with most.

    Args:
        x: (n, G) expression of the rows it may be learned from, NaN = missing (taken as the gene's mean).
        genes: names of the columns, each once.
        neighbours: most partners that a gene chooses; it may be chosen by more.
        least: smallest magnitude of Pearson's correlation of an edge; its weight is the magnitude.

    Raises:
        InputError: no two genes correlate that much.
    """
    z = x.astype(np.float64)
    seen = ~np.isnan(z)
    mean = np.where(seen, z, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    z = np.where(seen, z - mean, 0.0)
    norm = np.sqrt(np.square(z).sum(0))
    # Rounding must not make partners of constant genes.
    z = np.where(norm > 1e-9 * np.maximum(1.0, np.abs(mean)), z / np.where(norm > 0, norm, 1.0), 0.0)
    count = min(neighbours, z.shape[1] - 1)
    edges = []
    for a in range(0, z.shape[1], _BLOCK):
        strength = np.abs(z[:, a : a + _BLOCK].T @ z)
        rows = np.arange(len(strength))
        strength[rows, rows + a] = -1.0
        best = np.argpartition(-strength, max(0, count - 1), axis=1)[:, :count]
        value = np.take_along_axis(strength, best, 1)
        row, column = np.nonzero(value >= least)
        edges.append((row + a, best[row, column], value[row, column]))
    first, second, weight = (np.concatenate(part) for part in zip(*edges, strict=True))
    if not len(first):
        raise InputError(
            f"no two genes correlate by {least:g} or more",
            where="transcriptome.genes.min_correlation",
            hint="lower it, or leave `genes` out: vectors are then learned from scratch",
        )
    return network_of(genes, first, second, weight)


def random_walks(network: Network, how: GeneVectors, seed: int) -> IntArray:
    """Second-order walks of node2vec, (G * walks, walk_length) numbers of genes.

    A step from v, come from t, goes to x with probability proportional to a(t, x) w(v, x), where a is
    1 / p if x = t, 1 if x neighbours t, else 1 / q. Proposals are drawn by weight and accepted with
    probability a / max a, for all walks at once.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    genes = len(network.genes)
    total = np.cumsum(network.weight)
    before = np.concatenate([[0.0], total])[network.start]
    links = np.repeat(np.arange(genes), np.diff(network.start)) * genes + network.neighbour
    back, out = 1 / how.p, 1 / how.q
    largest = max(back, 1.0, out)
    walks = np.empty((genes * how.walks, how.walk_length), dtype=np.int64)
    walks[:, 0] = np.tile(np.arange(genes), how.walks)
    for step in range(1, how.walk_length):
        pending = np.arange(len(walks))
        while len(pending):
            here = walks[pending, step - 1]
            low, high = before[here], before[here + 1]
            drawn = np.searchsorted(total, low + rng.random(len(here)) * (high - low), side="right")
            drawn = np.clip(drawn, network.start[here], network.start[here + 1] - 1)
            there = network.neighbour[drawn]
            bias = np.ones(len(here))
            if step > 1:
                previous = walks[pending, step - 2]
                key = previous * genes + there
                found = np.searchsorted(links, key)
                linked = links[np.minimum(found, len(links) - 1)] == key
                bias = np.where(there == previous, back, np.where(linked, 1.0, out)) / largest
            taken = rng.random(len(here)) < bias
            walks[pending[taken], step] = there[taken]
            pending = pending[~taken]
    return walks


def node2vec(network: Network, width: int, how: GeneVectors, seed: int) -> Float64Array:
    """Vectors of a network's genes by skip-gram over its walks, (G, width), of mean square 1.

    Raises:
        InputError: gensim is not installed.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise absent("gensim", "making vectors of genes from a network", "transcriptome.genes") from error
    walks = random_walks(network, how, seed)
    model = Word2Vec(
        [[network.genes[i] for i in walk] for walk in walks],
        vector_size=width,
        window=how.window,
        min_count=1,
        sg=1,
        # More than one worker, and vectors would depend on which was faster.
        workers=1,
        seed=seed & 0xFFFFFFFF,
        epochs=how.epochs,
    )
    vectors = np.stack([model.wv[gene] for gene in network.genes]).astype(np.float64)
    return vectors / math.sqrt(float(np.square(vectors).mean()))
