"""Labels without a relation to the features: negative controls, and TIM's permuted companions.

Permuted companions are pseudo-tasks that cost what sharing costs, and of which nothing can be learned. One
has a task's labels, shuffled between the patients of each fold and of the test part: how frequent they are,
how many are missing and what the loss looks like stays, fold by fold, and no relation to the features is
left. It has no file: its name says whose labels it has (``diabetes~1``), and they are shuffled where they are
read, from the study's seed. A fit's key holds the digest of the shuffled labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import PERMUTED_MARK, Float32Array, is_permuted, labelled_by
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_labels
from m3h_pipeline.tasks.assessed import Task


def permuted_companions(tasks: Mapping[str, Task], number: int, seed: int) -> dict[str, Task]:
    """The permuted companions of a study: a draw from its tasks that have labels, each with another name.

    A task's place in the draw is a function of its name and the seed: a task that comes or goes replaces at
    most one companion. Where there are fewer tasks with labels, they are permuted several times; a task alone
    has no companions.

    Args:
        tasks: the study's tasks.
        number: of companions.
        seed: of the study.

    Examples:
        >>> tasks = {name: Task(name, "binary", "auroc", title=name.title()) for name in ("gout", "hiv")}
        >>> [(name, task.title) for name, task in permuted_companions(tasks, 3, seed=1).items()]
        [('gout~1', 'Gout, permuted'), ('gout~2', 'Gout, permuted (2)'), ('hiv~1', 'Hiv, permuted')]
    """
    several = len(tasks) > 1
    usable = [name for name, task in tasks.items() if several and task.problem_class != "clustering"]
    drawn = sorted(usable, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    names = (
        [f"{drawn[i % len(drawn)]}{PERMUTED_MARK}{i // len(drawn) + 1}" for i in range(number)]
        if drawn
        else []
    )
    return {name: as_permuted(tasks[labelled_by(name)], name) for name in sorted(names)}


def as_permuted(task: Task, name: str) -> Task:
    """A permuted companion as a task for tables and figures."""
    number = name.partition(PERMUTED_MARK)[2]
    title = f"{task.title}, permuted" + (f" ({number})" if number != "1" else "")
    return replace(task, id=name, title=title, department="Permuted companions")


def read_task_labels(
    folder: Path, name: str, patients: Sequence[str] | None, fold: npt.NDArray[Any], seed: int
) -> tuple[Float32Array, dict[str, Any]]:
    """The labels of a task or of a permuted companion, and their description.

    Args:
        folder: with ``<task>.parquet``.
        name: of the task.
        patients: of each sample, of a permuted companion.
        fold: of each sample, -1 = test part.
        seed: of the study.

    Raises:
        InputError: the file is absent or unreadable.
        ContractError: it does not follow its contract.
    """
    values, description = read_labels(folder / f"{labelled_by(name)}.parquet")
    values = np.array(values)
    if is_permuted(name):
        if patients is None or len(values) != len(fold):
            raise ContractError(
                f"{len(values):,} labels for {len(fold):,} samples", where=f"{folder}, {name}"
            )
        values = permuted_labels(values, patients, fold, seed, name)
    return values, description


def permuted_labels(
    y: Float32Array, patients: Sequence[str], fold: npt.NDArray[Any], seed: int, name: str
) -> Float32Array:
    """Labels shuffled between the patients of each fold and of the test part.

    Shape:
        (n,) -> (n,)
    """
    who, result = np.asarray(patients, dtype=str), np.array(y)
    for number in np.unique(fold).tolist():
        rows = np.flatnonzero(fold == number)
        result[rows] = permute_between_patients(y[rows], who[rows].tolist(), seed, f"{name}:{number}")
    return result


def permute_between_patients(
    y: Float32Array, patients: Sequence[str], seed: int, task_id: str
) -> Float32Array:
    """Shuffle labels between patients: the negative control that keeps everything but the relation.

    Each patient's labels form one block. The blocks, in a random order, are laid over the rows of the
    patients in another random order. So labels of one patient stay together (a row-wise shuffle would be
    another, easier problem), their distribution and the number of missing ones stay as they are, and no
    relation to the features remains. Patients differ in their numbers of rows, so a block may end in the next
    patient's rows.

    Shape:
        (n,) -> (n,).
    """
    names, inverse = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    salt = int.from_bytes(hashlib.sha256(task_id.encode()).digest()[:8], "little")
    generator = np.random.default_rng([seed, salt])

    def rows_by_random_patient() -> npt.NDArray[np.int64]:
        return np.argsort(generator.permutation(len(names))[inverse], kind="stable")

    result = np.empty_like(y)
    donors = rows_by_random_patient()
    result[rows_by_random_patient()] = y[donors]
    return result
