"""The verb ``export-bundle``: the models that the choice selected, and all that it takes to use them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.load import sha256
from m3h_pipeline.bundle.making.card import model_card
from m3h_pipeline.bundle.making.entries import Files, entry, network_of_clusters
from m3h_pipeline.bundle.making.people import who_is_in_it
from m3h_pipeline.bundle.making.sketches import arrays_of, sketch
from m3h_pipeline.bundle.making.typical import clustered
from m3h_pipeline.bundle.making.worth import Known
from m3h_pipeline.bundle.schema import VERSION, BundleFile, Description, TaskModel
from m3h_pipeline.cohort.reading import read_reading
from m3h_pipeline.config import Evaluation, Modality, Purpose
from m3h_pipeline.contracts import BASELINE_PREDICTIONS, CALIBRATION_SLOPES, CHOICE
from m3h_pipeline.dotted import is_path, source_digest
from m3h_pipeline.environment import versions
from m3h_pipeline.errors import InputError, TaskError
from m3h_pipeline.evaluation.arms import FinalFiles, Finals, read_finals
from m3h_pipeline.evaluation.choice.choose import final_candidates
from m3h_pipeline.files import (
    read_definition,
    read_features,
    read_json,
    read_samples,
    read_table,
    replacing,
    write_json,
)
from m3h_pipeline.files.durable import make_folder
from m3h_pipeline.inference.resampled import TEST, part_seeds
from m3h_pipeline.layout import BundleFiles, CohortFiles, EvaluationFiles
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.training.fitted import read_arrays, write_arrays

Float32 = npt.NDArray[np.float32]
#: What a bundle is made from, by the name of its digest.
_MADE_FROM: Final = ("selection", "tasks", "split")


@dataclass(frozen=True)
class Results:
    """Where a study's results lie.

    Attributes:
        cohort: folder.
        labels: folder.
        tasks: ``labels/tasks.json``.
        split: the split file.
        selection: table of contracts.SELECTION.
        scores, predictions: of the final fits, any number of files.
        models: folders of their models.
        baselines: predictions of the references, any number of files.
        references: folders of their models, one per task, named like it.
        evaluation: folder.
    """

    cohort: Path
    labels: Path
    tasks: Path
    split: Path
    selection: Path
    scores: Sequence[Path]
    predictions: Sequence[Path]
    models: Sequence[Path]
    baselines: Sequence[Path]
    references: Sequence[Path]
    evaluation: Path


def export_bundle(
    results: Results,
    out: Path,
    screen: TextIO,
    *,
    study: str,
    seed: int,
    modalities: Mapping[str, Modality],
    evaluation: Evaluation,
    purpose: Purpose,
) -> None:
    """Write the bundle of a finished study.

    Args:
        results: where the study lies.
        out: folder of the bundle; what is in it goes.
        screen: where to report.
        study: its name.
        seed: of the study.
        modalities: modality -> its sources.
        evaluation: number of draws, and whether a blend can be chosen.
        purpose: what the makers say of its use.

    Raises:
        InputError: a file is absent or unreadable, or the folder cannot be written.
        ContractError: a file does not follow its contract.
        TaskError: no task has a model that can be carried.
    """
    samples = CohortFiles(results.cohort).samples
    read = FinalFiles(
        selection=results.selection,
        tasks=results.tasks,
        labels=results.labels,
        split=results.split,
        samples=samples,
        scores=results.scores,
        predictions=results.predictions,
    )
    finals = read_finals(read, evaluation.draws, part_seeds(seed))
    cohort = finals.cohort
    target = BundleFiles(Path())
    files = Files(lambda key: target.network(key).as_posix(), lambda t, m: target.reference(t, m).as_posix())
    reading = read_reading(CohortFiles(results.cohort).reading)
    entries = _entries(results, finals, evaluation, files)
    train = np.concatenate([cohort.parts[fold].rows for fold in cohort.folds])
    features = {
        name: _features(results.cohort, name)[train] for one in modalities.values() for name in one.sources
    }
    if out.exists():
        shutil.rmtree(out)
    make_folder(out)
    _copy(results, entries, out, files)
    whose = cohort.patient[train]
    write_arrays(
        arrays_of({name: sketch(x, whose) for name, x in features.items()}), {}, BundleFiles(out).features
    )
    sources = {name: list(one.sources) for name, one in modalities.items()}
    for task, model in entries.items():
        if model.problem_class == "clustering":
            entries[task] = clustered(model, task, out, features, sources, whose)
    entries = with_company(entries, out)
    description = Description(
        format="m3h-bundle",
        version=VERSION,
        study=study,
        seed=seed,
        purpose=purpose,
        who=who_is_in_it(read_samples(samples), cohort),
        modalities=sources,
        reading=reading,
        tasks=entries,
        files=_listed(out),
        own_code=_own_code(out),
        versions=versions(),
        digests={name: sha256(getattr(results, name)) for name in _MADE_FROM},
    )
    write_json(description.model_dump(mode="json"), BundleFiles(out).description, sort_keys=False)
    with replacing(BundleFiles(out).card) as temporary:
        temporary.write_text(model_card(description), encoding="utf-8")
    _report(entries, cohort.tasks, screen)


def _entries(results: Results, finals: Finals, evaluation: Evaluation, files: Files) -> dict[str, TaskModel]:
    """Task -> what the bundle says of it, those without a model that can be carried left out."""
    candidates = final_candidates(finals, results.baselines, results.evaluation, evaluation.blend)
    tables, names = EvaluationFiles(results.evaluation), finals.cohort.tasks
    choice = read_table(tables.table("choice"), CHOICE).to_pylist()
    slopes = read_table(tables.table("calibration_slopes"), CALIBRATION_SLOPES).to_pylist()
    settings = _settings(results.baselines)
    kept = {
        (folder.name, path.stem) for folder in results.references for path in folder.glob("*.safetensors")
    }
    raw = read_json(results.tasks)["tasks"]
    found = {}
    for one in finals.chosen:
        more: dict[str, Any] = {
            "note": str(raw[one.task].get("note") or ""),
            "permuted": bool(raw[one.task].get("permuted")),
            "definition": read_definition(results.labels / f"{one.task}.parquet"),
        }
        if names[one.task].problem_class == "clustering":
            model = network_of_clusters(
                finals.arms[one.task],
                one,
                names[one.task],
                files,
                int(raw[one.task].get("clusters") or 0),
                **more,
            )
        else:
            carried = {m: text for (t, m), text in settings.items() if t == one.task and (t, m) in kept}
            model = entry(
                Known(
                    one,
                    finals.arms[one.task],
                    candidates[one.task],
                    carried,
                    [row for row in choice if row["task"] == one.task],
                    [row for row in slopes if row["task"] == one.task],
                    evaluation.thresholds,
                    **more,
                ),
                files,
            )
        if model is not None:
            found[one.task] = model
    if not found:
        raise TaskError("no task has a model that can be carried", where=str(results.selection))
    return found


def _settings(baselines: Iterable[Path]) -> dict[tuple[str, str], str]:
    """(task, reference) -> what was chosen for it on the whole training part."""
    columns = ["task", "model", "setting", "fold"]
    return {
        (row["task"], row["model"]): row["setting"]
        for path in baselines
        for row in read_table(path, BASELINE_PREDICTIONS, columns).to_pylist()
        if row["fold"] == TEST
    }


def _features(cohort: Path, source: str) -> Float32:
    return read_features(CohortFiles(cohort).features(source))[0]


def _copy(results: Results, entries: Mapping[str, TaskModel], out: Path, files: Files) -> None:
    """Each model once, however many tasks use it."""
    networks = {files.network(p.stem): p for folder in results.models for p in folder.glob("*.safetensors")}
    references = {
        files.reference(folder.name, p.stem): p
        for folder in results.references
        for p in folder.glob("*.safetensors")
    }
    known = networks | references
    wanted = {f for model in entries.values() for one in model.candidates.values() for f in one.files}
    for name in sorted(wanted):
        if name not in known:
            raise InputError(
                "a final model is missing", where=name, hint="run the stage of the final fits again"
            )
        with replacing(out / name) as temporary:
            shutil.copyfile(known[name], temporary)


def _listed(out: Path) -> dict[str, BundleFile]:
    """The files of a bundle with their digests."""
    target, found = BundleFiles(out), {}
    for path in sorted(out.rglob("*.safetensors")):
        holds = {target.network_folder: "network", target.reference_folder: "reference"}.get(
            path.parent, "features"
        )
        found[path.relative_to(out).as_posix()] = BundleFile.model_validate(
            {"sha256": sha256(path), "bytes": path.stat().st_size, "holds": holds}
        )
    return found


def with_company(entries: Mapping[str, TaskModel], out: Path) -> dict[str, TaskModel]:
    """The same, with those candidates marked whose networks look at other samples, too."""
    files = set()
    for path in BundleFiles(out).network_folder.glob("*.safetensors"):
        metadata = read_arrays(path)[1]
        published = json.loads(metadata["model"])["attention"]["normalise"] == "published"
        # The weight of a single task is 1, whatever it is divided by.
        if published and len(json.loads(metadata["positions"])) > 1:
            files.add(path.relative_to(out).as_posix())
    found = {}
    for task, model in entries.items():
        candidates = {
            name: one.model_copy(update={"alone": files.isdisjoint(one.files)})
            for name, one in model.candidates.items()
        }
        for name, one in candidates.items():
            if not all(candidates[member].alone for member in one.members):
                candidates[name] = one.model_copy(update={"alone": False})
        found[task] = model.model_copy(update={"candidates": candidates})
    return found


def _own_code(out: Path) -> dict[str, str]:
    """Dotted paths that the networks name, with digests of the files they lead to."""
    found: set[str] = set()
    for path in sorted(BundleFiles(out).network_folder.glob("*.safetensors")):
        metadata = read_arrays(path)[1]
        model, inputs = json.loads(metadata["model"]), json.loads(metadata["inputs"])
        tasks = json.loads(metadata["tasks"]).values()
        found |= {str(model.get("task_network") or ""), *(str(item["encoder"]) for item in inputs)}
        found |= {str(task.get("own_class") or "") for task in tasks}
    return {name: source_digest(name) for name in sorted(found) if is_path(name)}


def _report(entries: Mapping[str, TaskModel], names: Mapping[str, Task], screen: TextIO) -> None:
    for task, model in entries.items():
        other = f" (chosen was {model.instead_of}, which cannot be carried)" if model.instead_of else ""
        screen.write(f"{task}: {model.words}{other}\n")
    for task in sorted(set(names) - set(entries)):
        screen.write(f"{task}: left out, it has no model that can be carried\n")
