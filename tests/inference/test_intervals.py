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

from m3h_pipeline.inference.intervals import benjamini_hochberg, paired_interval

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
