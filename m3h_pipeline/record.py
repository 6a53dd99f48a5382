"""The record of a study: what it was made from, with what, and the digest of every file that came out.

``provenance.json`` holds the configuration, the digests of the inputs, versions of packages and drivers, the
devices fits were trained on, the seeds, digests of the code of every stage, and size and SHA-256 of every
result. It holds no names of machines, users or folders, so that it can be published with a figure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from m3h_pipeline.cohort.ingest import reader_of
from m3h_pipeline.config import Study
from m3h_pipeline.config.sources import SOURCE_KINDS
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.digest import code_digest
from m3h_pipeline.errors import InputError
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.files import read_json, read_table, write_json
from m3h_pipeline.hashes import sha256
from m3h_pipeline.tasks.assessed import read_assessed
from m3h_pipeline.training.environment import versions

NAME = "provenance.json"
FORMAT = 1

#: Stage -> the modules whose code makes its results.
STAGES: dict[str, tuple[str, ...]] = {
    "cohort": (
        *("m3h_pipeline.cohort.ingest", "m3h_pipeline.cohort.synthetic.simulate"),
        *dict.fromkeys(reader_of(kind) for kind in SOURCE_KINDS),
    ),
    "labels": ("m3h_pipeline.tasks.labels", "m3h_pipeline.tasks.assess"),
    "split": ("m3h_pipeline.split",),
    "genes": ("m3h_pipeline.genes.vectors",),
    # As in the fits' keys.
    "training": ("m3h_pipeline.training.trainer",),
    "search": ("m3h_pipeline.search.plan", "m3h_pipeline.search.scores", "m3h_pipeline.search.selection"),
    "tim": ("m3h_pipeline.tim.plan", "m3h_pipeline.tim.estimate"),
    "evaluation": (
        *("m3h_pipeline.evaluation.final", "m3h_pipeline.evaluation.baselines"),
        *("m3h_pipeline.evaluation.evaluate", "m3h_pipeline.evaluation.phenotypes"),
    ),
    "gene_pairs": ("m3h_pipeline.gene_pairs.stage", "m3h_pipeline.figures.gene_pairs"),
    "networks": (
        *("m3h_pipeline.networks.plan", "m3h_pipeline.networks.compare"),
        "m3h_pipeline.figures.networks",
    ),
    "figures": tuple(spec.module for spec in FIGURES.values()),
}

#: Final tables, beside what plans, tasks and figures name.
_TABLES = (
    *("cohort/samples.parquet", "cohort/columns.parquet", "cohort/summary.json", "cohort/quarantine.tsv"),
    *("labels/tasks.json", "labels/audit.tsv", "labels/prevalence.tsv", "split.parquet"),
    *("search/trajectory.parquet", "selection.parquet", "selection.tsv", "tim/tim.parquet"),
    *(f"evaluation/{name}.parquet" for name in ("evaluation", "comparison", "calibration", "roc")),
    *(f"evaluation/{name}.parquet" for name in ("agreement", "attention", "optimism", "phenotypes")),
    *(f"evaluation/{name}.parquet" for name in ("survival", "kaplan_meier", "dynamic_auroc")),
    "evaluation/summary.tsv",
)


def code_of_stages() -> dict[str, str]:
    """Stage -> digest of its code."""
    return {stage: code_digest(*modules) for stage, modules in STAGES.items()}


def plans(root: Path, networks: Iterable[str] = ()) -> Iterator[Path]:
    """The plans of a study: of search rounds up to the empty one, TIM, final fits, and compared networks.

    Args:
        root: the study's results.
        networks: names of the networks that the study compares.
    """
    number = 1
    while True:
        path = root / f"search/round_{number}/plan.json"
        yield path
        if not read_json(path)["packs"]:
            break
        number += 1
    yield root / "tim/plan.json"
    yield root / "final/plan.json"
    for name in networks:
        yield root / f"networks/{name}/plan.json"


def compared(study: Study) -> list[str]:
    """Names of the networks that a study compares."""
    return study.networks.names if study.networks else []


def score_files(root: Path, study: Study) -> list[Path]:
    """The scores of every pack of every plan."""
    return [
        plan.parent / f"packs/{pack}.scores.parquet"
        for plan in plans(root, compared(study))
        for pack in read_json(plan)["packs"]
    ]


def segments(root: Path, study: Study) -> dict[Path, set[str]]:
    """Segments of the store that hold fits of this study -> the keys of those fits."""
    used: set[str] = set()
    for path in score_files(root, study):
        used.update(read_table(path, SCORES, ["fit_key"]).column(0).to_pylist())
    found: dict[Path, set[str]] = {}
    for path in sorted((root / "search/store").glob("*.parquet")):
        try:
            keys = set(pq.read_table(path, columns=["fit_key"]).column(0).to_pylist())
        except (OSError, ValueError) as error:
            raise InputError(
                f"the stored fits cannot be read: {error}",
                where=str(path),
                hint="delete the file and run again",
            ) from error
        if mine := keys & used:
            found[path] = mine
    return found


def study_files(root: Path, study: Study) -> list[Path]:
    """Every result of a study, in a fixed order: what its plans, tasks and figures name.

    Raises:
        InputError: a plan or the list of tasks is missing.
    """
    files = [root / name for name in _TABLES]
    files += [path for path in [root / "cohort/diagnoses.parquet"] if path.exists()]
    files += [p for p in sorted((root / "input").rglob("*")) if p.is_file() and not p.name.startswith(".")]
    for name, modality in study.modalities.items():
        files += [root / f"cohort/features/{source}.parquet" for source in modality.sources]
        if modality.options and modality.options.genes:
            files.append(root / f"genes/{name}.parquet")
    for name, assessed in read_assessed(root / "labels/tasks.json").items():
        files += [root / f"labels/{name}.parquet", root / f"labels/{name}.audit.tsv"]
        if study.evaluation.baselines and assessed.learned and assessed.problem_class != "clustering":
            files.append(root / f"evaluation/baselines/{name}.parquet")
    for plan in plans(root, compared(study)):
        files.append(plan)
        packs = read_json(plan)["packs"]
        if plan.parent.parent.name == "search" and packs:
            files.append(plan.parent / "scores.parquet")
        final = plan.parent.name == "final"
        kinds = ["scores", "predictions", *(["attention", "latents"] if final else [])]
        for pack in packs:
            files += [plan.parent / f"packs/{pack}.{kind}.parquet" for kind in kinds]
            files += sorted((plan.parent / f"models/{pack}").glob("*.safetensors")) if final else []
    suffixes = [*study.figures.formats, "csv"]
    for task in study.gene_pairs.tasks if study.gene_pairs else []:
        files += sorted(p for p in (root / f"gene_pairs/{task}").iterdir() if not p.name.startswith("."))
    if study.networks:
        files += [root / f"networks/comparison.{suffix}" for suffix in ["parquet", "tsv", *suffixes]]
    files += [root / f"figures/{name}.{suffix}" for name in FIGURES for suffix in suffixes]
    return [*files, *segments(root, study)]


def portable(value: Any) -> Any:
    """A configuration value without the places of this machine: of an absolute path, its last part is kept.

    Examples:
        >>> portable({"data": "/home/somebody/cohort", "table": "table.csv"})
        {'data': '(elsewhere)/cohort', 'table': 'table.csv'}
    """
    if isinstance(value, Mapping):
        return {key: portable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [portable(one) for one in value]
    if isinstance(value, str) and (
        value.startswith("~") or Path(value).is_absolute() or ".." in Path(value).parts
    ):
        return f"(elsewhere)/{Path(value).name}"
    return value


def record(
    root: Path, study: Study, inputs: Mapping[str, Any], definitions: Mapping[str, str], out: Path
) -> dict[str, Any]:
    """Write the record of a finished study.

    Args:
        root: the study's results.
        study: its configuration.
        inputs: name -> ``{"bytes", "sha256"}`` of the files it was made from (``hashes.hashed``).
        definitions: task -> digest of its definition.
        out: the file to write.

    Raises:
        InputError: a result is missing.
    """
    root = Path(root)
    content = {
        "format": FORMAT,
        "study": study.study,
        "configuration": portable(study.model_dump(mode="json")),
        "definitions": dict(definitions),
        "inputs": dict(inputs),
        "seeds": {
            "study": study.seed,
            "split": study.split.seed,
            "replicates": {
                "search": study.search.replicates,
                "tim": study.tim.replicates,
                "final": study.evaluation.replicates,
                **({"networks": study.networks.replicates} if study.networks else {}),
            },
        },
        "code": code_of_stages(),
        "versions": versions(),
        "training": trained_with(root, study),
        "files": {
            path.relative_to(root).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
            for path, digest in ((path, sha256(path)) for path in study_files(root, study))
        },
    }
    # A configuration says things by its order, too: of subgroups, of compared networks.
    write_json(content, out, sort_keys=False)
    return content


def trained_with(root: Path, study: Study) -> list[dict[str, Any]]:
    """The environments the study's fits were trained in, and how many fits in each."""
    counts: Counter[str] = Counter()
    for path, keys in segments(root, study).items():
        metadata = pq.read_schema(path).metadata or {}
        counts[metadata.get(b"environment", b"{}").decode()] += len(keys)
    return [{**json.loads(text), "fits": number} for text, number in sorted(counts.items())]


def read_record(root: Path) -> dict[str, Any]:
    """The record of a study.

    Raises:
        InputError: there is none, or it is of another format.
    """
    path = Path(root) / NAME
    if not path.is_file():
        raise InputError("the study has no record", where=str(path), hint="run `snakemake` to its end")
    content: dict[str, Any] = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(
            f"this is no record of format {FORMAT}", where=str(path), hint="delete it and run `snakemake`"
        )
    return content
