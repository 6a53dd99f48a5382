"""Stacking: weights against plain optimisers, what is added, what few events do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from m3h_pipeline.coding import SURVIVAL_TIMES, signed_time
from m3h_pipeline.evaluation.choice.blend import PULL, blended, fit_blend
from m3h_pipeline.evaluation.choice.evidence import evidence, told_times
from m3h_pipeline.survival import cox_prediction, time_grid

Float64 = npt.NDArray[np.float64]


def sigmoid(x: Float64) -> Float64:
    return np.asarray(1 / (1 + np.exp(-x)))


def problem(kind: str, seed: int, n: int = 400) -> tuple[Float64, list[Float64], Float64]:
    """Labels, two models' predictions with information of their own, times of curves."""
    rng = np.random.default_rng(seed)
    shared, own, other = rng.normal(size=(3, n))
    risk = shared + own + 0.5 * other
    views = [shared + own + 0.3 * rng.normal(size=n), 0.7 * (shared + other)]
    if kind == "binary":
        y = (risk + rng.logistic(size=n) > 1).astype(float)
        predictions = [sigmoid(view - 1)[:, None] for view in views]
    elif kind == "multiclass":
        y = np.digitize(risk + rng.logistic(size=n), [-1, 1.5]).astype(float)
        predictions = []
        for view in views:
            odds = np.exp(np.column_stack([np.zeros(n), 0.5 + view, 2 * view - 1]))
            predictions.append(odds / odds.sum(1, keepdims=True))
    elif kind == "regression":
        y = 3 * risk + 10 + rng.normal(size=n)
        predictions = [(3 * view + 10)[:, None] for view in views]
    else:
        time, censored = rng.exponential(np.exp(-risk)), rng.exponential(1.5, n)
        y = signed_time(np.minimum(time, censored), time <= censored).astype(float)
        grid = time_grid(y)
        return y, [cox_prediction(view, 0.7 * grid) for view in views], grid
    y[rng.random(n) < 0.1] = np.nan
    return y, predictions, np.zeros(0)


def plain_loss(kind: str, y: Float64, predictions: list[Float64], point: Float64, slopes: Float64) -> float:
    """What the weights minimise, written down row by row; ``slopes``: each model's own."""
    w, b = point[:2], point[2:]
    pulled = w / slopes
    total = 0.5 * PULL * float(((pulled - pulled.mean()) ** 2).sum())
    seen = np.flatnonzero(~np.isnan(y))
    if kind == "regression":
        noise = min(float(np.mean((y[seen] - p[seen, 0]) ** 2)) for p in predictions)
        said = b[0] + w[0] * predictions[0][:, 0] + w[1] * predictions[1][:, 0]
        return total + 0.5 * float(((y - said)[seen] ** 2).sum()) / noise
    if kind == "survival":
        later = (predictions[0][:, 1:] < 1).any(axis=0)
        curves = [np.clip(each[:, 1:][:, later], 1e-6, 1 - 1e-6) for each in predictions]
        eta = sum(w[k] * np.log(-np.log(curves[k])).mean(1) for k in range(2))
        for i in seen:
            if not np.signbit(y[i]):
                at_risk = np.abs(y) >= abs(y[i])
                total += float(np.log(np.exp(eta[at_risk]).sum()) - eta[i])
        return total
    for i in seen:
        odds = [0.0]
        for c in range(len(b)):
            logs = []
            for p in predictions:
                full = [1 - p[i, 0], p[i, 0]] if kind == "binary" else p[i]
                logs.append(np.log(full[c + 1] / full[0]))
            odds.append(b[c] + w[0] * logs[0] + w[1] * logs[1])
        total += float(np.log(np.exp(odds).sum()) - odds[int(y[i])])
    return total


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "survival"])
def test_weights_are_those_of_a_plain_optimiser(kind: str) -> None:
    y, predictions, grid = problem(kind, 3, 120)
    blend = fit_blend(kind, y, predictions, grid)
    free = {"binary": 1, "multiclass": 2, "regression": 1, "survival": 0}[kind]
    start: Any = np.concatenate([blend.weights + 0.2, blend.intercepts[:free]])
    slopes = np.ones(2)
    if kind != "regression":
        # Of one model nothing is pulled; the other one's weight is held at 0.
        def alone(point: Float64) -> float:
            return plain_loss(kind, y, predictions, point, np.full(2, np.inf))

        for k in (0, 1):
            first: Any = np.concatenate([np.eye(2)[k], np.zeros(free)])
            held = [(0.0, None) if i == k else (0.0, 0.0) for i in range(2)] + [(None, None)] * free
            found = minimize(alone, first, method="SLSQP", bounds=held, options={"ftol": 1e-12})
            slopes[k] = found.x[k]

    def loss(point: Float64) -> float:
        return plain_loss(kind, y, predictions, point, slopes)

    found = minimize(
        loss,
        start,
        method="SLSQP",
        bounds=[(0.0, None)] * 2 + [(None, None)] * free,
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(blend.weights, found.x[:2], atol=3e-3)
    assert (blend.weights > 0.1).all()
    own = np.concatenate([blend.weights, blend.intercepts[:free]])
    assert plain_loss(kind, y, predictions, own, slopes) <= found.fun + 1e-4


@pytest.mark.parametrize("kind", ["binary", "multiclass", "survival"])
def test_a_model_whose_log_odds_were_shrunk_counts_as_much(kind: str) -> None:
    y, predictions, grid = problem(kind, 3, 400)
    blend = fit_blend(kind, y, predictions, grid)
    first = evidence(kind, predictions[0])
    if kind == "survival":
        shrunk = [cox_prediction(0.01 * first[:, 0], 0.7 * grid), predictions[1]]
    else:
        odds = np.exp(0.01 * first)
        shares = np.column_stack([np.ones(len(odds)), odds]) / (1 + odds.sum(1, keepdims=True))
        shrunk = [shares[:, 1:] if kind == "binary" else shares, predictions[1]]
    again = fit_blend(kind, y, shrunk, grid)
    np.testing.assert_allclose(again.weights, blend.weights * [100, 1], rtol=0.02)
    said, wanted = blended(kind, again, shrunk), blended(kind, blend, predictions)
    # A log risk is known up to a constant; the curves are the same.
    start = 1 if kind == "survival" else 0
    np.testing.assert_allclose(said[:, start:], wanted[:, start:], rtol=0, atol=5e-3)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_with_many_events_weights_are_those_of_a_logistic_regression(kind: str) -> None:
    """Of the pull nothing is left, and no weight is at its bound."""
    y, predictions, _ = problem(kind, 1, 60_000)
    blend = fit_blend(kind, y, predictions)
    if kind == "binary":
        seen = ~np.isnan(y)
        x = np.column_stack([evidence(kind, each)[seen, 0] for each in predictions])
        referee = LogisticRegression(C=1e8, tol=1e-10).fit(x, y[seen])
        np.testing.assert_allclose(blend.weights, referee.coef_[0], atol=0.01)
        np.testing.assert_allclose(blend.intercepts, referee.intercept_, atol=0.01)
    said = blended(kind, blend, predictions)
    counts = np.array([np.nanmean(y == c) for c in range(1, 3)]) / (1 - np.isnan(y).mean())
    # Free intercepts: the mean probability of a class is its share.
    np.testing.assert_allclose(
        said[~np.isnan(y)].mean(0)[-len(blend.intercepts) :], counts[: len(blend.intercepts)], atol=2e-3
    )


def test_a_model_that_says_nothing_gets_no_weight_and_few_events_leave_them_equal() -> None:
    y, (good, other), _ = problem("binary", 5, 20_000)
    noise = sigmoid(np.random.default_rng(0).normal(size=(len(y), 1)))
    # Its logit is the opposite of a risk: no negative weight turns it around.
    against = 1 - other
    assert fit_blend("binary", y, [good, against]).weights[1] == 0
    assert fit_blend("binary", y, [good, noise]).weights[1] < 0.05

    def apart(n: int) -> float:
        """Difference of the weights, each in units of its model's own slope."""
        models = [good[:n], sigmoid(evidence("binary", other[:n]) + evidence("binary", noise[:n]))]
        own = [fit_blend("binary", y[:n], [each]).weights[0] for each in models]
        weights = fit_blend("binary", y[:n], models).weights / own
        return float(abs(weights[0] - weights[1]))

    assert apart(120) < 0.6 * apart(20_000)


@given(st.sampled_from(["binary", "multiclass", "regression", "survival"]), st.integers(0, 50))
@settings(max_examples=12, deadline=None)
def test_a_blend_is_a_prediction_like_any(kind: str, seed: int) -> None:
    y, predictions, grid = problem(kind, seed, 80)
    said = blended(kind, fit_blend(kind, y, predictions, grid), predictions)
    assert said.shape == predictions[0].shape
    assert np.isfinite(said).all()
    if kind == "multiclass":
        np.testing.assert_allclose(said.sum(1), 1)
    if kind == "binary":
        assert ((said > 0) & (said < 1)).all()
    if kind == "survival":
        assert (np.diff(said[:, 1:], axis=1) <= 1e-12).all()
    # The same model twice is that model, but for its scale.
    twice = blended(kind, fit_blend(kind, y, [predictions[0]] * 2, grid), [predictions[0]] * 2)
    order = np.argsort(evidence(kind, predictions[0])[:, -1])
    if kind != "multiclass":
        assert (np.diff(twice[order, 0]) >= -1e-9).all()


def test_evidence_of_a_proportional_hazards_model_is_its_log_hazard() -> None:
    eta = np.array([-1.0, 0.0, 0.5])
    # Nobody has an event at the first times of a grid that is rounded.
    said = evidence("survival", cox_prediction(eta, np.append(np.zeros(6), np.linspace(0.1, 1, 16))))[:, 0]
    np.testing.assert_allclose(np.diff(said), np.diff(eta), atol=1e-9)
    # Certainty is bounded: no probability of 0 or 1 outweighs all else.
    certain: Any = evidence("binary", np.array([[0.0], [1.0]]))
    assert np.isfinite(certain).all()


def test_nothing_to_weigh_by_is_said() -> None:
    with pytest.raises(ValueError, match="no label"):
        fit_blend("binary", np.full(3, np.nan), [np.full((3, 1), 0.5)] * 2)
    with pytest.raises(ValueError, match="no event"):
        fit_blend("survival", np.array([-1.0, -2.0]), [np.full((2, 17), 0.5)] * 2, np.ones(16))


def test_a_blend_of_curves_says_the_same_of_a_patient_whoever_is_beside() -> None:
    """Times are those at which it was fitted: of a few patients by themselves others would do."""
    rng = np.random.default_rng(3)
    grid = np.arange(1.0, 1 + SURVIVAL_TIMES)
    risk = rng.normal(size=200)
    y = signed_time(np.ceil(12 * np.exp(-risk / 2) * rng.exponential(size=200)), rng.random(200) < 0.7)
    curves = cox_prediction(risk, np.concatenate([np.zeros(3), np.linspace(1e-6, 1, SURVIVAL_TIMES - 3)]))
    blend = fit_blend("survival", y, [curves], grid)
    low = np.argsort(risk)[:5]
    assert (told_times(curves[low]) != told_times(curves)).any()
    np.testing.assert_array_equal(
        blended("survival", blend, [curves[low]]), blended("survival", blend, [curves])[low]
    )


def test_weights_are_found_within_folds() -> None:
    """A model that says little but its fold's prevalence, which is low where the fold's own is high, still
    knows who is at risk: the other way round between folds, its slope would be 0."""
    rng = np.random.default_rng(5)
    fold = np.repeat([0, 1, 2], 200)
    risk = rng.normal(size=600)
    y = (risk + rng.logistic(size=600) > np.array([0.2, 1.0, 1.8])[fold]).astype(float)
    prevalence = np.array([y[fold == f].mean() for f in range(3)])
    others = (prevalence.sum() - prevalence) / 2
    for spread in (1e-3, 1e-6):
        said = (others[fold] + spread * risk)[:, None]
        assert fit_blend("binary", y, [said]).weights[0] == 0
        weight = fit_blend("binary", y, [said], fold=fold).weights[0]
        slope = weight * np.ptp(evidence("binary", said[fold == 0])) / np.ptp(risk[fold == 0])
        assert 0.7 < slope < 1.3
    once = fit_blend("binary", y[fold == 0], [said[fold == 0]])
    again = fit_blend("binary", y[fold == 0], [said[fold == 0]], fold=fold[fold == 0])
    np.testing.assert_allclose(again.weights, once.weights)
