"""What is random in training, each a function of its key: minibatches, dropout, patients set aside.

Minibatches depend on (study seed, replicate, fold, epoch, batch size) and never on the combination: common
random numbers, so that two combinations differ only by their tasks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config.training import EarlyStopping
from m3h_pipeline.model.keys import generator, seed_of
from m3h_pipeline.training.data import StudyData

IntArray = npt.NDArray[np.int64]
_BITS = 2**31 - 1


def n_steps(rows: int, batch_size: int) -> int:
    """Minibatches of an epoch.

    Examples:
        >>> n_steps(1000, 256), n_steps(1024, 256), n_steps(10, 256)
        (4, 4, 1)
    """
    return max(1, -(-rows // batch_size))


def minibatches(
    rows: IntArray, seed: int, replicate: int, fold: int, epoch: int, batch_size: int
) -> list[IntArray]:
    """Divide the training rows into minibatches of at most ``batch_size`` rows.

    Their sizes differ by at most one, the larger ones first: a ragged last batch of a few rows would give one
    step as much say as any other, and a contrastive loss over few rows.
    """
    order = generator(seed, replicate, fold, epoch, batch_size, "minibatches").permutation(rows)
    return [np.asarray(part) for part in np.array_split(order, n_steps(len(rows), batch_size))]


def divided_rows(
    data: StudyData, fold: int, replicate: int, seed: int, stopping: EarlyStopping | None
) -> tuple[IntArray, IntArray]:
    """Training rows of a fit: those it learns from, and those that decide when it stops.

    A share of the training patients is drawn, with all of their rows; the draw depends on the study's seed,
    the fold and the replicate, never on the combination.

    Args:
        data: the study.
        fold: of the fit; its own rows are in neither part.
        replicate: of the fit.
        seed: of the study.
        stopping: None: nothing is set aside.
    """
    rows = data.training_rows(fold)
    if stopping is None:
        return rows, rows[:0]
    patient = data.patients[rows]
    names = np.unique(patient)
    count = min(max(1, round(stopping.fraction * len(names))), len(names) - 1)
    chosen = generator(seed, fold, replicate, "early stopping").permutation(names)[:count]
    aside = np.isin(patient, chosen)
    return rows[~aside], rows[aside]


def dropout_key(seed: int, replicate: int, fold: int, epoch: int, step: int, batch_size: int) -> int:
    """31-bit key of the dropout of one step."""
    return seed_of(seed, replicate, fold, epoch, step, batch_size, "dropout") & _BITS


def task_key(seed: int, replicate: int, task: str) -> int:
    """31-bit key of the dropout in a task's own layers."""
    return seed_of(seed, replicate, task, "dropout") & _BITS
