"""Calibration of every candidate on the test part, as it predicts and recalibrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.disclosure import is_small
from m3h_pipeline.evaluation.choice.candidates import Candidates
from m3h_pipeline.evaluation.choice.maps import Recalibration, recalibration
from m3h_pipeline.evaluation.choice.slopes import calibration_of
from m3h_pipeline.evaluation.shown import patients_of, shown_groups
from m3h_pipeline.inference.intervals import Interval
from m3h_pipeline.inference.metrics import Floats
from m3h_pipeline.inference.resampled import TEST

Row = dict[str, Any]


@dataclass(frozen=True)
class Learned:
    """What the map of a candidate is learned from: every labelled or unlabelled row of the folds.

    Attributes:
        y: labels, NaN = not observed; (n,).
        said: predictions out of fold, of the model as it is used, (n, width).
        patient: whose the rows are, (n,).
        fold: whose model predicted them, (n,).
    """

    y: Floats
    said: Floats
    patient: npt.NDArray[np.intp]
    fold: npt.NDArray[np.intp]


def learned_from(candidates: Candidates, name: str) -> Learned | None:
    """What the map of a candidate is learned from; None: it does not predict every fold."""
    cohort, folds = candidates.cohort, candidates.cohort.folds
    crossed = candidates.as_used(name)
    if len(crossed) < len(folds):
        return None
    return Learned(
        np.concatenate([cohort.observed(candidates.task, fold) for fold in folds]),
        np.concatenate([crossed[fold] for fold in folds]),
        np.concatenate([cohort.patient[cohort.parts[fold].rows] for fold in folds]),
        np.repeat(folds, [len(cohort.parts[fold].rows) for fold in folds]),
    )


def recalibration_of(candidates: Candidates, learned: Learned) -> Recalibration | None:
    """The map of a candidate; None: no label, or no event, to recalibrate by."""
    of = candidates.of_rows(candidates.cohort.folds), candidates.marginal(TEST)
    try:
        return recalibration(
            candidates.cohort.tasks[candidates.task].problem_class,
            learned.y,
            learned.said,
            candidates.grid(),
            learned.patient,
            learned.fold,
            of,
            candidates.share,
        )
    except ValueError:
        return None


def calibration_rows(candidates: Candidates, names: Sequence[str], chosen: str | None) -> list[Row]:
    """Rows of contracts.CALIBRATION_SLOPES of a task.

    The maps are fitted on predictions out of fold (:meth:`Candidates.as_used`); the test part is what they
    are looked at on.

    Args:
        candidates: of the task.
        names: which of them.
        chosen: the one that was chosen.
    """
    cohort, folds = candidates.cohort, candidates.cohort.folds
    task = cohort.tasks[candidates.task]
    kind, part = task.problem_class, cohort.parts[TEST]
    y = cohort.observed(candidates.task, TEST)
    seen, events = ~np.isnan(y), None
    if is_small(patients_of(part.unit, seen)):
        return []  # a mean error of few is theirs
    if kind in {"binary", "survival"} and seen.any():
        had = time_and_event(y[seen])[1] if kind == "survival" else y[seen] == 1
        events = shown_groups(part.unit[seen], had, np.zeros(len(had), dtype=int))[0][1]
    found: list[Row] = []
    for name in names:
        whole, learned = candidates.predictions(name, TEST, folds), learned_from(candidates, name)
        recalibrated = None if whole is None or learned is None else recalibration_of(candidates, learned)
        if whole is None or recalibrated is None:
            continue
        for state, prediction in (("before", whole[0]), ("after", recalibrated(whole[0]))):
            measured = calibration_of(kind, y, prediction, part.unit, candidates.grid())
            found.append(
                {
                    "task": candidates.task,
                    "candidate": name,
                    "chosen": name == chosen,
                    "state": state,
                    "method": recalibrated.method,
                    **_numbers("slope", measured.slope),
                    **_numbers("intercept", measured.intercept),
                    "events": events,
                }
            )
    return found


def _numbers(name: str, interval: Interval) -> dict[str, float | None]:
    values = (interval.estimate, interval.low, interval.high)
    return {
        key: float(value) if np.isfinite(value) else None
        for key, value in zip((name, f"{name}_low", f"{name}_high"), values, strict=True)
    }
