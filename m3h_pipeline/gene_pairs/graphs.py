"""Networks of genes for other programs, and which known gene sets they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
from scipy import stats

from m3h_pipeline.contracts.gene_pairs import GENE_SETS
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import replacing
from m3h_pipeline.inference.intervals import benjamini_hochberg
from m3h_pipeline.tables.textfile import open_bytes


def network(pairs: pa.Table, importance: Mapping[str, float]) -> nx.Graph:
    """Pairs (contracts.GENE_PAIRS) as a graph: edges carry their columns, genes their importance.

    ``weight`` is the magnitude of the effect, which layouts take for the strength of an edge.
    """
    graph = nx.Graph()
    for row in pairs.to_pylist():
        a, b = row.pop("gene_a"), row.pop("gene_b")
        graph.add_edge(a, b, weight=abs(row["effect"]), **{k: v for k, v in row.items() if v is not None})
    for gene in graph:
        graph.nodes[gene]["importance"] = float(importance[gene])
    return graph


def write_graphml(pairs: pa.Table, importance: Mapping[str, float], path: Path) -> None:
    """Write pairs as GraphML, whole or not at all."""
    with replacing(path) as temporary:
        nx.write_graphml(network(pairs, importance), temporary, named_key_ids=True)


def read_gene_sets(path: str) -> dict[str, list[str]]:
    """Gene sets of a GMT file: name, description, genes; separated by tabs.

    Raises:
        InputError: the file is unreadable or a line is no gene set.
    """
    with open_bytes(path) as stream:
        text = stream.read().decode("utf-8", errors="replace")
    sets: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, *rest = line.split("\t")
        genes = [gene.strip() for gene in rest[1:] if gene.strip()]
        if not name or not genes or name in sets:
            what = "a gene set stands twice" if name in sets else "the line is no gene set"
            raise InputError(
                what,
                where=f"{path}, line {number}",
                hint="GMT: name, description, then genes, with tabs between",
            )
        sets[name] = genes
    if not sets:
        raise InputError("the file holds no gene set", where=path)
    return sets


def over_represented(genes: Sequence[str], background: Sequence[str], path: str) -> pa.Table:
    """Over-representation of gene sets among genes (hypergeometric, Benjamini-Hochberg), smallest p first.

    Sets are cut to the background, which is all genes that could have been found; sets without any are left
    out.

    Args:
        genes: found.
        background: genes of the modality.
        path: GMT file.

    Raises:
        InputError: the file is no GMT, or no set has a gene of the background.
    """
    known = set(background)
    cut = {name: set(members) & known for name, members in read_gene_sets(path).items()}
    sets = {name: members for name, members in cut.items() if members}
    if not sets:
        raise InputError(
            "no gene set holds a gene of the modality",
            where=path,
            hint="both must name genes alike: symbols, or identifiers of the same kind",
        )
    wanted = set(genes)
    shared = {name: sorted(members & wanted) for name, members in sets.items()}
    rows = [
        {
            "gene_set": name,
            "overlap": len(shared[name]),
            "size": len(members),
            "p": float(
                stats.hypergeom.sf(len(shared[name]) - 1, len(known), len(members), len(wanted & known))
            ),
            "genes": " ".join(shared[name]),
        }
        for name, members in sets.items()
    ]
    for row, q in zip(rows, benjamini_hochberg(np.array([row["p"] for row in rows])), strict=True):
        row["q"] = float(q)
    rows.sort(key=lambda row: (row["p"], row["gene_set"]))
    return pa.Table.from_pylist(rows, schema=GENE_SETS)
