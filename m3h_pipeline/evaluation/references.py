"""The reference models: L2-regularised linear models and gradient boosting, each along a path of settings.

A path gives the predictions of all its settings at little more than the price of one: penalties are
warm-started from the strongest to the weakest, and boosting is read off after growing numbers of trees.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import prediction_width
from m3h_pipeline.errors import InputError
from m3h_pipeline.features.scaling import CLIP
from m3h_pipeline.training.data import StudyData

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]

#: Inverse strengths of the L2 penalty, strongest first (scikit-learn's C); ridge's penalty is 1 / C.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Numbers of boosting iterations.
TREES = (20, 40, 80)
#: Boosting iterations are shallow and see a random tenth of the features per split (of few features: the
#: square root of their number): among thousands of scaled features this predicts better than all of
#: them, and takes less time.
BOOSTING: dict[str, Any] = {"learning_rate": 0.1, "max_leaf_nodes": 8, "min_samples_leaf": 20, "max_bins": 63}
_LEAST_SHARE = 0.1

#: Above this many numbers, a matrix is kept in float32.
_DOUBLE = 20_000_000


@dataclass(frozen=True)
class Problem:
    """One fit of a reference model.

    Attributes:
        problem_class: binary, multiclass, regression or survival.
        classes: number of classes (0 for regression and survival, 2 for binary).
        x: training features, (n, F) float, NaN = missing where the model knows what to do with it.
        y: training labels, (n,): class indices, values, or signed times.
        scored: features of the rows to predict, (m, F).
    """

    problem_class: str
    classes: int
    x: Floats
    y: Floats
    scored: Floats

    @property
    def width(self) -> int:
        """Numbers per prediction, as in contracts.PREDICTIONS."""
        return prediction_width(self.problem_class, self.classes)


def scaled_features(data: StudyData, training: Rows, rows: Rows) -> npt.NDArray[np.float32]:
    """Features scaled robustly by their values in ``training``, clipped, missing values 0.

    Shape:
        (len(rows), F) float32
    """
    scaled = data.scaled
    centre, inverse, _ = scaled.statistics(training, "robust")
    x = scaled.x[rows]
    for start in range(0, len(x), 4096):
        part = x[start : start + 4096]
        part[...] = np.clip((part - centre) * inverse, -CLIP, CLIP)
    return np.nan_to_num(x, copy=False, nan=0.0)


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
        return [_constant(problem)] * len(strengths)
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
        paths.append(_all_classes(problem, present, model.predict_proba(scored)))
    return paths


def boosting_path(problem: Problem, seed: int, trees: tuple[int, ...] = TREES) -> list[Floats]:
    """Predictions of gradient boosting (log loss, or squared error) after each number of iterations.

    Missing values (NaN) are handled by the trees themselves.

    Returns:
        One (m, width) float64 array per number of iterations.

    Raises:
        InputError: the training rows hold no feature at all.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    regression = problem.problem_class == "regression"
    present = np.unique(problem.y)
    if len(present) < 2:
        return [_constant(problem)] * len(trees)
    x, scored = problem.x, problem.scored
    # scikit-learn cannot bin a column of which the training rows hold no value.
    if not (seen := ~np.isnan(x).all(axis=0)).all():
        x, scored = x[:, seen], scored[:, seen]
    if not x.shape[1]:
        raise InputError("no training sample with a label has any feature")
    share = min(1.0, max(_LEAST_SHARE, x.shape[1] ** -0.5))
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    model = kind(**BOOSTING, max_features=share, max_iter=max(trees), early_stopping=False, random_state=seed)
    model.fit(x, problem.y if regression else problem.y.astype(np.intp))
    staged = model.staged_predict if regression else model.staged_predict_proba
    after = {}
    for i, prediction in enumerate(staged(scored), start=1):
        if i in trees:
            after[i] = (
                np.asarray(prediction, dtype=np.float64).reshape(-1, 1)
                if regression
                else _all_classes(problem, present.astype(np.int64), prediction)
            )
    return [after[i] for i in trees]


def _constant(problem: Problem) -> Floats:
    """The prediction where the training labels do not vary: that label."""
    label = problem.y[0] if len(problem.y) else 0.0
    if problem.problem_class == "multiclass":
        return np.tile(np.eye(problem.classes)[int(label)], (len(problem.scored), 1))
    return np.full((len(problem.scored), 1), float(label))


def _all_classes(problem: Problem, present: Rows, probabilities: Floats) -> Floats:
    """Probabilities of all classes from those of the classes that the training rows hold."""
    full = np.zeros((len(probabilities), problem.classes))
    full[:, present] = probabilities
    return full if problem.problem_class == "multiclass" else full[:, 1:]


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
