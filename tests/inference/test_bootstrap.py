"""Drawn patients: what a bootstrap of them is, and that its intervals cover the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from m3h_pipeline.inference.bootstrap import bootstrap_variance, patient_counts, percentile_interval
from m3h_pipeline.inference.intervals import paired_interval
from m3h_pipeline.inference.metrics import metric, metric_draws

Array = npt.NDArray[Any]


def test_counts_are_a_bootstrap_of_patients() -> None:
    counts = patient_counts(50, 4000, seed=1)
    assert (counts.sum(axis=1) == 50).all()
    # A count is binomial (50, 1/50): its mean is 1, its variance 1 - 1/50.
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.03)
    assert np.array_equal(patient_counts(50, 10, seed=1), counts[:10])
    assert not np.array_equal(patient_counts(50, 10, seed=2), counts[:10])


def test_a_bootstrap_needs_patients_and_draws() -> None:
    for n_patients, n_draws in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match="must be positive"):
            patient_counts(n_patients, n_draws, seed=0)


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
            draws = metric_draws(
                "auroc", y, scores, patient_counts(int(index.max()) + 1, 200, seed)[:, index]
            )
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
