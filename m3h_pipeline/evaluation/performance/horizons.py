"""Survival tasks: predicted risks at horizons against what was observed until then.

``observed`` is 1 less the Kaplan-Meier estimate, ``predicted`` the mean risk; their ratio is 1 where the
risks are right on average. The slope is that of the log odds of the event until the horizon on those of the
risk, 1 where risks are neither too extreme nor too timid; who was censored before counts through the others,
weighed by the inverse of the chance of being seen (McLernon et al., Annals of Internal Medicine 2023;
176:105).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from m3h_pipeline.disclosure import is_small
from m3h_pipeline.evaluation.performance.told import Bools, Index
from m3h_pipeline.evaluation.performance.weighted import Key, Measured, Weighted, share
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.evaluation.survival import Outcome, kaplan_meier
from m3h_pipeline.inference.censored import Curve
from m3h_pipeline.inference.metrics import Float64, Floats

#: Horizons of a study that names none: by which so much of the training part's events have happened.
SHARES: Final = (0.25, 0.5, 0.75)
_STEPS = 30
_CERTAIN = 1e-9


def horizons(asked: Sequence[float], grid: Floats, usable: Sequence[int], training: Outcome) -> list[int]:
    """Numbers of the grid's times that are looked at, increasing, each once.

    Args:
        asked: by the study; empty: :data:`SHARES` of the events.
        grid: times of the curves, (k,).
        usable: numbers of the times within the follow-up of both parts.
        training: times and events of the training part.
    """
    if not len(usable) or not training.event.any():
        return []
    wanted = list(asked) or np.quantile(training.time[training.event], SHARES).tolist()
    times = grid[list(usable)]
    # A horizon beyond the follow-up is none.
    inside = [h for h in wanted if h <= times[-1] or not asked]
    return sorted({int(usable[int(np.abs(times - h).argmin())]) for h in inside})


def shown_horizons(times: Floats, tested: Outcome, risks: Sequence[Floats], patient: Index) -> list[int]:
    """Which of some times may be told of: between them, and to the curves' times, lie no 1 to 10 events.

    Args:
        times: increasing.
        tested: (n,).
        risks: by whose thirds there are Kaplan-Meier curves, (n,) each.
        patient: (n,).
    """
    drawn = [_drawn(tested, risk, patient) for risk in risks]
    kept: list[int] = []
    last = 0.0
    for i, h in enumerate(times):
        by_then = tested.event & (tested.time <= h)
        parts = [by_then & (tested.time > last), ~(tested.time <= h)]
        for of_group in drawn:
            before, after = np.zeros(len(by_then), dtype=bool), np.zeros(len(by_then), dtype=bool)
            for rows, at in of_group:
                first = at[at <= h].max(initial=0.0)
                then = at[at > h].min(initial=np.inf)
                before |= rows & (tested.time > first) & (tested.time <= h)
                after |= rows & (tested.time > h) & (tested.time <= then)
            parts += [before & tested.event, after & tested.event]
        if not any(is_small(patients_of(patient, rows)) for rows in parts):
            kept.append(i)
            last = float(h)
    return kept


def _drawn(tested: Outcome, risk: Floats, patient: Index) -> list[tuple[Bools, Float64]]:
    """The groups of a model's Kaplan-Meier curves, and the times of these."""
    at: dict[str, list[float]] = {}
    for row in kaplan_meier(tested, risk, np.asarray(patient, dtype=np.intp)):
        at.setdefault(row["group"], []).append(row["time"])
    cuts = np.quantile(risk, [1 / 3, 2 / 3]) if len(risk) else np.zeros(2)
    place = np.searchsorted(cuts, risk, side="left")
    names = ("low risk", "medium risk", "high risk")
    return [(place == g, np.array(at.get(name, []))) for g, name in enumerate(names)]


def survival(censoring: Curve, tested: Outcome, risk: Floats, times: Floats, weighted: Weighted) -> Measured:
    """Observed and predicted risk, their ratio, and the slope, at every horizon.

    Args:
        censoring: of the training part.
        tested: (n,).
        risk: until each horizon, (n, k).
        times: the horizons, (k,).
        weighted: the samples.
    """
    found: Measured = {}
    curve = observed_survival(tested, times, weighted)
    n = weighted.total(np.ones(len(risk)))
    for k, h in enumerate(times.tolist()):
        observed, predicted = 1 - curve[k], share(weighted.total(risk[:, k]), n)
        had, free = tested.event & (tested.time <= h), tested.time > h
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.where(had, 1 / censoring.at(tested.time), 0.0)
            seen = np.where(free, 1 / censoring.at(np.array([h]))[0], seen)
        for measure, values in (
            ("observed_risk", observed),
            ("predicted_risk", predicted),
            ("observed_to_expected", share(observed, predicted)),
            ("slope", weighted_slope(had, risk[:, k], seen, weighted)),
        ):
            found[Key(measure, "", "horizon", h)] = values
    return found


def observed_survival(tested: Outcome, times: Floats, weighted: Weighted) -> Float64:
    """Kaplan-Meier estimates at times under every draw: (k, 1 + draws); NaN behind the last who is seen."""
    order = np.argsort(tested.time, kind="stable")
    time, event = tested.time[order], tested.event[order]
    starts = np.append(0, np.flatnonzero(np.diff(time)) + 1)
    at = np.searchsorted(time[starts], times, side="right")
    found = []
    for weight in weighted.of_samples(order):
        events = np.add.reduceat(weight * event[:, None], starts, axis=0)
        here = np.add.reduceat(weight, starts, axis=0)
        at_risk = np.cumsum(here[::-1], axis=0)[::-1]
        kept = 1 - np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
        curve = np.concatenate([np.ones((1, weight.shape[1])), np.cumprod(kept, axis=0)])
        left = np.concatenate([at_risk, np.zeros((1, weight.shape[1]))])
        # Behind the last who is seen the curve is not known, unless it has reached 0.
        unknown = (left[np.minimum(at, len(starts))] <= 0) & (curve[at] > 0)
        exact = np.isin(times, time[starts])[:, None]
        found.append(np.where(unknown & ~exact, np.nan, curve[at]))
    return np.concatenate(found, axis=1)


def weighted_slope(had: Bools, risk: Floats, seen: Floats, weighted: Weighted) -> Float64:
    """Slope of a logistic regression on the log odds of the risk, by Newton's method for all draws at once.

    Args:
        had: whether the event came, (n,).
        risk: (n,).
        seen: weight of each sample, 0 = not known; (n,).
        weighted: the samples.

    Returns:
        (1 + draws,), NaN where it does not converge (all had the event, or none; complete separation).
    """
    inside = (seen > 0) | ~np.isfinite(seen)
    if not np.isfinite(seen[inside]).all() or len(np.unique(had[inside])) < 2:
        return np.full(weighted.weights.shape[1], np.nan)
    p = np.clip(np.asarray(risk, dtype=np.float64)[inside], _CERTAIN, 1 - _CERTAIN)
    x = np.log(p / (1 - p))
    middle, spread = float(x.mean()), float(x.std())
    if spread == 0:
        return np.full(weighted.weights.shape[1], np.nan)
    z, y = (x - middle) / spread, had[inside].astype(np.float64)
    found = []
    for drawn in weighted.of_samples(np.flatnonzero(inside)):
        weight = drawn * seen[inside][:, None]
        found.append(_newton(z, y, weight) / spread)
    return np.concatenate(found)


def _newton(z: Float64, y: Float64, weight: Float64) -> Float64:
    """Slopes of the regressions of y on z under columns of weights, (n, d) -> (d,)."""
    a, b = np.zeros(weight.shape[1]), np.zeros(weight.shape[1])
    done = np.zeros(weight.shape[1], dtype=bool)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(a + z[:, None] * b, -500, 500)))
        score = weight * (y[:, None] - p)
        bread = weight * p * (1 - p)
        first, second = score.sum(axis=0), z @ score
        m0, m1, m2 = bread.sum(axis=0), z @ bread, z**2 @ bread
        with np.errstate(divide="ignore", invalid="ignore"):
            size = m0 * m2 - m1**2
            step_a, step_b = (m2 * first - m1 * second) / size, (m0 * second - m1 * first) / size
        step = np.maximum(np.abs(step_a), np.abs(step_b))
        done = step < 1e-8
        usable = np.isfinite(step)
        short = np.where(usable, np.minimum(1.0, 2.0 / np.maximum(step, 1e-300)), 0.0)
        a = a + np.where(usable, step_a, 0.0) * short
        b = b + np.where(usable, step_b, 0.0) * short
        if (done | ~usable).all():
            break
    return np.where(done, b, np.nan)
