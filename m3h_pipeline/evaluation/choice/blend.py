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
therefore found within folds, and count from what each model would say if it knew no feature: a weight of a
hundred, as such a penalty makes, multiplies what a model says of a patient and not how common the outcome was
where it learned (:func:`~m3h_pipeline.evaluation.choice.evidence.marginal`).

A model of all folds has learned from more patients than those whose predictions are looked at, and is less
overfitted, or less shrunk by its penalty. A slope's distance from 1 is in proportion to one over their number
(Copas, JRSS B 1983; 45:311; van Houwelingen and le Cessie, Statistics in Medicine 1990; 9:1303): weights for
such a model are corrected by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.evaluation.choice.evidence import evidence, told_times, within_folds
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.survival import breslow, cox_prediction

#: Precision of the weights' deviation from equal ones: a standard deviation of a quarter.
PULL = 16.0


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


def moved(problem_class: str, blend: Blend, of: Floats) -> Blend:
    """A blend that counts from ``marginal``, as one that is applied to predictions.

    Args:
        problem_class: of the task.
        blend: fitted with ``of``.
        of: ``marginal`` of the model whose predictions it is for, (1, width).
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
    share: float = 1.0,
) -> Blend:
    """Weights of models from what they predicted out of fold.

    Args:
        problem_class: of the task.
        y: labels as in the cohort, NaN = not observed; (n,).
        predictions: of each model, (n, width).
        grid: times of survival curves.
        fold: whose model predicted each row, (n,); None: one model did.
        of: ``marginal`` of the model that predicted each row, (n, width): the blend counts from it, and
            is for :func:`moved`; None: it counts from zero.
        share: of the patients that the models in use learned from, those that these models learned from.

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
        return _squares(x[:, :, 0], y, share)
    if problem_class == "survival":
        if not time_and_event(y)[1].any() or grid is None:
            raise ValueError("no event is observed, or no grid given")
        found = _calibrated(x, lambda x, held: _hazards(x[:, :, 0], y, grid, held), share)
        return replace(found, told=told)
    return _calibrated(x, lambda x, held: _log_odds(x, y.astype(np.intp), held), share)


def grown(slope: Floats, share: float) -> Float64:
    """Slopes of models that have learned from more patients: their distance from 1 falls with the number.

    Overfitting and a penalty of one strength do so both: of ridge regression in each direction exactly.

    Args:
        slope: of models of fewer patients.
        share: of the patients that those have.

    Examples:
        >>> grown(np.array([0.7, 1.2]), 2 / 3).round(3).tolist()
        [0.8, 1.133]
    """
    return np.asarray(1 + (slope - 1) * share)


def _calibrated(x: Float64, fit: Callable[[Float64, Float64 | None], Blend], share: float) -> Blend:
    """A blend of models after each one's own slope; of a single model that slope itself.

    Args:
        x: evidence of each model, (models, n, odds).
        fit: weights of evidence whose spread is about that of the outcome's log odds, or what belongs to
            given ones.
        share: see :func:`fit_blend`.
    """
    # Where a search starts at a weight of 1 it finds slopes of any size.
    spread = x.std(axis=1, keepdims=True).max(axis=2)[:, 0]
    unit = np.divide(1.0, spread, out=np.zeros(len(x)), where=spread > 0)
    alone = [fit(each[None] * by, None) for each, by in zip(x, unit, strict=True)]
    slopes = np.array([float(one.weights[0]) for one in alone]) * unit
    blend = alone[0] if len(x) == 1 else fit(x * slopes[:, None, None], None)
    each = np.ones(1) if len(x) == 1 else blend.weights
    # A model that says nothing does not begin to.
    final = np.where(slopes > 0, grown(slopes, share), 0.0)
    if np.array_equal(final, slopes):
        return Blend(each * slopes, blend.intercepts)
    return Blend(each * final, fit(x * final[:, None, None], each).intercepts)


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
    loss: Callable[[Float64], tuple[float, Float64]], models: int, intercepts: int, held: Float64 | None
) -> tuple[Float64, Float64]:
    """Weights, not negative, and intercepts that minimise a convex loss and the pull to equal weights.

    Weights that are ``held`` are not looked for.
    """
    from scipy.optimize import minimize

    def pulled(point: Float64) -> tuple[float, Float64]:
        value, gradient = loss(point)
        apart = point[:models] - point[:models].mean()
        gradient = gradient.copy()
        gradient[:models] += PULL * apart
        return value + 0.5 * PULL * float(apart @ apart), gradient

    found = minimize(
        pulled,
        np.concatenate([np.full(models, 1.0 / models) if held is None else held, np.zeros(intercepts)]),
        jac=True,
        method="L-BFGS-B",
        bounds=([(0.0, None)] * models if held is None else [(weight, weight) for weight in held])
        + [(None, None)] * intercepts,
        options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-8},
    ).x
    return np.asarray(found[:models]), np.asarray(found[models:])


def _log_odds(x: Float64, y: np.ndarray[tuple[int], np.dtype[np.intp]], held: Float64 | None = None) -> Blend:
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

    weights, intercepts = _minimum(loss, models, odds, held)
    return Blend(weights, intercepts - weights @ centre)


def _squares(x: Float64, y: Float64, share: float) -> Blend:
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
    total = float(weights.sum())
    weights = weights * (grown(np.array(total), share) / total if total > 0 else 1.0)
    return Blend(weights, np.array([level - float(weights @ centre)]))


def _hazards(x: Float64, y: Float64, grid: Floats, held: Float64 | None = None) -> Blend:
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

    weights = _minimum(loss, models, 0, None)[0] if held is None else held
    return Blend(weights, breslow(weights @ x, y, grid))
