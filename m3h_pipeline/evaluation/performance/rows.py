"""Rows of the table PERFORMANCE: every candidate's numbers with intervals over patients and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from m3h_pipeline.config import Evaluation, Thresholds
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.evaluation.choice.candidates import ALONE, NETWORKS, TOGETHER
from m3h_pipeline.evaluation.curves import risk_quantiles
from m3h_pipeline.evaluation.performance import classes, horizons, values
from m3h_pipeline.evaluation.performance.classes import Point
from m3h_pipeline.evaluation.performance.task import AFTER, BEFORE, Predicted, Recalibrated
from m3h_pipeline.evaluation.performance.thresholds import DIGITS, threshold
from m3h_pipeline.evaluation.performance.told import Bools, Counted
from m3h_pipeline.evaluation.performance.weighted import Key, Measured, Weighted, seeded
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.evaluation.survival import Outcome, usable_times
from m3h_pipeline.inference.censored import Curve
from m3h_pipeline.inference.intervals import Interval, Quantity, pooled_intervals
from m3h_pipeline.inference.metrics import Floats
from m3h_pipeline.inference.resampled import TEST

Row = dict[str, Any]
#: Predictions of some samples and the weights of these -> what is measured.
Measure = Callable[[Floats, Weighted], Measured]
#: Strategies without a model, beside the candidates.
TREAT_ALL, TREAT_NONE = "treat_all", "treat_none"
#: What needs a patient-draw for each time step is drawn less often, as the other scores of survival.
_SURVIVAL_DRAWS = 200
#: The least and the largest value that a measure can have.
_BOUNDS = {
    **dict.fromkeys(("sensitivity", "specificity", "ppv", "npv", "accuracy", "auprc", "auroc"), (0.0, 1.0)),
    **dict.fromkeys(("observed_risk", "predicted_risk"), (0.0, 1.0)),
    **dict.fromkeys(("mae", "rmse", "observed_to_expected"), (0.0, np.inf)),
    "alerts_per_100": (0.0, 100.0),
    "brier": (0.0, 2.0),
    "scaled_brier": (-np.inf, 1.0),
}


def performance_rows(measured: Sequence[Recalibrated], evaluation: Evaluation, quantiles: int) -> list[Row]:
    """Rows of contracts.reported.PERFORMANCE; tasks lend each other their variance between seeds.

    Args:
        measured: the tasks.
        evaluation: thresholds and horizons.
        quantiles: of the calibration table.
    """
    found = [pair for one in measured for pair in _task_rows(one, evaluation, quantiles)]
    families: dict[tuple[Any, ...], list[int]] = {}
    for i, (row, _) in enumerate(found):
        families.setdefault((row["candidate"], row["state"], row["measure"], row["rule"]), []).append(i)
    for members in families.values():
        every = [found[i][1] for i in members]
        intervals = pooled_intervals(every, [found[i][0]["measure"] for i in members])
        for i, interval in zip(members, intervals, strict=True):
            found[i][0].update(_numbers(found[i][0]["measure"], interval))
    return [row for row, _ in found]


def _task_rows(one: Recalibrated, evaluation: Evaluation, quantiles: int) -> Iterator[tuple[Row, Quantity]]:
    cohort = one.candidates.cohort
    part, y = cohort.parts[TEST], cohort.observed(one.task, TEST)
    seen = ~np.isnan(y)
    if cohort.informative(one.task, [TEST]) < LEAST or patients_of(part.unit, seen) < LEAST:
        return
    draws = _SURVIVAL_DRAWS if one.problem_class == "survival" else None
    weighted = Weighted.of(part, seen, draws)
    units = cohort.informative(one.task, [TEST])
    told = told_of(one, seen, quantiles)
    for name, states in one.models.items():
        points = shown_points(one, states, evaluation.thresholds, seen, told.get(name, []))[0]
        for state, said in states.items():
            if not np.isfinite(said.test[:, seen]).all():
                continue
            measure = _measure(one, evaluation, seen, points.get(state, []), said)
            of_all = measure(said.test[0][seen], weighted)
            few = weighted.few
            left_out = [measure(each[seen], few) for each in said.test[1:]]
            for key, drawn in of_all.items():
                if state == AFTER and BEFORE in states and key.measure in ("auprc", "auroc"):
                    continue  # the map is monotone: nobody changes places
                without = np.array([each[key] for each in left_out]).reshape(
                    len(left_out), few.weights.shape[1]
                )
                found = seeded(drawn, without, units)
                yield _row(one, name, state, key), found
    if one.problem_class == "binary":
        at = [Point("risk", t) for t in evaluation.thresholds.risks]
        everybody = classes.treat_all(y[seen].astype(np.float64), weighted, at)
        for key, drawn in everybody.items():
            yield _row(one, TREAT_ALL, BEFORE, key), seeded(drawn, np.zeros((0, 1)), units)
            yield _row(one, TREAT_NONE, BEFORE, key), Quantity(0.0, 0.0, units)


def _measure(
    one: Recalibrated, evaluation: Evaluation, seen: Bools, points: Sequence[Point], said: Predicted
) -> Measure:
    """What is measured of a candidate's predictions of the test part's samples with a label."""
    cohort = one.candidates.cohort
    part = cohort.parts[TEST]
    y, patient = cohort.observed(one.task, TEST)[seen].astype(np.float64), part.unit[seen]
    if one.problem_class == "binary":
        return lambda p, weighted: classes.binary(y, p[:, 0], weighted, points)
    if one.problem_class == "multiclass":
        names = cohort.tasks[one.task].classes
        rates = classes.shown_rates(y, said.test[0][seen], patient)
        return lambda p, weighted: classes.multiclass(y, p, weighted, names, rates)
    if one.problem_class == "regression":
        size = values.sizes(y, one.learned[~np.isnan(one.learned)], patient)
        return lambda p, weighted: values.regression(y, p[:, 0], weighted, size)
    training, tested = Outcome.of(one.learned[~np.isnan(one.learned)]), Outcome.of(y)
    grid = one.candidates.grid()
    assert grid is not None
    usable = usable_times(grid, training, tested).tolist()
    at = np.array(horizons.horizons(evaluation.horizons, grid, usable, training), dtype=np.intp)
    risks = [states[BEFORE].test[0][seen, 0] for name, states in one.models.items() if name in NETWORKS]
    at = at[horizons.shown_horizons(grid[at], tested, risks, patient)]
    censoring = Curve.of(training.time, training.event, censoring=True)
    return lambda p, weighted: horizons.survival(censoring, tested, 1 - p[:, 1 + at], grid[at], weighted)


def told_of(one: Recalibrated, seen: Bools, quantiles: int) -> dict[str, list[Bools]]:
    """Candidate -> sets of the test samples whose numbers the calibration table shows."""
    if one.problem_class != "binary":
        return {}
    part, y = one.candidates.cohort.parts[TEST], one.candidates.cohort.observed(one.task, TEST)
    found = {}
    for name in (ALONE, TOGETHER):
        if name in one.models:
            risk = one.models[name][BEFORE].test[0][seen, 0]
            place = risk_quantiles(y[seen], risk, part.unit[seen], quantiles)
            found[name] = [place >= q for q in np.unique(place).tolist()[1:]]
    return found


def shown_points(
    one: Recalibrated,
    states: Mapping[str, Predicted],
    asked: Thresholds,
    seen: Bools,
    told: Sequence[Bools],
) -> tuple[dict[str, list[Point]], list[Bools]]:
    """Thresholds at which a binary candidate's rates may be shown, by state; and all sets that readers know.

    Those that are chosen are of the recalibrated probability, by predictions out of fold alone; those that
    the study states are looked at in both states.
    """
    if one.problem_class != "binary":
        return {}, []
    part, y = one.candidates.cohort.parts[TEST], one.candidates.cohort.observed(one.task, TEST)
    known = ~np.isnan(one.learned)
    if any(patients_of(one.patient, one.learned == event) < LEAST for event in (0, 1)):
        return {}, list(told)
    outcomes = [y[seen] == event for event in (0, 1)]
    chosen = chosen_points(one.learned, states[AFTER].crossed[:, 0], asked) if AFTER in states else []
    # The bundle has rates at these, as far as they tell of no few by themselves.
    of_bundle = Counted(outcomes, part.unit[seen])
    sets = [states[AFTER].test[0][seen, 0] >= point.at for point in chosen]
    counted = Counted(outcomes, part.unit[seen], [*told, *filter(of_bundle.may_tell, sets)])
    found: dict[str, list[Point]] = {}
    for state in (AFTER, BEFORE):
        if state not in states:
            continue
        wanted = [Point("risk", t) for t in asked.risks]
        if state == AFTER:
            rate = round(float(one.learned[known].mean(dtype=np.float64)), DIGITS)
            wanted = [*chosen, Point("prevalence", rate), *wanted]
        risk = states[state].test[0][seen, 0]
        found[state] = [point for point in wanted if counted.may_tell(risk >= point.at)]
    return found, counted.told


def chosen_points(y: Floats, p: Floats, asked: Thresholds) -> list[Point]:
    """Thresholds that predictions out of fold decide, in the order in which the bundle has them.

    Args:
        y: labels of the training part, NaN = not observed.
        p: recalibrated probabilities out of fold.
        asked: by the study.
    """
    return [
        Point("youden", threshold(y, p, "youden", None)),
        *(Point(f"sensitivity {100 * t:g} %", threshold(y, p, "sensitivity", t)) for t in asked.sensitivity),
        *(Point(f"top {100 * t:g} %", threshold(y, p, "alerts", t)) for t in asked.alerts),
    ]


def _row(one: Recalibrated, candidate: str, state: str, key: Key) -> Row:
    return {
        "task": one.task,
        "candidate": candidate,
        "chosen": candidate == one.chosen,
        "state": state,
        "measure": key.measure,
        "class_name": key.class_name or None,
        "rule": key.rule or None,
        "at": None if np.isnan(key.at) else key.at,
    }


def _numbers(measure: str, interval: Interval) -> Row:
    low, high = _BOUNDS.get(measure, (-np.inf, np.inf))
    ends = (interval.estimate, max(interval.low, low), min(interval.high, high))
    # A rate that no draw changes (nobody was missed) is not known without error.
    unknown = interval.standard_error == 0 and measure in classes.RATES
    if unknown or not np.isfinite((interval.low, interval.high)).all():
        ends = (interval.estimate, np.nan, np.nan)
    return {
        key: float(value) if np.isfinite(value) else None
        for key, value in zip(("value", "low", "high"), ends, strict=True)
    }
