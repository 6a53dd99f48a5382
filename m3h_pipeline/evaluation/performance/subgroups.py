"""Rows of the table SUBGROUPS: score and calibration by subgroup, and what sets each apart from the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.evaluation.choice.slopes import calibration_of
from m3h_pipeline.evaluation.performance.task import BEFORE, Recalibrated
from m3h_pipeline.evaluation.performance.told import Bools, Index, told_groups
from m3h_pipeline.evaluation.performance.weighted import Weighted, seeded
from m3h_pipeline.inference.intervals import (
    UNDEFINED,
    Interval,
    Quantity,
    bounded,
    paired_interval,
    pooled_intervals,
)
from m3h_pipeline.inference.metrics import Floats, can_be_resampled, metric_draws_by_unit
from m3h_pipeline.inference.resampled import TEST, within

Row = dict[str, Any]


def subgroup_rows(measured: Sequence[Recalibrated]) -> list[Row]:
    """Rows of contracts.reported.SUBGROUPS; tasks lend each other the variance between seeds of their scores.

    Args:
        measured: the tasks.
    """
    rows: list[Row] = []
    scores: list[tuple[Row, str, Quantity, str]] = []
    for one in measured:
        cohort = one.candidates.cohort
        part, name = cohort.parts[TEST], cohort.tasks[one.task].metric
        y = cohort.observed(one.task, TEST)
        groups = {group: members[part.rows] for group, members in cohort.subgroups.items()}
        for group in shown_subgroups(one.problem_class, y, part.unit, groups):
            here = groups[group] & ~np.isnan(y)
            rest = ~groups[group] & ~np.isnan(y)
            for candidate, states in one.models.items():
                named = {"task": one.task, "candidate": candidate, "chosen": candidate == one.chosen}
                row = named | {"subgroup": group, "state": BEFORE, "measure": name}
                of = states[BEFORE].test
                if can_be_resampled(name) and np.isfinite(of[:, ~np.isnan(y)]).all():
                    rows.append(row)
                    for what, found in _score(one, of, here, rest).items():
                        scores.append((row, what, found, name))
                for state, said in states.items():
                    for measure, one_group, others in _calibration(one, said.test[0], here, rest):
                        rows.append(
                            named
                            | {"subgroup": group, "state": state, "measure": measure}
                            | _numbers("value", one_group)
                            | _numbers("gap", _difference(one_group, others))
                        )
    for what in ("value", "gap"):
        mine = [each for each in scores if each[1] == what]
        for (row, _, _, name), interval in zip(
            mine, pooled_intervals([q for _, _, q, _ in mine], [name for *_, name in mine]), strict=True
        ):
            ends = bounded(interval, name) if what == "value" else (interval.low, interval.high)
            row |= _ends(what, interval.estimate, *ends)
    return rows


def shown_subgroups(problem_class: str, y: Floats, patient: Index, groups: Mapping[str, Bools]) -> list[str]:
    """The subgroups of which numbers may be shown: :func:`told_groups` of the samples with a label.

    Args:
        problem_class: of the task.
        y: labels, NaN = not observed; (n,).
        patient: (n,).
        groups: name -> its samples, (n,).
    """
    seen = ~np.isnan(y)
    inside = {name: members[seen] for name, members in groups.items()}
    return told_groups(outcome_classes(problem_class, y[seen]), patient[seen], inside, LEAST)


def outcome_classes(problem_class: str, y: Floats) -> list[Bools]:
    """What samples with a label are told apart by: classes, events and censored times, or nothing.

    Args:
        problem_class: of the task.
        y: labels, all observed.
    """
    if problem_class in {"binary", "multiclass"}:
        return [y == c for c in np.unique(y)]
    if problem_class == "survival":
        event = time_and_event(y)[1]
        return [event, ~event] if not event.all() else [event]
    return [np.ones(len(y), dtype=bool)]


def _score(one: Recalibrated, said: Floats, here: Bools, rest: Bools) -> dict[str, Quantity]:
    """The task's metric in the group, and less that of the rest, from the same draws."""
    cohort = one.candidates.cohort
    name, y = cohort.tasks[one.task].metric, cohort.observed(one.task, TEST)
    found = []
    for rows in (here, rest):
        weighted = Weighted.of(cohort.parts[TEST], rows)
        draws = metric_draws_by_unit(name, y[rows], said[0][rows], weighted.weights, weighted.unit)
        few = weighted.few
        without = np.array(
            [metric_draws_by_unit(name, y[rows], each[rows], few.weights, few.unit) for each in said[1:]]
        ).reshape(len(said) - 1, few.weights.shape[1])
        found.append((draws, without, within(cohort, rows).informative(one.task, [TEST])))
    (draws, without, units), (other, others, more) = found
    scores = {"value": seeded(draws, without, units)}
    if rest.any():
        apart = draws - other
        scores["gap"] = seeded(apart, without - others, min(units, more))
    return scores


def _calibration(
    one: Recalibrated, said: Floats, here: Bools, rest: Bools
) -> Iterator[tuple[str, Interval, Interval]]:
    """Measure, the group's value, and that of the rest."""
    cohort, grid = one.candidates.cohort, one.candidates.grid()
    y, patient = cohort.observed(one.task, TEST), cohort.parts[TEST].unit
    both = [
        calibration_of(one.problem_class, y[rows], said[rows], patient[rows], grid) for rows in (here, rest)
    ]
    yield "slope", both[0].slope, both[1].slope
    if one.problem_class != "multiclass":
        yield "intercept", both[0].intercept, both[1].intercept
    if one.problem_class == "binary":
        ratios = [observed_to_expected(y[rows], said[rows, 0], patient[rows]) for rows in (here, rest)]
        yield "observed_to_expected", ratios[0], ratios[1]


def observed_to_expected(y: Floats, p: Floats, patient: Index) -> Interval:
    """Events over the sum of the probabilities; the variance is that of its residuals, summed by patient.

    Args:
        y: 1 = event, 0 = none; (n,).
        p: probabilities, (n,).
        patient: (n,).
    """
    expected, observed = float(np.sum(p, dtype=np.float64)), float(np.sum(y, dtype=np.float64))
    members = np.unique(patient, return_inverse=True)[1].reshape(-1)
    units = int(members.max(initial=-1)) + 1
    if expected <= 0 or units < 2:
        return UNDEFINED
    ratio = observed / expected
    summed = np.bincount(members, weights=y.astype(np.float64) - ratio * p)
    variance = float((summed**2).sum()) / expected**2 * units / (units - 1)
    return paired_interval(ratio, [(variance, float(units - 1))])


def _difference(one: Interval, other: Interval) -> Interval:
    """Of two groups of patients, whose estimates are independent."""
    known = [(each.standard_error**2, each.degrees_of_freedom) for each in (one, other)]
    if not np.isfinite([variance for variance, _ in known]).all():
        return UNDEFINED
    return paired_interval(one.estimate - other.estimate, [(v, df) for v, df in known if v > 0])


def _numbers(what: str, interval: Interval) -> Row:
    return _ends(what, interval.estimate, interval.low, interval.high)


def _ends(what: str, value: float, low: float, high: float) -> Row:
    names = ("value", "low", "high") if what == "value" else ("gap", "gap_low", "gap_high")
    numbers = (value, low, high) if np.isfinite((low, high)).all() else (value, np.nan, np.nan)
    return {k: float(v) if np.isfinite(v) else None for k, v in zip(names, numbers, strict=True)}
