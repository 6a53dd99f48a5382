"""Statistics: weighted metrics against scikit-learn, intervals against simulation, the rest against scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import r2_score, roc_auc_score

from m3h_pipeline.statistics import (
    RELATIVE_FLOOR,
    benjamini_hochberg,
    bootstrap_counts,
    bootstrap_variance,
    metric,
    metric_draws,
    metric_draws_by_unit,
    paired_interval,
    patient_counts,
    patient_index,
    percentile_interval,
    relative_improvement,
    relative_interval,
)

Array = npt.NDArray[Any]


def test_counts_are_a_bootstrap_of_patients() -> None:
    counts = patient_counts(50, 4000, seed=1)
    assert (counts.sum(axis=1) == 50).all()
    # A count is binomial (50, 1/50): its mean is 1, its variance 1 - 1/50.
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.03)
    assert np.array_equal(patient_counts(50, 10, seed=1), counts[:10])
    assert not np.array_equal(patient_counts(50, 10, seed=2), counts[:10])


def test_rows_of_a_patient_share_their_count() -> None:
    index = patient_index(np.array(["b", "a", "c", "b"], dtype=object))
    assert index.tolist() == [1, 0, 2, 1]
    weights = bootstrap_counts(index, 30, seed=5)
    assert weights.shape == (30, 4)
    assert np.array_equal(weights[:, 0], weights[:, 3])
    assert np.array_equal(weights[:, [1, 0, 2]], patient_counts(3, 30, seed=5))


def test_a_bootstrap_needs_patients_and_draws() -> None:
    for n_patients, n_draws in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match="must be positive"):
            patient_counts(n_patients, n_draws, seed=0)


def referee(name: str, y: Array, prediction: Array, weight: Array) -> float:
    """The metric as scikit-learn has it; NaN where it is undefined."""
    kept = ~np.isnan(y) & (weight > 0)
    y, prediction, weight = y[kept], prediction[kept], weight[kept]
    if name == "silhouette":
        return float(np.average(prediction[:, 1], weights=weight)) if len(y) else math.nan
    if name == "r2":
        constant = len(y) == 0 or np.ptp(y) == 0
        return math.nan if constant else float(r2_score(y, prediction[:, 0], sample_weight=weight))
    areas = [
        roc_auc_score(y == c, prediction[:, min(c, prediction.shape[1] - 1)], sample_weight=weight)
        for c in ([1] if name == "auroc" else range(prediction.shape[1]))
        if 0 < (y == c).sum() < len(y)
    ]
    return float(np.mean(areas)) if areas else math.nan


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, Array, Array, Array]:
    """A metric with labels, predictions (many tied) and weights of a few draws; some labels are missing."""
    name = draw(st.sampled_from(["auroc", "macro_auroc", "r2", "silhouette"]))
    n = draw(st.integers(1, 60))
    g = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    prevalence = draw(st.sampled_from([0.05, 0.5, 0.95]))
    digits = draw(st.sampled_from([0, 1, 12]))
    width = {"auroc": 1, "macro_auroc": 4, "r2": 1, "silhouette": 2}[name]
    y = {
        "auroc": (g.random(n) < prevalence).astype(float),
        "macro_auroc": g.choice(4, n, p=[0.6, 0.3, 0.09, 0.01]).astype(float),
        "r2": g.normal(size=n).round(digits) + draw(st.sampled_from([0.0, 1e4])),
        "silhouette": np.zeros(n),
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
    weights = bootstrap_counts(g.integers(0, 300, 900), 300, seed=0)
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


def test_wrong_arguments_are_refused() -> None:
    y, p, w = np.zeros(3), np.zeros((3, 1)), np.ones((2, 3))
    with pytest.raises(ValueError, match="unknown metric 'auc'; known: auroc"):
        metric_draws("auc", y, p, w)
    with pytest.raises(ValueError, match="3 labels, weights of shape"):
        metric_draws("auroc", y, p, w.T)
    with pytest.raises(ValueError, match="3 labels, 2 predictions"):
        metric_draws("auroc", y, p[:2], w)


def test_an_interval_of_one_component_is_a_t_interval() -> None:
    values = np.array([0.3, 0.9, -0.2, 0.5, 0.7])
    expected = stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval(0.95)
    found = paired_interval(values.mean(), [(values.var(ddof=1) / 5, 4.0)])
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))


def test_an_interval_of_two_components_is_welchs() -> None:
    g = np.random.default_rng(2)
    a, b = g.normal(1, 1, 9), g.normal(0, 3, 5)
    expected = stats.ttest_ind(a, b, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    found = paired_interval(a.mean() - b.mean(), [(a.var(ddof=1) / 9, 8), (b.var(ddof=1) / 5, 4)])
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))
    assert found.degrees_of_freedom == pytest.approx(expected.df)


def test_an_interval_without_variance_or_estimate() -> None:
    same = paired_interval(0.0, [(0.0, 9.0), (0.0, math.inf)])
    assert (same.low, same.high, same.p) == (0, 0, 1)
    for estimate, variance in ((math.nan, 1.0), (1.0, math.nan)):
        assert math.isnan(paired_interval(estimate, [(variance, 5.0)]).p)
    exact = paired_interval(1.0, [(0.25, math.inf)])
    assert (exact.low, exact.high) == pytest.approx((1 - 1.96 * 0.5, 1 + 1.96 * 0.5), abs=1e-3)


def test_the_bootstrap_covers_the_truth_when_patients_have_many_samples() -> None:
    """Samples of a patient are near copies: intervals from patients hold the true AUROC of 0.5 as often as
    they say, those from rows do not.
    """
    covered = {"patients": 0, "rows": 0}
    studies = 150
    for seed in range(studies):
        g = np.random.default_rng(seed)
        unit = np.repeat(np.arange(60), 5)
        y = (np.arange(60) % 3 == 0).astype(float)[unit]
        scores = g.normal(size=60)[unit] + 0.1 * g.normal(size=300)
        estimate = metric("auroc", y, scores)
        for kind, index in (("patients", unit), ("rows", np.arange(300))):
            draws = metric_draws("auroc", y, scores, bootstrap_counts(index, 200, seed))
            n = 20 if kind == "patients" else 100
            found = paired_interval(estimate, [(bootstrap_variance(draws, n), n - 1)])
            covered[kind] += found.low <= 0.5 <= found.high
    assert 0.9 <= covered["patients"] / studies <= 0.99
    assert covered["rows"] / studies < 0.8


def test_the_variance_of_a_mean_is_recovered() -> None:
    """Of a mean the bootstrap's variance with its correction is s²/n, whatever the draws leave undefined."""
    g = np.random.default_rng(0)
    values = g.normal(size=12)
    draws = (patient_counts(12, 20000, seed=0) @ values) / 12
    assert bootstrap_variance(draws, 12) == pytest.approx(values.var(ddof=1) / 12, rel=0.05)
    assert bootstrap_variance(np.r_[draws, np.nan], 12) == bootstrap_variance(draws, 12)
    assert math.isnan(bootstrap_variance(np.array([1.0, np.nan]), 12))
    assert math.isnan(bootstrap_variance(draws, 1))


def test_percentiles_leave_out_what_is_undefined() -> None:
    assert percentile_interval(np.r_[np.arange(101.0), np.nan]) == pytest.approx((2.5, 97.5))
    assert all(map(math.isnan, percentile_interval(np.array([np.nan]))))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=30))
def test_false_discovery_control_is_scipys_over_what_is_defined(p: list[float]) -> None:
    values = np.array(p)
    q = benjamini_hochberg(values)
    defined = ~np.isnan(values)
    assert np.isnan(q[~defined]).all()
    if defined.any():
        np.testing.assert_array_equal(q[defined], stats.false_discovery_control(values[defined]))
        # Benjamini and Hochberg's own words: reject the k smallest, k the largest with p(k) <= k a / m.
        ordered, m = np.sort(values[defined]), defined.sum()
        passing = np.flatnonzero(ordered <= np.arange(1, m + 1) * 0.05 / m * (1 + 1e-12))
        assert (q[defined] <= 0.05 * (1 + 1e-12)).sum() == (passing.max() + 1 if len(passing) else 0)


def test_relative_improvement_needs_a_reference_that_means_something() -> None:
    single = np.array([0.8, RELATIVE_FLOOR, 0.049, 0.0, -0.2, np.nan])
    found = relative_improvement(single + 0.08, single)
    np.testing.assert_allclose(found, [0.1, 0.08 / RELATIVE_FLOOR, *[np.nan] * 4])


def test_the_relative_interval_is_blank_if_the_reference_may_be_nothing() -> None:
    g = np.random.default_rng(0)
    single, gain = g.normal(0.7, 0.02, 2000), g.normal(0.05, 0.01, 2000)
    low, high = relative_interval(single + gain, single)
    assert (low, high) == pytest.approx(tuple(np.quantile(gain / single, [0.025, 0.975])))
    shaky = g.normal(0.08, 0.02, 2000)
    assert all(map(math.isnan, relative_interval(shaky + gain, shaky)))
    assert all(map(math.isnan, relative_interval(np.full(3, np.nan), np.full(3, np.nan))))
