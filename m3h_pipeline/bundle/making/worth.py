"""What a bundle says of a task beside its model: its outcome, scores, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.schema import Estimate, Outcome, Slope
from m3h_pipeline.coding import time_and_event
from m3h_pipeline.config import Thresholds
from m3h_pipeline.disclosure import LEAST, is_small
from m3h_pipeline.evaluation.arms import Arms, Chosen
from m3h_pipeline.evaluation.choice.candidates import Candidates
from m3h_pipeline.evaluation.shown import patients_of, shown_groups, shown_number
from m3h_pipeline.inference.intervals import bounded, pooled_intervals
from m3h_pipeline.inference.metrics import Floats
from m3h_pipeline.inference.resampled import TEST, within
from m3h_pipeline.inference.scored import score
from m3h_pipeline.tasks.assessed import Task

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Known:
    """What is known of a supervised task when its entry is made.

    Attributes:
        chosen: what the search selected.
        arms: the final fits.
        candidates: all of them.
        carried: references whose models can be carried, name -> what was chosen for it.
        choice: rows of contracts.CHOICE of the task.
        slopes: rows of contracts.CALIBRATION_SLOPES of the task.
        thresholds: at which rates are told.
        note: of the definition.
        permuted: whether labels were shuffled.
        definition: how outcomes are made of columns.
    """

    chosen: Chosen
    arms: Arms
    candidates: Candidates
    carried: Mapping[str, str]
    choice: Sequence[Row]
    slopes: Sequence[Row]
    thresholds: Thresholds = field(default_factory=Thresholds)
    note: str = ""
    permuted: bool = False
    definition: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """The task."""
        return self.candidates.cohort.tasks[self.chosen.task]


def outcome(task: Task, y: Floats, patient: npt.NDArray[np.intp]) -> Outcome:
    """The outcome in the training part, as far as it tells of no few patients."""
    seen = ~np.isnan(y)
    people = patients_of(patient, seen)
    if is_small(people) or not people:
        return Outcome(samples=None, patients=None)
    gone = is_small(patients_of(patient, ~seen))
    counts: dict[str, Any] = {
        "samples": None if gone else int(seen.sum()),
        "patients": None if gone else people,
    }
    if task.problem_class == "regression":
        mean, deviation = float(y[seen].mean(dtype=np.float64)), float(y[seen].std(dtype=np.float64))
        return Outcome(**counts, mean=float(f"{mean:.4g}"), deviation=float(f"{deviation:.4g}"))
    if task.problem_class == "survival":
        events = shown_groups(patient[seen], time_and_event(y[seen])[1], np.zeros(int(seen.sum()), dtype=int))
        return Outcome(**counts, events=events[0][1])
    names = ["0", "1"] if task.problem_class == "binary" else list(task.classes)
    sizes = shown_groups(patient[seen], np.zeros(int(seen.sum()), dtype=bool), y[seen].astype(int))
    shares = [None if n is None else round(n / int(seen.sum()), 4) for n, _ in sizes]
    shares += [0.0] * (len(names) - len(shares))
    if task.problem_class == "binary":
        return Outcome(**counts, prevalence=shares[1])
    return Outcome(**counts, shares=dict(zip(names, shares, strict=True)))


def scores(known: Known, candidates: Candidates, name: str) -> list[Estimate]:
    """Scores of the chosen candidate: out of fold and on the test part, there by subgroup, too."""
    task, cohort = known.task, candidates.cohort
    found = []
    for part in ("validation", "test"):
        numbers = [TEST] if part == "test" else cohort.folds
        rows = np.concatenate([cohort.parts[number].rows for number in numbers])
        seen = ~np.isnan(cohort.labels[task.id][rows])
        people = len(np.unique(cohort.patient[rows]))
        row = next((r for r in known.choice if (r["candidate"], r["part"]) == (name, part)), None)
        values = None if row is None or known.candidates.parts.keys() != candidates.parts.keys() else row
        if values is None:
            values = _scored(candidates, name, part)
        number = shown_number(patients_of(cohort.patient[rows], seen), people)
        found.append(_estimate(part, "", task.metric, values, number))
    whole = candidates.predictions(name, TEST, cohort.folds)
    if whole is not None:
        for group, members in cohort.subgroups.items():
            here = members[cohort.parts[TEST].rows]
            inside = within(cohort, here)
            if inside.informative(task.id, [TEST]) < LEAST:
                continue
            some = replace(candidates, cohort=inside)
            quantity = some.scored({TEST: whole[:, here]})
            if quantity is not None:
                one = score(quantity, inside.informative(task.id, [TEST]))
                found.append(_estimate("test", group, task.metric, _numbers(one, task.metric), None))
    return found


def _scored(candidates: Candidates, name: str, part: str) -> Row:
    folds = candidates.cohort.folds
    parts = candidates.crossed(name, folds)
    if part == "test":
        whole = candidates.predictions(name, TEST, folds)
        parts = {} if whole is None else {TEST: whole}
    found = candidates.scored(parts)
    if found is None:
        return {}
    units = candidates.cohort.informative(candidates.task, parts)
    return _numbers(score(found, units), candidates.cohort.tasks[candidates.task].metric)


def _numbers(quantity: Any, metric: str) -> Row:
    one = pooled_intervals([quantity], [metric])[0]
    low, high = bounded(one, metric)
    return {"value": one.estimate, "low": low, "high": high}


def _estimate(part: str, group: str, metric: str, row: Row, patients: int | None) -> Estimate:
    numbers = {key: row.get(key) for key in ("value", "low", "high")}
    known = {k: float(v) if v is not None and np.isfinite(v) else None for k, v in numbers.items()}
    return Estimate(part=part, group=group, metric=metric, patients=patients, **known)


def slopes_of(known: Known, name: str) -> list[Slope]:
    """Calibration of the chosen candidate on the test part."""
    names = [n for n in Slope.model_fields if n != "state"]
    return [
        Slope(state=row["state"], **{n: row[n] for n in names})
        for row in known.slopes
        if row["candidate"] == name
    ]
