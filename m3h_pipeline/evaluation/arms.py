"""The final fits: which belong to which arm of which task, and what they predict, on labels and parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import FIT_ATTENTION, SCORES, SELECTION, combination_tasks
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_table
from m3h_pipeline.inference.predictions import FitTask, wanted_predictions
from m3h_pipeline.inference.resampled import TEST, Cohort, load_cohort
from m3h_pipeline.layout import Layout
from m3h_pipeline.tasks.assessed import Task, read_tasks

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


#: Combination and setting -> fold (``TEST``: the whole training part) -> replicate -> (fit key, status).
FinalFits = dict[tuple[str, Setting], dict[int, dict[int, tuple[str, str]]]]
#: Task -> arm (``single``, ``multi``) -> number of a part -> predictions, (replicates, n, width).
ArmPredictions = dict[str, dict[str, dict[int, Float32]]]


@dataclass(frozen=True)
class Arms:
    """The fits of a task's two arms, replicate by replicate.

    Attributes:
        multi: replicate -> fit key, where the fits of both arms were finished.
        single: likewise, of the same replicates.
        planned: number of replicates that were planned.
        crossed: arm -> fold -> fit keys of the replicates that were finished in both arms and every fold.
    """

    multi: dict[int, str]
    single: dict[int, str]
    planned: int
    crossed: dict[str, dict[int, list[str]]]


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


def final_fits(scores: Sequence[Path]) -> FinalFits:
    """Fits by what was trained, on what, and with which seed.

    Args:
        scores: tables of contracts.SCORES of the final fits.

    Raises:
        InputError: a file is absent or unreadable.
    """
    fits: FinalFits = {}
    for path in scores:
        for row in read_table(path, SCORES).to_pylist():
            place = row["combination"], (row["batch_size"], row["learning_rate"])
            by_fold = fits.setdefault(place, {}).setdefault(row["fold"], {})
            by_fold[row["replicate"]] = row["fit_key"], row["status"]
    return fits


def find_arms(chosen: Sequence[Chosen], scores: Sequence[Path], folds: Sequence[int]) -> dict[str, Arms]:
    """The final fits of every task.

    A replicate that diverged in one arm is left out of both, so that they stay paired and alike; out of fold
    one that diverged in any fold.

    Args:
        chosen: the selection.
        scores: tables of contracts.SCORES of the final fits.
        folds: of the cross-validation.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a final fit was not trained.
    """
    fits = final_fits(scores)
    found = {}
    for one in chosen:
        arms = {}
        for arm, place in (
            ("multi", (one.combination, one.setting)),
            ("single", (one.task, one.single_setting)),
        ):
            arms[arm] = fits.get(place, {})
            if missing := {*folds, TEST} - set(arms[arm]):
                raise ContractError(
                    f"the final fits of combination `{place[0]}` with batch size {place[1][0]} and learning "
                    f"rate {place[1][1]:g} are missing"
                    + ("" if TEST in missing else f", of fold {min(missing)} for one"),
                    hint="plan the final fits for this selection and train their packs",
                )
        whole = _finished([arm[TEST] for arm in arms.values()])
        crossed = _finished([arm[fold] for arm in arms.values() for fold in folds])
        found[one.task] = Arms(
            {r: arms["multi"][TEST][r][0] for r in whole},
            {r: arms["single"][TEST][r][0] for r in whole},
            len(set(arms["multi"][TEST]) | set(arms["single"][TEST])),
            {
                name: {fold: [arm[fold][r][0] for r in crossed] for fold in folds}
                for name, arm in arms.items()
            },
        )
    return found


def _finished(fits: Sequence[Mapping[int, tuple[str, str]]]) -> list[int]:
    """The replicates that are finished in all of these, ascending."""
    finished = [{r for r, (_, status) in one.items() if status == "ok"} for one in fits]
    return sorted(set.intersection(*finished)) if finished else []


def arm_predictions(arms: Mapping[str, Arms], paths: Sequence[Path], cohort: Cohort) -> ArmPredictions:
    """What both arms of every task predict, out of fold and for the test part.

    Parts without a finished replicate are left out.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a prediction is missing or does not fit its part.
    """
    keys: dict[str, dict[str, dict[int, list[str]]]] = {
        task: {
            name: {number: fits for number, fits in {**one.crossed[name], TEST: whole}.items() if fits}
            for name, whole in (("single", list(one.single.values())), ("multi", list(one.multi.values())))
        }
        for task, one in arms.items()
    }
    wanted = {
        (key, task): len(cohort.parts[number].rows)
        for task, of_arm in keys.items()
        for parts in of_arm.values()
        for number, fits in parts.items()
        for key in fits
    }
    read: dict[FitTask, Float32] = dict(wanted_predictions(paths, wanted, cohort.widths))
    return {
        task: {
            name: {number: np.stack([read[key, task] for key in fits]) for number, fits in parts.items()}
            for name, parts in of_arm.items()
        }
        for task, of_arm in keys.items()
    }


@dataclass(frozen=True, kw_only=True)
class FinalFiles:
    """The results of a study that its final models are read from.

    Attributes:
        selection: table of contracts.SELECTION.
        tasks: ``labels/tasks.json``.
        labels: folder of the labels.
        split: the split file.
        samples: ``cohort/samples.parquet``.
        scores, predictions: of the final fits, any number of files.
    """

    selection: Path
    tasks: Path
    labels: Path
    split: Path
    samples: Path
    scores: Sequence[Path]
    predictions: Sequence[Path]


def final_files(layout: Layout) -> FinalFiles:
    """Those of a finished study."""
    packs = layout.final.pack_folder
    return FinalFiles(
        selection=layout.selection,
        tasks=layout.labels.tasks,
        labels=layout.labels.folder,
        split=layout.split,
        samples=layout.cohort.samples,
        scores=sorted(packs.glob("*.scores.parquet")),
        predictions=sorted(packs.glob("*.predictions.parquet")),
    )


@dataclass(frozen=True)
class Finals:
    """The final models of a study.

    Attributes:
        chosen: the selection, by task.
        cohort: labels of its tasks, and the parts that are looked at.
        arms: task -> its fits.
        said: task -> arm -> part -> predictions, (replicates, n, width).
    """

    chosen: list[Chosen]
    cohort: Cohort
    arms: dict[str, Arms]
    said: ArmPredictions


def read_finals(
    files: FinalFiles,
    draws: int,
    seeds: Mapping[str, int],
    wanted: Callable[[Task], bool] = lambda _: True,
) -> Finals:
    """Read the final models of the selected tasks, on the parts that are looked at.

    Args:
        files: where they lie.
        draws: of patients.
        seeds: of the draws of the parts that are looked at, ``train``, ``test`` or both.
        wanted: which tasks.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a file does not follow its contract, or files do not fit each other.
    """
    described = read_tasks(files.tasks)
    chosen = [one for one in read_selection(files.selection, described) if wanted(described[one.task])]
    names = {one.task: described[one.task] for one in chosen}
    cohort = load_cohort(names, files.labels, files.split, files.samples, draws, **seeds)
    arms = find_arms(chosen, files.scores, cohort.folds)
    return Finals(chosen, cohort, arms, arm_predictions(arms, files.predictions, cohort))


def attention_rows(
    chosen: Sequence[Chosen], arms: Mapping[str, Arms], paths: Sequence[Path]
) -> list[dict[str, Any]]:
    """Rows of contracts.ATTENTION: each task's row of its selected combination, averaged over replicates.

    Controls are not marked yet. A model of one task attends to itself alone, with weight 1.

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
