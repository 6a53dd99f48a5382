"""The final fits: which belong to which arm of which task, and what they predict for the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import FIT_ATTENTION, SCORES, SELECTION, combination_tasks
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_table
from m3h_pipeline.inference.predictions import FitTask, wanted_predictions
from m3h_pipeline.inference.resampled import TEST, Cohort
from m3h_pipeline.tasks.assessed import Task

Float32 = npt.NDArray[np.float32]
Setting = tuple[int, float]


@dataclass(frozen=True)
class Chosen:
    """A row of contracts.SELECTION."""

    task: str
    combination: str
    setting: Setting
    score: float
    single_setting: Setting
    single_score: float

    @property
    def alone(self) -> bool:
        """Whether the selected model is the single-task model itself."""
        return self.combination == self.task and self.setting == self.single_setting


@dataclass(frozen=True)
class Arms:
    """The fits of a task's two arms, replicate by replicate.

    Attributes:
        multi: replicate -> fit key, where the fits of both arms were finished.
        single: likewise, of the same replicates.
        planned: number of replicates that were planned.
    """

    multi: dict[int, str]
    single: dict[int, str]
    planned: int


def read_selection(path: Path, tasks: Mapping[str, Task]) -> list[Chosen]:
    """The selection, sorted by task.

    Raises:
        InputError: the file is absent or unreadable.
        ContractError: it does not follow its schema, is empty, or names an unknown task.
    """
    rows = sorted(read_table(path, SELECTION).to_pylist(), key=lambda row: str(row["task"]))
    if not rows:
        raise ContractError("no task was selected", where=str(path))
    for row in rows:
        if unknown := set(combination_tasks(row["combination"])) - set(tasks):
            raise ContractError(f"task `{min(unknown)}` is unknown", where=str(path))
    return [
        Chosen(
            row["task"],
            row["combination"],
            (row["batch_size"], row["learning_rate"]),
            row["score"],
            (row["single_batch_size"], row["single_learning_rate"]),
            row["single_score"],
        )
        for row in rows
    ]


def final_fits(scores: Sequence[Path]) -> dict[tuple[str, Setting], dict[int, tuple[str, str]]]:
    """Final fits: (combination, setting) -> replicate -> (fit key, status).

    Raises:
        InputError: a file is absent or unreadable.
    """
    fits: dict[tuple[str, Setting], dict[int, tuple[str, str]]] = {}
    for path in scores:
        for row in read_table(path, SCORES).to_pylist():
            if row["fold"] == TEST:
                place = row["combination"], (row["batch_size"], row["learning_rate"])
                fits.setdefault(place, {})[row["replicate"]] = row["fit_key"], row["status"]
    return fits


def find_arms(chosen: Sequence[Chosen], scores: Sequence[Path]) -> dict[str, Arms]:
    """The final fits of every task.

    A replicate that diverged in one arm is left out of both, so that they stay paired and alike.

    Args:
        chosen: the selection.
        scores: tables of contracts.SCORES of the final fits.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a final fit was not trained.
    """
    fits = final_fits(scores)
    found = {}
    for one in chosen:
        arms = []
        for place in ((one.combination, one.setting), (one.task, one.single_setting)):
            if place not in fits:
                raise ContractError(
                    f"the final fits of combination `{place[0]}` with batch size {place[1][0]} and learning "
                    f"rate {place[1][1]:g} are missing",
                    hint="plan the final fits for this selection and train their packs",
                )
            arms.append(fits[place])
        multi, single = arms
        both = sorted(r for r in set(multi) & set(single) if multi[r][1] == single[r][1] == "ok")
        found[one.task] = Arms(
            {r: multi[r][0] for r in both}, {r: single[r][0] for r in both}, len(set(multi) | set(single))
        )
    return found


def test_predictions(
    arms: Mapping[str, Arms], paths: Sequence[Path], cohort: Cohort
) -> dict[str, dict[str, Float32]]:
    """Predictions for the test part: task -> arm (``single``, ``multi``) -> (replicates, n, width).

    Tasks without a finished replicate are left out.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a prediction is missing or does not fit the test part.
    """
    n = len(cohort.parts[TEST].rows)
    keys = {
        (key, task): n for task, one in arms.items() for key in (*one.multi.values(), *one.single.values())
    }
    read: dict[FitTask, Float32] = dict(wanted_predictions(paths, keys, cohort.widths))
    return {
        task: {
            name: np.stack([read[key, task] for key in fits.values()])
            for name, fits in (("single", one.single), ("multi", one.multi))
        }
        for task, one in arms.items()
        if one.multi
    }


def attention_rows(
    chosen: Sequence[Chosen], arms: Mapping[str, Arms], paths: Sequence[Path]
) -> list[dict[str, Any]]:
    """Rows of contracts.ATTENTION: each task's row of its selected combination, averaged over replicates.

    A model of one task attends to itself alone, with weight 1.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: the attention of a final fit is missing.
    """
    wanted = {(key, task) for task, one in arms.items() for key in one.multi.values()}
    weights: dict[tuple[str, str], dict[str, float]] = {}
    for path in paths:
        for row in read_table(path, FIT_ATTENTION).to_pylist():
            place = row["fit_key"], row["task"]
            if place in wanted:
                weights.setdefault(place, {})[row["companion"]] = row["weight"]
    found: list[dict[str, Any]] = []
    for one in chosen:
        members = combination_tasks(one.combination)
        fits = list(arms[one.task].multi.values())
        if len(members) == 1:
            means = {one.task: 1.0}
        elif missing := [key for key in fits if set(weights.get((key, one.task), {})) != set(members)]:
            raise ContractError(
                f"the attention of {len(missing)} final fit(s) of combination `{one.combination}` is missing",
                hint="give the attention of every pack of the final fits",
            )
        else:
            means = {
                companion: float(np.mean([weights[key, one.task][companion] for key in fits]))
                for companion in members
                if fits
            }
        found += [{"task": one.task, "companion": c, "weight": w} for c, w in means.items()]
    return found
