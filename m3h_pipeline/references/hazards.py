"""The reference models of survival tasks: Cox regression with an L2 penalty, and boosting of hazards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.references.design import Design, Float64
from m3h_pipeline.references.linear import STRENGTHS, in_coordinates
from m3h_pipeline.references.penalised import Basis, Loss, weights_path
from m3h_pipeline.references.problem import Floats, Problem
from m3h_pipeline.survival import breslow, cox_prediction

#: Numbers of trees of boosted hazards.
TREES: Final = (20, 40, 80)
#: Trees are shallow, and see the square root of the features at each split.
BOOSTING: Final[dict[str, Any]] = {"learning_rate": 0.1, "max_leaf_nodes": 8}
_LEAST_LEAF = 20


def partial_likelihood(y: Floats) -> Loss:
    """The negative log partial likelihood of log hazards, and its gradient; ties after Breslow (1974).

    Time and memory are in proportion to the rows. (scikit-survival's Newton steps take a matrix of features
    by features for every row: thousands of features are out of its reach. It is the referee in the tests.)

    Args:
        y: signed times, (n,).
    """
    order = np.argsort(-time_and_event(y)[0], kind="stable")
    time, event = time_and_event(y[order])
    # The risk set of a time: all rows up to the last one with that time.
    last = np.searchsorted(-time, -time, side="right") - 1
    first = np.searchsorted(-time, -time, side="left")

    def loss(eta: Float64) -> tuple[float, Float64]:
        ordered = eta[order, 0]
        shift = float(ordered.max(initial=0.0))
        hazard = np.exp(ordered - shift)
        at_risk = np.cumsum(hazard)[last]
        value = float((np.log(at_risk[event]) + shift - ordered[event]).sum())
        # Each row's hazard is in the risk sets of the events at its time and before: those behind it here.
        share = np.where(event, 1 / at_risk, 0.0)
        behind = np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])[first]
        slope = np.empty_like(eta)
        slope[order, 0] = hazard * behind - event
        return value, slope

    return loss


def cox_path(
    problem: Problem[Design], grid: Floats, strengths: Sequence[float] = STRENGTHS, basis: Basis | None = None
) -> list[Floats]:
    """Predictions of L2-penalised Cox regression for each strength (penalty 1 / strength).

    Args:
        problem: labels are signed times.
        grid: times of the survival curves.
        strengths: of the penalty, strongest first.
        basis: see :func:`~m3h_pipeline.references.linear.linear_path`.

    Returns:
        One (m, 1 + SURVIVAL_TIMES) float64 array per strength: log hazard, and survival after Breslow.
    """
    events = int(time_and_event(problem.y)[1].sum())
    if not events:
        nothing = _curves(np.zeros(len(problem.x)), np.zeros(len(problem.scored)), problem, grid)
        return [nothing] * len(strengths)
    x, scored, basis = in_coordinates(problem, basis)
    path = weights_path(
        x,
        partial_likelihood(problem.y),
        1,
        events / len(problem.y),
        [1 / strength for strength in strengths],
        basis,
        intercept=False,
    )
    return [_curves(x.times(w)[:, 0], scored.times(w)[:, 0], problem, grid) for w, _ in path]


def hazard_boosting_path(
    problem: Problem[Floats], grid: Floats, seed: int, trees: Sequence[int] = TREES
) -> list[Floats]:
    """Predictions of scikit-survival's gradient boosting of Cox's partial likelihood after numbers of trees.

    Returns:
        One (m, 1 + SURVIVAL_TIMES) float64 array per number of trees.
    """
    from sksurv.ensemble import GradientBoostingSurvivalAnalysis

    time, event = time_and_event(problem.y)
    if not event.any():
        nothing = _curves(np.zeros(len(problem.x)), np.zeros(len(problem.scored)), problem, grid)
        return [nothing] * len(trees)
    outcome = np.array(
        list(zip(event.tolist(), time.tolist(), strict=True)), dtype=[("event", "?"), ("time", "<f8")]
    )
    model = GradientBoostingSurvivalAnalysis(
        **BOOSTING,
        max_depth=None,
        min_samples_leaf=min(_LEAST_LEAF, max(1, len(event) // 10)),
        max_features="sqrt",
        n_estimators=max(trees),
        random_state=seed,
    )
    model.fit(problem.x, outcome)
    pairs = zip(model.staged_predict(problem.x), model.staged_predict(problem.scored), strict=True)
    after = {
        i: _curves(mine, theirs, problem, grid)
        for i, (mine, theirs) in enumerate(pairs, start=1)
        if i in trees
    }
    return [after[i] for i in trees]


def _curves(training: Floats, scored: Floats, problem: Problem[Any], grid: Floats) -> Floats:
    return cox_prediction(scored, breslow(training, problem.y, grid))
