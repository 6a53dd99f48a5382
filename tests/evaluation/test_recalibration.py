"""Calibration slopes against plain likelihoods, coverage of intervals, recalibration where truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from m3h_pipeline.coding import signed_time
from m3h_pipeline.evaluation.choice.evidence import evidence, marginal
from m3h_pipeline.evaluation.choice.maps import ISOTONIC, recalibration
from m3h_pipeline.evaluation.choice.slopes import calibration_of
from m3h_pipeline.survival import breslow, cox_prediction, time_grid
from tests.evaluation.studies import predictor, study

Float64 = npt.NDArray[np.float64]


def sigmoid(x: Float64) -> Float64:
    return np.asarray(1 / (1 + np.exp(-x)))


def binary(seed: int, n: int, slope: float = 0.5, shift: float = 0.7) -> tuple[Float64, Float64]:
    """Outcomes, and a model whose log odds are too large and too high."""
    rng = np.random.default_rng(seed)
    risk = 1.2 * rng.normal(size=n) - 1
    y = (rng.random(n) < sigmoid(risk)).astype(float)
    return y, sigmoid((risk + shift) / slope)[:, None]


def survival(seed: int, n: int, slope: float = 0.5) -> tuple[Float64, Float64, Float64]:
    """Times of exponential hazards, and a Cox model whose log hazards are too large by 1 / ``slope``."""
    rng = np.random.default_rng(seed)
    eta = 0.5 * rng.normal(size=n)
    time, censored = rng.exponential(np.exp(-eta)), rng.exponential(1.5, n)
    y = signed_time(np.minimum(time, censored), time <= censored).astype(float)
    return y, cox_prediction(eta / slope, time_grid(y)), time_grid(y)


def plain_slope(loss: Callable[[float], float]) -> float:
    return float(minimize_scalar(loss, bounds=(0.01, 5), method="bounded", options={"xatol": 1e-9}).x)


def test_binary_slopes_are_those_of_a_logistic_regression() -> None:
    y, said = binary(1, 3000)
    x = np.log(said / (1 - said))
    referee = LogisticRegression(C=1e9, tol=1e-12).fit(x, y)
    found = calibration_of("binary", y, said, np.arange(len(y)))
    assert found.slope.estimate == pytest.approx(referee.coef_[0, 0], abs=1e-4)

    def offset(shift: float) -> float:
        eta = x[:, 0] + shift
        return float(np.sum(np.logaddexp(0, eta) - y * eta))

    large = minimize_scalar(offset, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x
    assert found.intercept.estimate == pytest.approx(large, abs=1e-5)
    # Without clusters the sandwich is near the inverse information.
    p = sigmoid(referee.intercept_ + x[:, 0] * referee.coef_[0, 0])
    design = np.column_stack([x[:, 0], np.ones(len(x))])
    information = design.T @ (design * (p * (1 - p))[:, None])
    error = np.sqrt(np.linalg.inv(information)[0, 0])
    assert found.slope.standard_error == pytest.approx(error, rel=0.08)


def test_log_odds_that_hardly_differ_have_a_slope() -> None:
    """A penalty has shrunk them to a five-hundredth, far from 0: the slope is as of the same, spread out."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=95)
    y = (rng.random(95) < sigmoid(0.8 * z - 1.5)).astype(float)
    wide = calibration_of("binary", y, sigmoid(z - 1.5)[:, None], np.arange(95)).slope
    shrunk = calibration_of("binary", y, sigmoid(0.002 * z - 1.5)[:, None], np.arange(95)).slope
    for name in ("estimate", "low", "high"):
        assert getattr(shrunk, name) * 0.002 == pytest.approx(getattr(wide, name), rel=1e-6)


def test_multiclass_slopes_are_those_of_a_plain_likelihood() -> None:
    rng = np.random.default_rng(2)
    odds = np.column_stack([np.zeros(2000), rng.normal(size=(2000, 2))])
    p = np.exp(odds) / np.exp(odds).sum(1, keepdims=True)
    y = np.array([rng.choice(3, p=row) for row in p]).astype(float)
    said = np.exp(2 * odds) / np.exp(2 * odds).sum(1, keepdims=True)
    found = calibration_of("multiclass", y, said, np.arange(len(y)))
    assert found.slope.low < 0.5 < found.slope.high
    assert np.isnan(found.intercept.estimate)
    from scipy.optimize import minimize

    def loss(point: Any) -> float:
        eta = np.column_stack([np.zeros(len(y)), point[0] * 2 * odds[:, 1:] + point[1:]])
        return float(np.log(np.exp(eta).sum(1)).sum() - eta[np.arange(len(y)), y.astype(int)].sum())

    start: Any = np.array([1.0, 0.0, 0.0])
    assert found.slope.estimate == pytest.approx(minimize(loss, start, method="BFGS").x[0], abs=1e-4)
    # A class that does not occur has no say.
    two = calibration_of("multiclass", np.where(y == 2, np.nan, y), said, np.arange(len(y)))
    seen = y < 2
    direct = said[seen, 1] / (said[seen, 0] + said[seen, 1])
    alone = calibration_of("binary", y[seen], direct[:, None], np.arange(int(seen.sum())))
    assert two.slope.estimate == pytest.approx(alone.slope.estimate, abs=1e-6)


def test_survival_slopes_are_those_of_the_partial_likelihood_and_events_are_expected_as_the_curve_says() -> (
    None
):
    y, said, grid = survival(3, 400)
    time, event = np.abs(y), ~np.signbit(y)
    x = evidence("survival", said)[:, 0]

    def loss(slope: float) -> float:
        return sum(
            float(np.log(np.exp(slope * x[time >= time[i]]).sum()) - slope * x[i])
            for i in np.flatnonzero(event)
        )

    found = calibration_of("survival", y, said, np.arange(len(y)), grid)
    assert found.slope.estimate == pytest.approx(plain_slope(loss), abs=1e-5)
    knots = np.concatenate([[0.0], grid])
    expected = sum(
        float(np.interp(min(t, grid[-1]), knots, np.concatenate([[0.0], -np.log(curve)])))
        for t, curve in zip(time, np.clip(said[:, 1:], 1e-12, 1), strict=True)
    )
    observed = int((event & (time <= grid[-1])).sum())
    assert found.intercept.estimate == pytest.approx(np.log(observed / expected), abs=1e-6)


def test_slopes_of_values_are_those_of_a_line() -> None:
    rng = np.random.default_rng(4)
    said = rng.normal(10, 3, size=500)
    y = 4 + 0.7 * said + rng.normal(size=500)
    found = calibration_of("regression", y, said[:, None], np.arange(500))
    assert found.slope.estimate == pytest.approx(LinearRegression().fit(said[:, None], y).coef_[0])
    assert found.intercept.estimate == pytest.approx(np.mean(y - said))
    assert found.slope.low < 0.7 < found.slope.high


@pytest.mark.parametrize("kind", ["binary", "survival"])
def test_intervals_cover_the_truth(kind: str) -> None:
    """Patients with one to three equal samples: who counts samples is too sure."""
    hits, widths, naive, n = 0, [], [], 300
    for seed in range(150):
        copies = np.random.default_rng([seed, 1]).integers(1, 4, n)
        patient = np.repeat(np.arange(n), copies)
        if kind == "binary":
            y, said = binary(seed, n)
            grid = None
        else:
            y, said, grid = survival(seed, n)
        found = calibration_of(kind, y[patient], said[patient], patient, grid).slope
        hits += found.low <= 0.5 <= found.high
        widths.append(found.standard_error)
        naive.append(
            calibration_of(
                kind, y[patient], said[patient], np.arange(len(patient)), grid
            ).slope.standard_error
        )
    assert 0.90 <= hits / 150 <= 0.99
    assert np.mean(widths) > 1.2 * np.mean(naive)


@pytest.mark.parametrize("kind", ["binary", "survival", "regression", "multiclass"])
def test_recalibration_mends_what_is_wrong(kind: str) -> None:
    """Fitted on one half, looked at on the other."""
    grid = None
    if kind == "binary":
        y, said = binary(7, 6000)
    elif kind == "survival":
        y, said, grid = survival(7, 6000)
    elif kind == "regression":
        rng = np.random.default_rng(7)
        said = rng.normal(10, 3, size=(2000, 1))
        y = 4 + 0.7 * said[:, 0] + rng.normal(size=2000)
    else:
        rng = np.random.default_rng(7)
        odds = np.column_stack([np.zeros(3000), rng.normal(size=(3000, 2))])
        p = np.exp(odds) / np.exp(odds).sum(1, keepdims=True)
        y = np.array([rng.choice(3, p=row) for row in p]).astype(float)
        said = np.exp(2 * odds) / np.exp(2 * odds).sum(1, keepdims=True)
    half = len(y) // 2
    fitted = recalibration(kind, y[:half], said[:half], grid)
    after = fitted(said[half:])
    assert after.shape == said[half:].shape
    patient = np.arange(len(y) - half)
    old, new = (calibration_of(kind, y[half:], p, patient, grid) for p in (said[half:], after))
    assert abs(new.slope.estimate - 1) < 0.12 < abs(old.slope.estimate - 1)
    if kind != "multiclass":
        assert abs(new.intercept.estimate) < 0.15 < abs(old.intercept.estimate) or kind == "survival"
    if kind == "binary":
        assert roc_auc_score(y[half:], after[:, 0]) == roc_auc_score(y[half:], said[half:, 0])


def test_many_events_get_isotonic_regression_and_few_do_not() -> None:
    y, said = binary(5, 12_000)
    fitted = recalibration("binary", y, said)
    assert fitted.method == "isotonic"
    grid = np.linspace(0.001, 0.999, 50)[:, None]
    after = fitted(grid)[:, 0]
    assert (np.diff(after) >= 0).all()
    assert after.min() > 0
    assert after.max() < 1
    referee = IsotonicRegression(out_of_bounds="clip").fit(said[:, 0], y)
    inside = slice(5, 45)
    # Between the centres of the steps, not along them.
    np.testing.assert_allclose(after[inside], referee.predict(grid[inside, 0]), atol=0.04)
    assert fitted(said).mean() == pytest.approx(y.mean(), abs=2e-3)
    few = np.flatnonzero(y == 1)[: ISOTONIC - 1]
    keep = np.concatenate([few, np.flatnonzero(y == 0)])
    assert recalibration("binary", y[keep], said[keep]).method == "logistic"


def test_a_map_by_isotonic_regression_has_no_block_of_fewer_than_11_patients() -> None:
    y, said = binary(5, 12_000)
    patient = np.arange(len(y)) // 3
    fitted = recalibration("binary", y, said, patient=patient)
    centre, level = fitted.knots
    assert len(centre) > 20
    assert (np.diff(centre) > 0).all()
    assert (np.diff(level) >= 0).all()
    # Each centre is the mean of its block; blocks follow each other.
    order = np.argsort(said[:, 0], kind="stable")
    x, a = said[order, 0], 0
    for place in centre[:-1]:
        means = np.cumsum(x[a:]) / np.arange(1, len(x) - a + 1)
        size = int(np.argmin(np.abs(means - place))) + 1
        assert len(np.unique(patient[order][a : a + size])) >= 11
        a += size


def test_what_cannot_be_said_is_not_said() -> None:
    """One class, a constant prediction, a separated outcome, nobody."""
    p = np.linspace(0.1, 0.9, 20)[:, None]
    who = np.arange(20)
    for y, said in (
        (np.ones(20), p),
        ((p[:, 0] > 0.5).astype(float), np.full((20, 1), 0.3)),
        ((p[:, 0] > 0.5).astype(float), p),
        (np.full(20, np.nan), p),
        ((p[:, 0] > 0.5).astype(float), np.full((20, 1), np.nan)),
    ):
        assert np.isnan(calibration_of("binary", y, said, who).slope.estimate)


def test_a_study_has_slopes_of_every_candidate(tmp_path: Path) -> None:
    one = study(tmp_path, 600)
    one.write(predictor(one))
    found = one.evaluate(draws=20)
    rows = found["calibration_slopes"]
    candidates = {(r["task"], r["candidate"]) for r in found["choice"] if r["candidate"] != "chosen"}
    for state in ("before", "after"):
        assert {(r["task"], r["candidate"]) for r in rows if r["state"] == state} == candidates
    for task in ("days", "grade", "ill", "relapse"):
        marked = {r["candidate"] for r in rows if r["task"] == task and r["chosen"]}
        assert marked == {
            r["candidate"]
            for r in found["choice"]
            if r["task"] == task and r["chosen"] and r["candidate"] != "chosen"
        }
    slope = {(r["task"], r["candidate"], r["state"]): r for r in rows}
    events = int((one.labels["ill"][one.fold == -1] == 1).sum())
    assert slope["ill", "alone", "before"]["events"] == events
    assert slope["days", "alone", "before"]["events"] is None
    for row in rows:
        assert row["slope_low"] < row["slope"] < row["slope_high"]
        assert (row["intercept"] is None) == (row["task"] == "grade")
    # The published scores are those of predictions as they are.
    scores = {(r["task"], r["model"]): r["value"] for r in found["comparison"] if r["part"] == "test"}
    own = {(r["task"], r["candidate"]): r["value"] for r in found["choice"] if r["part"] == "test"}
    assert own["ill", "linear"] == scores["ill", "linear"]


@pytest.mark.parametrize("samples", [7, 25])
def test_events_of_few_patients_are_not_counted(tmp_path: Path, samples: int) -> None:
    one = study(tmp_path, 600).without("relapse")
    test = np.flatnonzero((one.fold == -1) & (one.labels["ill"] == 1))
    one.labels["ill"][test[samples:]] = 0
    # Twenty-five samples with the event are of ten patients.
    people = np.unique(one.patient[one.fold == -1])[:10]
    one.patient[test[:samples]] = people[np.arange(samples) % 10]
    one.write(predictor(one))
    rows = one.evaluate(draws=20)["calibration_slopes"]
    assert {r["events"] for r in rows if r["task"] == "ill"} == {None}


@pytest.mark.parametrize("patients", [8, 12])
def test_few_patients_have_no_mean_error(tmp_path: Path, patients: int) -> None:
    one = study(tmp_path, 600).without("relapse")
    test = np.flatnonzero((one.fold == -1) & ~np.isnan(one.labels["days"]))
    one.labels["days"][test[24:]] = np.nan
    people = np.unique(one.patient[one.fold == -1])[:patients]
    one.patient[test[:24]] = people[np.arange(24) % patients]
    one.write(predictor(one))
    rows = one.evaluate(draws=20)["calibration_slopes"]
    assert {row["task"] for row in rows} == {"ill", "grade", *(["days"] if patients > 10 else [])}


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "survival"])
def test_a_model_that_says_little_but_how_common_the_outcome_was_is_recalibrated(kind: str) -> None:
    """A strong penalty: each fold's model says what is common where it learned, and 1 % of what it knows.

    The map of two folds' models serves that of the third one.
    """
    found, errors = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        n, train = 3000, 900
        fold = np.where(np.arange(n) < train, np.arange(n) % 3, -1)
        risk = rng.normal(size=n)
        grid = None
        if kind == "survival":
            time, censored = rng.exponential(np.exp(-risk)), rng.exponential(1.5, n)
            y = signed_time(np.minimum(time, censored), time <= censored).astype(float)
            grid = time_grid(y[:train])
        elif kind == "multiclass":
            odds = np.column_stack([np.zeros(n), risk, -risk]) + rng.gumbel(size=(n, 3))
            y = odds.argmax(axis=1).astype(float)
        else:
            y = risk + rng.logistic(size=n)
            y = y if kind == "regression" else (y > 1).astype(float)
        width = {"multiclass": 3}.get(kind, 1)
        of = {f: marginal(kind, y[(fold >= 0) & (fold != f)], width, grid) for f in (0, 1, 2)}

        def said(number: int, of: dict[int, Float64] = of, risk: Float64 = risk) -> Float64:
            little, what = 0.01 * risk[:, None], of[number]
            if kind == "survival":
                return cox_prediction(little[:, 0], -np.log(what[0, 1:]))
            if kind == "regression":
                return what + little
            logit = np.log(what) - (np.log1p(-what) if kind == "binary" else 0.0)
            if kind == "binary":
                return np.asarray(1 / (1 + np.exp(-logit - little)))
            each = np.exp(logit + little * np.array([0, 1, -1]))
            return np.asarray(each / each.sum(axis=1, keepdims=True))

        folds, test = (fold == 0) | (fold == 1), fold < 0
        crossed = np.where((fold == 0)[:, None], said(0), said(1))[folds]
        rows = np.where((fold == 0)[:, None], of[0], of[1])[folds]
        fitted = recalibration(kind, y[folds], crossed, grid, fold=fold[folds], of=(rows, of[2]))
        after = calibration_of(kind, y[test], fitted(said(2)[test]), np.arange(int(test.sum())), grid)
        found.append(after.slope.estimate)
        errors.append(after.intercept.estimate)
    assert np.isfinite(found).all()
    assert 0.9 < np.mean(found) < 1.1
    assert kind == "multiclass" or np.abs(errors).max() < 0.35


@pytest.mark.parametrize("kind", ["binary", "survival"])
def test_a_model_of_all_folds_is_not_corrected_for_the_overfitting_of_a_folds(kind: str) -> None:
    """Unpenalised models of 30 features: those of two thirds of the patients are overfitted by half as much
    again. A map that is learned from them makes the whole one's predictions too close together."""
    plain, found = list[float](), list[float]()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        n, train, folds = 3000, 450, 3
        x = rng.normal(size=(n, 30))
        risk = x[:, :3].sum(axis=1) / 2
        fold = np.where(np.arange(n) < train, np.arange(n) % folds, -1)
        grid = None
        if kind == "survival":
            time, censored = rng.exponential(np.exp(-risk)), rng.exponential(1.5, n)
            y = signed_time(np.minimum(time, censored), time <= censored).astype(float)
            grid = time_grid(y[:train])
        else:
            y = (risk + rng.logistic(size=n) > 0.5).astype(float)

        def said(
            number: int, rows: Any, x: Float64 = x, y: Float64 = y, fold: Any = fold, grid: Any = grid
        ) -> Float64:
            learned = (fold >= 0) & (fold != number)
            if kind == "survival":
                beta = fit_cox(x[learned], y[learned])
                return cox_prediction(x[rows] @ beta, breslow(x[learned] @ beta, y[learned], grid))
            fitted = LogisticRegression(C=1e6, max_iter=500).fit(x[learned], y[learned])
            return np.asarray(fitted.predict_proba(x[rows])[:, 1:])

        crossed = np.zeros((train, 1 if grid is None else 1 + len(grid)))
        for number in range(folds):
            rows = np.flatnonzero(fold == number)
            crossed[rows] = said(number, rows)
        test = np.flatnonzero(fold < 0)
        for share, slopes in ((1.0, plain), (1 - 1 / folds, found)):
            fitted = recalibration(kind, y[:train], crossed, grid, fold=fold[:train], share=share)
            after = calibration_of(kind, y[test], fitted(said(-1, test)), np.arange(len(test)), grid)
            slopes.append(after.slope.estimate)
    assert np.mean(plain) > 1.08
    assert abs(np.mean(found) - 1) < 0.6 * abs(np.mean(plain) - 1)


def fit_cox(x: Float64, y: Float64) -> Float64:
    """Coefficients of an unpenalised proportional hazards model."""
    time, event = np.abs(y), ~np.signbit(y)
    order = np.argsort(-time)
    z, had = x[order], event[order]

    def loss(beta: Float64) -> float:
        eta = z @ beta
        return float((np.log(np.cumsum(np.exp(eta))) - eta)[had].sum())

    from scipy.optimize import minimize

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), method="BFGS").x)
