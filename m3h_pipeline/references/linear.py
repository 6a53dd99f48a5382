"""L2-regularised linear models of classes and values along a path of penalties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_softmax, softmax

from m3h_pipeline.references.design import Design, Float64
from m3h_pipeline.references.kept.models import Constant, Linear
from m3h_pipeline.references.penalised import Basis, basis_of, rotated, weights_path
from m3h_pipeline.references.problem import Floats, Problem, all_classes, constant, constant_row

Classes = npt.NDArray[np.integer[Any]]
#: Told the model of the last strength.
Keep = Callable[[Linear | Constant], None]
#: Inverse strengths of the L2 penalty, strongest first (scikit-learn's C); the penalty is 1 / C.
STRENGTHS: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def linear_path(
    problem: Problem[Design],
    strengths: Sequence[float] = STRENGTHS,
    basis: Basis | None = None,
    keep: Keep | None = None,
) -> list[Floats]:
    """Predictions of L2 logistic regression (classes) or ridge regression (values) for each strength.

    With fewer rows than features the problem is first rotated into the space of the rows, which changes
    nothing: an L2-penalised solution lies in it.

    Args:
        problem: what is learned and predicted.
        strengths: of the penalty, strongest first.
        basis: coordinates in which weights are found; None: those of the problem's own rows.
        keep: told the model.

    Returns:
        One (m, width) float64 array per strength.
    """
    regression = problem.problem_class == "regression"
    present = np.unique(problem.y)
    if len(present) < 2:
        if keep is not None:
            keep(Constant(constant_row(problem)))
        return [constant(problem)] * len(strengths)
    x, scored, basis, axes = in_coordinates(problem, basis)
    y = problem.y.astype(np.float64)
    penalties = [1.0 / strength for strength in strengths]
    if regression:
        level, unit = float(y.mean()), float(y.std())
        target = ((y - level) / unit)[:, None]
        path = weights_path(x, lambda eta: _squares(eta, target), 1, 1.0, penalties, basis)
        if keep is not None:
            keep(linear_model(problem, unit * path[-1][0], level + unit * path[-1][1], axes))
        return [level + unit * (scored.times(w) + b) for w, b in path]
    classes = np.searchsorted(present, problem.y)
    share = np.bincount(classes) / len(classes)
    curvature = float((share * (1 - share)).mean())
    if len(present) == 2:
        path = weights_path(x, lambda eta: _logistic(eta, classes), 1, curvature, penalties, basis)
        found = [expit(scored.times(w) + b) for w, b in path]
        found = [np.concatenate([1 - p, p], axis=1) for p in found]
    else:
        path = weights_path(x, lambda eta: _softmax(eta, classes), len(present), curvature, penalties, basis)
        found = [softmax(scored.times(w) + b, axis=1) for w, b in path]
    if keep is not None:
        keep(linear_model(problem, *path[-1], axes))
    return [all_classes(problem, present.astype(np.int64), p) for p in found]


def linear_model(problem: Problem[Design], weights: Float64, level: Float64, axes: Float64 | None) -> Linear:
    """A model of the columns of a problem, from the weights in its coordinates."""
    return Linear(weights if axes is None else axes @ weights, level, problem.x.mean)


def in_coordinates(
    problem: Problem[Design], basis: Basis | None
) -> tuple[Design, Design, Basis, Float64 | None]:
    """The matrices of a problem, coordinates in which its weights are found fast, and the axes of its rows.

    The axes are (F, rank), or None: the matrices are those of the problem.
    """
    x, scored = problem.x, problem.scored
    if len(x) < x.width:
        return rotated(x, scored)
    return x, scored, basis or basis_of(x), None


def _squares(eta: Float64, y: Float64) -> tuple[float, Float64]:
    error = eta - y
    return 0.5 * float((error * error).sum()), error


def _logistic(eta: Float64, y: Classes) -> tuple[float, Float64]:
    sign = (2.0 * y - 1)[:, None]
    return float(np.logaddexp(0, -sign * eta).sum()), -sign * expit(-sign * eta)


def _softmax(eta: Float64, y: Classes) -> tuple[float, Float64]:
    log = log_softmax(eta, axis=1)
    rows = np.arange(len(y))
    slope = np.exp(log)
    slope[rows, y] -= 1
    return -float(log[rows, y].sum()), slope
