"""The files that a study reads: relative paths of its configuration joined to ``data``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m3h_pipeline.config.model import Modality
from m3h_pipeline.config.results import GenePairs
from m3h_pipeline.config.sources import Source
from m3h_pipeline.config.study import Study


def located_source(study: Study) -> Source:
    """The study's source with its relative paths joined to ``data``."""

    return study.source.located(study.data)


def located_modality(study: Study, name: str) -> Modality:
    """A modality with the relative path of its genes' vectors joined to ``data``."""
    modality = study.modalities[name]
    options = modality.options
    if options is None or options.genes is None or options.genes.path is None:
        return modality
    genes = options.genes.model_copy(update={"path": str(Path(study.data) / options.genes.path)})
    return modality.model_copy(update={"transcriptome": options.model_copy(update={"genes": genes})})


def located_gene_pairs(study: Study) -> GenePairs | None:
    """The section ``gene_pairs`` with the relative path of gene sets joined to ``data``."""
    chosen = study.gene_pairs
    if chosen is None or chosen.gene_sets is None:
        return chosen
    return chosen.model_copy(update={"gene_sets": str(Path(study.data) / chosen.gene_sets)})


def source_paths(study: Study) -> list[str]:
    """The files and folders that a study's ingestion reads; none for a synthetic one."""
    return located_source(study).paths()


def input_paths(study: Study) -> list[str]:
    """All that a study reads beside its own results; a folder stands for the tables in it."""
    return [*source_paths(study), *gene_files(study), *gene_pair_files(study)]


def gene_files(study: Study, names: Iterable[str] | None = None) -> list[str]:
    """Networks and files of vectors that the modalities (None: all of them) start their genes from."""
    found = []
    for name in study.modalities if names is None else names:
        options = located_modality(study, name).options
        if options is not None and options.genes is not None and options.genes.path is not None:
            found.append(options.genes.path)
    return found


def gene_pair_files(study: Study) -> list[str]:
    """Files that the stage of gene pairs reads beside the study's results."""
    chosen = located_gene_pairs(study)
    return [chosen.gene_sets] if chosen is not None and chosen.gene_sets is not None else []
