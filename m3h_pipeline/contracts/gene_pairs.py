"""Data contracts of the gene pairs: Arrow schemas of what stands below ``gene_pairs/<task>/``."""

from __future__ import annotations

import pyarrow as pa

from m3h_pipeline.contracts.columns import optional, required, schema

#: ``gene_pairs/<task>/pairs.parquet``: every pair of genes. ``effect`` and ``magnitude`` are mixed
#: differences of the task's output (mean, and mean magnitude, over samples; of the class with the largest
#: ``magnitude``); ``attention`` is the mean over layers, heads and directions; the rest compares two groups
#: of patients and is null where there are none.
GENE_PAIRS = schema(
    required(pa.string(), "gene_a", "gene_b"),
    required(pa.float64(), "effect", "magnitude", "attention"),
    optional(pa.float64(), "difference", "statistic", "p", "q"),
    optional(pa.bool_(), "called"),
)

#: ``gene_pairs/<task>/genes.parquet``: mean magnitude of the effect of one deviation of each gene.
GENE_IMPORTANCE = schema(
    required(pa.string(), "gene"),
    required(pa.float64(), "importance"),
)

#: ``gene_pairs/<task>/heads.parquet``: attention of the top pairs, both directions together, in every head,
#: as a multiple of what even attention would give.
GENE_HEADS = schema(
    required(pa.int16(), "layer", "head"),
    required(pa.string(), "gene_a", "gene_b"),
    required(pa.float64(), "ratio"),
)

#: ``gene_pairs/<task>/gene_sets.parquet``: over-representation of gene sets among the top pairs' genes.
GENE_SETS = schema(
    required(pa.string(), "gene_set"),
    required(pa.int32(), "overlap", "size"),
    required(pa.float64(), "p", "q"),
    required(pa.string(), "genes"),
)
