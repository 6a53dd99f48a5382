"""What a model scores, and what two differ by: ensembles, seeds, pairing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from m3h_pipeline.inference.scored import (
    difference,
    ensemble,
    explained,
    quantity,
    score,
    scored,
    scores_by_replicate,
)
from tests.inference.cohorts import cohort_of


def test_ensembles_are_means_and_clusters_those_of_the_first_replicate() -> None:
    values = np.array([[[0.2], [0.4]], [[0.4], [0.8]]])
    np.testing.assert_allclose(ensemble(values, "binary"), [[0.3], [0.6]])
    clusters = np.array([[[3.0, 0.1]], [[7.0, 0.5]]])
    np.testing.assert_allclose(ensemble(clusters, "clustering"), [[3.0, 0.3]])


def test_a_shared_seed_pairs_the_difference() -> None:
    """What two models' seeds have in common is no uncertainty of their difference."""
    rng = np.random.default_rng(0)
    y = (rng.random(200) < 0.4).astype(np.float64)
    cohort = cohort_of(y, np.arange(200), "binary", draws=200)
    common, own = rng.normal(size=(2, 3, 200, 1))
    first = scored(cohort, "t", {-1: y[:, None] + common})
    second = scored(cohort, "t", {-1: y[:, None] + common + 0.05 * own})
    fewer = scored(cohort, "t", {-1: (y[:, None] + common + 0.05 * own)[:2]})
    paired = difference(second, first, 80)
    assert paired.seeds < 0.1 * score(first, 80).seeds
    assert paired.patients < 0.1 * score(first, 80).patients
    # Other numbers of seeds are not paired: both models' seeds are counted.
    assert difference(fewer, first, 80).seeds == pytest.approx(
        score(fewer, 80).seeds + score(first, 80).seeds
    )


def test_patients_explain_what_replicates_say_differently_of_each_and_no_luck_of_a_seed() -> None:
    """Replicates with noise of their own from patient to patient, and ones that are better or worse."""
    noisy, lucky = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = (rng.random(300) < 0.3).astype(np.float64)
        cohort = cohort_of(y, np.arange(300), "binary", draws=40)
        common, own = rng.normal(size=(1, 300, 1)), rng.normal(size=(5, 300, 1))
        apart = 1 + rng.normal(size=(5, 1, 1))
        found = [
            score(scored(cohort, "t", {-1: values}), 90)
            for values in (y[:, None] + common + own, apart * y[:, None] + common)
        ]
        noisy.append((found[0].known, found[0].seeds))
        lucky.append((found[1].known, found[1].seeds))
    known, seeds = np.mean(noisy, axis=0)
    assert known == pytest.approx(seeds, rel=0.25)
    known, seeds = np.mean(lucky, axis=0)
    assert known < 0.1 * seeds


def test_what_draws_change_of_a_jackknife_is_written_down() -> None:
    rng = np.random.default_rng(3)
    moved = rng.normal(size=(4, 12)) + 5 * np.arange(4)[:, None]
    moved[1, 3] = np.nan
    kept = np.delete(moved, 3, axis=1)
    apart = kept - kept.mean(axis=1)[:, None]
    expected = sum(3 * column.var() for column in apart.T) / 10
    assert explained(moved) == pytest.approx(expected)
    assert explained(moved[:1]) == explained(moved[:, :1]) == 0.0


@pytest.mark.parametrize(("undefined", "known"), [(0, True), (10, True), (11, False), (400, False)])
def test_draws_that_leave_an_estimate_undefined_leave_its_variance_unknown(
    undefined: int, known: bool
) -> None:
    """Of the draws in which it has to be defined, one in a hundred may be missing."""
    draws = np.random.default_rng(0).normal(size=1200)
    usable = np.arange(1200) < 1000
    draws[~usable] = np.nan
    draws[:undefined] = np.nan
    found = quantity(0.0, draws, [], 50, usable)
    assert np.isfinite(found.patients) == known
    assert np.isfinite(quantity(0.0, draws, [], 50).patients)


def test_replicates_are_left_out_one_by_one_and_folds_count_alike() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(90) < 0.4).astype(np.float64)
    cohort = cohort_of(y, np.arange(90), "binary")
    said = rng.normal(size=(4, 90, 1))
    found = scored(cohort, "t", {-1: said})
    without = [scored(cohort, "t", {-1: said[[r for r in range(4) if r != one]]}).value for one in range(4)]
    assert found.left_out == pytest.approx(without)
    assert not len(scored(cohort, "t", {-1: said[:1]}).left_out)
    assert scores_by_replicate(cohort, "t", {-1: said}) == pytest.approx(
        [scored(cohort, "t", {-1: said[[one]]}).value for one in range(4)]
    )
    # Two parts of other sizes: the mean of their scores, not the score of their samples together.
    parts = {0: cohort.parts[-1], 1: replace(cohort.parts[-1], rows=np.arange(30), unit=np.arange(30))}
    both = replace(cohort, parts=parts)
    each = [roc_auc_score(y[:n], said[:, :n, 0].mean(axis=0)) for n in (90, 30)]
    assert scored(both, "t", {0: said, 1: said[:, :30]}).value == pytest.approx(np.mean(each))
