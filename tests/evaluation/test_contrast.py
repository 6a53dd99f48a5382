"""A task's two arms: an undefined score, a ratio to nothing, coverage, false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import binom

from m3h_pipeline.evaluation.contrast import RELATIVE_FLOOR, contrast, intervals, relative_improvement
from m3h_pipeline.inference.resampled import Cohort
from tests.inference.cohorts import Floats, cohort_of


def test_the_same_model_has_no_difference_but_its_score_an_interval() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(80) < 0.4).astype(np.float64)
    values = y[None, :, None] + rng.normal(size=(3, 80, 1))
    # A fit in the other arm that said something else would not matter.
    one = contrast(cohort_of(y, np.arange(80), "binary"), "t", -1, values, values[:, ::-1], identical=True)
    difference, single = intervals([one], "difference")["t"], intervals([one], "single")["t"]
    assert (difference.estimate, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
    assert single.low < single.estimate < single.high
    assert intervals([one], "multi")["t"] == single


def test_a_model_that_is_both_arms_has_one_interval_whatever_the_others_lend() -> None:
    """Of a finished study: alone 0.809 (0.693 to 0.925), "together" 0.809 (0.687 to 0.931), of one model."""
    rng = np.random.default_rng(3)
    y = (rng.random(120) < 0.4).astype(np.float64)
    cohort = cohort_of(y, np.arange(120), "binary")

    def seeds(spread: float) -> Floats:
        return np.asarray(y[None, :, None] + spread * rng.normal(size=(3, 120, 1)))

    single = seeds(1.0)
    mine = contrast(cohort, "t", -1, single, single, identical=True)
    others = [replace(contrast(cohort, "t", -1, seeds(1.0), seeds(4.0)), task=f"other{i}") for i in range(3)]
    known = {name: intervals([mine, *others], name) for name in ("single", "multi")}
    assert known["multi"]["t"] == known["single"]["t"]
    assert all(known["multi"][one.task] != known["single"][one.task] for one in others)


def test_an_undefined_score_has_an_undefined_interval() -> None:
    y = np.zeros(40)
    values = np.random.default_rng(0).random((3, 40, 1))
    found = contrast(cohort_of(y, np.arange(40), "binary"), "t", -1, values, values[::-1])
    for name in ("single", "difference", "relative"):
        interval = intervals([found], name)["t"]
        assert np.isnan([interval.estimate, interval.low, interval.p]).all()


def test_a_ratio_to_a_score_near_0_is_undefined() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    single, multi = rng.normal(size=(5, 200, 1)), y[None, :, None] + rng.normal(size=(5, 200, 1)) / 3
    found = contrast(cohort_of(y, np.arange(200), "regression"), "t", -1, single, multi)
    assert np.isnan(intervals([found], "relative")["t"].estimate)
    assert intervals([found], "difference")["t"].low > 0


def test_a_ratio_that_some_draws_leave_undefined_has_no_interval() -> None:
    """An R² of 0.06 in 100 patients is below the floor in many a draw: leaving those out would flatter it."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=100)
    noise = rng.normal(size=(2, 100, 1))
    single, multi = 0.04 * y[None, :, None] + 0.15 * noise, y[None, :, None] + noise / 3
    found = contrast(cohort_of(y, np.arange(100), "regression"), "t", -1, single, multi)
    relative, difference = intervals([found], "relative")["t"], intervals([found], "difference")["t"]
    assert relative.estimate > 1
    assert np.isnan([relative.low, relative.high, relative.p]).all()
    assert difference.low > 0


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
        interval = intervals([contrast(cohort, "t", -1, single, multi)], "difference")["t"]
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
        interval = intervals([contrast(cohort, "t", -1, single, multi)], "difference")["t"]
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
