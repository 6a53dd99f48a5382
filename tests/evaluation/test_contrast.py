"""Scores and differences with their uncertainty: jackknife, the floor of seeds, coverage, false alarms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from m3h_pipeline.evaluation.cohort import Cohort, Part
from m3h_pipeline.evaluation.contrast import (
    RELATIVE_FLOOR,
    Contrast,
    Quantity,
    contrast,
    ensemble,
    intervals,
    relative_improvement,
)
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.intervals import bounded, jackknife_variance, paired_interval
from m3h_pipeline.tasks.assessed import Task

Floats = npt.NDArray[np.floating[Any]]


def cohort_of(y: Floats, patient: npt.NDArray[np.intp], kind: str, draws: int = 100, seed: int = 0) -> Cohort:
    metric = {"binary": "auroc", "regression": "r2", "clustering": "silhouette"}[kind]
    weights = np.ascontiguousarray(patient_counts(int(patient.max()) + 1, draws, seed).T)
    part = Part(np.arange(len(y)), patient, weights)
    return Cohort({"t": Task("t", kind, metric)}, {"t": y.astype(np.float32)}, {-1: part}, patient)


def test_ensembles_are_means_and_clusters_those_of_the_first_replicate() -> None:
    values = np.array([[[0.2], [0.4]], [[0.4], [0.8]]])
    np.testing.assert_allclose(ensemble(values, "binary"), [[0.3], [0.6]])
    clusters = np.array([[[3.0, 0.1]], [[7.0, 0.5]]])
    np.testing.assert_allclose(ensemble(clusters, "clustering"), [[3.0, 0.3]])


def test_jackknife_of_a_mean_is_its_variance() -> None:
    """For a statistic that is a mean, the jackknife is exactly s² / n."""
    values = np.random.default_rng(0).normal(size=7)
    left_out = (values.sum() - values) / 6
    assert jackknife_variance(left_out) == pytest.approx(values.var(ddof=1) / 7)
    assert np.isnan(jackknife_variance(np.array([0.3])))


def quantities(patients: float, seeds: float, value: float = 0.1) -> dict[str, Quantity]:
    return {name: Quantity(value, patients, seeds) for name in ("single", "multi", "difference", "relative")}


def test_seeds_that_agree_by_luck_are_lent_the_variance_of_other_tasks() -> None:
    lucky, usual = quantities(1e-4, 1e-9), quantities(2e-4, 4e-4)
    arms = [Contrast("a", "auroc", lucky, 200, 5, False)]
    arms += [Contrast(name, "auroc", usual, 200, 5, False) for name in "bc"]
    first, second, _ = intervals(arms, "difference")
    assert first.standard_error == pytest.approx(np.sqrt(1e-4 + 2e-4))
    assert second.standard_error == pytest.approx(np.sqrt(2e-4 + 4e-4))
    # Tasks of another metric lend nothing.
    arms[0] = Contrast("a", "r2", lucky, 200, 5, False)
    assert intervals(arms, "difference")[0].standard_error == pytest.approx(1e-2, rel=1e-3)


def test_the_same_model_has_no_difference_but_its_score_an_interval() -> None:
    one = Contrast("a", "auroc", quantities(1e-4, 1e-4, 0.0), 200, 5, True)
    difference, single = intervals([one], "difference")[0], intervals([one], "single")[0]
    assert (difference.low, difference.high, difference.p) == (0, 0, 1)
    assert single.low < 0 < single.high


def test_intervals_of_scores_stay_within_the_metric() -> None:
    wide = paired_interval(0.98, [(0.01, 50.0)])
    assert bounded(wide, "auroc")[1] == 1
    assert bounded(paired_interval(-0.9, [(0.1, 50.0)]), "silhouette")[0] == -1
    assert bounded(paired_interval(-3.0, [(0.1, 50.0)]), "r2")[0] == pytest.approx(-3.6351, abs=1e-3)


def test_an_undefined_score_has_an_undefined_interval() -> None:
    y = np.zeros(40)
    values = np.random.default_rng(0).random((3, 40, 1))
    found = contrast(cohort_of(y, np.arange(40), "binary"), "t", -1, values, values[::-1])
    for name in ("single", "difference", "relative"):
        interval = intervals([found], name)[0]
        assert np.isnan([interval.estimate, interval.low, interval.p]).all()


def test_a_ratio_to_a_score_near_0_is_undefined() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    single, multi = rng.normal(size=(2, 200, 1)), y[None, :, None] + rng.normal(size=(2, 200, 1)) / 3
    found = contrast(cohort_of(y, np.arange(200), "regression"), "t", -1, single, multi)
    assert np.isnan(intervals([found], "relative")[0].estimate)
    assert intervals([found], "difference")[0].low > 0


def simulate(
    rng: np.random.Generator, gain: float, patients: int = 90, replicates: int = 5
) -> tuple[Cohort, Floats, Floats]:
    """Patients with one to three like samples; two arms whose scores share noise, and differ by seeds.

    With a gain, the multitask arm is better by a known amount of its mean score's signal.
    """
    patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    risk = rng.normal(size=patients)[patient]
    y = (risk + rng.normal(size=patients)[patient] > 0.4).astype(np.float64)
    n = len(y)
    common = 0.6 * rng.normal(size=patients)[patient] + 0.4 * rng.normal(size=n)
    arms = []
    for signal in (0.6, 0.6 + gain):
        own = 0.5 * rng.normal(size=patients)[patient] + 0.3 * rng.normal(size=n)
        seeds = 0.4 * rng.normal(size=(replicates, n)) + 0.25 * rng.normal(size=(replicates, 1)) * risk
        arms.append((signal * risk + common + own + seeds)[:, :, None])
    return cohort_of(y, patient, "binary", draws=100, seed=int(rng.integers(1 << 30))), arms[0], arms[1]


def test_no_difference_is_rarely_significant_and_intervals_cover() -> None:
    """Arms of equal quality whose models, patients and seeds differ: 0 is covered in about 95 %."""
    rng = np.random.default_rng(8)
    studies, significant = 400, 0
    for _ in range(studies):
        cohort, single, multi = simulate(rng, 0.0)
        interval = intervals([contrast(cohort, "t", -1, single, multi)], "difference")[0]
        assert (interval.low <= 0 <= interval.high) == (interval.p >= 0.05)
        significant += interval.p < 0.05
    assert binom.ppf(0.001, studies, 0.015) <= significant <= binom.ppf(0.999, studies, 0.06)


def test_intervals_of_a_true_difference_cover_it() -> None:
    rng = np.random.default_rng(9)
    true = _true_difference(0.5)
    assert 0.03 < true < 0.2
    covered = powerful = 0
    for _ in range(300):
        cohort, single, multi = simulate(rng, 0.5)
        interval = intervals([contrast(cohort, "t", -1, single, multi)], "difference")[0]
        covered += interval.low <= true <= interval.high
        powerful += interval.low > 0
    assert binom.ppf(0.001, 300, 0.93) <= covered
    assert powerful > 40


def _true_difference(gain: float) -> float:
    """The difference in a population so large that patients do not matter, averaged over many seeds."""
    rng = np.random.default_rng(10)
    found = [simulate(rng, gain, patients=4000) for _ in range(10)]
    return float(np.mean([contrast(c, "t", -1, s, m).quantities["difference"].value for c, s, m in found]))


def test_relative_improvement_needs_a_reference_that_means_something() -> None:
    single = np.array([0.8, RELATIVE_FLOOR, 0.049, 0.0, -0.2, np.nan])
    found = relative_improvement(single + 0.08, single)
    np.testing.assert_allclose(found, [0.1, 0.08 / RELATIVE_FLOOR, *[np.nan] * 4])
