"""Reference models for one supervised task, on the same rows and folds as the networks.

Their setting is chosen as the networks' is: the one with the best mean score over the folds of the
cross-validation; then the model is fitted to the whole training part with it, and predicts the test part.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from m3h_pipeline.coding import METRICS
from m3h_pipeline.config import Evaluation, Modality
from m3h_pipeline.contracts import BASELINE_PREDICTIONS
from m3h_pipeline.errors import TaskError
from m3h_pipeline.files import write_table
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.progress import Progress
from m3h_pipeline.references.clinical import NAME as CLINICAL
from m3h_pipeline.references.clinical import clinical_reference
from m3h_pipeline.references.deep import DEEP, needs
from m3h_pipeline.references.given import given_references
from m3h_pipeline.references.problem import Floats
from m3h_pipeline.references.registry import REFERENCES, Part, Reference
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
) -> None:
    """Fit the reference models of one supervised task and write their predictions.

    - ``linear``: L2 logistic regression (softmax for several classes), ridge regression, or Cox regression
      with an L2 penalty, on the features as the network sees them.
    - ``gradient_boosting``: histogram gradient boosting; missing features stay missing. Of survival tasks
      boosting of Cox's partial likelihood, on the features as the network sees them.
    - ``realmlp``, ``tabm``: networks for one table, with their authors' tuned defaults; no survival tasks.
    - ``clinical``: the linear reference of the sources of ``evaluation.clinical`` alone.
    - what ``evaluation.given`` names: predictions that stand in a column of the cohort.

    One thread; the same input gives the same bytes.

    Args:
        task: its id.
        cohort: folder with ``features/<source>.parquet``, and ``columns.parquet`` and ``samples.parquet``
            where they are read.
        labels: folder with ``<task>.parquet``.
        split: the split file.
        out: table of contracts.BASELINE_PREDICTIONS.
        modalities: modality -> the sources it concatenates.
        evaluation: which references.
        seed: of the features that boosting draws.

    Raises:
        InputError, ContractError: a file is absent or does not follow its contract.
        ConfigError: the package of a reference is not installed, or a column of predictions is not what the
            configuration says of it.
        TaskError: the task has no labels to learn, or is a clustering task.
    """
    needs(evaluation.baselines)
    # Whose the rows are matters to what stops training on patients set aside.
    grouped = any(name in DEEP for name in evaluation.baselines)
    data = load_study_data(cohort, labels, split, [task], modalities, grouped=grouped)
    further: dict[str, Reference] = {}
    if evaluation.clinical:
        alone = {CLINICAL: Modality(sources=evaluation.clinical)}
        further[CLINICAL] = clinical_reference(
            load_study_data(cohort, labels, split, [task], alone, grouped=grouped)
        )
    given = given_references(evaluation.given, task, data.tasks[task], cohort, data.names)
    for name, model in given.items():
        sys.stderr.write(f"{name} of {task}: {model.settings[0]}\n")
    _keep_scaled(data)
    rows = baseline_predictions(task, data, evaluation, seed, further | given)
    write_table(pa.Table.from_pylist(rows, schema=BASELINE_PREDICTIONS), out, BASELINE_PREDICTIONS)


def baseline_predictions(
    task: str,
    data: StudyData,
    evaluation: Evaluation,
    seed: int,
    further: Mapping[str, Reference] | None = None,
) -> list[dict[str, object]]:
    """Rows of contracts.BASELINE_PREDICTIONS for one task; see :func:`run_baselines`.

    Args:
        task: its id.
        data: the study.
        evaluation: which references.
        seed: of what they draw.
        further: references that this study brings.
    """
    description = data.tasks[task]
    problem_class = str(description["problem_class"])
    if problem_class not in ("binary", "multiclass", "regression", "survival"):
        raise TaskError(f"there is no reference model for a {problem_class} task", where=f"task {task}")
    classes = {"binary": 2, "regression": 0, "survival": 0}.get(
        problem_class, len(description.get("classes") or [])
    )
    metric_name = str(description.get("metric") or METRICS[problem_class])
    y = data.labels[task]
    folds = sorted(set(data.fold[data.train].tolist()))
    if not np.isfinite(y[data.train]).any():
        raise TaskError("no training sample has a label", where=f"task {task}")

    def part(fold: int) -> Part:
        training, scored = data.training_rows(fold), data.scored_rows(fold)
        return Part(data, task, problem_class, classes, training, scored, seed)

    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    found: list[dict[str, object]] = []
    models = {name: REFERENCES[name] for name in evaluation.baselines} | dict(further or {})
    total = len(models) * (len(folds) + 1)
    # One thread: sums in another order would change the last digits, and jobs share the machine.
    with threadpool_limits(limits=1), Progress(f"reference fits of {task}", total) as progress:
        for name, model in models.items():
            if problem_class not in model.problem_classes:
                continue
            candidates = list(range(len(model.settings)))
            paths: dict[int, list[Floats]] = {}
            for fold in folds:
                paths[fold] = model.path(part(fold), candidates)
                progress.advance()
            best = choose(metric_name, {f: (y[data.scored_rows(f)], paths[f]) for f in folds})
            predictions = {fold: paths[fold][best] for fold in folds}
            if not data.train.all():
                predictions[TEST] = model.path(part(TEST), [best])[0]
            progress.advance()
            found += [
                {
                    "task": task,
                    "model": name,
                    "setting": model.settings[best],
                    "fold": fold,
                    "width": prediction.shape[1],
                    "prediction": prediction.astype(np.float32).ravel(),
                }
                for fold, prediction in sorted(predictions.items())
            ]
    return found


def _keep_scaled(data: StudyData) -> None:
    """Make the scaled features and let go of the raw ones: at the published size they are 0.7 GB."""
    if data.scaled.x.size:
        data.features.clear()


def choose(metric_name: str, folds: Mapping[int, tuple[Floats, list[Floats]]]) -> int:
    """The candidate with the best mean metric over the folds where it is defined; the first of equals.

    Args:
        metric_name: of coding.METRICS, or a dotted path.
        folds: fold -> labels of its rows, and each candidate's predictions of them.
    """
    values = np.array([[metric(metric_name, y, p) for p in path] for y, path in folds.values()])
    defined = np.isfinite(values).all(axis=1)
    return int(values[defined].mean(axis=0).argmax()) if defined.any() else 0
