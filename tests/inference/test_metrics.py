"""Weighted metrics against scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score, roc_auc_score

from m3h_pipeline.coding import signed_time, time_and_event
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.metrics import metric, metric_draws, metric_draws_by_unit

Array = npt.NDArray[Any]


def referee(name: str, y: Array, prediction: Array, weight: Array) -> float:
    """The metric as scikit-learn has it; NaN where it is undefined."""
    kept = ~np.isnan(y) & (weight > 0)
    y, prediction, weight = y[kept], prediction[kept], weight[kept]
    if name == "silhouette":
        return float(np.average(prediction[:, 1], weights=weight)) if len(y) else math.nan
    if name == "r2":
        constant = len(y) == 0 or np.ptp(y) == 0
        return math.nan if constant else float(r2_score(y, prediction[:, 0], sample_weight=weight))
    if name == "concordance":
        time, event = time_and_event(y)
        first, second = np.nonzero(
            event[:, None] & ((time[:, None] < time) | ((time[:, None] == time) & ~event))
        )
        risk, pair = prediction[:, 0], weight[first] * weight[second]
        right = (risk[first] > risk[second]) + 0.5 * (risk[first] == risk[second])
        return float((pair * right).sum() / pair.sum()) if len(pair) else math.nan
    areas = [
        roc_auc_score(y == c, prediction[:, min(c, prediction.shape[1] - 1)], sample_weight=weight)
        for c in ([1] if name == "auroc" else range(prediction.shape[1]))
        if 0 < (y == c).sum() < len(y)
    ]
    return float(np.mean(areas)) if areas else math.nan


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, Array, Array, Array]:
    """A metric with labels, predictions (many tied) and weights of a few draws; some labels are missing."""
    name = draw(st.sampled_from(["auroc", "macro_auroc", "r2", "silhouette", "concordance"]))
    n = draw(st.integers(1, 60))
    g = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    prevalence = draw(st.sampled_from([0.05, 0.5, 0.95]))
    digits = draw(st.sampled_from([0, 1, 12]))
    width = {"macro_auroc": 4, "silhouette": 2}.get(name, 1)
    y = {
        "auroc": (g.random(n) < prevalence).astype(float),
        "macro_auroc": g.choice(4, n, p=[0.6, 0.3, 0.09, 0.01]).astype(float),
        "r2": g.normal(size=n).round(digits) + draw(st.sampled_from([0.0, 1e4])),
        "silhouette": np.zeros(n),
        "concordance": signed_time(g.integers(0, 9, n).astype(float), g.random(n) < prevalence),
    }[name]
    prediction = g.normal(size=(n, width)).round(digits)
    if name == "r2":
        prediction += y[:, None]
    if name == "silhouette":
        prediction[:, 0] = np.arange(n) % 3
    y[g.random(n) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    weights = g.integers(0, 4, (5, n)).astype(float)
    if draw(st.booleans()):
        weights *= 0.37
    return name, y, prediction, weights


@settings(max_examples=120, deadline=None)
@given(problems())
def test_weighted_metrics_are_scikit_learns(problem: tuple[str, Array, Array, Array]) -> None:
    name, y, prediction, weights = problem
    if name == "silhouette" and (~np.isnan(y)).sum() < 2:
        return  # one sample is one cluster: see below
    found = metric_draws(name, y, prediction, weights)
    expected = [referee(name, y, prediction, weight) for weight in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        metric(name, y, prediction), referee(name, y, prediction, np.ones(len(y))), rtol=1e-8, atol=1e-10
    )


@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(1, 9))
def test_weights_of_units_are_weights_of_their_rows(
    problem: tuple[str, Array, Array, Array], n_units: int
) -> None:
    name, y, prediction, _ = problem
    unit = np.random.default_rng(len(y)).integers(0, n_units, len(y))
    weights = patient_counts(n_units, 7, seed=3)
    found = metric_draws_by_unit(name, y, prediction, np.ascontiguousarray(weights.T), unit)
    np.testing.assert_allclose(found, metric_draws(name, y, prediction, weights[:, unit]), atol=1e-12)


def test_many_draws_are_worked_on_in_parts() -> None:
    """More draws than one part holds, and float32 as it is stored, at a usual size."""
    g = np.random.default_rng(0)
    y = (g.random(900) < 0.2).astype(np.float32)
    scores = (y + g.normal(size=900)).astype(np.float32)
    weights = patient_counts(300, 300, seed=0)[:, g.integers(0, 300, 900)]
    found = metric_draws("auroc", y, scores, weights)
    assert found.shape == (300,)
    for draw in (0, 127, 128, 299):
        assert found[draw] == pytest.approx(roc_auc_score(y, scores, sample_weight=weights[draw]), abs=1e-12)


def test_what_is_undefined_is_nan() -> None:
    y, p = np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.3])
    assert metric_draws("auroc", y, p, np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]])).tolist() == pytest.approx(
        [1.0, math.nan, math.nan], nan_ok=True
    )
    assert math.isnan(metric("auroc", np.array([1.0, np.nan]), np.array([0.1, 0.2])))
    assert math.isnan(metric("auroc", np.full(2, np.nan), np.array([0.1, 0.2])))
    assert math.isnan(metric("auroc", y, np.array([0.1, np.nan, 0.3])))
    assert metric("auroc", np.array([0.0, 1.0, np.nan]), np.array([0.1, 0.2, np.inf])) == 1
    assert math.isnan(metric("r2", np.array([2.0, 2.0]), np.array([1.0, 3.0])))
    one_cluster = np.array([[4.0, 0.0], [4.0, 0.0]])
    assert math.isnan(metric("silhouette", np.zeros(2), one_cluster))
    # A sample alone in its cluster has none, and does not count.
    found = np.array([[0.0, 0.2], [1.0, np.nan], [2.0, 0.6]])
    assert metric("silhouette", np.zeros(3), found) == pytest.approx(0.4)


def test_wrong_arguments_are_refused() -> None:
    y, p, w = np.zeros(3), np.zeros((3, 1)), np.ones((2, 3))
    with pytest.raises(ValueError, match="unknown metric 'auc'; known: auroc"):
        metric_draws("auc", y, p, w)
    with pytest.raises(ValueError, match="3 labels, weights of shape"):
        metric_draws("auroc", y, p, w.T)
    with pytest.raises(ValueError, match="3 labels, 2 predictions"):
        metric_draws("auroc", y, p[:2], w)


def closeness(y: npt.NDArray[Any], prediction: npt.NDArray[Any], weights: npt.NDArray[Any]) -> float:
    """A metric of the user's own."""
    return -float(np.average(np.abs(y - prediction[:, 0]), weights=weights))


def test_a_metric_of_the_users_own_is_computed_for_every_draw() -> None:
    rng = np.random.default_rng(3)
    y, prediction = rng.normal(size=12), rng.normal(size=(12, 1))
    y[4] = np.nan
    weights = rng.integers(0, 3, size=(5, 12)).astype(np.float32)
    weights[2] = 0
    found = metric_draws(f"{__name__}.closeness", y, prediction, weights)
    seen = ~np.isnan(y)
    for draw in (0, 1, 3, 4):
        w = weights[draw, seen]
        wanted = -(w * np.abs(y - prediction[:, 0])[seen]).sum() / w.sum()
        assert found[draw] == pytest.approx(wanted)
    assert np.isnan(found[2])
    prediction[0] = np.inf
    assert np.isnan(metric_draws(f"{__name__}.closeness", y, prediction, weights)).all()
