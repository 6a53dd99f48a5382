"""Reference models for one supervised task, on the same rows and folds as the networks.

Of each fold the setting is chosen by folds inside its training rows (:mod:`m3h_pipeline.references.choice`),
the model is fitted to all of them with it, and predicts the fold; the same of the whole training part and the
test part. A fold whose setting is another one than that of the whole training part is predicted with the
latter, too: how far apart predictions are depends on the penalty, and recalibration is of the model that is
used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from m3h_pipeline.coding import METRICS
from m3h_pipeline.config import Evaluation, Modality
from m3h_pipeline.contracts import BASELINE_PREDICTIONS
from m3h_pipeline.errors import ContractError, InputError, TaskError
from m3h_pipeline.files import read_samples, write_table
from m3h_pipeline.files.durable import make_folder
from m3h_pipeline.files.features import feature_names
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.progress import Progress
from m3h_pipeline.references.choice import choose, inner_fits
from m3h_pipeline.references.clinical import NAME as CLINICAL
from m3h_pipeline.references.clinical import clinical_reference
from m3h_pipeline.references.columns import Columns, columns_of, read_columns
from m3h_pipeline.references.deep import needs
from m3h_pipeline.references.given import given_references
from m3h_pipeline.references.kept.models import Kept
from m3h_pipeline.references.problem import Floats
from m3h_pipeline.references.registry import REFERENCES, SUPERVISED, Part, Reference, Study
from m3h_pipeline.references.store import MODEL, ReferenceStore, fit_key, write_kept
from m3h_pipeline.split import patient_index
from m3h_pipeline.training.data import StudyData, load_study_data


def run_baselines(
    task: str,
    cohort: Path,
    labels: Path,
    split: Path,
    out: Path,
    modalities: Mapping[str, Modality],
    evaluation: Evaluation,
    seed: int,
    store: Path | None = None,
    models: Path | None = None,
) -> None:
    """Fit the reference models of one supervised task and write their predictions.

    The models are those of :data:`m3h_pipeline.references.registry.REFERENCES`; ``clinical``, the linear one
    of the sources of ``evaluation.clinical`` alone; and what ``evaluation.given`` names: predictions in a
    column of the cohort. One thread; the same input gives the same bytes.

    Args:
        task: its id.
        cohort: folder with ``features/<source>.parquet`` and ``samples.parquet``, and ``columns.parquet``
            where it is read.
        labels: folder with ``<task>.parquet``.
        split: the split file.
        out: table of contracts.BASELINE_PREDICTIONS.
        modalities: modality -> the sources it concatenates.
        evaluation: which references.
        seed: of the features that boosting draws.
        store: folder of finished fits; None: they are not kept.
        models: folder of the models of the whole training part, ``<model>.safetensors``; None: not written.

    Raises:
        InputError, ContractError: a file is absent or does not follow its contract.
        ConfigError: the package of a reference is not installed, or a column of predictions is not what the
            configuration says of it.
        TaskError: the task has no labels to learn, or is a clustering task.
    """
    needs(evaluation.baselines)
    data = load_study_data(cohort, labels, split, [task], {})
    samples = read_samples(CohortFiles(cohort).samples)
    if len(samples) != data.n:
        raise ContractError(f"{len(samples)} samples, but the split has {data.n}", where=str(cohort))
    people = patient_index(samples.column("patient_id").to_numpy(zero_copy_only=False))
    data.patient = people.astype(np.int64)
    names = {
        name: [
            feature
            for source in one.sources
            for feature in feature_names(CohortFiles(cohort).features(source))
        ]
        for name, one in modalities.items()
    }
    further: dict[str, Reference] = {}
    if evaluation.clinical:
        alone = {CLINICAL: Modality(sources=evaluation.clinical)}
        further[CLINICAL] = clinical_reference(read_columns(cohort, alone, data))
    given = given_references(evaluation.given, task, data.tasks[task], cohort, names)
    for name, model in given.items():
        sys.stderr.write(f"{name} of {task}: {model.settings('')[0]}\n")
    columns = read_columns(cohort, modalities, data)
    if models is not None:
        make_folder(models)

    def keep(name: str, model: Kept) -> None:
        if models is not None:
            write_kept(model, models / f"{name}{MODEL}")

    rows = baseline_predictions(
        task, data, evaluation, seed, further | given, columns, ReferenceStore(store), keep
    )
    write_table(pa.Table.from_pylist(rows, schema=BASELINE_PREDICTIONS), out, BASELINE_PREDICTIONS)


def baseline_predictions(
    task: str,
    data: StudyData,
    evaluation: Evaluation,
    seed: int,
    further: Mapping[str, Reference] | None = None,
    columns: Columns | None = None,
    store: ReferenceStore | None = None,
    keep: Callable[[str, Kept], None] | None = None,
) -> list[dict[str, object]]:
    """Rows of contracts.BASELINE_PREDICTIONS for one task; see :func:`run_baselines`.

    Args:
        task: its id.
        data: the study.
        evaluation: which references.
        seed: of what they draw.
        further: references of this study alone.
        columns: the features; None: those of ``data``.
        store: finished fits; None: none are kept.
        keep: told the models of the whole training part, by name.
    """
    description = data.tasks[task]
    problem_class = str(description["problem_class"])
    if problem_class not in SUPERVISED:
        raise TaskError(f"there is no reference model for a {problem_class} task", where=f"task {task}")
    fixed = {"binary": 2, "regression": 0, "survival": 0}
    classes = fixed.get(problem_class, len(description.get("classes") or []))
    metric_name = str(description.get("metric") or METRICS[problem_class])
    y = data.labels[task]
    labelled = int(np.isfinite(y[data.train]).sum())
    if not labelled:
        raise TaskError("no training sample has a label", where=f"task {task}")
    columns = columns_of(data) if columns is None else columns
    if not columns.width:
        raise InputError(
            "no feature varies over the training samples, or only for a few patients",
            hint="check the sources of `modalities`",
        )
    study = Study(columns, data, task, problem_class, classes, seed)
    folds = sorted(set(data.fold[data.train].tolist()))
    outer = [*folds, *([] if data.train.all() else [TEST])]
    inner = inner_fits(data, labelled, seed)
    models = {name: REFERENCES[name] for name in evaluation.baselines} | dict(further or {})
    models = {name: model for name, model in models.items() if problem_class in model.problem_classes}
    choosing = sum(len(model.settings(problem_class)) > 1 for model in models.values())
    # At most: a fold that chose what all of them chose is not fitted twice.
    total = len(models) * len(outer) + choosing * (len(inner) + len(outer) - 1)
    found: list[dict[str, object]] = []
    with _one_thread(), Progress(f"reference fits of {task}", total) as progress:
        for name, model in models.items():
            settings = [str(one) for one in model.settings(problem_class)]
            kept = store if store is not None and model.stored else ReferenceStore(None)

            def fit(
                part: Part,
                chosen: Sequence[int],
                name: str = name,
                model: Reference = model,
                kept: ReferenceStore = kept,
            ) -> list[Floats]:
                predictions = _fit(name, model, part, chosen, kept)
                progress.advance()
                return predictions

            chosen = dict.fromkeys(outer, 0)
            if len(settings) > 1:
                every = range(len(settings))
                fits = [(one, fit(Part(study, one.training, one.scored), every)) for one in inner]
                chosen = {fold: choose(metric_name, y, fits, fold) for fold in outer}
            asked = [("score", fold, chosen[fold]) for fold in sorted(outer)]
            if TEST in chosen:
                final = chosen[TEST]
                asked += [("map", fold, final) for fold in folds if chosen[fold] != final]
            for purpose, fold, one in asked:
                part = Part(study, data.training_rows(fold), data.scored_rows(fold))
                if fold == TEST and keep is not None and model.kept is not None:
                    prediction, whole = _fit_kept(name, model, part, one, kept)
                    keep(name, whole)
                    progress.advance()
                else:
                    prediction = fit(part, [one])[0]
                found.append(
                    {
                        "task": task,
                        "model": name,
                        "purpose": purpose,
                        "setting": settings[one],
                        "fold": fold,
                        "width": prediction.shape[1],
                        "prediction": prediction.ravel(),
                    }
                )
    return found


def _fit(
    name: str, model: Reference, part: Part, chosen: Sequence[int], store: ReferenceStore
) -> list[Floats]:
    """Predictions of a fit for some settings, float32 as they are kept; from the store if it is there."""
    settings = [str(one) for one in model.settings(part.problem_class)]
    key = fit_key(name, part, [settings[i] for i in chosen])
    if (stored := store.load(key)) is not None:
        return stored
    predictions: list[Floats] = [one.astype(np.float32) for one in model.path(part, chosen)]
    store.save(key, part.study.task, name, predictions)
    return predictions


def _fit_kept(
    name: str, model: Reference, part: Part, chosen: int, store: ReferenceStore
) -> tuple[Floats, Kept]:
    """Predictions of a fit with one setting, and its model; from the store if both are there."""
    assert model.kept is not None
    key = fit_key(name, part, [str(model.settings(part.problem_class)[chosen])])
    stored, whole = store.load(key), store.load_model(key)
    if stored is not None and whole is not None:
        return stored[0], whole
    found, whole = model.kept(part, chosen)
    prediction: Floats = found.astype(np.float32)
    store.save_model(key, whole)
    store.save(key, part.study.task, name, [prediction])
    return prediction, whole


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in another order would change the last digits, and jobs share the machine."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no hints

    with threadpool_limits(limits=1):
        yield
