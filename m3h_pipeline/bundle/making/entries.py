"""What a bundle says of one task: the model that predicts, how it was recalibrated, what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m3h_pipeline.bundle.making.conformal import COVERAGE, half_width
from m3h_pipeline.bundle.making.thresholds import thresholds
from m3h_pipeline.bundle.making.worth import Known, outcome, scores, slopes_of
from m3h_pipeline.bundle.schema import Calibrator, Candidate, Interval, Outcome, TaskModel, Weights
from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.disclosure import LEAST, is_small
from m3h_pipeline.evaluation.arms import Arms, Chosen
from m3h_pipeline.evaluation.choice.blend import Blend
from m3h_pipeline.evaluation.choice.calibrated import learned_from, recalibration_of
from m3h_pipeline.evaluation.choice.candidates import ALONE, BLEND, NETWORKS, TOGETHER, Candidates
from m3h_pipeline.evaluation.choice.choose import words
from m3h_pipeline.evaluation.choice.maps import Recalibration, recalibration
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.inference.metrics import Floats
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.tasks.assessed import Task


@dataclass(frozen=True)
class Files:
    """Names of files in the bundle: of a network by its fit's key, of a reference by task and model."""

    network: Callable[[str], str]
    reference: Callable[[str, str], str]


def entry(known: Known, files: Files) -> TaskModel | None:
    """What a bundle says of a supervised task; None: it has no model that can be carried.

    Args:
        known: of the task.
        files: what files are called.
    """
    whole = known.candidates
    folds, task = whole.cohort.folds, known.task
    kept = {name: parts for name, parts in whole.parts.items() if name in (*NETWORKS, *known.carried)}
    candidates = replace(whole, parts=kept, _blends={}, _fold_scores={})
    wanted, name = whole.choose(folds), candidates.choose(folds)
    if name is None:
        return None
    if wanted is not None and wanted != name and not is_left_out(whole, wanted, kept):
        name = wanted
    learned = learned_from(candidates, name)
    said = candidates.predictions(name, TEST, folds)
    if learned is None:
        return None
    cohort, y, patient = whole.cohort, learned.y, learned.patient
    # What few patients say is not given away.
    few = patients_of(patient, ~np.isnan(y)) < LEAST
    calibrator = None if few else recalibration_of(candidates, learned)
    members = _members(candidates, name)
    more: dict[str, Any] = {}
    test = None if said is None else said[0]
    if calibrator is not None and task.problem_class == "binary":
        none = np.zeros((0, 1))
        after = none if test is None else calibrator(test)
        here = cohort.observed(task.id, TEST) if test is not None else np.zeros(0)
        who = cohort.patient[cohort.parts[TEST].rows] if test is not None else np.zeros(0, dtype=int)
        validation, test_part = (y, calibrator(learned.said)[:, 0], patient), (here, after[:, 0], who)
        more["thresholds"] = thresholds(validation, test_part, known.thresholds)
    if task.problem_class == "regression":
        more["interval"] = interval(candidates, name, calibrator, test)
    grid = candidates.grid()
    return TaskModel(
        title=task.title,
        department=task.department,
        problem_class=task.problem_class,
        metric=task.metric,
        unit=task.unit,
        classes=list(task.classes),
        note=known.note,
        permuted=known.permuted,
        definition=dict(known.definition),
        chosen=name,
        words=words(name, known.chosen.combination, task.id, task.problem_class, members),
        instead_of="" if name == wanted else str(wanted),
        candidates={one: described(known, candidates, one, files) for one in [name, *members]},
        calibrator=None if calibrator is None else described_map(calibrator),
        times=[] if grid is None else grid.tolist(),
        training=outcome(task, y, patient),
        scores=scores(known, candidates, name),
        calibration=slopes_of(known, name),
        **more,
    )


def is_left_out(whole: Candidates, name: str, kept: Collection[str]) -> bool:
    """Whether a candidate, or what it is a blend of, cannot be carried."""
    if name != BLEND:
        return name not in kept
    blend = whole.blend_of(whole.cohort.folds)
    return blend is None or not set(blend[0]) <= set(kept)


def _members(candidates: Candidates, name: str) -> list[str]:
    blend = candidates.blend_of(candidates.cohort.folds) if name == BLEND else None
    return [] if blend is None else list(blend[0])


def described(known: Known, candidates: Candidates, name: str, files: Files) -> Candidate:
    """A candidate as a bundle has it."""
    if name == BLEND:
        made = candidates.blend_of(candidates.cohort.folds)
        assert made is not None
        return Candidate(kind="blend", members=list(made[0]), blend=weights_of(made[1]))
    if name not in NETWORKS:
        file = files.reference(known.task.id, name)
        return Candidate(kind="reference", files=[file], setting=known.carried[name])
    one = known.chosen
    together = name == TOGETHER
    batch, rate = one.setting if together else one.single_setting
    keys = known.arms.multi if together else known.arms.single
    return Candidate(
        kind="network",
        files=[files.network(key) for key in keys.values()],
        tasks=list(combination_tasks(one.combination)) if together else [one.task],
        setting=f"batch size {batch}, learning rate {rate:g}",
    )


def weights_of(blend: Blend) -> Weights:
    """A blend as a bundle has it."""
    told = None if blend.told is None else blend.told.tolist()
    return Weights(weights=blend.weights.tolist(), intercepts=blend.intercepts.tolist(), told=told)


def described_map(found: Recalibration) -> Calibrator:
    """A recalibration as a bundle has it."""
    return Calibrator(
        method=found.method,
        map=None if found.blend is None else weights_of(found.blend),
        knots=[(float(a), float(b)) for a, b in found.knots.T],
    )


def interval(
    candidates: Candidates, name: str, calibrator: Recalibration | None, test: Floats | None
) -> Interval | None:
    """The conformal interval of values; None: too few patients.

    The map of each fold's residuals is fitted on the other folds.
    """
    cohort, task, folds = candidates.cohort, candidates.task, candidates.cohort.folds
    if calibrator is None:
        return None
    crossed = candidates.as_used(name)
    of_fold = {fold: cohort.observed(task, fold) for fold in folds}
    residuals, people = [], []
    for fold in folds:
        others = [other for other in folds if other != fold]
        y, said = (np.concatenate([part[o] for o in others]) for part in (of_fold, crossed))
        if np.isnan(y).all():
            return None
        residuals.append(of_fold[fold] - recalibration("regression", y, said)(crossed[fold])[:, 0])
        people.append(cohort.patient[cohort.parts[fold].rows])
    found = half_width(np.concatenate(residuals), np.concatenate(people))
    if found is None or found[1] < 2 * LEAST:
        return None
    covered = None
    if test is not None:
        y, patient = cohort.observed(task, TEST), cohort.patient[cohort.parts[TEST].rows]
        seen = ~np.isnan(y)
        inside = np.abs(y - calibrator(test)[:, 0]) <= found[0]
        few = [is_small(patients_of(patient, seen & rows)) for rows in (inside, ~inside)]
        covered = round(float(inside[seen].mean()), 4) if seen.any() and not any(few) else None
    return Interval(coverage=COVERAGE, half_width=found[0], patients=found[1], test_coverage=covered)


def network_of_clusters(
    arms: Arms, chosen: Chosen, task: Task, files: Files, clusters: int, **more: Any
) -> TaskModel | None:
    """A clustering task: the first replicate of its network, whose clusters have the names that count.

    Args:
        arms: the final fits.
        chosen: what the search selected.
        task: the task.
        files: what files are called.
        clusters: how many.
        more: note and definition, and whether the task is a control.
    """
    together = chosen.combination != chosen.task
    keys = list((arms.multi if together else arms.single).values())
    if not keys:
        return None
    batch, rate = chosen.setting if together else chosen.single_setting
    name = TOGETHER if together else ALONE
    network = Candidate(
        kind="network",
        files=[files.network(keys[0])],
        tasks=list(combination_tasks(chosen.combination)),
        setting=f"batch size {batch}, learning rate {rate:g}",
    )
    return TaskModel(
        title=task.title,
        department=task.department,
        problem_class="clustering",
        metric=task.metric,
        clusters=clusters,
        **more,
        chosen=name,
        words=words(name, chosen.combination, task.id, "clustering", []),
        candidates={name: network},
        calibrator=None,
        training=Outcome(samples=None, patients=None),
        scores=[],
    )
