"""Variances between seeds that tasks lend each other: Smyth's formulas, and tasks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from m3h_pipeline.inference.intervals import Quantity, pooled_intervals
from m3h_pipeline.inference.lent import lent_seeds
from m3h_pipeline.inference.metrics import Float64

ONE = np.zeros(20, dtype=int)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 20), st.sampled_from([1.0, 2.0, 4.0]), st.floats(0, 2))
def test_the_formulas_written_down(seed: int, n: int, df: float, differ: float) -> None:
    g = np.random.default_rng(seed)
    patients = np.exp(g.normal(size=n))
    own = np.exp(differ * g.normal(size=n)) * patients**0.5 * g.chisquare(df, n) / df
    variance, degrees = lent_seeds(own, patients, np.full(n, df), ONE[:n])
    logs = np.log(np.maximum(own, 0.01 * np.median(own))) - special.digamma(df / 2) + np.log(df / 2)
    slope, start = np.polyfit(np.log(patients), logs, 1)
    if not 0 <= slope <= 1:
        slope = min(max(slope, 0.0), 1.0)
        start = np.mean(logs - slope * np.log(patients))
    line = start + slope * np.log(patients)
    between = ((logs - line) ** 2).sum() / (n - 2) - special.polygamma(1, df / 2)
    middle = patients**slope * np.mean(own / patients**slope)
    if between <= 1e-6:
        np.testing.assert_allclose(variance, middle, rtol=1e-4)
        np.testing.assert_allclose(degrees, n * df - 2)
        return
    half = optimize.brentq(lambda x: special.polygamma(1, x) - between, 1e-8, 1e8)
    prior = 2 * half
    np.testing.assert_allclose(variance, (prior * middle + df * own) / (prior + df), rtol=1e-4)
    np.testing.assert_allclose(degrees, np.minimum(prior + df, n * df - 2), rtol=1e-4)


def test_what_cannot_be_lent_stays_as_it_is() -> None:
    own, patients = np.array([1.0, np.nan, 3.0, 4.0]), np.array([1.0, 1.0, np.nan, 1.0])
    variance, degrees = lent_seeds(own, patients, np.full(4, 2.0), np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(variance, own)
    np.testing.assert_array_equal(degrees, 2.0)
    # Where seeds change nothing in most tasks there is no typical variance.
    assert lent_seeds(np.zeros(3), np.ones(3), np.full(3, 4.0), ONE[:3])[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("unit", [1e-3, 1.0, 50.0])
def test_two_or_three_tasks_are_in_proportion_to_their_patients_whatever_the_unit(unit: float) -> None:
    patients = np.array([1.0, 4.0, 9.0])
    variance, _ = lent_seeds(unit * 2 * patients, unit * patients, np.full(3, 4.0), ONE[:3])
    ratio = variance / (unit * patients)
    assert ratio == pytest.approx(ratio[0])


def simulated(seed: int, replicates: int = 5) -> tuple[Float64, list[Quantity]]:
    """Differences without a true one, of tasks of 20, 100 and 300 events; patients move the rare ones."""
    g = np.random.default_rng(seed)
    patients, units = np.tile([3.4e-5, 7e-6, 3e-6], 5), np.tile([20, 100, 300], 5)
    seeds, df = 2.4e-5, replicates - 1
    value = g.normal(size=15) * np.sqrt(patients + seeds)
    # Replicates differ in what they say of each patient: the bootstrap over patients has that, too.
    own = (patients + seeds) * g.chisquare(df, 15) / df
    found = patients * g.chisquare(units - 1) / (units - 1)
    numbers = zip(value, found, units, own, patients, strict=True)
    return np.sqrt(patients + seeds), [Quantity(v, p, int(u), s, df, k) for v, p, u, s, k in numbers]


@pytest.mark.parametrize("replicates", [3, 5])
def test_intervals_of_rare_and_common_tasks_cover_and_are_no_wider_than_they_must(replicates: int) -> None:
    covered, width = [], []
    for seed in range(400):
        deviation, quantities = simulated(seed, replicates)
        found = pooled_intervals(quantities, ["auroc"] * 15)
        covered.append([one.low <= 0 <= one.high for one in found])
        width.append([(one.high - one.low) / 2 / (1.96 * d) for one, d in zip(found, deviation, strict=True)])
    for kind in range(3):
        assert 0.93 < np.mean(covered, axis=0)[kind::3].mean() < 0.98
        assert np.mean(width, axis=0)[kind::3].mean() < 1.3


def test_what_patients_explain_is_counted_once() -> None:
    alone = Quantity(0.1, 1e-4, 10**6, 3e-4, 4.0, known=1e-4)
    one = pooled_intervals([alone], ["auroc"])[0]
    assert one.standard_error == pytest.approx(np.sqrt(3e-4))
    assert one.degrees_of_freedom == pytest.approx((3e-4) ** 2 / ((2e-4) ** 2 / (4 * (2 / 3) ** 2)), rel=1e-3)
    more = Quantity(0.1, 1e-4, 100, 3e-4, 4.0, known=4e-4)
    assert pooled_intervals([more], ["auroc"])[0].standard_error == pytest.approx(1e-2)
