"""What the evaluation knows of the cohort: its tasks, labels, parts, patients drawn, and subgroups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import SPLIT, time_and_event
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_labels, read_samples, read_table
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.split import patient_index
from m3h_pipeline.tasks.assessed import Task

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
    """The arrays of the evaluation.

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


def load_cohort(
    tasks: dict[str, Task],
    labels: Path,
    split: Path,
    samples: Path,
    draws: int,
    seed: int,
    numbers: Iterable[int] | None = None,
) -> Cohort:
    """Read labels, parts and patients, and draw the patients.

    The patients of the test part and those of the training part are drawn apart from each other; all tasks
    and models share the draws.

    Args:
        tasks: whose labels to read.
        labels: folder with ``<task>.parquet``.
        split: table of contracts.SPLIT.
        samples: ``cohort/samples.parquet``.
        draws: number of bootstrap draws.
        seed: of the draws.
        numbers: the parts to look at; None: all folds and the test part.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: files do not fit each other, or the test part is empty where it is asked for.
    """
    parts = read_table(split, SPLIT)
    table = read_samples(samples)
    fold = parts.column("fold").to_numpy()
    if len(table) != len(fold):
        raise ContractError(f"{len(fold):,} rows for {len(table):,} samples", where=str(split))
    patient = patient_index(table.column("patient_id").to_numpy(zero_copy_only=False))
    asked = sorted({TEST, *np.unique(fold).tolist()} if numbers is None else set(numbers))
    found: dict[int, Part] = {}
    for training in (False, True):
        rows = np.flatnonzero(fold >= 0 if training else fold < 0)
        wanted = [number for number in asked if (number >= 0) == training]
        if not wanted:
            continue
        if not len(rows):
            raise ContractError("no sample is in the " + ("training part" if training else "test part"))
        unit = np.full(len(fold), -1, dtype=np.intp)
        unit[rows] = np.unique(patient[rows], return_inverse=True)[1].reshape(-1)
        stream = int(np.random.SeedSequence([seed, training]).generate_state(1)[0])
        counts = patient_counts(int(unit.max()) + 1, draws, stream).T
        for number in wanted:
            here = np.flatnonzero(fold == number)
            members, own = np.unique(unit[here], return_inverse=True)
            found[number] = Part(here, own.reshape(-1), np.ascontiguousarray(counts[members]))
    observed = {name: _labels(labels / f"{name}.parquet", task, len(fold)) for name, task in tasks.items()}
    return Cohort(tasks, observed, found, patient, _subgroups(table), draws)


def _labels(path: Path, task: Task, n: int) -> Float32:
    y = np.array(read_labels(path)[0])
    if len(y) != n:
        raise ContractError(f"{len(y):,} labels for {n:,} samples", where=str(path))
    if task.problem_class == "clustering" and np.isnan(y).all():
        y[:] = 0  # a clustering task without labels is about every sample
    return y


def _subgroups(table: Any) -> dict[str, npt.NDArray[np.bool_]]:
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
