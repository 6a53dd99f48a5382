"""Scores of fits: joining them, choosing hyper-parameters, and the score of a task at a combination.

Hyper-parameters are chosen as published: within a combination, the setting (batch size, learning rate) with
the highest average of the validation scores over all member tasks, folds and replicates. Or by halving
(:mod:`m3h_pipeline.training.spec`): then the table has one setting in every fold and replicate, and where
there are other replicates, the one that chose it does not score.

What is undefined is handled so that every comparison stays paired, fold by fold and seed by seed:

- A fold in which a task cannot be scored (no positive sample) is undefined for every model. It is left out
  of the task's means everywhere.
- A setting at which any fit of a combination diverged, or at which a member has no score in a fold where
  other models have one, cannot be chosen. A combination with no setting left has no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.contracts import SCORES
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.search.combinations import Setting

Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Replicates = tuple[int, ...]
#: Numbers of folds; None: all of them.
Folds = tuple[int, ...] | None


def merge_scores(inputs: Sequence[Path], out: Path) -> None:
    """Join the scores of packs into one table, sorted, each fit and task once.

    Args:
        inputs: tables of contracts.SCORES; none gives an empty table.
        out: table of contracts.SCORES.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a file does not follow the schema.
    """
    table = _distinct(_concatenated(inputs))
    keys = ["combination", "task", "replicate", "fold", "batch_size", "learning_rate"]
    order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
    write_table(table.take(order), out, SCORES)


def _concatenated(paths: Sequence[Path]) -> pa.Table:
    return pa.concat_tables([SCORES.empty_table(), *(read_table(path, SCORES) for path in paths)])


def _distinct(table: pa.Table) -> pa.Table:
    """Each task of each fit once: a fit that two plans ask for is in the scores of both."""
    codes = [_codes(table.column(name)) for name in ("fit_key", "task")]
    both = codes[0][0] * max(1, len(codes[1][1])) + codes[1][0]
    first = np.unique(both, return_index=True)[1]
    return table if len(first) == len(table) else table.take(pa.array(np.sort(first)))


def _codes(column: pa.ChunkedArray) -> tuple[Index, list[Any]]:
    """Codes of a column, and its distinct values in ascending order."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks() if encoded.num_chunks != 1 else encoded.chunk(0)
    values = encoded.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    rank = np.empty(len(values), dtype=np.intp)
    rank[order] = np.arange(len(values))
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return rank[codes] if len(values) else np.zeros(0, dtype=np.intp), [values[i] for i in order]


@dataclass(frozen=True)
class Choice:
    """The settings chosen from given replicates, and what the tasks score there.

    Attributes:
        setting: index of the chosen setting of each combination, -1 = none; shape (combinations,).
        score: score of each member at its combination's setting, NaN = none; shape (members,).
    """

    setting: Index
    score: Float64


@dataclass
class Scores:
    """Out-of-fold scores of all fits, as arrays. A *member* is a task within a combination.

    Attributes:
        combinations: keys, ascending.
        tasks: ids, ascending.
        settings: ascending.
        replicates: numbers, ascending.
        folds: numbers, ascending.
        combination_of: each member's combination, shape (members,).
        task_of: each member's task, shape (members,).
        value: shape (members, settings, replicates, folds); NaN = not run, diverged or undefined.
        ran: whether the fit ran and did not diverge; same shape.
        fit: number of the row in ``fit_keys``, -1 = not run; same shape.
        fit_keys: keys of the fits.
    """

    combinations: list[str]
    tasks: list[str]
    settings: list[Setting]
    replicates: list[int]
    folds: list[int]
    combination_of: Index
    task_of: Index
    value: Float64
    ran: npt.NDArray[np.bool_]
    fit: npt.NDArray[np.int32]
    fit_keys: pa.Array
    _member: dict[tuple[str, str], int] = field(default_factory=dict)
    _choices: dict[tuple[Replicates, Folds], Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pairs = zip(self.combination_of.tolist(), self.task_of.tolist(), strict=True)
        self._member = {(self.combinations[c], self.tasks[t]): member for member, (c, t) in enumerate(pairs)}
        # In which replicates and folds a combination was trained: its settings were planned alike.
        shape = (len(self.combinations), len(self.replicates), len(self.folds))
        self._started = np.zeros(shape, dtype=bool)
        self._started[self.combination_of] = (self.fit >= 0).any(axis=1)
        self._trained: npt.NDArray[np.bool_] = np.asarray(self._started.all(axis=2))
        # By halving the first replicate has more settings in its first fold than any other fit has.
        tried = np.zeros(shape, dtype=np.intp)
        tried[self.combination_of] = (self.fit >= 0).sum(axis=1)
        least = np.where(self._started, tried, np.iinfo(np.intp).max).min(
            axis=(1, 2), initial=np.iinfo(np.intp).max
        )
        self._halved = np.asarray((tried > least[:, None, None]).any(axis=(1, 2)))
        self._combination = {key: number for number, key in enumerate(self.combinations)}
        # A fold in which no model has a score of a task is undefined for it.
        self._scored = np.zeros((len(self.tasks), len(self.folds)), dtype=bool)
        np.logical_or.at(self._scored, self.task_of, np.isfinite(self.value).any(axis=(1, 2)))

    def member(self, combination: str, task: str) -> int:
        """The number of a member.

        Raises:
            ContractError: the combination was not trained.
        """
        try:
            return self._member[combination, task]
        except KeyError:
            raise ContractError(
                f"combination `{combination}` has no scores for task `{task}`",
                hint="run the search rounds in order, and merge the scores of all their packs",
            ) from None

    def trained(self, combination: str) -> Replicates:
        """The replicates a combination was trained with, in every fold; none if it was not."""
        number = self._combination.get(combination)
        if number is None:
            return ()
        return tuple(np.asarray(self.replicates)[self._trained[number]].tolist())

    def scoring(self, replicates: Replicates) -> Replicates:
        """By halving all but the first, which chose the settings; alone it scores what it chose."""
        chosen_by = self.replicates[:1] if self._halved.any() else []
        return tuple(r for r in replicates if r not in chosen_by) or replicates

    def has(self, combination: str, replicates: Replicates, folds: Folds = None) -> bool:
        """Whether a combination was trained in all these replicates and folds."""
        number = self._combination.get(combination)
        at = self._numbers(replicates, folds)
        return number is not None and at is not None and bool(self._started[number][np.ix_(*at)].all())

    def fits(self, combination: str) -> int:
        """How many fits of a combination were trained."""
        first = int(np.searchsorted(self.combination_of, self._combination[combination]))
        return int((self.fit[first] >= 0).sum())

    def fits_of_fold(self, combination: str) -> int:
        """How many fits of a combination another fold would take."""
        number = self._combination[combination]
        if self._halved[number]:
            return int(self._started[number].any(axis=1).sum())
        return self.fits(combination) // self.folds_of(combination)

    def folds_of(self, combination: str) -> int:
        """In how many folds a combination was trained."""
        return int(self._started[self._combination[combination]].any(axis=0).sum())

    def _numbers(self, replicates: Replicates, folds: Folds) -> tuple[list[int], list[int]] | None:
        """Where replicates and folds stand; None if some do not."""
        chosen = [self.replicates.index(r) for r in replicates if r in self.replicates]
        within = [self.folds.index(f) for f in (self.folds if folds is None else folds) if f in self.folds]
        whole = len(chosen) == len(replicates) > 0 and (folds is None or len(within) == len(folds))
        return (chosen, within) if whole else None

    def choice(self, replicates: Replicates, folds: Folds = None) -> Choice:
        """Settings and scores as if only these replicates and folds had been run.

        A combination that lacks one of them has no setting and no score.
        """
        if (replicates, folds) not in self._choices:
            self._choices[replicates, folds] = self._choose(replicates, folds)
        return self._choices[replicates, folds]

    def _choose(self, replicates: Replicates, folds: Folds) -> Choice:
        at_numbers = self._numbers(replicates, folds)
        if at_numbers is None:
            return Choice(
                np.full(len(self.combinations), -1, dtype=np.intp), np.full(len(self.task_of), np.nan)
            )
        chosen, within = at_numbers
        value = self.value[:, :, chosen][..., within]
        wanted = np.broadcast_to(self._scored[self.task_of][:, None, None, within], value.shape)
        ran = self.ran[:, :, chosen][..., within]
        whole = (ran & (np.isfinite(value) | ~wanted)).all(axis=(2, 3))
        n_cells = wanted[:, 0].sum(axis=(1, 2))[:, None]
        total = np.where(wanted, np.nan_to_num(value), 0.0).sum(axis=(2, 3))
        mean = np.divide(total, n_cells, out=np.full(total.shape, np.nan), where=n_cells > 0)
        # A combination's settings have the same members: the highest sum is the highest average.
        summed = np.zeros((len(self.combinations), len(self.settings)))
        np.add.at(summed, self.combination_of, np.nan_to_num(mean))
        eligible = np.ones(summed.shape, dtype=bool)
        np.logical_and.at(eligible, self.combination_of, whole)
        # argmax takes the first of equals: the smaller batch size, then the smaller learning rate.
        setting = np.where(eligible, summed, -np.inf).argmax(axis=1)
        setting[~eligible.any(axis=1)] = -1
        at = setting[self.combination_of]
        score = np.where(at >= 0, mean[np.arange(len(at)), at], np.nan)
        return Choice(setting, score)

    def score(self, combination: str, task: str, replicates: Replicates | None = None) -> float:
        """A task's mean score over folds and replicates at the combination's best setting; NaN if none.

        Args:
            combination: key.
            task: a member of it.
            replicates: which to use, for the choice of the setting too; None: all that score it.
        """
        member = self.member(combination, task)
        used = self.scoring(self.trained(combination)) if replicates is None else replicates
        return float(self.choice(used).score[member])

    def cells(
        self, combinations: Sequence[str], task: str, replicates: Replicates, folds: Folds = None
    ) -> Float64:
        """A task's scores at the setting that each combination has by these replicates and folds.

        Folds in which no model has a score of the task are left out; NaN: the combination has no setting.

        Shape:
            (combinations, replicates, folds)

        Raises:
            ContractError: a combination was not trained.
        """
        members = np.array([self.member(key, task) for key in combinations], dtype=np.intp)
        at = self._numbers(replicates, folds)
        if at is None:
            return np.full((len(members), len(replicates), 0), np.nan)
        setting = self.choice(replicates, folds).setting[self.combination_of[members]]
        scored = [f for f in at[1] if self._scored[self.tasks.index(task), f]]
        value = self.value[members, setting][:, at[0]][..., scored]
        return np.where(setting[:, None, None] >= 0, value, np.nan)

    def setting(
        self, combination: str, replicates: Replicates | None = None, folds: Folds = None
    ) -> Setting | None:
        """The setting chosen for a combination by replicates and folds; None if it has none."""
        used = self.scoring(self.trained(combination)) if replicates is None else replicates
        number = self._combination.get(combination, -1)
        chosen = int(self.choice(used, folds).setting[number]) if number >= 0 else -1
        return self.settings[chosen] if chosen >= 0 else None

    def common(self, *combinations: str) -> Replicates:
        """The replicates that score all these combinations."""
        shared = set(self.replicates)
        for key in combinations:
            shared &= set(self.trained(key))
        return self.scoring(tuple(sorted(shared)))


def read_scores(paths: Sequence[Path]) -> Scores:
    """Read tables of contracts.SCORES; only folds of the cross-validation count (never the test part).

    Raises:
        InputError: a file is absent or unreadable, or two fits claim the same place with different results
            (files of different runs mixed up).
        ContractError: a file does not follow the schema.
    """
    return scores_of(_concatenated(paths), paths)


def scores_of(table: pa.Table, paths: Sequence[Path]) -> Scores:
    """The same of a table in memory; ``paths``: where it came from, for messages.

    Raises:
        InputError: two fits claim the same place with different results.
    """
    table = _distinct(table)
    table = table.filter(pc.greater_equal(table.column("fold"), 0))
    combination, combinations = _codes(table.column("combination"))
    task, tasks = _codes(table.column("task"))
    batch, batches = _codes(table.column("batch_size"))
    rate, rates = _codes(table.column("learning_rate"))
    replicate, replicates = _codes(table.column("replicate"))
    fold, folds = _codes(table.column("fold"))
    both, setting = np.unique(batch * max(1, len(rates)) + rate, return_inverse=True)
    settings = [(int(batches[b // len(rates)]), float(rates[b % len(rates)])) for b in both.tolist()]
    members, member = np.unique(combination * max(1, len(tasks)) + task, return_inverse=True)
    shape = (len(members), len(settings), len(replicates), len(folds))
    at = (member.reshape(-1), setting.reshape(-1), replicate, fold)
    fit = np.full(shape, -1, dtype=np.int32)
    fit[at] = np.arange(len(table), dtype=np.int32)
    if (fit >= 0).sum() != len(table):
        # Two rows for one place. The later ones were written last: find one that was overwritten.
        row = int(np.flatnonzero(fit[at] != np.arange(len(table)))[0])
        raise InputError(
            f"two fits with different keys claim the same place: combination "
            f"`{combinations[combination[row]]}`, replicate {replicates[replicate[row]]}, fold "
            f"{folds[fold[row]]}",
            where=", ".join(str(path) for path in paths[:3]) + (", ..." if len(paths) > 3 else ""),
            hint="scores of different settings or data were mixed; delete the older files",
        )
    value = np.full(shape, np.nan)
    value[at] = table.column("value").to_numpy()
    ran = np.zeros(shape, dtype=bool)
    ran[at] = pc.equal(table.column("status"), "ok").to_numpy()
    return Scores(
        combinations=combinations,
        tasks=tasks,
        settings=settings,
        replicates=[int(r) for r in replicates],
        folds=[int(f) for f in folds],
        combination_of=members // max(1, len(tasks)),
        task_of=members % max(1, len(tasks)),
        value=np.where(ran, value, np.nan),
        ran=ran,
        fit=fit,
        fit_keys=table.column("fit_key").combine_chunks(),
    )
