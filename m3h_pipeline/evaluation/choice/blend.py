"""Blends by stacking (Wolpert, Neural Networks 1992; 5:241): two models' predictions, weighted out of fold.

Weights are not negative (Breiman, Machine Learning 1996; 24:49) and act where models of different scale can
be added: on log odds (classes against the first one), values, or log risks (survival); log odds and risks
after each model's own calibration slope, since a penalty may have shrunk a model's a hundredfold. They
minimise the negative log-likelihood (cross-entropy with free intercepts; squared errors with an intercept;
Cox's partial likelihood) plus ``PULL / 2`` times the squared deviation of the weights from their mean. With
many events the data decide; with few the weights are nearly equal, which no stack of two correlated models
beats there.

The folds' models differ in their means: a fold with more events is predicted by a model that saw fewer, so
that between folds a model looks wrong, and a strongly penalised one differs in little else. Weights are
therefore found within folds, and count from what each model would say if it knew no feature
(:func:`marginal`): a weight of a hundred, as such a penalty makes, multiplies what a model says of a patient
and not how common the outcome was where it learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.survival import breslow, cox_prediction

#: Precision of the weights' deviation from equal ones: a standard deviation of a quarter.
PULL = 16.0
#: Probabilities nearer to 0 or 1 say no more than this.
LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Blend:
    """Weights of a blend.

    Attributes:
        weights: one per model, not negative.
        intercepts: of the log odds of each class but the first one, or of the value; of survival the
            cumulative baseline hazard at the times of the task's grid.
        told: of survival, (models, times) at which times a model's curves say something: as they were where
            the weights were fitted, so that nobody's prediction depends on who else is predicted.
    """

    weights: Float64
    intercepts: Float64
    told: npt.NDArray[np.bool_] | None = None


def told_times(prediction: Floats) -> npt.NDArray[np.bool_]:
    """At which times survival curves (n, 1 + times) say something; all, where they never do.

    Before the first event's time everybody survives, whatever the risk: such times would flatten it.
    """
    told: npt.NDArray[np.bool_] = np.any(
        np.asarray(prediction, dtype=np.float64)[:, 1:] < 1 - LEAST_PROBABILITY, axis=0
    )
    return told if told.any() else np.ones_like(told)


def evidence(problem_class: str, prediction: Floats, told: npt.NDArray[np.bool_] | None = None) -> Float64:
    """What of a prediction is added: log odds against the first class, values, or log risks.

    The log risk of a survival curve S is the mean of log(-log S) over the times of its grid: up to a constant
    the log hazard of a proportional hazards model, and for any other model a risk on its scale.

    Args:
        problem_class: binary, multiclass, regression or survival.
        prediction: (n, width) as in contracts.PREDICTIONS.
        told: of survival, the times that are looked at, (times,); None: those of :func:`told_times`.

    Shape:
        (n, classes - 1), (n, 1) of regression and survival

    Examples:
        >>> evidence("binary", np.array([[0.5], [0.75]])).round(3).tolist()
        [[0.0], [1.099]]
    """
    values = np.asarray(prediction, dtype=np.float64)
    if problem_class == "regression":
        return values
    inside = np.clip(values, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    if problem_class == "binary":
        return np.asarray(np.log(inside) - np.log1p(-inside))
    if problem_class == "survival":
        curves = inside[:, 1:][:, told_times(values) if told is None else told]
        return np.asarray(np.log(-np.log(curves)).mean(axis=1, keepdims=True))
    return np.asarray(np.log(inside[:, 1:]) - np.log(inside[:, :1]))


def marginal(problem_class: str, y: Floats, width: int, grid: Floats | None = None) -> Float64:
    """What a model says that knows no feature: shares of classes, the mean, or the curve of Nelson and Aalen.

    Args:
        problem_class: binary, multiclass, regression or survival.
        y: labels that it learned from, NaN = not observed.
        width: of a prediction.
        grid: times of survival curves.

    Returns:
        (1, width); without a label, that nothing is known.

    Examples:
        >>> marginal("binary", np.array([0.0, 1.0, 0.0, 0.0, np.nan]), 1).tolist()
        [[0.25]]
    """
    seen = np.asarray(y, dtype=np.float64)[~np.isnan(y)]
    if problem_class == "survival":
        assert grid is not None
        return cox_prediction(np.zeros(1), breslow(np.zeros(len(seen)), seen, grid))
    if problem_class == "multiclass":
        counts = np.bincount(seen.astype(np.intp), minlength=width).astype(np.float64)
        return (counts if len(seen) else np.ones(width))[None] / max(len(seen), 1 if len(seen) else width)
    nothing = 0.5 if problem_class == "binary" else 0.0
    return np.array([[seen.mean() if len(seen) else nothing]])


def moved(problem_class: str, blend: Blend, of: Floats) -> Blend:
    """A blend that counts from ``marginal``, as one that is applied to predictions.

    Args:
        problem_class: of the task.
        blend: fitted with ``of``.
        of: :func:`marginal` of the model whose predictions it is for, (1, width).
    """
    told = [None] * len(blend.weights) if blend.told is None else blend.told
    start = np.stack([evidence(problem_class, of, when)[0] for when in told])
    shift = blend.weights @ start
    if problem_class == "survival":
        return replace(blend, intercepts=blend.intercepts * np.exp(-shift[0]))
    return replace(blend, intercepts=blend.intercepts - shift)


def fit_blend(
    problem_class: str,
    y: Floats,
    predictions: Sequence[Floats],
    grid: Floats | None = None,
    fold: npt.NDArray[np.integer[Any]] | None = None,
    of: Floats | None = None,
) -> Blend:
    """Weights of models from what they predicted out of fold.

    Args:
        problem_class: of the task.
        y: labels as in the cohort, NaN = not observed; (n,).
        predictions: of each model, (n, width).
        grid: times of survival curves.
        fold: whose model predicted each row, (n,); None: one model did.
        of: :func:`marginal` of the model that predicted each row, (n, width): the blend counts from it, and
            is for :func:`moved`; None: it counts from zero.

    Raises:
        ValueError: no label is observed, or of survival no event.
    """
    seen = ~np.isnan(y)
    told = np.stack([told_times(each) for each in predictions]) if problem_class == "survival" else None

    def counted(each: Floats, when: npt.NDArray[np.bool_] | None) -> Float64:
        found = evidence(problem_class, each, when)
        return (found if of is None else found - evidence(problem_class, of, when))[seen]

    x = np.stack([counted(each, None if told is None else told[m]) for m, each in enumerate(predictions)])
    y = np.asarray(y, dtype=np.float64)[seen]
    if not len(y):
        raise ValueError("no label is observed")
    if fold is not None:
        x = within_folds(x, np.asarray(fold)[seen])
    if problem_class == "regression":
        return _squares(x[:, :, 0], y)
    if problem_class == "survival":
        if not time_and_event(y)[1].any() or grid is None:
            raise ValueError("no event is observed, or no grid given")
        found = _calibrated(x, lambda x: _hazards(x[:, :, 0], y, grid))
        return replace(found, told=told)
    return _calibrated(x, lambda x: _log_odds(x, y.astype(np.intp)))


def within_folds(x: Float64, fold: npt.NDArray[np.integer[Any]]) -> Float64:
    """Evidence whose mean in every fold is that of all rows.

    Args:
        x: (models, n, odds).
        fold: (n,).

    Examples:
        >>> within_folds(np.array([[[0.0], [2.0], [4.0], [6.0]]]), np.array([0, 0, 1, 1])).ravel().tolist()
        [2.0, 4.0, 2.0, 4.0]
    """
    found, mean = x.copy(), x.mean(axis=1, keepdims=True)
    for number in np.unique(fold):
        rows = fold == number
        found[:, rows] += mean - x[:, rows].mean(axis=1, keepdims=True)
    return found


def _calibrated(x: Float64, fit: Callable[[Float64], Blend]) -> Blend:
    """A blend of models after each one's own slope; of a single model that slope itself.

    Args:
        x: evidence of each model, (models, n, odds).
        fit: weights of evidence whose spread is about that of the outcome's log odds.
    """
    # Where a search starts at a weight of 1 it finds slopes of any size.
    spread = x.std(axis=1, keepdims=True).max(axis=2)[:, 0]
    unit = np.divide(1.0, spread, out=np.zeros(len(x)), where=spread > 0)
    alone = [fit(each[None] * by) for each, by in zip(x, unit, strict=True)]
    slopes = np.array([float(one.weights[0]) for one in alone]) * unit
    blend = alone[0] if len(x) == 1 else fit(x * slopes[:, None, None])
    weights = slopes if len(x) == 1 else blend.weights * slopes
    return Blend(weights, blend.intercepts)


def blended(problem_class: str, blend: Blend, predictions: Sequence[Floats]) -> Float64:
    """The prediction of a blend, (n, width) as in contracts.PREDICTIONS.

    Args:
        problem_class: of the task.
        blend: its weights.
        predictions: of each model in the order of the weights, (n, width).
    """
    told = [None] * len(predictions) if blend.told is None else blend.told
    x = np.stack([evidence(problem_class, each, when) for each, when in zip(predictions, told, strict=True)])
    eta = np.tensordot(blend.weights, x, axes=1)
    if problem_class == "survival":
        return cox_prediction(eta[:, 0], blend.intercepts)
    eta = eta + blend.intercepts
    if problem_class == "regression":
        return eta
    probabilities = _softmax(eta)
    return probabilities[:, 1:] if problem_class == "binary" else probabilities


def _softmax(eta: Float64) -> Float64:
    """Probabilities of the classes from log odds against the first one, (n, classes)."""
    full = np.concatenate([np.zeros((len(eta), 1)), eta], axis=1)
    full -= full.max(axis=1, keepdims=True)
    odds = np.exp(full)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _minimum(
    loss: Callable[[Float64], tuple[float, Float64]], models: int, intercepts: int
) -> tuple[Float64, Float64]:
    """Weights, not negative, and intercepts that minimise a convex loss and the pull to equal weights."""
    from scipy.optimize import minimize

    def pulled(point: Float64) -> tuple[float, Float64]:
        value, gradient = loss(point)
        apart = point[:models] - point[:models].mean()
        gradient = gradient.copy()
        gradient[:models] += PULL * apart
        return value + 0.5 * PULL * float(apart @ apart), gradient

    found = minimize(
        pulled,
        np.concatenate([np.full(models, 1.0 / models), np.zeros(intercepts)]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * models + [(None, None)] * intercepts,
        options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-8},
    ).x
    return np.asarray(found[:models]), np.asarray(found[models:])


def _log_odds(x: Float64, y: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Blend:
    models, odds = len(x), x.shape[2]
    # Of a model that says nearly the same of all, a slope could not be told from an intercept.
    centre = x.mean(axis=1)
    x = x - centre[:, None]
    target = (y[:, None] == np.arange(1, odds + 1)).astype(np.float64)

    def loss(point: Float64) -> tuple[float, Float64]:
        eta = np.tensordot(point[:models], x, axes=1) + point[models:]
        top = np.maximum(eta.max(axis=1, keepdims=True), 0.0)
        log_total = top[:, 0] + np.log(np.exp(-top[:, 0]) + np.exp(eta - top).sum(axis=1))
        apart = np.exp(eta - log_total[:, None]) - target
        gradient = np.concatenate([np.einsum("knc,nc->k", x, apart), apart.sum(axis=0)])
        # A class that no row is of has no finite intercept: a trace of a pull holds it.
        gradient[models:] += 1e-3 * point[models:]
        value = float(log_total.sum() - (eta * target).sum() + 5e-4 * (point[models:] ** 2).sum())
        return value, gradient

    weights, intercepts = _minimum(loss, models, odds)
    return Blend(weights, intercepts - weights @ centre)


def _squares(x: Float64, y: Float64) -> Blend:
    """Least squares, in units of the better model's mean squared error, in closed form."""
    from scipy.optimize import nnls

    models = len(x)
    centre, level = x.mean(axis=1), float(y.mean())
    noise = max(min(float(((y - each) ** 2).mean()) for each in x), 1e-12 * max(float(y.var()), 1e-300))
    apart = np.sqrt(PULL) * (np.eye(models) - 1.0 / models)
    left = np.concatenate([(x - centre[:, None]).T / np.sqrt(noise), apart])
    # The normal equations' square root: as many rows as models, whatever the number of samples.
    q, r = np.linalg.qr(left)
    right = np.concatenate([(y - level) / np.sqrt(noise), np.zeros(models)])
    weights, _ = nnls(r, q.T @ right)
    return Blend(weights, np.array([level - float(weights @ centre)]))


def _hazards(x: Float64, y: Float64, grid: Floats) -> Blend:
    """Cox's partial likelihood (Breslow's, of ties) of the weights, and the baseline hazard to them."""
    time, event = time_and_event(y)
    models = len(x)
    order = np.argsort(-time, kind="stable")
    # Times fall: whoever is at risk at a time stands before the last row of that time.
    last = np.searchsorted(-time[order], -time[order], side="right") - 1
    z, event_at = x[:, order] - x.mean(axis=1, keepdims=True), event[order]

    def loss(point: Float64) -> tuple[float, Float64]:
        eta = point @ z
        shift = float(eta.max())
        risk = np.exp(eta - shift)
        total = np.cumsum(risk)[last]
        moment = np.cumsum(risk * z, axis=1)[:, last]
        value = float((np.log(total) + shift - eta)[event_at].sum())
        return value, (moment / total - z)[:, event_at].sum(axis=1)

    weights, _ = _minimum(loss, models, 0)
    return Blend(weights, breslow(weights @ x, y, grid))
