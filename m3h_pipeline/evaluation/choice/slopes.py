"""Calibration slopes and intercepts, with intervals that are robust to several samples of a patient.

The slope is that of a regression of the outcome on what a model says (log odds, log risk, value): 1 where
it is right, below 1 where it says too much, that is, where high risks are too high and low ones too low.
The intercept is 0 where the mean is right (calibration in the large, Van Calster et al., Medical Decision
Making 2015; 35:162): on the log odds with the slope held at 1; the log of observed over expected events of
survival (Crowson, Atkinson and Therneau, Statistical Methods in Medical Research 2016; 25:1692); the mean
error of values. Variances are sandwiches of scores summed by patient (Liang and Zeger, Biometrika 1986;
73:13; of Cox's slope Lin and Wei, JASA 1989; 84:1074).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.evaluation.choice.evidence import evidence
from m3h_pipeline.inference.intervals import UNDEFINED, Interval, paired_interval
from m3h_pipeline.inference.metrics import Float64, Floats

Index = npt.NDArray[np.integer[Any]]
_STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """What a model's predictions are against what was observed.

    Attributes:
        slope: with its interval; undefined where outcome or prediction does not vary.
        intercept: likewise; undefined of several classes.
    """

    slope: Interval
    intercept: Interval


def calibration_of(
    problem_class: str, y: Floats, prediction: Floats, patient: Index, grid: Floats | None = None
) -> Calibration:
    """Slope and intercept of predictions.

    Args:
        problem_class: binary, multiclass, regression or survival.
        y: labels, NaN = not observed; (n,).
        prediction: (n, width).
        patient: number of each sample's patient, (n,).
        grid: times of survival curves.
    """
    seen = ~np.isnan(y)
    y, prediction, patient = np.asarray(y, np.float64)[seen], prediction[seen], patient[seen]
    nothing = Calibration(UNDEFINED, UNDEFINED)
    if not len(y) or not np.isfinite(prediction).all():
        return nothing
    x = evidence(problem_class, prediction)
    if np.ptp(x) == 0:
        return nothing
    if problem_class == "survival":
        assert grid is not None
        return Calibration(
            _hazard_slope(x[:, 0], y, patient), _observed_to_expected(y, prediction, patient, grid)
        )
    if len(np.unique(y)) < 2:
        return nothing
    if problem_class == "regression":
        design = np.column_stack([x[:, 0] - x[:, 0].mean(), np.ones(len(x))])
        bread = design.T @ design
        residual = y - design @ np.linalg.solve(bread, design.T @ y)
        line = float(np.linalg.solve(bread, design.T @ y)[0])
        error = y - x[:, 0]
        return Calibration(
            _interval(line, bread, design * residual[:, None], patient),
            _interval(float(error.mean()), np.array([[len(y)]]), (error - error.mean())[:, None], patient),
        )
    slope = _odds_slope(x, y.astype(np.intp), patient)
    large = _in_the_large(x[:, 0], y, patient) if problem_class == "binary" else UNDEFINED
    return Calibration(slope, large)


def _interval(value: float, bread: Float64, scores: Float64, patient: Index) -> Interval:
    """Interval of the first parameter: sandwich of the scores, summed by patient, (n, parameters)."""
    members = np.unique(patient, return_inverse=True)[1].reshape(-1)
    units = int(members.max()) + 1
    if units < 2:
        return UNDEFINED
    summed = np.stack([np.bincount(members, weights=column, minlength=units) for column in scores.T], axis=1)
    try:
        side = np.linalg.solve(bread, summed.T)[0]
    except np.linalg.LinAlgError:
        return UNDEFINED
    variance = float((side**2).sum()) * units / (units - 1)
    return paired_interval(value, [(variance, float(units - 1))])


def _odds_slope(x: Float64, y: npt.NDArray[np.intp], patient: Index) -> Interval:
    """Slope of the log odds of the classes that occur, with free intercepts, by Newton's method."""
    present = np.unique(y)
    full = np.column_stack([np.zeros(len(x)), x])[:, present]
    x = full[:, 1:] - full[:, :1]
    # About their mean, which the intercepts take up, and in units of their spread: a penalty may have shrunk
    # log odds a hundredfold, and far from 0 what little they differ by is hard to tell from an intercept.
    x = x - x.mean(axis=0)
    spread = float(x.std()) or 1.0
    x = x / spread
    n, odds = x.shape
    target = (y[:, None] == present[1:]).astype(np.float64)
    # Row, class, parameter: the slope and an intercept per class.
    design = np.concatenate([x[:, :, None], np.broadcast_to(np.eye(odds), (n, odds, odds))], axis=2)
    point = np.concatenate([[1.0], np.zeros(odds)])
    for _ in range(_STEPS):
        eta = design @ point
        top = np.maximum(eta.max(axis=1, keepdims=True), 0.0)
        odds_ = np.exp(eta - top)
        p = odds_ / (np.exp(-top) + odds_.sum(axis=1, keepdims=True))
        scores = np.einsum("nck,nc->nk", design, target - p)
        mean = np.einsum("nck,nc->nk", design, p)
        bread = np.einsum("nck,nc,ncl->kl", design, p, design) - mean.T @ mean
        try:
            step = np.linalg.solve(bread, scores.sum(axis=0))
        except np.linalg.LinAlgError:
            return UNDEFINED
        point = point + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-9:
            units = np.concatenate([[spread], np.ones(odds)])
            bread, scores = bread * np.outer(units, units), scores * units
            return _interval(float(point[0]) / spread, bread, scores, patient)
    return UNDEFINED  # separated: the slope grows without end


def _in_the_large(x: Float64, y: Float64, patient: Index) -> Interval:
    """Intercept of the log odds with the slope held at 1."""
    shift = 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x + shift, -500, 500)))
        bread = float((p * (1 - p)).sum())
        step = float((y - p).sum()) / max(bread, 1e-300)
        shift += float(np.clip(step, -2, 2))
        if abs(step) < 1e-9:
            return _interval(shift, np.array([[bread]]), (y - p)[:, None], patient)
    return UNDEFINED


def _hazard_slope(x: Float64, y: Float64, patient: Index) -> Interval:
    """Slope of the log risk in a proportional hazards model (Breslow's ties), with Lin and Wei's variance."""
    time, event = time_and_event(y)
    order = np.argsort(-time, kind="stable")
    spread = float(x.std()) or 1.0
    time, event, z, who = time[order], event[order], (x[order] - x.mean()) / spread, patient[order]
    if not event.any():
        return UNDEFINED
    last = np.searchsorted(-time, -time, side="right") - 1
    slope = 1.0
    for _ in range(_STEPS):
        risk = np.exp(np.clip(slope * z, -500, 500))
        total, moment, square = (np.cumsum(risk * z**k)[last] for k in range(3))
        mean = moment / total
        bread = float((square / total - mean**2)[event].sum())
        if bread <= 0:
            return UNDEFINED
        step = float((z - mean)[event].sum()) / bread
        slope += float(np.clip(step, -2, 2))
        if abs(step) < 1e-9:
            # What a sample adds at its own event, less what it adds to the risk sets of the events before it.
            first = np.searchsorted(-time, -time, side="left")
            steps = np.where(event, 1.0 / total, 0.0)
            before = np.cumsum(steps[::-1])[::-1][first]
            weighted = np.cumsum((steps * mean)[::-1])[::-1][first]
            scores = np.where(event, z - mean, 0.0) - risk * (z * before - weighted)
            return _interval(slope / spread, np.array([[bread * spread**2]]), scores[:, None] * spread, who)
    return UNDEFINED


def _observed_to_expected(y: Float64, prediction: Floats, patient: Index, grid: Floats) -> Interval:
    """Log of observed over expected events until the last time of the grid."""
    time, event = time_and_event(y)
    end = float(grid[-1])
    curve = np.clip(np.asarray(prediction[:, 1:], dtype=np.float64), 1e-12, 1.0)
    knots = np.concatenate([[0.0], grid])
    hazard = np.column_stack([np.zeros(len(y)), -np.log(curve)])
    at = np.minimum(time, end)
    place = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    width = knots[place + 1] - knots[place]
    share = np.divide(at - knots[place], width, out=np.ones(len(y)), where=width > 0)
    rows = np.arange(len(y))
    expected = hazard[rows, place] * (1 - share) + hazard[rows, place + 1] * share
    observed = (event & (time <= end)).astype(np.float64)
    if not observed.any() or expected.sum() <= 0:
        return UNDEFINED
    ratio = float(observed.sum() / expected.sum())
    scores = (observed - ratio * expected)[:, None]
    return _interval(float(np.log(ratio)), np.array([[observed.sum()]]), scores, patient)
