"""How much of the selected combinations' validation scores is luck of the search.

The best of many noisy scores is too good. BBC-CV (Tsamardinos, Greasidou and Borboudakis, Machine Learning
2018; 107:1895) repeats the selection on bootstrap samples of the out-of-fold predictions and scores the
winner on what each sample left out: nothing is trained again. Here patients are drawn, and the search's own
rule is repeated, round by round, among the combinations that the source task looked at; what it would have
looked at had the draw been its data, and the choice of the settings, are not repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import TRAJECTORY, read_table
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.arms import Chosen
from m3h_pipeline.evaluation.cohort import Cohort
from m3h_pipeline.evaluation.predictions import Key, wanted_predictions
from m3h_pipeline.evaluation.validation import MeanDraws, out_of_fold
from m3h_pipeline.progress import Progress
from m3h_pipeline.search.scores import Scores
from m3h_pipeline.statistics import metric_draws_by_unit, percentile_interval

Float64 = npt.NDArray[np.float64]
#: The mean over this many draws is known to a fourteenth of their spread.
DRAWS = 200


@dataclass(frozen=True)
class Looked:
    """A combination that a source task looked at, with a score."""

    round: int
    combination: str
    score: float


def search_optimism(
    chosen: Sequence[Chosen],
    trajectory: Path,
    scores: Scores,
    paths: Sequence[Path],
    cohort: Cohort,
    min_improvement: float = 0.0,
) -> list[dict[str, Any]]:
    """Rows of contracts.OPTIMISM, one per task.

    Memory is two rows of draws for every combination that a task looked at; predictions are read one by one.

    Args:
        chosen: the selection.
        trajectory: table of contracts.TRAJECTORY.
        scores: out-of-fold scores of the search.
        paths: tables of contracts.PREDICTIONS of the search.
        cohort: labels, folds and drawn patients; at most :data:`DRAWS` of the draws are used.
        min_improvement: least gain of a round, as in the search.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: the trajectory does not hold what was selected, or fits or predictions are missing.
    """
    looked = read_looked(trajectory, chosen)
    draws = min(DRAWS, cohort.draws)
    slots: dict[Key, list[tuple[str, int]]] = {}
    rows: dict[Key, int] = {}
    for task, combinations in looked.items():
        # All combinations in a comparison of two sizes have these replicates: seeds are paired.
        shared = set(scores.common(*(one.combination for one in combinations)))
        for one in combinations:
            replicates = scores.trained(one.combination)
            setting = scores.setting(one.combination)
            if setting is None:
                raise ContractError(f"combination `{one.combination}` has no setting", where=str(trajectory))
            for replicate in replicates:
                fits = out_of_fold(scores, one.combination, task, setting, [replicate])
                for key, fold in fits.keys.items():
                    names = [_slot("all", task, one)] + [_slot("shared", task, one)] * (replicate in shared)
                    slots.setdefault((key, task), []).extend((name, fold) for name in names)
                    rows[key, task] = len(cohort.parts[fold].rows)
    inside, outside = MeanDraws(draws), MeanDraws(draws)
    with Progress("out-of-fold predictions resampled", len(rows), stream=sys.stderr) as progress:
        for (key, task), prediction in wanted_predictions(paths, rows, cohort.widths, progress.advance):
            fold = slots[key, task][0][1]
            part = cohort.parts[fold]
            weights = np.ascontiguousarray(part.weights[:, :draws])
            y, name = cohort.observed(task, fold), cohort.tasks[task].metric
            drawn = metric_draws_by_unit(name, y, prediction, weights, part.unit)
            left_out = (weights == 0).astype(np.float32)
            rest = metric_draws_by_unit(name, y, prediction, left_out, part.unit)
            for slot, _ in slots[key, task]:
                inside.add(slot, drawn)
                outside.add(slot, rest)
    found = []
    for one_task in chosen:
        combinations = looked[one_task.task]
        ranked = np.stack([inside.mean(_slot("all", one_task.task, one)) for one in combinations])
        paired = np.stack([inside.mean(_slot("shared", one_task.task, one)) for one in combinations])
        rest = np.stack([outside.mean(_slot("all", one_task.task, one)) for one in combinations])
        found.append(
            {
                "task": one_task.task,
                "metric": cohort.tasks[one_task.task].metric,
                "combination": one_task.combination,
                "selected": one_task.score,
                **corrected(combinations, one_task.combination, ranked, paired, rest, min_improvement),
                "n_combinations": len(combinations),
            }
        )
    return found


def _slot(kind: str, task: str, one: Looked) -> str:
    return f"{kind}:{task}:{one.combination}"


def read_looked(path: Path, chosen: Sequence[Chosen]) -> dict[str, list[Looked]]:
    """What each selected task looked at, by round; combinations without a score are left out.

    Raises:
        InputError: the file is absent or unreadable.
        ContractError: a task did not look at what it selected.
    """
    found: dict[str, list[Looked]] = {one.task: [] for one in chosen}
    for row in read_table(path, TRAJECTORY).to_pylist():
        if row["task"] in found and row["score"] is not None:
            found[row["task"]].append(Looked(row["round"], row["combination"], row["score"]))
    for one in chosen:
        found[one.task].sort(key=lambda looked: (looked.round, -looked.score, looked.combination))
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
    ranked: Float64,
    paired: Float64,
    rest: Float64,
    min_improvement: float,
) -> dict[str, float]:
    """The selection repeated on every draw, and the winners' scores on the patients left out.

    Args:
        looked: the combinations, by round.
        selected: the combination that was selected.
        ranked: scores in the bag, which rank combinations of a round; (combinations, draws).
        paired: scores in the bag over replicates that all combinations have, which tell an improvement.
        rest: scores out of the bag.
        min_improvement: least gain of a round.

    Returns:
        ``corrected``, ``low``, ``high``, ``chosen``; NaN if no draw is defined.
    """
    winners = winning(np.array([one.round for one in looked]), ranked, paired, min_improvement)
    scores = rest[winners, np.arange(rest.shape[1])]
    defined = np.isfinite(scores)
    low, high = percentile_interval(scores)
    names: Mapping[int, str] = {i: one.combination for i, one in enumerate(looked)}
    again = np.array([names[int(w)] == selected for w in winners])
    return {
        "corrected": float(scores[defined].mean()) if defined.any() else float("nan"),
        "low": low,
        "high": high,
        "chosen": float(again[defined].mean()) if defined.any() else float("nan"),
    }


def winning(
    rounds: npt.NDArray[np.int_], ranked: Float64, paired: Float64, min_improvement: float
) -> npt.NDArray[np.intp]:
    """The combination that the search's rule ends with under every draw.

    In each round the best combination replaces the best so far if it improves on it by more than
    ``min_improvement``; else the search of that draw ends.

    Shape:
        (combinations,), (combinations, draws), (combinations, draws) -> (draws,)
    """
    columns = np.arange(ranked.shape[1])
    score = np.where(np.isfinite(ranked), ranked, -np.inf)
    best = np.full(len(columns), int(np.flatnonzero(rounds == rounds.min())[0]), dtype=np.intp)
    going = np.ones(len(columns), dtype=bool)
    for number in np.unique(rounds)[1:]:
        members = np.flatnonzero(rounds == number)
        top = members[score[members].argmax(axis=0)]
        gain = paired[top, columns] - paired[best, columns]
        going &= np.isfinite(gain) & (gain > min_improvement)
        best = np.where(going, top, best)
    return best
