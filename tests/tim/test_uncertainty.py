"""The components of a TIM score's variance, against what repeated sampling says."""

from __future__ import annotations

import numpy as np
import pytest

from m3h_pipeline.tim.uncertainty import Luck, between_sets, inflated, inflation, luck, spread


def test_luck_is_that_of_a_mean_over_replicates_and_leaves_out_what_all_share() -> None:
    """Slots and replicates have effects of their own, of any size: what is left is the luck."""
    rng = np.random.default_rng(4)
    found, means = [], []
    for _ in range(400):
        fits = rng.normal(scale=0.02, size=(6, 3))
        scores = rng.normal(size=(6, 1)) + rng.normal(size=(1, 3)) + fits
        one = luck(scores, None)
        assert one.freedom == 10
        found.append(one.variance)
        means.append(fits.mean(axis=1) @ np.array([1, -1, 0, 0, 0, 0]))
    assert np.mean(found) == pytest.approx(0.02**2 / 3, rel=0.1)
    assert Luck(float(np.mean(found)), 10).of(np.array([1.0, -1.0]))[0] == pytest.approx(
        np.var(means), rel=0.2
    )


def test_luck_against_an_analysis_of_variance() -> None:
    """The residual mean square of a two-way layout, by least squares."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(5, 4))
    slot, replicate = np.indices((5, 4))
    design = np.column_stack(
        [slot.ravel() == i for i in range(5)] + [replicate.ravel() == i for i in range(1, 4)]
    )
    _, residual, rank, _ = np.linalg.lstsq(design.astype(float), scores.ravel(), rcond=None)
    assert luck(scores, None).variance == pytest.approx(residual[0] / (20 - rank) / 4)


def test_what_patients_explain_of_the_luck_is_taken_off() -> None:
    """All that replicates differ by is patients' here: on average none of it is left to count twice."""
    rng = np.random.default_rng(6)
    left = []
    for _ in range(300):
        noise = rng.normal(size=(8, 3, 1))
        drawn = noise + rng.normal(size=(8, 3, 200))
        one = luck(noise[..., 0], drawn)
        left.append(one.variance)
        assert one.freedom <= 14 or one.variance == 0
    assert np.mean(left) < 0.2 / 3
    assert np.mean(np.array(left) == 0) > 0.4
    wide = luck(10 * rng.normal(size=(8, 3)), rng.normal(size=(8, 3, 200)))
    assert wide.freedom == pytest.approx(14, rel=0.1)


def test_one_replicate_and_equal_fits_tell_nothing_of_seeds() -> None:
    assert luck(np.array([[0.7], [0.8]]), None) == Luck(0.0, np.inf)
    assert luck(np.array([[0.7, 0.71], [0.6, 0.61]]), None) == Luck(0.0, np.inf)


def test_permuted_companions_that_differ_as_seeds_and_patients_say_inflate_nothing_much() -> None:
    rng = np.random.default_rng(7)
    for extra, low, high in ((0.0, 1.0, 1.15), (2.0, 4.3, 5.7)):
        factors = []
        for _ in range(60):
            spreads = []
            for _ in range(13):
                common = rng.normal(size=(3, 1))
                drawn = common + rng.normal(size=(3, 400))
                estimates = common[:, 0] + rng.normal(scale=extra, size=3)
                spreads.append(spread(estimates, drawn, np.eye(3, 4), Luck(0.0, np.inf)))
            factors.append(inflation(spreads))
        assert {freedom for _, freedom in factors} == {26}
        assert low <= np.mean([factor for factor, _ in factors]) <= high


def test_the_spread_that_luck_explains_is_that_of_the_weights() -> None:
    """Two companions that share half of their fits differ half as much."""
    weights = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
    rng = np.random.default_rng(8)
    truth = np.mean([(weights @ rng.normal(size=3)).var(ddof=1) for _ in range(20_000)])
    assert spread(np.zeros(2), None, weights, Luck(1.0, 9.0)).explained == pytest.approx(truth, rel=0.05)


def test_folds_explain_what_an_interval_by_folds_counts() -> None:
    """What all companions share of a fold is none of their differences."""
    rng = np.random.default_rng(9)
    found = [
        spread(np.zeros(3), None, np.eye(3), Luck(0.0, np.inf), rng.normal(size=5) + rng.normal(size=(3, 5)))
        for _ in range(4000)
    ]
    assert np.mean([one.explained for one in found]) == pytest.approx(1 / 5 + 1 / 4, rel=0.05)


def test_an_inflated_variance_has_the_freedom_of_what_inflates_it() -> None:
    parts = [(2.0, 50.0), (1.0, 20.0)]
    assert inflated(parts, (1.0, 26.0)) == parts
    *same, (variance, freedom) = inflated(parts, (3.0, 26.0))
    assert (same, variance) == (parts, 6.0)
    assert freedom == pytest.approx(26 * 4 / 9)


def test_sets_count_what_the_luck_of_fits_does_not_explain() -> None:
    own, weights = Luck(0.2, 30.0, 0.3), np.array([1.0, -0.5])
    assert between_sets(0.25, 20, own, weights) == (0.0, np.inf)
    variance, freedom = between_sets(0.5, 20, own, weights)
    assert variance == pytest.approx(1.25 * 0.2)
    assert freedom == pytest.approx(19 * 0.4**2)
