"""The vectors that a transformer over genes starts from: of a network, of co-expression, or of a file.

Co-expression is that of a fit's training rows: there are vectors for every fold, and for the final fits,
which never see a patient of the test part. A network and a file know no patients: one set serves all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.config.model import GeneVectors, Modality
from m3h_pipeline.contracts import GENE_EMBEDDINGS, SPLIT
from m3h_pipeline.errors import ConfigError, ContractError, InputError
from m3h_pipeline.files import read_features, read_table, write_table
from m3h_pipeline.genes.networks import coexpression, node2vec, read_network
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.progress import Progress
from m3h_pipeline.tables.formats import open_table
from m3h_pipeline.tables.identifiers import called
from m3h_pipeline.tables.textfile import reading
from m3h_pipeline.tables.values import Absent

#: Genes -> vectors, by fold; None: of all folds.
Vectors = dict[int | None, tuple[list[str], npt.NDArray[np.float64]]]


def embed_genes(modality: Modality, cohort: Path, split: Path, seed: int, out: Path, screen: TextIO) -> None:
    """Write the vectors of a modality's genes (``contracts.GENE_EMBEDDINGS``).

    Args:
        modality: with ``transcriptome.genes``.
        cohort: folder with ``features/<source>.parquet``.
        split: the split file.
        seed: of walks and skip-gram.
        out: Parquet file.
        screen: where to report.

    Raises:
        ConfigError: the modality asks for none, or a file's vectors are of another width.
        InputError: a file is unreadable, or knows none of the genes.
    """
    options = modality.options
    if options is None or options.genes is None:
        raise ConfigError("the modality asks for no vectors of genes", where="transcriptome.genes")
    parts = [read_features(CohortFiles(Path(cohort)).features(source)) for source in modality.sources]
    genes = [name for _, names in parts for name in names]
    how, width = options.genes, options.width
    found: Vectors = {}
    if how.kind == "file":
        found[None] = _from_file(str(how.path), genes, width)
    elif how.kind == "network":
        network = read_network(str(how.path), genes)
        found[None] = network.genes, node2vec(network, width, how, seed)
    else:
        found = _by_fold(np.concatenate([x for x, _ in parts], 1), genes, split, how, width, seed, screen)
    for fold, (known, _) in found.items():
        where = "" if fold is None else f" of fold {fold}" if fold >= 0 else " of the final fits"
        rest = len(set(genes)) - len(set(known))
        screen.write(f"{len(known)} genes have a vector{where}; {rest} start from a random one\n")
    write_vectors(found, width, out)


def _by_fold(
    x: Float32Array,
    genes: Sequence[str],
    split: Path,
    how: GeneVectors,
    width: int,
    seed: int,
    screen: TextIO,
) -> Vectors:
    table = read_table(split, SPLIT)
    train = np.asarray(table.column("part").to_numpy(zero_copy_only=False) == "train")
    fold = table.column("fold").to_numpy().astype(np.int64)
    if len(train) != len(x):
        raise ContractError(f"{len(x)} rows, but the split has {len(train)}", where=str(split))
    folds = [*np.unique(fold[train]).tolist(), -1]
    found: Vectors = {}
    with Progress("networks", len(folds), stream=screen) as bar:
        for k in folds:
            rows = train if k < 0 else train & (fold != k)
            network = coexpression(x[rows], genes, how.neighbours, how.min_correlation)
            found[k] = network.genes, node2vec(network, width, how, seed)
            bar.advance(1)
    return found


def _from_file(path: str, genes: Sequence[str], width: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Vectors of a table: a column of genes, then one column per entry."""
    with ExitStack() as stack:
        reader = open_table(path, stack)
        name, *entries = reader.names
        if len(entries) != width or len(set(map(called, reader.names))) != len(reader.names):
            raise ConfigError(
                f"the vectors have {len(entries)} entries, but `width` is {width}",
                where=path,
                hint="the first column names the gene, each further one is an entry",
            )
        try:
            with reading(reader.shown):
                batches = list(reader.batches(entries, [name], Absent(), plain=False))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                "an entry of a vector is no number, or a line has another number of fields",
                where=path,
                hint="give a gene, then numbers",
            ) from error
        known = [str(gene) for batch in batches for gene in batch.column(name).to_pylist()]
        columns = [
            np.concatenate([np.asarray(batch.column(e).to_numpy(zero_copy_only=False)) for batch in batches])
            for e in entries
        ]
        if not all(column.dtype.kind in "fiu" for column in columns):
            raise InputError("an entry of a vector is no number", where=path)
        vectors = np.stack(columns, 1).astype(np.float64)
        if len(set(known)) < len(known):
            again = next(gene for i, gene in enumerate(known) if gene in known[:i])
            raise InputError(f"gene `{again}` has two vectors", where=path, hint="leave one of them out")
        if (wrong := ~np.isfinite(vectors).all(1)).any():
            raise InputError(
                "a vector has an entry that is missing or infinite",
                where=reader.place([int(np.argmax(wrong))]),
            )
    wanted = set(genes)
    rows = [i for i, gene in enumerate(known) if gene in wanted]
    if not rows:
        raise InputError(
            "none of the modality's genes has a vector",
            where=path,
            hint="both must name genes alike: symbols, or identifiers of the same kind",
        )
    vectors = vectors[rows]
    # As wide as vectors that are drawn: what follows is tuned to that.
    size = math.sqrt(float(np.square(vectors).mean()))
    return [known[i] for i in rows], vectors / (size or 1.0)


def write_vectors(found: Vectors, width: int, path: Path) -> None:
    """Write vectors by fold, genes sorted by name."""
    folds: list[int | None] = []
    genes: list[str] = []
    values = []
    for fold, (known, vectors) in found.items():
        for i in sorted(range(len(known)), key=known.__getitem__):
            folds.append(fold)
            genes.append(known[i])
            values.append(vectors[i])
    flat = np.concatenate(values).astype(np.float32) if values else np.zeros(0, dtype=np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(flat), width).cast(pa.list_(pa.float32()))
    columns = [pa.array(folds, pa.int16()), pa.array(genes, pa.string()), lists]
    write_table(pa.Table.from_arrays(columns, schema=GENE_EMBEDDINGS), path, GENE_EMBEDDINGS)


def read_vectors(path: Path, genes: Sequence[str]) -> dict[int | None, Float32Array]:
    """Vectors by fold (None: of all), (G, width) in the order of ``genes``; NaN where a gene has none.

    Raises:
        InputError: the file is absent.
        ContractError: it does not follow its contract.
    """
    table = read_table(path, GENE_EMBEDDINGS)
    place = {gene: i for i, gene in enumerate(genes)}
    found: dict[int | None, Float32Array] = {}
    rows = zip(*(table.column(name).to_pylist() for name in GENE_EMBEDDINGS.names), strict=True)
    for fold, gene, vector in rows:
        if gene in place:
            array = found.setdefault(fold, np.full((len(genes), len(vector)), np.nan, dtype=np.float32))
            if len(vector) != array.shape[1]:
                raise ContractError("vectors of different widths", where=str(path))
            array[place[gene]] = vector
    return found
