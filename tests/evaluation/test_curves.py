"""Calibration, ROC curves and agreement: known answers, referees, small groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from m3h_pipeline.evaluation.curves import agreement, calibration, roc
from m3h_pipeline.inference.intervals import effective_size, wilson


def uniform(n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    risk = rng.random(n)
    return (rng.random(n) < risk).astype(np.float64), risk, np.arange(n)


# --- calibration -------------------------------------------------------------------------------------------


def test_perfect_risks_lie_on_their_event_rates() -> None:
    y, risk, patient = uniform(20_000)
    rows = calibration(y, risk, patient, {}, 10)
    assert [row["quantile"] for row in rows] == list(range(1, 11))
    for k, row in enumerate(rows):
        assert row["n"] == 2000
        assert row["predicted"] == pytest.approx(0.05 + 0.1 * k, abs=0.02)
        assert row["low"] - 0.01 < row["predicted"] < row["high"] + 0.01


def test_every_labelled_sample_is_in_one_quantile_and_equal_risks_stay_together() -> None:
    risk = np.repeat([0.1, 0.2, 0.9], [60, 25, 15])
    y = (np.arange(100) % 3 == 0).astype(np.float64)
    y[7] = np.nan
    rows = calibration(y, risk, np.arange(100), {}, 10)
    assert [(row["n"], round(row["predicted"], 6)) for row in rows] == [(59, 0.1), (25, 0.2), (15, 0.9)]
    for row, part in zip(rows, (slice(0, 60), slice(60, 85), slice(85, 100)), strict=True):
        assert row["observed"] == pytest.approx(np.nanmean(y[part]))
    constant = calibration(y, np.full(100, 0.3), np.arange(100), {}, 10)
    assert [row["n"] for row in constant] == [99]


def test_quantiles_of_subgroups_are_those_of_all_samples_and_small_groups_are_left_out() -> None:
    y, risk, patient = uniform(400)
    high, few = risk > 0.8, np.arange(400) < 9
    rows = calibration(y, risk, patient, {"high": high, "few": few}, 5)
    assert {(row["subgroup"], row["quantile"]) for row in rows if row["subgroup"] == "high"} <= {
        ("high", 4),
        ("high", 5),
    }
    assert not [row for row in rows if row["subgroup"] == "few"]
    assert sum(row["n"] for row in rows if row["subgroup"] == "all") == 400


def test_fewer_quantiles_where_they_would_be_small_and_none_without_samples() -> None:
    y, risk, patient = uniform(35)
    assert {row["quantile"] for row in calibration(y, risk, patient, {}, 10)} == {1, 2, 3}
    assert all(row["n"] >= 10 for row in calibration(y, risk, patient, {}, 10))
    assert calibration(y[:9], risk[:9], patient[:9], {}, 10) == []
    assert calibration(np.full(50, np.nan), risk[:1].repeat(50), np.arange(50), {}, 10) == []
    assert calibration(y, np.full(35, np.nan), patient, {}, 10) == []


@given(k=st.integers(0, 40), n=st.integers(40, 300))
def test_wilson_against_scipy(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(k / n, n), (expected.low, expected.high), atol=1e-12)


def test_intervals_count_patients_not_their_repeated_samples() -> None:
    """Every patient five times: as much information as once."""
    y, risk, patient = uniform(200)
    once = calibration(y, risk, patient, {}, 1)[0]
    five = calibration(y.repeat(5), risk.repeat(5), patient.repeat(5), {}, 1)[0]
    for key in ("observed", "low", "high"):
        assert five[key] == pytest.approx(once[key])
    assert five["n"] == 5 * once["n"]
    assert effective_size(np.ones(30), np.repeat(np.arange(10), 3)) == 10


def test_wilson_intervals_cover_with_several_samples_per_patient() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        patient = np.repeat(np.arange(60), 4)
        p = np.where(rng.random(60) < 0.5, 0.1, 0.5)[patient]  # patients differ: samples are alike
        event = (rng.random(240) < p).astype(float)
        low, high = wilson(event.mean(), effective_size(event, patient))
        covered += low <= 0.3 <= high
    assert 0.92 <= covered / 400 <= 0.98


# --- ROC ---------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([2, 5, 1000]))
def test_roc_against_scikit_learn(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 60).astype(np.float64)
    y[:3] = [0, 1, 2]
    probability = np.round(rng.random((60, 3)) * levels) / levels
    y[rng.random(60) < 0.1] = np.nan
    seen = ~np.isnan(y)
    rows = roc(y, probability, ("a", "b", "c"))
    for index, name in enumerate(("a", "b", "c")):
        curve = [row for row in rows if row["class_name"] == name]
        positive = y[seen] == index
        if not positive.any():
            assert curve == []
            continue
        fpr, tpr, _ = roc_curve(positive, probability[seen, index], drop_intermediate=False)
        assert len(curve) == 101
        assert curve[0]["auroc"] == pytest.approx(roc_auc_score(positive, probability[seen, index]))
        for row in curve[1:-1]:
            upper = tpr[fpr <= row["fpr"]].max()
            following = tpr[fpr >= row["fpr"]].min()
            assert min(upper, following) - 1e-9 <= row["tpr"] <= max(upper, following) + 1e-9
        assert (curve[-1]["fpr"], curve[-1]["tpr"]) == (1, 1)
        heights = [row["tpr"] for row in curve]
        assert heights == sorted(heights)


def test_a_perfect_class_rises_at_once_and_absent_or_only_classes_have_no_curve() -> None:
    y = np.array([0.0, 0, 1, 1])
    rows = roc(y, np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.2, 0.8, 0]]), ("a", "b", "c"))
    assert {row["class_name"] for row in rows} == {"a", "b"}
    assert {row["tpr"] for row in rows} == {1.0}
    assert roc(np.zeros(5), np.ones((5, 2)), ("a", "b")) == []


# --- agreement ---------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e5]))
def test_cells_hold_every_sample_within_their_edges(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    y = scale * rng.lognormal(1, 1, 300)
    predicted = {"single": y + scale * rng.normal(size=300), "multi": np.full(300, 2.0 * scale)}
    y[:10] = np.nan
    found = agreement(y, predicted)
    for model, values in predicted.items():
        assert sum(row["n"] for row in found[model]) == 290
        for row in found[model]:
            inside = (y >= row["observed_low"] - 1e-9 * scale) & (y < row["observed_high"] + 1e-9 * scale)
            inside &= values >= row["predicted_low"] - 1e-9 * scale
            inside &= values < row["predicted_high"] + 1e-9 * scale
            assert inside.sum() >= row["n"]
            side = row["observed_high"] - row["observed_low"]
            assert row["predicted_high"] - row["predicted_low"] == pytest.approx(side)


def test_both_models_share_one_grid_and_absurd_values_do_not_stretch_it() -> None:
    y = np.linspace(0, 48, 500)
    found = agreement(y, {"single": y, "multi": np.where(y > 47.9, 1e12, y)})
    lows = {row["predicted_low"] for rows in found.values() for row in rows}
    assert max(lows) < 1000
    assert all(row["observed_high"] - row["observed_low"] == 1 for rows in found.values() for row in rows)
    on_diagonal = [row for row in found["single"] if row["observed_low"] == row["predicted_low"]]
    assert sum(row["n"] for row in on_diagonal) == 500


def test_constant_or_absent_values_have_a_grid_too() -> None:
    constant = agreement(np.full(20, 3.0), {"multi": np.full(20, 3.0)})["multi"]
    assert [row["n"] for row in constant] == [20]
    assert agreement(np.full(5, np.nan), {"multi": np.ones(5)}) == {"multi": []}
