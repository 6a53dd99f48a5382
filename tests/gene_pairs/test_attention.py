"""Attention by sample, and its comparison between groups against loops and permutations written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from m3h_pipeline.gene_pairs.attention import compare, read_attention
from tests.model.test_transcriptome import encoder, expression, options


@pytest.mark.parametrize("value", ["untied", "projection"])
def test_attention_by_sample_averages_to_that_of_the_encoder(value: str) -> None:
    stacked = encoder(options(value=value), models=1)
    x = expression(1, 9)[0]
    found = read_attention(stacked, x, rows=4)
    mean = np.stack([weights[0].mean(0).detach().numpy() for weights in stacked.maps(x[None])])
    np.testing.assert_allclose(found.heads, mean, atol=1e-12)
    both = mean.mean((0, 1))
    above = np.triu_indices(x.shape[1], 1)
    np.testing.assert_allclose(found.pairs.mean(0), ((both + both.T) / 2)[above], atol=1e-6)
    alone = read_attention(stacked, x[3:4]).pairs[0]
    np.testing.assert_allclose(found.pairs[3], alone, atol=1e-7)


def test_statistics_are_those_of_student() -> None:
    values = np.random.default_rng(0).normal(size=(30, 40))
    group = np.arange(30) % 3 == 0
    values[group, 5] += 3
    values[:, 7] = 0.25
    found = compare(values, group, 99, 1)
    expected = stats.ttest_ind(np.delete(values, 7, 1)[group], np.delete(values, 7, 1)[~group])
    np.testing.assert_allclose(np.delete(found.statistic, 7), expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(found.difference, values[group].mean(0) - values[~group].mean(0), atol=1e-12)
    assert found.statistic[7] == 0
    assert found.p[7] == 1
    assert np.flatnonzero(found.called(0.05)).tolist() == [5]
    np.testing.assert_allclose(found.q, stats.false_discovery_control(found.p))


def test_p_values_approach_those_of_all_permutations() -> None:
    """Eight samples, four in the group: all 70 divisions, pooled over pairs."""
    values = np.random.default_rng(3).normal(size=(8, 5))
    group = np.arange(8) < 4
    null = []
    for chosen in itertools.combinations(range(8), 4):
        member = np.isin(np.arange(8), chosen)
        null.append(np.abs(stats.ttest_ind(values[member], values[~member]).statistic))
    observed = np.abs(stats.ttest_ind(values[group], values[~group]).statistic)
    pooled = np.array([(np.array(null) >= size * (1 - 1e-9)).mean() for size in observed])
    overall = (np.max(null, axis=1) >= observed.max() * (1 - 1e-9)).mean()
    found = compare(values, group, 20_000, 5)
    np.testing.assert_allclose(found.p, pooled, atol=0.01)
    assert found.overall == pytest.approx(overall, abs=0.015)


def test_a_shuffled_outcome_calls_pairs_in_few_studies() -> None:
    """Dependent values: eight pairs, each of five directions. At most 5 % of 400 studies, give or take."""
    studies = 400
    rng = np.random.default_rng(11)
    called = 0
    for seed in range(studies):
        directions = rng.normal(size=(30, 5))
        values = np.repeat(directions, 8, axis=1) + 0.3 * rng.normal(size=(30, 40))
        called += bool(compare(values, np.arange(30) < 10, 199, seed).called(0.05).any())
    assert called <= stats.binom.ppf(0.999, studies, 0.05)


def test_the_order_of_pairs_and_the_sign_of_the_group_do_not_matter() -> None:
    values = np.random.default_rng(2).normal(size=(24, 12))
    group = np.arange(24) < 9
    order = np.random.default_rng(5).permutation(12)
    one, other = compare(values, group, 50, 0), compare(values[:, order], group, 50, 0)
    np.testing.assert_allclose(other.p, one.p[order])
    swapped = compare(values, ~group, 50, 0)
    np.testing.assert_allclose(swapped.statistic, -one.statistic, rtol=1e-9)


def test_attention_needs_no_gradient() -> None:
    stacked = encoder(options(), models=1)
    read_attention(stacked, expression(1, 3)[0])
    assert all(parameter.grad is None for parameter in stacked.parameters())
    assert torch.is_grad_enabled()
