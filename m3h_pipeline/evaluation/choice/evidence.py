"""What of a prediction is added to others: log odds, values, log risks; and what a model says of nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.survival import breslow, cox_prediction

#: Probabilities nearer to 0 or 1 say no more than this.
LEAST_PROBABILITY = 1e-6


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
