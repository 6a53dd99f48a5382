"""The files that a study reads: relative paths of its configuration joined to ``data``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m3h_pipeline.config.mimic import CXR_TABLES, MIMIC_TABLES, MimicSource
from m3h_pipeline.config.model import Modality
from m3h_pipeline.config.results import GenePairs
from m3h_pipeline.config.sources import HaimSource, Source, TableSource
from m3h_pipeline.config.study import Study


def located_source(study: Study) -> Source:
    """The study's source with its relative paths joined to ``data``."""

    def located(path: str) -> str:
        return path if path.startswith("python:") else str(Path(study.data) / path)

    source = study.source
    if isinstance(source, HaimSource):
        hosp = located(source.hosp) if source.hosp else None
        paths = {"table": located(source.table), "key_ids": located(source.key_ids), "hosp": hosp}
        return source.model_copy(update=paths)
    if isinstance(source, MimicSource):
        return source.model_copy(
            update={
                "folder": located(source.folder),
                "cxr": located(source.cxr) if source.cxr else None,
                "embeddings": {
                    name: e.model_copy(
                        update={"model": located(e.model), "notes": located(e.notes) if e.notes else None}
                    )
                    for name, e in source.embeddings.items()
                },
            }
        )
    if isinstance(source, TableSource):
        files = [file.model_copy(update={"path": located(file.path)}) for file in source.files]
        blocks = {
            name: block.model_copy(
                update={"genes": block.genes.model_copy(update={"keep": located(block.genes.keep)})}
            )
            if block.genes is not None and isinstance(block.genes.keep, str)
            else block
            for name, block in source.blocks.items()
        }
        return source.model_copy(update={"files": files, "blocks": blocks})
    return source


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
    """The files and folders that a study's ingestion reads; none for a synthetic one.

    Files inside Python packages (``python:package/file``) are left out: its version stands for them.
    """
    source = located_source(study)
    if isinstance(source, HaimSource):
        return [source.table, source.key_ids, *([source.hosp] if source.hosp else [])]
    if isinstance(source, MimicSource):
        return [str(path) for path in mimic_files(source)]
    if isinstance(source, TableSource):
        lists = [block.genes.keep for block in source.blocks.values() if block.genes is not None]
        paths = [*(file.path for file in source.files), *(keep for keep in lists if isinstance(keep, str))]
        return [path for path in paths if not path.startswith("python:")]
    return []


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


def mimic_files(source: MimicSource) -> list[Path]:
    """The tables that a `mimic` source reads; one that is absent is named as distributed."""
    names = [Path(source.folder) / name for name in MIMIC_TABLES]
    if source.cxr is not None and source.samples == "per_image":
        names += [Path(source.cxr) / name for name in CXR_TABLES]
    found = [_as_distributed(path) for path in names]
    for name in source.embeddings:
        found += [path for path in embedding_files(source, name) if path not in found]
    return found


def embedding_files(source: MimicSource, name: str) -> list[Path]:
    """What a source of embeddings is made of: the model's files, and the notes or the list of images."""
    embedding = source.embeddings[name]
    model = Path(embedding.model)
    if embedding.notes is not None:
        return [Path(embedding.notes), model / "config.json", model / "model.safetensors"]
    return [_as_distributed(Path(str(source.cxr)) / CXR_TABLES[0]), model]


def _as_distributed(path: Path) -> Path:
    plain = path.with_name(f"{path.name}.csv")
    return plain if plain.is_file() else path.with_name(f"{path.name}.csv.gz")
