"""L2-regularised linear models along a path of penalties, warm-started from the strongest to the weakest."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from m3h_pipeline.references.problem import Floats, Problem, all_classes, constant

#: Inverse strengths of the L2 penalty, strongest first (scikit-learn's C); ridge's penalty is 1 / C.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Above this many numbers, a matrix is kept in float32.
_DOUBLE = 20_000_000


def linear_path(problem: Problem, strengths: tuple[float, ...] = STRENGTHS) -> list[Floats]:
    """Predictions of L2 logistic regression (classes) or ridge regression (values) for each strength.

    With fewer rows than features the problem is first rotated into the space of the rows, which changes
    nothing: an L2-penalised solution lies in it.

    Returns:
        One (m, width) float64 array per strength.
    """
    if problem.problem_class == "regression":
        return _ridge_path(problem, strengths)
    present = np.unique(problem.y).astype(np.int64)
    if len(present) < 2:
        return [constant(problem)] * len(strengths)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    x, scored = rotated(problem.x, problem.scored)
    model = LogisticRegression(solver="lbfgs", max_iter=500, warm_start=True)
    paths = []
    for strength in strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            # A weak penalty that 500 iterations do not exhaust is a candidate like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, problem.y.astype(np.intp))
        paths.append(all_classes(problem, present, model.predict_proba(scored)))
    return paths


def _precision(x: Floats) -> Any:
    return np.float64 if x.size <= _DOUBLE else np.float32


def rotated(x: Floats, scored: Floats) -> tuple[Floats, Floats]:
    """Coordinates of ``x`` and ``scored`` in the space that the rows of ``x`` span, if that is smaller."""
    n, width = x.shape
    if n >= width:
        kind = _precision(x)
        return x.astype(kind, copy=False), scored.astype(kind, copy=False)
    rows = x.astype(np.float64)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    length = np.sqrt(values[kept])
    vectors = vectors[:, kept]
    return vectors * length, scored.astype(np.float64) @ (rows.T @ (vectors / length))


def _ridge_path(problem: Problem, strengths: tuple[float, ...]) -> list[Floats]:
    """Ridge regression with an unpenalised intercept, solved on the smaller side of the matrix."""
    from scipy.linalg import solve

    kind = _precision(problem.x)
    centre = problem.x.mean(axis=0, dtype=np.float64)
    level = float(problem.y.mean(dtype=np.float64))
    x = (problem.x - centre).astype(kind, copy=False)
    scored = (problem.scored - centre).astype(kind, copy=False)
    y = (problem.y - level).astype(kind)
    n, width = x.shape
    gram = np.asarray(x.T @ x if n >= width else x @ x.T, dtype=np.float64)
    target = x.T @ y if n >= width else y
    if n < width:
        scored = scored @ x.T
    diagonal = gram.diagonal().copy()
    paths = []
    for strength in strengths:
        np.fill_diagonal(gram, diagonal + 1.0 / strength)
        weights = solve(gram, target.astype(np.float64), assume_a="pos", check_finite=False)
        paths.append((level + scored @ weights).astype(np.float64).reshape(-1, 1))
    return paths
