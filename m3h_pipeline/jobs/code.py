"""Which code makes a job's results: rules pass its digest, the record keeps that of every stage."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from m3h_pipeline.cohort.ingest import code_of as code_of_source
from m3h_pipeline.cohort.ingest import reader_of
from m3h_pipeline.config.sources import SOURCE_KINDS
from m3h_pipeline.digest import code_digest, definitions
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.files import write_json
from m3h_pipeline.hashes import digest_of, sha256

#: How packs are sized, where the study leaves that open: what plans hold beside combinations.
_SIZING = "m3h_pipeline.search.sizing"

#: Verb of ``m3h`` -> the modules whose code makes its results.
CODE: dict[str, tuple[str, ...]] = {
    "simulate": ("m3h_pipeline.cohort.synthetic.simulate",),
    "embed": ("m3h_pipeline.cohort.mimic.embeddings",),
    # Of every kind of source; a study's rule has the digest of its own kind's alone.
    "ingest": ("m3h_pipeline.cohort.ingest", *dict.fromkeys(reader_of(kind) for kind in SOURCE_KINDS)),
    "label": ("m3h_pipeline.tasks.labels",),
    "split": ("m3h_pipeline.split",),
    "assess": ("m3h_pipeline.tasks.assess",),
    "embed-genes": ("m3h_pipeline.genes.vectors",),
    "plan-round": ("m3h_pipeline.search.plan", _SIZING),
    "train-pack": ("m3h_pipeline.training.pack", "m3h_pipeline.search.sizes"),
    "merge-scores": ("m3h_pipeline.search.scores",),
    "select": ("m3h_pipeline.search.selection",),
    "plan-tim": ("m3h_pipeline.tim.plan", _SIZING),
    "tim": ("m3h_pipeline.tim.estimate",),
    "plan-final": ("m3h_pipeline.evaluation.final", _SIZING),
    "baselines": ("m3h_pipeline.references.stage",),
    "evaluate": ("m3h_pipeline.evaluation.evaluate",),
    "phenotypes": ("m3h_pipeline.evaluation.phenotypes.map", "m3h_pipeline.evaluation.phenotypes.scores"),
    "missing": ("m3h_pipeline.evaluation.missing",),
    "participants": ("m3h_pipeline.evaluation.participants.stage",),
    "performance": ("m3h_pipeline.evaluation.performance.stage",),
    "export-bundle": ("m3h_pipeline.bundle.making.export",),
    "gene-pairs": ("m3h_pipeline.gene_pairs.stage",),
    "draw-gene-pairs": ("m3h_pipeline.figures.gene_pairs",),
    "plan-network": ("m3h_pipeline.networks.plan", _SIZING),
    "compare-networks": ("m3h_pipeline.networks.compare",),
    "draw-networks": ("m3h_pipeline.figures.networks",),
    "report-page": ("m3h_pipeline.report.stage", "m3h_pipeline.record"),
    "record": ("m3h_pipeline.record",),
}

#: Stage -> its verbs, as in the record. Of training, what stands in the fits' keys.
STAGES: dict[str, tuple[str, ...]] = {
    "cohort": ("ingest", "simulate", "embed"),
    "labels": ("label", "assess"),
    "split": ("split",),
    "genes": ("embed-genes",),
    "search": ("plan-round", "merge-scores", "select"),
    "tim": ("plan-tim", "tim"),
    "evaluation": (
        "plan-final",
        "baselines",
        "evaluate",
        "phenotypes",
        "missing",
        "performance",
        "participants",
    ),
    "bundle": ("export-bundle",),
    "gene_pairs": ("gene-pairs", "draw-gene-pairs"),
    "networks": ("plan-network", "compare-networks", "draw-networks"),
}


__all__ = ["code_of", "code_of_assets", "code_of_figure", "code_of_source", "code_of_stages", "keep_code"]


def code_of(*verbs: str) -> str:
    """Digest of the code that makes the results of these verbs."""
    return code_digest(*(module for verb in verbs for module in CODE[verb]))


def code_of_assets() -> str:
    """Digest of what the report is laid out by and that is no Python: templates, style and scripts."""
    folder = Path(__file__).parents[1] / "report" / "assets"
    return digest_of({path.name: sha256(path) for path in sorted(folder.iterdir())})


def code_of_figure(name: str) -> str:
    """Digest of the code that draws a figure."""
    return code_digest(FIGURES[name].module)


def code_of_stages() -> dict[str, str]:
    """Stage -> digest of its code."""
    return {
        **{stage: code_of(*verbs) for stage, verbs in STAGES.items()},
        "training": code_digest("m3h_pipeline.training.export"),
        "figures": code_digest(*(spec.module for spec in FIGURES.values())),
    }


def modules_of(verb: str, kind: str = "", figure: str = "") -> tuple[str, ...]:
    """The modules whose code makes the results of a verb.

    Args:
        verb: of ``m3h``.
        kind: of the source, for ``ingest``.
        figure: for ``figure``.
    """
    if verb == "figure":
        return (FIGURES[figure].module,)
    if verb == "ingest" and kind in SOURCE_KINDS:
        return ("m3h_pipeline.cohort.ingest", reader_of(kind))
    return CODE[verb]


def keep_code(folder: Path) -> None:
    """Keep what the code says that is about to run, so that it can be told what of it has changed since.

    One file per version of the code: ``codes``, verb -> digest; ``definitions``, ``module:name`` -> digest.

    Raises:
        InputError: the folder cannot be written.
    """
    codes = {verb: code_of(verb) for verb in CODE}
    codes |= {f"ingest, {kind}": code_of_source(kind) for kind in SOURCE_KINDS}
    codes |= {f"figure, {name}": code_of_figure(name) for name in FIGURES}
    path = folder / f"{digest_of(codes)[:16]}.json"
    with contextlib.suppress(OSError):
        # Which of several ran last, is told by their times.
        os.utime(path)
        return
    figures = (spec.module for spec in FIGURES.values())
    every = (*(module for modules in CODE.values() for module in modules), *figures)
    write_json({"codes": codes, "definitions": definitions(*dict.fromkeys(every))}, path)
