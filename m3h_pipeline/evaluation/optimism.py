"""How much of the selected combinations' validation scores is luck of the search.

The best of many noisy scores is too good. BBC-CV (Tsamardinos, Greasidou and Borboudakis, Machine Learning
2018; 107:1895) repeats the selection on bootstrap samples of the out-of-fold predictions and scores the
winner on what each sample left out: nothing is trained again. Here patients are drawn, and the search's own
rule is repeated, size by size, among the combinations that the source task looked at to the end; what it
would have looked at had the draw been its data, what it left early, and the choice of the settings, are not
repeated. Nor is the standard error that a gain must exceed: it is that of the folds and seeds as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.config import Search
from m3h_pipeline.contracts import TRAJECTORY
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.arms import Chosen
from m3h_pipeline.evaluation.validation import out_of_fold
from m3h_pipeline.files import read_table
from m3h_pipeline.inference.bootstrap import percentile_interval
from m3h_pipeline.inference.metrics import Float64
from m3h_pipeline.inference.predictions import FitTask
from m3h_pipeline.inference.resampled import Cohort, Index, MeanDraws, Wanted, mean_draws
from m3h_pipeline.search.budget import equal_budget
from m3h_pipeline.search.greedy import improvement
from m3h_pipeline.search.scores import Scores

#: The mean over this many draws is known to a fourteenth of their spread.
DRAWS = 200


@dataclass(frozen=True)
class Looked:
    """A combination that a source task looked at, with a score."""

    size: int
    combination: str
    score: float


def search_optimism(
    chosen: Sequence[Chosen],
    trajectory: Path,
    scores: Scores,
    paths: Sequence[Path],
    cohort: Cohort,
    search: Search,
) -> list[dict[str, Any]]:
    """Rows of contracts.OPTIMISM, one per task.

    Memory is two rows of draws for every combination that a task looked at; predictions are read one by one.

    Args:
        chosen: the selection.
        trajectory: table of contracts.TRAJECTORY.
        scores: out-of-fold scores of the search.
        paths: tables of contracts.PREDICTIONS of the search.
        cohort: labels, folds and drawn patients; at most :data:`DRAWS` of the draws are used.
        search: gives the least gain of a larger combination.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: the trajectory does not hold what was selected, or fits or predictions are missing.
    """
    looked = read_looked(trajectory, chosen)
    bag = cohort.first(DRAWS)
    shared = {task: SharedReplicates.of(combinations, scores) for task, combinations in looked.items()}
    wanted: dict[FitTask, Wanted] = {}
    for task, combinations in looked.items():
        for one in combinations:
            setting = scores.setting(one.combination)
            if setting is None:
                raise ContractError(f"combination `{one.combination}` has no setting", where=str(trajectory))
            for replicate in scores.trained(one.combination):
                slots = [
                    (task, number, one.combination)
                    for number, replicates in enumerate(shared[task].sets)
                    if replicate in replicates and replicates <= set(scores.trained(one.combination))
                ]
                fits = out_of_fold(scores, one.combination, task, setting, [replicate])
                for key, fold in fits.keys.items():
                    wanted.setdefault((key, task), Wanted(fold, [])).slots.extend(slots)
    inside, outside = mean_draws(paths, wanted, [bag, bag.out_of_bag()])
    found = []
    for one_task in chosen:
        combinations, replicates_of = looked[one_task.task], shared[one_task.task]

        def stacked(
            drawn: MeanDraws, task: str = one_task.task, these: Sequence[Looked] = combinations
        ) -> Float64:
            sets = range(len(shared[task].sets))
            return np.stack(
                [[drawn.mean((task, number, one.combination)) for one in these] for number in sets]
            )

        found.append(
            {
                "task": one_task.task,
                "metric": cohort.tasks[one_task.task].metric,
                "combination": one_task.combination,
                "selected": one_task.score,
                **corrected(
                    combinations,
                    one_task.combination,
                    stacked(inside),
                    stacked(outside),
                    replicates_of.common,
                    LeastGain.of(one_task.task, combinations, scores, search),
                ),
                "single": scores.score(one_task.task, one_task.task),
                "equal_budget": equal_budget(
                    scores, one_task.task, one_task.combination, [one.combination for one in combinations]
                ),
                "n_combinations": len(combinations),
            }
        )
    return found


def search_luck(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What choosing by these patients is worth in the score of what was chosen, task by task; never below 0.

    Other seeds on the same folds, as of the final fits, keep this part of the luck and lose that of seeds.

    Args:
        rows: of contracts.OPTIMISM.

    Examples:
        >>> search_luck([{"task": "aki", "selected": 0.75, "corrected": 0.5}])
        {'aki': 0.25}
    """
    found = {row["task"]: row["selected"] - row["corrected"] for row in rows}
    return {task: float(max(luck, 0.0)) if np.isfinite(luck) else 0.0 for task, luck in found.items()}


@dataclass(frozen=True)
class SharedReplicates:
    """Which replicates two combinations are compared by: those that both were trained with.

    Attributes:
        sets: the sets of replicates that two of them share.
        common: number of the set that two combinations share, and of a combination's own on the diagonal;
            shape (combinations, combinations).
    """

    sets: list[frozenset[int]]
    common: Index

    @classmethod
    def of(cls, looked: Sequence[Looked], scores: Scores) -> SharedReplicates:
        """The sets of the combinations that a task looked at."""
        own = [frozenset(scores.trained(one.combination)) for one in looked]
        shared = {(a, b): frozenset(scores.scoring(tuple(sorted(a & b)))) for a in set(own) for b in set(own)}
        sets = sorted(set(shared.values()), key=sorted)
        number = {replicates: i for i, replicates in enumerate(sets)}
        return cls(sets, np.array([[number[shared[a, b]] for b in own] for a in own], dtype=np.intp))


def read_looked(path: Path, chosen: Sequence[Chosen]) -> dict[str, list[Looked]]:
    """What each selected task looked at, by size; combinations without a score are left out.

    Raises:
        InputError: the file is absent or unreadable.
        ContractError: a task did not look at what it selected.
    """
    found: dict[str, list[Looked]] = {one.task: [] for one in chosen}
    for row in read_table(path, TRAJECTORY).to_pylist():
        if row["task"] in found and row["score"] is not None:
            found[row["task"]].append(Looked(row["size"], row["combination"], row["score"]))
    for one in chosen:
        found[one.task].sort(key=lambda looked: (looked.size, -looked.score, looked.combination))
        if one.combination not in {looked.combination for looked in found[one.task]}:
            raise ContractError(
                f"task `{one.task}` selected `{one.combination}`, which its search did not look at",
                where=str(path),
                hint="selection and trajectory are of different runs",
            )
    return found


def corrected(
    looked: Sequence[Looked],
    selected: str,
    inside: Float64,
    outside: Float64,
    common: Index,
    least: LeastGain,
) -> dict[str, float]:
    """The selection repeated on every draw, and the winners' scores on the patients left out.

    Args:
        looked: the combinations, by size.
        selected: the combination that was selected.
        inside: scores in the bag by set of replicates, shape (sets, combinations, draws).
        outside: scores out of the bag, same shape.
        common: which set two combinations share, see :class:`SharedReplicates`.
        least: gain of a larger combination.

    Returns:
        ``corrected``, ``low``, ``high``, ``chosen``; NaN if no draw is defined.
    """
    winners = winning(np.array([one.size for one in looked]), inside, common, least)
    scores = outside[common[winners, winners], winners, np.arange(outside.shape[2])]
    defined = np.isfinite(scores)
    low, high = percentile_interval(scores)
    again = np.array([one.combination == selected for one in looked])[winners]
    return {
        "corrected": float(scores[defined].mean()) if defined.any() else float("nan"),
        "low": low,
        "high": high,
        "chosen": float(again[defined].mean()) if defined.any() else float("nan"),
    }


class LeastGain:
    """What a combination must gain over another to replace it: that of the search.

    Args:
        error: standard error of the gain of one combination (first) over another (second), by their numbers.
        search: how many of them, and the least gain beside.
    """

    def __init__(self, error: Callable[[int, int], float], search: Search) -> None:
        self._error = cache(error)
        self._search = search

    @classmethod
    def of(cls, task: str, looked: Sequence[Looked], scores: Scores, search: Search) -> LeastGain:
        """Of the combinations that a task looked at, by the folds and seeds that two of them have."""

        def error(new: int, old: int) -> float:
            return improvement(scores, task, looked[new].combination, looked[old].combination)[1]

        return cls(error, search)

    def __call__(self, new: Index, old: Index) -> Float64:
        """Shape: (draws,), (draws,) -> (draws,)."""
        if not self._search.standard_errors:
            return np.full(len(new), self._search.min_improvement)
        error = np.array([self._error(*pair) for pair in zip(new.tolist(), old.tolist(), strict=True)])
        return np.maximum(self._search.standard_errors * error, self._search.min_improvement)


def winning(sizes: npt.NDArray[np.int_], inside: Float64, common: Index, least: LeastGain) -> Index:
    """The combination that the search's rule ends with under every draw.

    Of each size the best combination, by all its replicates, replaces the best so far if it improves on it
    by more than the least gain in the replicates that both have; else the search of that draw ends.

    Shape:
        (combinations,), (sets, combinations, draws), (combinations, combinations) -> (draws,)
    """
    columns = np.arange(inside.shape[2])
    members = np.arange(inside.shape[1])
    ranked = inside[common[members, members], members]
    score = np.where(np.isfinite(ranked), ranked, -np.inf)
    best = np.full(len(columns), int(np.flatnonzero(sizes == sizes.min())[0]), dtype=np.intp)
    going = np.ones(len(columns), dtype=bool)
    for size in np.unique(sizes)[1:]:
        candidates = np.flatnonzero(sizes == size)
        top = candidates[score[candidates].argmax(axis=0)]
        shared = common[top, best]
        gain = inside[shared, top, columns] - inside[shared, best, columns]
        going &= np.isfinite(gain) & (gain > least(top, best))
        best = np.where(going, top, best)
    return best
