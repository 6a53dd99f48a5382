"""The reference models of survival tasks: Cox regression with an L2 penalty, and boosting of hazards."""

from __future__ import annotations

import numpy as np

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.references.boosting import BOOSTING, TREES
from m3h_pipeline.references.linear import STRENGTHS, rotated
from m3h_pipeline.references.problem import Floats, Problem
from m3h_pipeline.survival import breslow, cox_prediction


def cox_objective(weights: Floats, x: Floats, y: Floats, penalty: float) -> tuple[float, Floats]:
    """Penalised negative log partial likelihood and its gradient; ties after Breslow (1974).

    Time and memory are in proportion to the entries of ``x``. (scikit-survival's Newton steps take a matrix
    of features by features for every row: thousands of features are out of its reach. It is the referee in
    the tests.)

    Args:
        weights: (F,).
        x: features by decreasing time, (n, F).
        y: signed times in that order, (n,).
        penalty: half of it times the squared length of the weights is added.
    """
    time, event = time_and_event(y)
    eta = x @ weights
    shift = float(eta.max(initial=0.0))
    hazard = np.exp(eta - shift)
    # The risk set of a time: all rows up to the last one with that time.
    last = np.searchsorted(-time, -time, side="right") - 1
    at_risk = np.cumsum(hazard)[last]
    loss = float((np.log(at_risk[event]) + shift - eta[event]).sum())
    # Each row's hazard is in the risk sets of the events at its time and before: those behind it here.
    share = np.where(event, 1 / at_risk, 0.0)
    first = np.searchsorted(-time, -time, side="left")
    behind = np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])[first]
    gradient = x.T @ (hazard * behind - event) + penalty * weights
    return loss + 0.5 * penalty * float(weights @ weights), np.asarray(gradient, dtype=np.float64)


def cox_path(problem: Problem, grid: Floats, strengths: tuple[float, ...] = STRENGTHS) -> list[Floats]:
    """Predictions of L2-penalised Cox regression for each strength (penalty 1 / strength).

    Args:
        problem: labels are signed times.
        grid: times of the survival curves.

    Returns:
        One (m, 1 + SURVIVAL_TIMES) float64 array per strength: log hazard, and survival after Breslow.
    """
    from scipy.optimize import minimize

    x, scored = rotated(problem.x, problem.scored)
    centre = x.mean(axis=0)
    x, scored = (np.asarray(part - centre, dtype=np.float64) for part in (x, scored))
    order = np.argsort(-time_and_event(problem.y)[0], kind="stable")
    y, ordered = problem.y[order], x[order]
    weights = np.zeros(x.shape[1])
    paths = []
    for strength in strengths:
        if time_and_event(y)[1].any():
            found = minimize(
                cox_objective,
                weights,
                (ordered, y, 1 / strength),
                method="L-BFGS-B",
                jac=True,
                options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-6},
            )
            weights = found.x
        paths.append(_curves(x @ weights, scored @ weights, problem, grid))
    return paths


def hazard_boosting_path(
    problem: Problem, grid: Floats, seed: int, trees: tuple[int, ...] = TREES
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
        learning_rate=BOOSTING["learning_rate"],
        max_leaf_nodes=BOOSTING["max_leaf_nodes"],
        max_depth=None,
        min_samples_leaf=min(BOOSTING["min_samples_leaf"], max(1, len(event) // 10)),
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


def _curves(training: Floats, scored: Floats, problem: Problem, grid: Floats) -> Floats:
    return cox_prediction(scored, breslow(training, problem.y, grid))
