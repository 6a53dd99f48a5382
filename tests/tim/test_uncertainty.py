"""The components of a TIM score's variance, against what repeated sampling says."""

from __future__ import annotations

import numpy as np
import pytest

from m3h_pipeline.tim.uncertainty import context_component, seed_component

#: Number of sets of each size that a pair of five tasks can stand beside.
SHARES = {0: 1, 1: 4, 2: 6}
Context = tuple[int, int, float, float]


def sampled(
    rng: np.random.Generator, seen: dict[int, int], spread: dict[int, float]
) -> tuple[list[Context], float]:
    """Contexts of a pair of which some of every size are seen, and how far their mean is from that of all."""
    differences = {size: spread[size] * rng.normal(size=share) for size, share in SHARES.items()}
    total = sum(SHARES[size] for size in seen)
    found = [
        (size, SHARES[size], SHARES[size] / number / total, float(difference))
        for size, number in seen.items()
        for difference in differences[size][:number]
    ]
    everything = np.concatenate(list(differences.values()))
    return found, sum(weight * d for _, _, weight, d in found) - float(everything.mean())


def test_the_variance_of_sampled_contexts_is_that_of_sampling() -> None:
    """Cautious (the larger of a pair's own variance and the pooled one counts), but not by much."""
    rng = np.random.default_rng(0)
    pairs = [sampled(rng, {0: 1, 1: 2, 2: 3}, {0: 1.0, 1: 1.0, 2: 2.0}) for _ in range(1500)]
    variance, freedom = context_component([found for found, _ in pairs], np.zeros(1500, dtype=np.intp), 11)
    actual = float(np.mean([error**2 for _, error in pairs]))
    assert actual < variance.mean() < 1.7 * actual
    assert (freedom >= 1).all()


def test_sizes_that_were_not_seen_are_uncertain() -> None:
    rng = np.random.default_rng(1)
    pairs = [sampled(rng, {0: 1, 1: 2}, dict.fromkeys(SHARES, 1.0)) for _ in range(1500)]
    variance, _ = context_component([found for found, _ in pairs], np.zeros(1500, dtype=np.intp), 11)
    assert variance.mean() > np.mean([error**2 for _, error in pairs])


def test_what_was_seen_in_full_leaves_nothing_to_chance() -> None:
    rng = np.random.default_rng(2)
    found, error = sampled(rng, SHARES, dict.fromkeys(SHARES, 1.0))
    variance, freedom = context_component([found], np.zeros(1, dtype=np.intp), 11)
    assert error == pytest.approx(0, abs=1e-12)
    assert (variance[0], freedom[0]) == (0, np.inf)


def test_a_lone_context_borrows_the_variance_of_other_pairs_by_their_degrees_of_freedom() -> None:
    rng = np.random.default_rng(3)
    many = rng.normal(size=5)
    values = [
        [(1, 10, 0.5, 0.3), (1, 10, 0.5, 0.3)],
        [(1, 10, 0.2, float(d)) for d in many],
        [(1, 10, 1.0, 0.1)],
        [(1, 10, 1.0, 0.1)],
    ]
    variance, freedom = context_component(values, np.array([0, 0, 0, 1]), 10)
    assert variance[2] == pytest.approx(0.9 * many.var(ddof=1) * 4 / 5)
    assert freedom[2] == 5
    # No pair of its metric tells: unknown, not zero.
    assert np.isnan(variance[3])


def test_the_variance_from_seeds_is_that_of_a_mean_over_replicates() -> None:
    differences = np.array([[0.1, 0.3, 0.2, 0.6]])
    zero = np.zeros(1, dtype=np.intp)
    variance, freedom = seed_component(differences, np.array([1e-3]), zero, zero)
    assert variance[0] == pytest.approx(differences.var(ddof=1) / 4)
    assert freedom[0] == 3
    none, unlimited = seed_component(differences[:, :1], np.array([1e-3]), zero, zero)
    assert (none[0], unlimited[0]) == (0, np.inf)


def test_companions_of_a_task_lend_each_other_the_variance_of_their_seeds() -> None:
    """Three replicates of 30 pairs without an effect: the luckiest pair's t is 6 by its own seeds alone."""
    rng = np.random.default_rng(4)
    task, metric = np.repeat(np.arange(6), 5), np.zeros(30, dtype=np.intp)
    own, floored = [], []
    for _ in range(200):
        differences = rng.normal(size=(30, 3))
        variance, freedom = seed_component(differences, np.full(30, 0.2), task, metric)
        estimate = differences.mean(axis=1)
        own.append(np.abs(estimate / np.sqrt(differences.var(axis=1, ddof=1) / 3)).max())
        floored.append(np.abs(estimate / np.sqrt(variance)).max())
        assert (variance >= differences.var(axis=1, ddof=1) / 3 * (1 - 1e-12)).all()
        assert set(freedom) <= {2.0, 12.0}
    assert np.median(own) > 5
    assert np.quantile(floored, 0.95) < 5
