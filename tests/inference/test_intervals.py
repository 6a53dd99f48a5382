"""Intervals and tests against scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from m3h_pipeline.inference.intervals import (
    UNDEFINED,
    Interval,
    Quantity,
    benjamini_hochberg,
    bounded,
    effective_size,
    fold_component,
    jackknife_variance,
    paired_interval,
    pooled_intervals,
)

Array = npt.NDArray[Any]


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


def test_jackknife_of_a_mean_is_its_variance() -> None:
    """For a statistic that is a mean, the jackknife is exactly s² / n."""
    values = np.random.default_rng(0).normal(size=7)
    left_out = (values.sum() - values) / 6
    assert jackknife_variance(left_out) == pytest.approx(values.var(ddof=1) / 7)
    assert np.isnan(jackknife_variance(np.array([0.3])))


def test_seeds_that_agree_by_luck_are_lent_the_variance_of_other_tasks() -> None:
    own = 4e-4 * np.array([0.05, 0.3, 0.5, 0.7, 0.8, 1.0, 1.2, 1.5, 1.9, 2.4])
    tasks = [Quantity(0.1, 2e-4, 200, float(v), 4.0) for v in own]
    lucky, *_, unlucky = pooled_intervals(tasks, ["auroc"] * 10)
    assert lucky.standard_error**2 - 2e-4 > 5 * own[0]
    assert unlucky.standard_error**2 - 2e-4 < 0.8 * own[-1]
    # Tasks of another metric lend nothing.
    found = pooled_intervals(tasks, ["r2"] + ["auroc"] * 9)[0]
    assert found.standard_error == pytest.approx(np.sqrt(2e-4 + own[0]))


def test_intervals_of_scores_stay_within_the_metric() -> None:
    wide = paired_interval(0.98, [(0.01, 50.0)])
    assert bounded(wide, "auroc")[1] == 1
    assert bounded(paired_interval(-0.9, [(0.1, 50.0)]), "silhouette")[0] == -1
    assert bounded(paired_interval(-3.0, [(0.1, 50.0)]), "r2")[0] == pytest.approx(-3.6351, abs=1e-3)


def test_the_variance_of_a_mean_over_folds_is_not_underestimated() -> None:
    """Folds that share their training rows: correlated by 1 / k, as Nadeau and Bengio take them to be."""
    g = np.random.default_rng(0)
    for k in (3, 5):
        common, own = g.normal(size=(20_000, 1)), g.normal(size=(20_000, k))
        folds = np.sqrt(1 / k) * common + np.sqrt(1 - 1 / k) * own
        said = np.mean([fold_component(one)[0] for one in folds[:4000]])
        assert said == pytest.approx(folds.mean(axis=1).var(), rel=0.06)
    assert fold_component(np.array([0.1, np.nan, 0.4, 0.3])) == fold_component(np.array([0.1, 0.4, 0.3]))
    assert fold_component(np.array([0.1, 0.4, 0.3]))[1] == 2
    assert math.isnan(fold_component(np.array([0.3, np.nan]))[0])


def test_intervals_from_folds_cover_the_truth_as_often_as_they_say() -> None:
    g = np.random.default_rng(1)
    k, studies = 5, 1000
    folds = np.sqrt(1 / k) * g.normal(size=(studies, 1)) + np.sqrt(1 - 1 / k) * g.normal(size=(studies, k))
    found = [paired_interval(float(one.mean()), [fold_component(one)]) for one in folds]
    covered = [interval.low <= 0 <= interval.high for interval in found]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_unknown_seeds_count_patients_alone() -> None:
    one, other = Quantity(0.2, 1e-4, 31), Quantity(0.1, 1e-4, 31, 4e-4, 2.0)
    alone, both = pooled_intervals([one, other], ["auroc", "auroc"])
    assert (alone.standard_error, alone.degrees_of_freedom) == pytest.approx((1e-2, 30))
    assert both.standard_error == pytest.approx(np.sqrt(5e-4))
    # A single patient of the rarest class still has one degree of freedom.
    assert pooled_intervals([Quantity(0.2, 1e-4, 1)], ["auroc"])[0].degrees_of_freedom == pytest.approx(1)


def test_only_ends_that_a_metric_cannot_reach_are_cut() -> None:
    wide = Interval(0.5, -0.2, 1.2, 0.5, 0.3, 9.0)
    assert [bounded(wide, name) for name in ("auroc", "macro_auroc", "concordance")] == [(0.0, 1.0)] * 3
    assert bounded(wide, "r2") == (-0.2, 1.0)
    assert bounded(Interval(-0.5, -1.2, 0.2, 0.5, 0.3, 9.0), "silhouette") == (-1.0, 0.2)
    assert all(map(math.isnan, bounded(UNDEFINED, "auroc")))


def test_samples_of_a_patient_say_as_much_as_so_many_independent_ones_at_most() -> None:
    """Outcomes that alternate within patients vary less than by chance, which makes no samples of them."""
    patient = np.repeat(np.arange(5), 2)
    assert effective_size(np.tile([1.0, 0.0], 5), patient) == 10
    assert effective_size(np.repeat([1.0, 0, 0, 1, 1], 2), patient) == pytest.approx(5)
    # One patient in two alternates: between the number of patients and that of samples.
    assert 5 < effective_size(np.array([1.0, 1, 0, 0, 1, 0, 0, 1, 1, 1]), patient) < 10
