"""The cohort with its patients drawn again and again, and scores under every draw.

All tasks and models share the draws, so that differences are paired by patient.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.contracts import SPLIT
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_samples, read_table
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.metrics import Float64, Floats, metric_draws_by_unit
from m3h_pipeline.inference.predictions import FitTask, wanted_predictions
from m3h_pipeline.progress import Progress
from m3h_pipeline.split import patient_index
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.tasks.permuted import read_task_labels

Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]
#: The fold number of the test part.
TEST = -1


@dataclass(frozen=True)
class Part:
    """Rows that are scored together: a fold, or the test part.

    Attributes:
        rows: numbers of its samples in the cohort, ascending; shape (n,).
        unit: number of each row's patient within the part; shape (n,).
        weights: how often each of these patients is drawn; shape (patients of the part, draws).
    """

    rows: Index
    unit: Index
    weights: Float32


@dataclass(frozen=True)
class Cohort:
    """Tasks, labels, parts and drawn patients.

    Attributes:
        tasks: id -> task.
        labels: id -> label of every sample of the cohort, NaN = not observed; of a clustering task without
            labels, 0 for every sample.
        parts: fold -> its rows; ``TEST`` (-1) is the test part.
        patient: number of each sample's patient in the cohort; shape (n,).
        subgroups: name of a group -> which samples are in it.
        draws: number of bootstrap draws.
    """

    tasks: dict[str, Task]
    labels: dict[str, Float32]
    parts: dict[int, Part]
    patient: Index
    subgroups: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    draws: int = 0

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds of the cross-validation, ascending."""
        return sorted(number for number in self.parts if number != TEST)

    @property
    def widths(self) -> dict[str, int]:
        """Numbers per prediction of each task."""
        return {name: task.width for name, task in self.tasks.items()}

    def observed(self, task: str, number: int) -> Float32:
        """Labels of a task in a part, shape (n,)."""
        return self.labels[task][self.parts[number].rows]

    def informative(self, task: str, numbers: Iterable[int]) -> int:
        """Patients of some parts that carry a task's information.

        With a label, of the rarest class present; of a survival task, with an event.

        The number behind the degrees of freedom of a bootstrap over patients.
        """
        rows = np.concatenate([self.parts[number].rows for number in numbers])
        y, patient = self.labels[task][rows], self.patient[rows]
        seen = ~np.isnan(y)
        if self.tasks[task].problem_class in {"binary", "multiclass"}:
            return min((len(np.unique(patient[y == c])) for c in np.unique(y[seen])), default=0)
        if self.tasks[task].problem_class == "survival":
            seen = time_and_event(y)[1]
        return len(np.unique(patient[seen]))

    def first(self, draws: int) -> Cohort:
        """The same with no more than so many of its draws."""
        return self._weighted({number: part.weights[:, :draws] for number, part in self.parts.items()})

    def out_of_bag(self) -> Cohort:
        """The same with the patients that each draw left out, each once, in the place of those it drew."""
        return self._weighted(
            {number: (part.weights == 0).astype(np.float32) for number, part in self.parts.items()}
        )

    def _weighted(self, weights: Mapping[int, Float32]) -> Cohort:
        parts = {
            number: replace(part, weights=np.ascontiguousarray(weights[number]))
            for number, part in self.parts.items()
        }
        return replace(self, parts=parts, draws=min(part.weights.shape[1] for part in parts.values()))


def part_seeds(seed: int) -> dict[str, int]:
    """Seeds of the draws of both parts, as :func:`load_cohort` takes them: other streams of one seed.

    With one stream the same draws would serve both parts: their errors would go together.
    """
    return {
        part: int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        for number, part in enumerate(("test", "train"))
    }


def load_cohort(
    tasks: dict[str, Task],
    labels: Path,
    split: Path,
    samples: Path,
    draws: int,
    *,
    train: int | None = None,
    test: int | None = None,
    permuted: int = 0,
) -> Cohort:
    """Read labels, parts and patients, and draw the patients.

    Args:
        tasks: whose labels to read.
        labels: folder with ``<task>.parquet``.
        split: table of contracts.SPLIT.
        samples: ``cohort/samples.parquet``.
        draws: number of bootstrap draws.
        train: seed of the draws of the training part's patients; None: its folds are not looked at.
        test: likewise of the test part.
        permuted: seed of the study, with which the labels of permuted companions are shuffled.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: files do not fit each other, or a part that is asked for is empty.
    """
    table = read_samples(samples)
    fold = read_table(split, SPLIT).column("fold").to_numpy()
    if len(table) != len(fold):
        raise ContractError(f"{len(fold):,} rows for {len(table):,} samples", where=str(split))
    patient = patient_index(table.column("patient_id").to_numpy(zero_copy_only=False))
    parts: dict[int, Part] = {}
    for name, rows, seed in (("training", fold >= 0, train), ("test", fold < 0, test)):
        if seed is None:
            continue
        if not rows.any():
            raise ContractError(f"no sample is in the {name} part", where=str(split))
        unit = np.full(len(fold), -1, dtype=np.intp)
        unit[rows] = np.unique(patient[rows], return_inverse=True)[1].reshape(-1)
        counts = patient_counts(int(unit.max()) + 1, draws, seed).T
        for number in np.unique(fold[rows]).tolist():
            here = np.flatnonzero(fold == number)
            members, own = np.unique(unit[here], return_inverse=True)
            parts[number] = Part(here, own.reshape(-1), np.ascontiguousarray(counts[members]))
    names = table.column("patient_id").to_numpy(zero_copy_only=False)
    observed = {}
    for name, task in tasks.items():
        y = read_task_labels(labels, name, names, fold, permuted)[0]
        if len(y) != len(fold):
            raise ContractError(f"{len(y):,} labels for {len(fold):,} samples", where=f"{labels}, {name}")
        if task.problem_class == "clustering" and np.isnan(y).all():
            y[:] = 0  # a clustering task without labels is about every sample
        observed[name] = y
    return Cohort(tasks, observed, parts, patient, subgroup_rows(table), draws)


def subgroup_rows(table: pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
    """Samples of each group; a name that two subgroup columns share is preceded by its column's."""
    columns = [name for name in table.column_names if name not in {"sample_id", "patient_id", "stay_id"}]
    values = {name: np.array(table.column(name).to_pylist(), dtype=object) for name in columns}
    groups = [(c, g) for c in columns for g in sorted({v for v in values[c] if v is not None})]
    names = [group for _, group in groups]
    return {
        group if names.count(group) == 1 and group != "all" else f"{column}: {group}": np.asarray(
            values[column] == group, dtype=bool
        )
        for column, group in groups
    }


def within(cohort: Cohort, here: npt.NDArray[np.bool_]) -> Cohort:
    """The cohort with those rows of its test part alone.

    Args:
        cohort: with a test part.
        here: (n,) which of its rows.
    """
    part = cohort.parts[TEST]
    members, own = np.unique(part.unit[here], return_inverse=True)
    some = Part(part.rows[here], own.reshape(-1), np.ascontiguousarray(part.weights[members]))
    return replace(cohort, parts={TEST: some})


def score_draws(cohort: Cohort, task: str, number: int, prediction: Floats) -> Float64:
    """Scores of a prediction of a part under every draw of patients, shape (draws,)."""
    part = cohort.parts[number]
    name = cohort.tasks[task].metric
    return metric_draws_by_unit(name, cohort.observed(task, number), prediction, part.weights, part.unit)


class MeanDraws:
    """Draws averaged within slots; a part that a draw leaves undefined is left out of that draw's mean.

    Whether a draw leaves a part undefined (no positive patient was drawn) depends on labels and draws only,
    so it is the same for all models of a task.
    """

    def __init__(self, draws: int) -> None:
        self._draws = draws
        self._total: dict[Hashable, Float64] = {}
        self._count: dict[Hashable, npt.NDArray[np.int32]] = {}

    def add(self, slot: Hashable, draws: Float64) -> None:
        """Add one part's draws to a slot."""
        total = self._total.setdefault(slot, np.zeros(self._draws))
        count = self._count.setdefault(slot, np.zeros(self._draws, dtype=np.int32))
        defined = np.isfinite(draws)
        total += np.where(defined, draws, 0.0)
        count += defined

    def mean(self, slot: Hashable) -> Float64:
        """The mean of a slot under every draw, NaN where nothing was defined."""
        mean = np.full(self._draws, np.nan)
        if slot in self._total:
            np.divide(self._total[slot], self._count[slot], out=mean, where=self._count[slot] > 0)
        return mean


@dataclass(frozen=True)
class Wanted:
    """What a prediction is read for: the part it is of, and the slots that its scores are averaged in."""

    number: int
    slots: list[Hashable]


def mean_draws(
    paths: Sequence[Path], wanted: Mapping[FitTask, Wanted], cohorts: Sequence[Cohort]
) -> list[MeanDraws]:
    """Scores of stored predictions under every draw, averaged within slots; predictions are read one by one.

    Args:
        paths: files of contracts.PREDICTIONS; predictions that are not wanted are skipped.
        wanted: (fit key, task) -> what its prediction is for.
        cohorts: the same cohort, drawn in several ways.

    Returns:
        Of each of the cohorts its draws.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a wanted prediction is missing, or does not fit its part or task.
    """
    found = [MeanDraws(cohort.draws) for cohort in cohorts]
    rows = {key: len(cohorts[0].parts[aim.number].rows) for key, aim in wanted.items()}
    with Progress("predictions resampled", len(wanted), stream=sys.stderr) as progress:
        for (key, task), values in wanted_predictions(paths, rows, cohorts[0].widths, progress.advance):
            aim = wanted[key, task]
            for cohort, draws in zip(cohorts, found, strict=True):
                drawn = score_draws(cohort, task, aim.number, values)
                for slot in aim.slots:
                    draws.add(slot, drawn)
    return found
