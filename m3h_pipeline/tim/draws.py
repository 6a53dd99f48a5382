"""Bootstrap draws of out-of-fold scores, from the stored predictions.

Every draw resamples the patients of the training part, the same for all tasks and models, so that differences
are paired. A task's score under a draw is what it is without: the mean over folds and replicates of the
metric within the fold, with the patients' counts as weights.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import SPLIT, time_and_event
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_labels, read_samples, read_table
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.metrics import metric_draws_by_unit
from m3h_pipeline.inference.predictions import wanted_predictions
from m3h_pipeline.progress import Progress
from m3h_pipeline.split import patient_index
from m3h_pipeline.tasks.assessed import Task

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """The rows of a fold.

    Attributes:
        rows: numbers of its samples in the cohort, ascending; shape (n,).
        unit: number of each row's patient within the fold; shape (n,).
        weights: how often each of these patients is drawn; shape (patients of the fold, draws).
    """

    rows: npt.NDArray[np.intp]
    unit: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cohort:
    """What the bootstrap knows of the training part.

    Attributes:
        folds: number -> fold.
        labels: task -> label of every sample of the cohort, NaN = not observed.
        units: task -> number of patients that carry its information: those with a label, of the rarest class
            if there are classes.
        n_draws: number of bootstrap draws.
    """

    folds: dict[int, Fold]
    labels: dict[str, npt.NDArray[np.float32]]
    units: dict[str, int]
    n_draws: int


def load_cohort(
    tasks: Mapping[str, Task], labels: Path, split: Path, samples: Path, n_draws: int, seed: int
) -> Cohort:
    """Read labels, folds and patients, and draw the patients of the training part.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: files do not fit each other.
    """
    parts = read_table(split, SPLIT)
    patients = read_samples(samples).column("patient_id").to_numpy(zero_copy_only=False)
    if len(parts) != len(patients):
        raise ContractError(f"{len(parts):,} rows for {len(patients):,} samples", where=str(split))
    fold_of = parts.column("fold").to_numpy()
    train = np.flatnonzero(fold_of >= 0)
    if not len(train):
        raise ContractError("no sample is in a fold", where=str(split))
    patient = np.full(len(patients), -1, dtype=np.intp)
    patient[train] = patient_index(patients[train])
    counts = patient_counts(int(patient.max()) + 1, n_draws, seed).T
    folds = {}
    for number in np.unique(fold_of[train]).tolist():
        rows = np.flatnonzero(fold_of == number)
        members, unit = np.unique(patient[rows], return_inverse=True)
        folds[int(number)] = Fold(rows, unit.reshape(-1), np.ascontiguousarray(counts[members]))
    observed: dict[str, npt.NDArray[np.float32]] = {}
    units: dict[str, int] = {}
    for name, task in tasks.items():
        path = labels / f"{name}.parquet"
        y = read_labels(path)[0]
        if len(y) != len(patients):
            raise ContractError(f"{len(y):,} labels for {len(patients):,} samples", where=str(path))
        observed[name] = y
        units[name] = _informative(y[train], patient[train], task)
    return Cohort(folds, observed, units, n_draws)


def _informative(y: npt.NDArray[np.float32], patient: npt.NDArray[np.intp], task: Task) -> int:
    """Patients with a label; of a task with classes of its rarest class, of a survival task with an event."""
    seen = ~np.isnan(y)
    if task.problem_class in {"binary", "multiclass"}:
        classes = np.unique(y[seen])
        return min((len(np.unique(patient[y == c])) for c in classes), default=0)
    if task.problem_class == "survival":
        seen = time_and_event(y)[1]
    return len(np.unique(patient[seen]))


@dataclass(frozen=True)
class Wanted:
    """A prediction that is needed: the slot its scores are averaged in, and its fold."""

    slot: int
    fold: int


def score_draws(
    paths: Sequence[Path],
    wanted: Mapping[tuple[str, str], Wanted],
    n_slots: int,
    tasks: Mapping[str, Task],
    cohort: Cohort,
) -> Float64:
    """Scores under every draw, averaged within slots.

    A fold in which a task cannot be scored under a draw (no positive patient was drawn) is left out of that
    draw's mean. This depends on labels and draws only, so it is the same for all models of the task.

    Args:
        paths: files of contracts.PREDICTIONS; predictions that are not wanted are skipped.
        wanted: (fit key, task) -> what it is for.
        n_slots: number of slots.
        tasks: task id -> task.
        cohort: labels, folds and drawn patients.

    Shape:
        (n_slots, draws); NaN where no fold can be scored.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a wanted prediction is missing, or has another number of rows than its fold.
    """
    total = np.zeros((n_slots, cohort.n_draws))
    count = np.zeros((n_slots, cohort.n_draws), dtype=np.int32)
    rows = {key: len(cohort.folds[aim.fold].rows) for key, aim in wanted.items()}
    with Progress("predictions resampled", len(wanted), stream=sys.stderr) as progress:
        for (key, task), values in wanted_predictions(paths, rows, advance=progress.advance):
            aim = wanted[key, task]
            fold = cohort.folds[aim.fold]
            draws = metric_draws_by_unit(
                tasks[task].metric, cohort.labels[task][fold.rows], values, fold.weights, fold.unit
            )
            defined = np.isfinite(draws)
            total[aim.slot] += np.where(defined, draws, 0.0)
            count[aim.slot] += defined
    mean = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean
