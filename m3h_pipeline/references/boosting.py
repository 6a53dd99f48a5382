"""Histogram gradient boosting along growing numbers of trees; categories stay categories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.references.columns import MISSING
from m3h_pipeline.references.kept.models import Constant
from m3h_pipeline.references.kept.trees import Trees, trees_of
from m3h_pipeline.references.problem import (
    Floats,
    Problem,
    Rows,
    all_classes,
    constant,
    constant_row,
    marginal,
    marginal_row,
)


class Setting(NamedTuple):
    """How boosting learns: step of each tree, leaves of each, and how many trees there are."""

    rate: float
    leaves: int
    trees: int

    def __str__(self) -> str:
        return f"rate={self.rate:g}, leaves={self.leaves}, trees={self.trees}"


#: Settings among which the folds choose: those of one rate and number of leaves are one fit, read off.
SETTINGS: Final = tuple(
    Setting(rate, leaves, trees) for rate, leaves in ((0.1, 8), (0.1, 24)) for trees in (20, 40, 80, 160)
)
_LEAST_LEAF: Final = 20
#: Each split sees about so many features, at least a tenth and at most a half of them.
_SEEN: Final = 100
#: A value of a category counts by itself from this share of the training rows on: trees learn rarer ones by
#: heart.
_COMMON: Final = 0.01
#: Bins of numbers, where there are many and where there are few; as many values of a category count.
_BINS, _FEW_BINS, _MANY = 255, 63, 500


def boosting_path(
    problem: Problem[Floats],
    seed: int,
    settings: Sequence[Setting] = SETTINGS,
    keep: Callable[[Trees | Constant], None] | None = None,
) -> list[Floats]:
    """Predictions of gradient boosting (log loss, or squared error) for each setting.

    Missing values (NaN) are handled by the trees themselves. Rare values of a category count as one. ``keep``
    is told the model of the last setting.

    Returns:
        One (m, width) float64 array per setting.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    regression = problem.problem_class == "regression"
    present = np.unique(problem.y)
    if len(present) < 2:
        if keep is not None:
            keep(Constant(constant_row(problem)))
        return [constant(problem)] * len(settings)
    if np.isnan(problem.x).all():
        if keep is not None:
            keep(Constant(marginal_row(problem)))
        return [marginal(problem)] * len(settings)
    found = boosted(
        problem,
        seed,
        settings,
        HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier,
        problem.y if regression else problem.y.astype(np.intp),
        lambda model, _, scored: (
            model.staged_predict(scored) if regression else model.staged_predict_proba(scored)
        ),
        keep,
    )
    if regression:
        return [np.asarray(found[one], dtype=np.float64).reshape(-1, 1) for one in settings]
    return [all_classes(problem, present.astype(np.int64), found[one]) for one in settings]


def boosted(
    problem: Problem[Floats],
    seed: int,
    settings: Sequence[Setting],
    make: Callable[..., Any],
    y: Any,
    staged: Callable[[Any, Floats, Floats], Iterable[Any]],
    keep: Callable[[Trees], None] | None = None,
) -> dict[Setting, Any]:
    """What scikit-learn's histogram gradient boosting predicts, setting by setting.

    Args:
        problem: whose features are learned from.
        seed: of the features that splits see.
        settings: one fit for each rate and number of leaves, read off at the numbers of trees.
        make: the model, from its arguments.
        y: what it is fitted to.
        staged: predictions tree by tree, of a fitted model, the training features and those to predict.
        keep: told each fit's trees, all of them.

    Raises:
        InputError: the training rows hold no feature at all.
    """
    x, scored, seen, common = _seen(problem)
    categorical = [int(j) in common for j in seen]
    share = float(np.clip(_SEEN / x.shape[1], 0.1, 0.5))
    found: dict[Setting, Any] = {}
    for rate, leaves in dict.fromkeys((one.rate, one.leaves) for one in settings):
        wanted = {one.trees: one for one in settings if (one.rate, one.leaves) == (rate, leaves)}
        model = make(
            learning_rate=rate,
            max_leaf_nodes=leaves,
            min_samples_leaf=_LEAST_LEAF,
            max_features=share,
            max_iter=max(wanted),
            max_bins=_BINS if x.shape[1] < _MANY else _FEW_BINS,
            categorical_features=categorical if any(categorical) else None,
            early_stopping=False,
            random_state=seed,
        )
        model.fit(x, y)
        if keep is not None:
            sizes = dict(zip(problem.categorical, problem.codes, strict=True))
            encoded = {j: _encoded(values, sizes[j]) for j, values in common.items()}
            keep(trees_of(model, seen.tolist(), encoded))
        for i, prediction in enumerate(staged(model, x, scored), start=1):
            if i in wanted:
                found[wanted[i]] = prediction
    return found


def _seen(problem: Problem[Floats]) -> tuple[Floats, Floats, Rows, dict[int, Floats]]:
    """The features with a value in the training rows, their columns, and the categories' common values."""
    x, scored = problem.x, problem.scored
    # scikit-learn cannot bin a column of which the training rows hold no value.
    seen = np.flatnonzero(~np.isnan(x).all(axis=0))
    categorical = np.isin(seen, problem.categorical)
    x, scored = x[:, seen], scored[:, seen]
    common = {}
    most = (_BINS if x.shape[1] < _MANY else _FEW_BINS) - 1
    for j in np.flatnonzero(categorical):
        values, counts = np.unique(x[~np.isnan(x[:, j]), j], return_counts=True)
        order = np.argsort(-counts, kind="stable")[: most - 1]
        common[int(seen[j])] = np.sort(values[order[counts[order] >= _COMMON * len(x)]])
        for part in (x, scored):
            part[:, j] = _ranked(common[int(seen[j])], part[:, j])
    return x, scored, seen, common


def _encoded(common: Floats, codes: int) -> npt.NDArray[np.float64]:
    """What trees are given for each code of a category, (codes,); NaN = missing."""
    every = np.arange(codes, dtype=np.float64)
    every[MISSING] = np.nan
    return np.asarray(_ranked(common, every), dtype=np.float64)


def _ranked(common: Floats, codes: Floats) -> Floats:
    """From 1 on which of the common values a category has; 0: none of them."""
    place = np.searchsorted(common, codes)
    known = np.append(common, np.inf)[place] == codes
    return np.asarray(np.where(np.isnan(codes), np.nan, np.where(known, place + 1, 0)))
