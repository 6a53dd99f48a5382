"""Made-up studies: tasks, and scores of whatever a plan asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from m3h_pipeline.coding import METRICS
from m3h_pipeline.config import Search, Tim, Training
from m3h_pipeline.contracts import SCORES, combination_key
from m3h_pipeline.files import write_json, write_table
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.training.spec import Entry, FitSpec, Outcome, next_fits, run_through

#: combination (sorted), task, replicate, fold, setting -> score; NaN = undefined; None = the fit diverged.
Score = Callable[[tuple[str, ...], str, int, int, tuple[int, float]], float | None]

ONE_SETTING = Training(batch_sizes=[64], learning_rates=[1e-3])


def write_tasks(path: Path, tasks: Sequence[str], kinds: Mapping[str, str] | None = None) -> Path:
    """A ``tasks.json``: binary tasks unless ``kinds`` says otherwise; a dropped one stands among them."""
    described: dict[str, Any] = {}
    for task in tasks:
        kind = (kinds or {}).get(task, "binary")
        described[task] = {"problem_class": kind, "metric": METRICS[kind], "status": "ok", "reason": ""}
        if kind == "multiclass":
            described[task]["classes"] = ["x", "y", "z"]
    described["dropped"] = {
        "problem_class": "binary",
        "metric": "auroc",
        "status": "dropped",
        "reason": "few",
    }
    write_json({"tasks": described}, path)
    return path


Fit = tuple[tuple[str, ...], int, int, tuple[int, float]]


def fits_of(plan: Path, score: Score = lambda *_: 0.5) -> list[Fit]:
    """Every fit of a plan: combination, replicate, fold, setting; by halving as the scores say."""
    entries = [
        Entry.of(entry) for entries in json.loads(plan.read_text())["packs"].values() for entry in entries
    ]
    return [
        (spec.combination, spec.replicate, spec.fold, (spec.batch_size, spec.learning_rate))
        for entry in entries
        for spec in (run_through(entry, _Scored(score)) if entry.halving else next_fits(entry, {}))
    ]


class _Scored(dict[FitSpec, Outcome]):
    """Outcomes of whatever fit is asked for."""

    def __init__(self, score: Score) -> None:
        self._score = score

    def __contains__(self, spec: object) -> bool:
        return True

    def __missing__(self, spec: FitSpec) -> Outcome:
        setting = (spec.batch_size, spec.learning_rate)
        values = {
            task: self._score(spec.combination, task, spec.replicate, spec.fold, setting)
            for task in spec.combination
        }
        known = {task: value for task, value in values.items() if value is not None}
        return known if len(known) == len(values) else None


def fit_key(combination: Sequence[str], replicate: int, fold: int, setting: tuple[int, float]) -> str:
    return f"{combination_key(combination)}|{replicate}|{fold}|{setting[0]}|{setting[1]}"


def write_scores(plan: Path, out: Path, score: Score) -> Path:
    """Scores of every fit of a plan."""
    rows = []
    for combination, replicate, fold, setting in fits_of(plan, score):
        values = {task: score(combination, task, replicate, fold, setting) for task in combination}
        diverged = any(value is None for value in values.values())
        for task, value in values.items():
            undefined = diverged or value is None or math.isnan(value)
            rows.append(
                {
                    "fit_key": fit_key(combination, replicate, fold, setting),
                    "combination": combination_key(combination),
                    "task": task,
                    "replicate": replicate,
                    "fold": fold,
                    "batch_size": setting[0],
                    "learning_rate": setting[1],
                    "metric": "auroc",
                    "value": None if undefined else value,
                    "n_scored": 10,
                    "epochs": 15,
                    "status": "diverged" if diverged else "ok",
                    "seconds": 0.1,
                }
            )
    write_table(pa.Table.from_pylist(rows, schema=SCORES), out, SCORES)
    return out


def run_search(
    folder: Path,
    tasks: Path,
    score: Score,
    search: Search,
    tim: Tim | None = None,
    training: Training = ONE_SETTING,
    folds: int = 2,
) -> tuple[list[Path], list[Path]]:
    """Plan and "train" rounds until one is empty; the plans (the empty one too) and the scores."""
    plans: list[Path] = []
    scores: list[Path] = []
    while True:
        number = len(plans) + 1
        plans.append(folder / f"plan_{number}.json")
        plan_round(number, tasks, scores, plans[-1], search, tim or Tim(replicates=1), training, folds)
        if not json.loads(plans[-1].read_text())["packs"]:
            return plans, scores
        scores.append(write_scores(plans[-1], folder / f"scores_{number}.parquet", score))
