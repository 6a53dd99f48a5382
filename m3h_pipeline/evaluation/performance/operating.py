"""Rates at every threshold that may be told, and which class was taken for which."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from m3h_pipeline.config import Evaluation
from m3h_pipeline.disclosure import LEAST, is_small
from m3h_pipeline.disclosure.suppression import Sum, hidden
from m3h_pipeline.evaluation.performance.classes import RATES, net_benefit, rates_of, shown_rates
from m3h_pipeline.evaluation.performance.rows import chosen_points, shown_points, told_of
from m3h_pipeline.evaluation.performance.task import AFTER, BEFORE, Recalibrated
from m3h_pipeline.evaluation.performance.thresholds import DIGITS
from m3h_pipeline.evaluation.performance.told import Bools, Index
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.inference.resampled import TEST

Row = dict[str, Any]
#: So many quantiles of the predictions out of fold are tried as thresholds.
TRIED: Final = 200


def operating_rows(measured: Sequence[Recalibrated], evaluation: Evaluation, quantiles: int) -> Iterator[Row]:
    """Rows of contracts.reported.OPERATING_POINTS.

    Args:
        measured: the tasks; those that are not binary have none.
        evaluation: its thresholds, which are told already.
        quantiles: of the calibration table.
    """
    for one in measured:
        cohort = one.candidates.cohort
        part, y = cohort.parts[TEST], cohort.observed(one.task, TEST)
        seen = ~np.isnan(y)
        if one.problem_class != "binary" or cohort.informative(one.task, [TEST]) < LEAST:
            continue
        event, patient = y[seen] == 1, part.unit[seen]
        told = told_of(one, seen, quantiles)
        for name, states in one.models.items():
            state = AFTER if AFTER in states else BEFORE
            risk = states[state].test[0][seen, 0]
            points, known = shown_points(one, states, evaluation.thresholds, seen, told.get(name, []))
            crossed = states[state].crossed[~np.isnan(one.learned), 0]
            if state not in points or not (np.isfinite(risk).all() and np.isfinite(crossed).all()):
                continue
            tried = np.quantile(crossed, np.arange(1, TRIED) / TRIED)
            # Those of the bundle, too, whose sets are told there.
            of_bundle = chosen_points(one.learned, states[state].crossed[:, 0], evaluation.thresholds)
            at = np.unique([*np.round(tried, DIGITS), *(p.at for p in (*points[state], *of_bundle))])
            for row in points_of(event, risk, at, patient, known):
                yield {
                    "task": one.task,
                    "candidate": name,
                    "chosen": name == one.chosen,
                    "state": state,
                    **row,
                }


def points_of(
    event: Bools, risk: Floats, thresholds: Floats, patient: Index, known: Sequence[Bools]
) -> Iterator[Row]:
    """Rates and net benefit at the thresholds that may be told, from the highest down.

    What readers know from elsewhere has a point, too.

    Sets of whoever is at or above a threshold lie one within the other. Between neighbours, and between a
    set and those that readers know, are no 1 to 10 patients with the event, nor without it.

    Args:
        event: (n,).
        risk: (n,).
        thresholds: (k,).
        patient: (n,).
        known: sets that readers know, each at or above a value of the risk, or below it; (n,) each.
    """
    n, order = len(risk), np.argsort(-np.asarray(risk, dtype=np.float64), kind="stable")
    hit, who = event[order], patient[order]
    cuts = {0, n}
    for members in known:
        sorted_members = members[order]
        cut = int(members.sum())
        if sorted_members[:cut].all():
            cuts.add(cut)
        elif sorted_members[n - cut :].all():
            cuts.add(n - cut)
        else:  # of another order: what it differs by from the sets here is not looked at
            return
    kept = sorted(cuts)
    found = np.append(0, np.cumsum(hit))

    def few(first: int, last: int) -> bool:
        people, has = who[first:last], hit[first:last]
        return any(is_small(len(np.unique(people[has == side]))) for side in (True, False))

    last = -1
    told = [between for cut in kept if (between := _between(risk[order], cut)) is not None]
    for at in np.unique([*thresholds, *told])[::-1].tolist():
        cut = int((risk >= at).sum())
        place = bisect_left(kept, cut)
        if cut == last:
            continue
        if kept[place] != cut:
            if few(kept[place - 1], cut) or few(cut, kept[place]):
                continue
            kept.insert(place, cut)
        last = cut
        yield {"at": at, **_rates(float(found[cut]), float(cut), float(found[-1]), float(n), at)}


def _between(risk: Floats, cut: int) -> float | None:
    """A round threshold that the first ``cut`` of falling risks reach, and no others; None: there is none."""
    if not 0 < cut < len(risk):
        return None
    at = round(float(risk[cut - 1] + risk[cut]) / 2, DIGITS)
    return at if risk[cut] < at <= risk[cut - 1] else None


def _rates(hits: float, alerts: float, events: float, n: float, at: float) -> Row:
    one = [np.array([value]) for value in (hits, alerts, events, n)]
    values: dict[str, Float64] = dict(zip(RATES, rates_of(*one), strict=True))
    values["net_benefit"] = net_benefit(one[0], one[1], one[3], at)
    return {name: float(v[0]) if np.isfinite(v[0]) else None for name, v in values.items()}


def confusion_rows(measured: Sequence[Recalibrated]) -> Iterator[Row]:
    """Rows of contracts.reported.CONFUSION, of every candidate as it predicts.

    Args:
        measured: the tasks; those that have not several classes have none.
    """
    for one in measured:
        cohort = one.candidates.cohort
        part, y = cohort.parts[TEST], cohort.observed(one.task, TEST)
        seen = ~np.isnan(y)
        if one.problem_class != "multiclass" or patients_of(part.unit, seen) < LEAST:
            continue
        classes = cohort.tasks[one.task].classes
        for name, states in one.models.items():
            p = states[BEFORE].test[0][seen]
            if not np.isfinite(p).all():
                continue
            counts = shown_confusion(y[seen], p, part.unit[seen])
            for a, observed in enumerate(classes):
                for b, predicted in enumerate(classes):
                    yield {
                        "task": one.task,
                        "candidate": name,
                        "chosen": name == one.chosen,
                        "observed": observed,
                        "predicted": predicted,
                        "n": counts[a][b],
                    }


def shown_confusion(y: Floats, p: Floats, patient: Index) -> list[list[int | None]]:
    """Samples by class (rows) and by the class with the highest probability (columns); None where hidden.

    How many there are of each class is known from elsewhere, and how many were right where the accuracy is.

    Args:
        y: class indices, (n,).
        p: probabilities, (n, classes).
        patient: (n,).
    """
    said, width = p.argmax(axis=1), p.shape[1]
    counts: list[int] = []
    few: list[int] = []

    def add(rows: Bools) -> int:
        few.extend([len(counts)] if is_small(patients_of(patient, rows)) else [])
        counts.append(int(rows.sum()))
        return len(counts) - 1

    cells = [[add((y == a) & (said == b)) for b in range(width)] for a in range(width)]
    truth = [add(y == a) for a in range(width)]
    taken = [add(said == b) for b in range(width)]
    right, wrong, whole = add(said == y), add(said != y), add(np.ones(len(y), dtype=bool))
    apart = [cells[a][b] for a in range(width) for b in range(width) if a != b]
    sums = [
        *(Sum(truth[a], cells[a]) for a in range(width)),
        *(Sum(taken[b], [row[b] for row in cells]) for b in range(width)),
        *(Sum(right, [cells[a][a] for a in range(width)]), Sum(wrong, apart), Sum(whole, [right, wrong])),
        *(Sum(whole, truth), Sum(whole, taken)),
    ]
    told = "accuracy" in shown_rates(y, p, patient)
    known = [*truth, whole, *([right, wrong] if told else [])]
    unsaid = [*taken, *([] if told else [right, wrong])]
    masked = hidden(counts, sums, of_few=few, known=known, unsaid=unsaid)
    return [[None if masked[at] else counts[at] for at in row] for row in cells]
