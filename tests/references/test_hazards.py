"""Boosted hazards: against derivatives, trees grown by hand, scikit-survival, and a plain loop over folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sksurv.ensemble import GradientBoostingSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.util import Surv

from m3h_pipeline.coding import signed_time, time_and_event
from m3h_pipeline.config import Evaluation
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.references.boosting import SETTINGS, Setting
from m3h_pipeline.references.hazards import PartialLikelihood, hazard_boosting_path
from m3h_pipeline.references.problem import Floats, Problem
from m3h_pipeline.references.stage import baseline_predictions
from m3h_pipeline.survival import time_grid
from m3h_pipeline.training.data import StudyData

Float64 = npt.NDArray[np.float64]


def outcomes(x: Floats, seed: int, strength: float = 1.5) -> Floats:
    """Signed times whose log hazard is no line of the first feature; a third or so is censored."""
    rng = np.random.default_rng(seed)
    time = rng.exponential(np.exp(-strength * np.abs(np.nan_to_num(x[:, 0]))))
    censored = rng.exponential(1, len(x))
    return signed_time(np.minimum(time, censored), time <= censored)


def plain(y: Floats, eta: Float64) -> float:
    """The negative log partial likelihood, row by row."""
    time, event = time_and_event(y)
    at_risk = [np.log(np.exp(eta[time >= t]).sum()) for t in time]
    return float(sum(a - e for a, e, died in zip(at_risk, eta, event, strict=True) if died))


def test_slope_and_curvature_are_those_of_the_likelihood_with_ties() -> None:
    rng = np.random.default_rng(0)
    y = signed_time(rng.integers(1, 8, 30).astype(float), rng.random(30) < 0.6)
    eta, step = rng.normal(size=30), 1e-3
    found = PartialLikelihood(y)
    value, slope = found(eta[:, None])
    assert value == pytest.approx(plain(y, eta))
    for i, curvature in enumerate(found.curvature(eta)):
        up, down = (plain(y, eta + sign * step * (np.arange(30) == i)) for sign in (1, -1))
        assert slope[i, 0] == pytest.approx((up - down) / (2 * step), abs=1e-5)
        assert curvature == pytest.approx((up - 2 * value + down) / step**2, abs=1e-4)


Split = tuple[float, Any, Any]


def worth(slope: Float64, curvature: Float64, rows: Any) -> float:
    return float(slope[rows].sum() ** 2 / (curvature[rows].sum() + 5))


def best_split(x: Float64, slope: Float64, curvature: Float64, rows: Any) -> Split:
    found: Split = (0.0, rows, rows)
    for at in np.unique(x[rows])[:-1]:
        left, right = rows[x[rows] <= at], rows[x[rows] > at]
        gain = sum(worth(slope, curvature, part) for part in (left, right)) - worth(slope, curvature, rows)
        if min(len(left), len(right)) >= 20 and gain > found[0]:
            found = (gain, left, right)
    return found


def by_hand(x: Float64, y: Floats, rate: float, leaves: int, trees: int) -> Float64:
    """Newton boosting on one feature: always the leaf with the best split is split, into 20 rows at least."""
    time, event = time_and_event(y)
    eta = np.zeros(len(y))
    for _ in range(trees):
        # Of each event, who had it, by the model.
        p = np.where(time[None] >= time[event][:, None], np.exp(eta), 0)
        p /= p.sum(axis=1, keepdims=True)
        slope, curvature = p.sum(axis=0) - event, (p * (1 - p)).sum(axis=0)
        whole = np.arange(len(y))
        tree = [(whole, best_split(x, slope, curvature, whole))]
        while len(tree) < leaves and max(gain for _, (gain, _, _) in tree) > 0:
            _, (_, left, right) = tree.pop(int(np.argmax([gain for _, (gain, _, _) in tree])))
            tree += [(part, best_split(x, slope, curvature, part)) for part in (left, right)]
        for rows, _ in tree:
            eta[rows] -= rate * slope[rows].sum() / (curvature[rows].sum() + 5)
    return eta


@pytest.mark.parametrize("leaves", [2, 5])
def test_trees_are_those_of_newton_steps_by_hand(leaves: int) -> None:
    x = np.random.default_rng(3).normal(size=(150, 1)).round(1)
    y = outcomes(x, 4)
    setting = Setting(0.3, leaves, 6)
    found = hazard_boosting_path(Problem("survival", 0, x, y, x), time_grid(y), 0, [setting])[0]
    expected = by_hand(x[:, 0], y, 0.3, leaves, 6)
    assert np.ptp(expected) > 0.9
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(found[:, 1:], breslow_curves(expected, y), atol=1e-4)


def breslow_curves(eta: Float64, y: Floats) -> Float64:
    """Survival at the grid's times: exp(-H0(t) exp(eta)), H0 summed event by event."""
    time, event = time_and_event(y)
    steps = [1 / np.exp(eta[time >= t]).sum() for t in time]
    at = [
        sum(s for s, t, died in zip(steps, time, event, strict=True) if died and t <= g) for g in time_grid(y)
    ]
    return np.asarray(np.exp(-np.outer(np.exp(eta), at)))


def test_they_are_as_good_as_scikit_survivals_where_nothing_is_missing() -> None:
    x = np.random.default_rng(1).normal(size=(900, 6))
    y = outcomes(x, 2)
    learned, scored = np.arange(500), np.arange(500, 900)
    time, event = time_and_event(y)
    referee = GradientBoostingSurvivalAnalysis(
        learning_rate=0.1,
        max_leaf_nodes=8,
        max_depth=None,
        min_samples_leaf=20,
        n_estimators=80,
        random_state=0,
    ).fit(x[learned], Surv.from_arrays(event[learned], time[learned]))
    problem = Problem("survival", 0, x[learned], y[learned], x[scored])
    found = hazard_boosting_path(problem, time_grid(y[learned]), 0, [Setting(0.1, 8, 80)])[0]
    ours, theirs = (
        concordance_index_censored(event[scored], time[scored], risk)[0]
        for risk in (found[:, 0], referee.predict(x[scored]))
    )
    assert theirs > 0.65
    assert ours > theirs - 0.01


def test_missing_values_and_categories_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(600, 3))
    code = rng.permutation(np.arange(600) % 6)
    risk = np.array([2.0, -2, 2, -2, 2, -2])[code]
    risk[absent := rng.random(600) < 0.3] = 0.5
    x[:, 2] = np.where(absent, np.nan, code)
    time, censored = rng.exponential(np.exp(-risk)), rng.exponential(2, 600)
    y = signed_time(np.minimum(time, censored), time <= censored)
    problem = Problem("survival", 0, x[:400], y[:400], x[400:], categorical=(2,))
    found = hazard_boosting_path(problem, time_grid(y[:400]), 0, [Setting(0.1, 8, 80)])[0]
    assert np.corrcoef(found[:, 0], risk[400:])[0, 1] > 0.9


def test_a_path_is_read_off_one_fit_and_the_same_twice() -> None:
    x = np.random.default_rng(1).normal(size=(200, 8))
    y = outcomes(x, 6)
    problem, grid = Problem("survival", 0, x[:150], y[:150], x[150:]), time_grid(y[:150])
    path, again = (hazard_boosting_path(problem, grid, seed=3) for _ in range(2))
    for setting, one, other in zip(SETTINGS, path, again, strict=True):
        np.testing.assert_array_equal(one, other)
        if setting.trees == 40:
            np.testing.assert_array_equal(one, hazard_boosting_path(problem, grid, 3, [setting])[0])
    assert (path[0] != hazard_boosting_path(problem, grid, seed=4)[0]).any()


def test_without_events_nobody_differs() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = signed_time(np.arange(1.0, 61), np.zeros(60, dtype=bool))
    for one in hazard_boosting_path(Problem("survival", 0, x, y, x[:5]), np.arange(16.0), 0):
        assert (one[:, 0] == 0).all()
        assert (one[:, 1:] == 1).all()


def test_their_setting_is_chosen_by_folds_inside_as_of_other_classes() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(240, 5)).astype(np.float32)
    fold = (np.arange(240) % 4 - 1).astype(np.int64)
    y = outcomes(x, 8).astype(np.float32)
    tasks: dict[str, dict[str, Any]] = {"death": {"problem_class": "survival"}}
    data = StudyData({"tabular": x}, {"death": y}, tasks, fold >= 0, fold)
    grid = time_grid(y[data.train])

    def path(training: npt.NDArray[Any], scored: npt.NDArray[Any]) -> list[Floats]:
        return hazard_boosting_path(Problem("survival", 0, x[training], y[training], x[scored]), grid, 0)

    def scores(f: int, g: int) -> list[float]:
        rows = np.flatnonzero(fold == g)
        inner = np.flatnonzero((fold >= 0) & (fold != f) & (fold != g))
        return [metric("concordance", y[rows], one.astype(np.float32)) for one in path(inner, rows)]

    inner = {(f, g): scores(f, g) for f in range(3) for g in range(3) if f != g}
    rows = baseline_predictions("death", data, Evaluation(baselines=["gradient_boosting"]), 0)
    rows = [row for row in rows if row["purpose"] == "score"]
    assert [row["fold"] for row in rows] == [-1, 0, 1, 2]
    for row in rows:
        here = int(str(row["fold"]))
        best = int(np.mean([s for (f, _), s in inner.items() if here in (f, -1)], axis=0).argmax())
        assert row["setting"] == str(SETTINGS[best])
        whole = np.flatnonzero((fold >= 0) & (fold != here))
        expected = path(whole, np.flatnonzero(fold == here))[best]
        np.testing.assert_allclose(np.asarray(row["prediction"]), expected.ravel(), rtol=1e-6)
