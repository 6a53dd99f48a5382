"""Simulated scores of a search: a true gain of every combination, patients' noise, and seeds' noise.

A score is the task's base, the true gain of the combination, and three errors:

- *patients*: of task, combination and fold, the same in every replicate (another model on the same patients);
- *seed*: of task, combination and replicate, a stated share of the seed's variance that persists over folds;
- the rest of the seed's variance, of every score by itself.

What is common to all combinations of a task in a fold cancels in every comparison and is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.config import Search
from m3h_pipeline.contracts import SCORES, combination_tasks
from m3h_pipeline.search.greedy import RACED, Wanted
from m3h_pipeline.search.measured import of_instalment

Float64 = npt.NDArray[np.float64]


@dataclass
class Simulated:
    """A study that nobody trains.

    Attributes:
        gains: true gain of each task (row) by each companion (column); shape (tasks, tasks).
        crowding: what every companion after the first costs each task, whoever it is.
        patients: standard deviation of a fold's score by its patients.
        seeds: that of a score by its seed.
        persists: share of the seed's variance that is the same in all folds.
        settings: true loss of each hyper-parameter setting to the best one.
        folds, replicates: of the cross-validation; replicates of tasks alone and pairs.
        seed: of all errors.
    """

    gains: Float64
    crowding: float = 0.0
    patients: float = 0.006
    seeds: float = 0.008
    persists: float = 0.5
    settings: Sequence[float] = (0.0,)
    folds: int = 5
    replicates: int = 3
    seed: int = 0
    fits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.tasks = [f"t{i:02d}" for i in range(len(self.gains))]
        self._number = {name: i for i, name in enumerate(self.tasks)}

    def truth(self, task: str, combination: str) -> float:
        """The score of a task at a combination without any error."""
        others = [self._number[one] for one in combination_tasks(combination) if one != task]
        crowd = self.crowding * max(0, len(others) - 1)
        return 0.75 + float(self.gains[self._number[task], others].sum()) - crowd

    def values(self, combination: str) -> Float64:
        """Every score of a combination; shape (members, settings, replicates, folds)."""
        members = combination_tasks(combination)
        rng = np.random.default_rng((zlib.crc32(combination.encode()), self.seed))
        m, s, r, f = len(members), len(self.settings), self.replicates, self.folds
        true = np.array([self.truth(task, combination) for task in members])
        seeds = self.seeds * np.sqrt([self.persists, 1 - self.persists])
        return np.asarray(
            true[:, None, None, None]
            - np.asarray(self.settings)[:, None, None]
            + self.patients * rng.normal(size=(m, s, 1, f))
            + seeds[0] * rng.normal(size=(m, s, r, 1))
            + seeds[1] * rng.normal(size=(m, s, r, f))
        )

    def measure(self, wanted: Wanted, search: Search) -> pa.Table:
        """What a search wants, as a table of contracts.SCORES; the fits are counted."""
        folds = range(self.folds)
        replicates = self.replicates if wanted.size < RACED else search.replicates
        values = np.stack(
            [self.values(key)[:, :, :replicates][..., list(folds)] for key in wanted.combinations]
        )
        c, m, s, r, f = values.shape
        at = np.indices((c, s, r, f)).reshape(4, -1)
        fits = np.arange(c * s * r * f)
        order = np.tile(fits, m)
        keys = pa.array(wanted.combinations, pa.string())
        tasks = np.array([combination_tasks(key) for key in wanted.combinations])
        member = np.repeat(np.arange(m), len(fits))
        part = wanted.folds[0] if wanted.folds else "all"
        names = pa.array([f"{wanted.size}/{part}/{n}" for n in fits.tolist()], pa.string())
        n = len(order)
        columns = {
            "fit_key": names.take(pa.array(order)),
            "combination": keys.take(pa.array(at[0][order])),
            "task": pa.array(tasks[at[0][order], member], pa.string()),
            "replicate": pa.array(at[2][order], pa.int16()),
            "fold": pa.array(np.asarray(folds)[at[3][order]], pa.int16()),
            "batch_size": pa.array(at[1][order], pa.int32()),
            "learning_rate": pa.array(np.full(n, 1e-3)),
            "metric": pa.repeat("auroc", n),
            "value": pa.array(np.moveaxis(values, 1, 0).reshape(-1)),
            "n_scored": pa.array(np.full(n, 100, np.int32)),
            "epochs": pa.array(np.ones(n, np.int32)),
            "status": pa.repeat("ok", n),
            "seconds": pa.array(np.zeros(n)),
        }
        trained = of_instalment(pa.table(columns, schema=SCORES), wanted.folds, search)
        self.fits += len(pc.unique(trained.column("fit_key")))
        return trained


def planted(n_tasks: int, gain: float, per_task: int, seed: int, cost: float = 0.0) -> Float64:
    """A gain matrix: each task has ``per_task`` companions that help, by exponentials of mean ``gain``; every
    other one costs, by exponentials of mean ``cost``.
    """
    rng = np.random.default_rng(seed)
    gains = -cost * rng.exponential(size=(n_tasks, n_tasks))
    for row in range(n_tasks):
        others = np.delete(np.arange(n_tasks), row)
        helpers = rng.choice(others, size=min(per_task, len(others)), replace=False)
        gains[row, helpers] = gain * rng.exponential(size=len(helpers))
    np.fill_diagonal(gains, 0.0)
    return gains
