"""Histogram gradient boosting, read off after growing numbers of trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from m3h_pipeline.errors import InputError
from m3h_pipeline.references.problem import Floats, Problem, all_classes, constant

#: Numbers of boosting iterations.
TREES = (20, 40, 80)
#: Boosting iterations are shallow and see a random tenth of the features per split (of few features: the
#: square root of their number): among thousands of scaled features this predicts better than all of
#: them, and takes less time.
BOOSTING: dict[str, Any] = {"learning_rate": 0.1, "max_leaf_nodes": 8, "min_samples_leaf": 20, "max_bins": 63}
_LEAST_SHARE = 0.1


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
        return [constant(problem)] * len(trees)
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
                else all_classes(problem, present.astype(np.int64), prediction)
            )
    return [after[i] for i in trees]
