"""Calibration, ROC curves and agreement: known answers, referees, small groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from m3h_pipeline.evaluation import curves
from m3h_pipeline.evaluation.curves import agreement, roc
from m3h_pipeline.inference.intervals import effective_size, wilson


def uniform(n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    risk = rng.random(n)
    return (rng.random(n) < risk).astype(np.float64), risk, np.arange(n)


def calibration(y: Any, risk: Any, patient: Any, groups: Any, quantiles: int) -> list[dict[str, Any]]:
    return curves.calibration(y, {"multi": risk}, patient, groups, quantiles)["multi"]


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
    risk = np.repeat([0.1, 0.2, 0.9], [180, 75, 45])
    y = (np.arange(300) % 3 == 0).astype(np.float64)
    y[7] = np.nan
    rows = calibration(y, risk, np.arange(300), {}, 10)
    assert [(row["n"], round(row["predicted"], 6)) for row in rows] == [(179, 0.1), (75, 0.2), (45, 0.9)]
    for row, part in zip(rows, (slice(0, 180), slice(180, 255), slice(255, 300)), strict=True):
        assert row["observed"] == pytest.approx(np.nanmean(y[part]))
    constant = calibration(y, np.full(300, 0.3), np.arange(300), {}, 10)
    assert [row["n"] for row in constant] == [299]


def test_quantiles_of_subgroups_are_those_of_all_samples_and_small_groups_are_left_out() -> None:
    y, risk, patient = uniform(400)
    high, few = risk > 0.8, np.arange(400) < 9
    rows = calibration(y, risk, patient, {"high": high, "few": few}, 5)
    last = max(row["quantile"] for row in rows)
    assert {row["quantile"] for row in rows if row["subgroup"] == "high"} <= {last - 1, last}
    assert not [row for row in rows if row["subgroup"] == "few"]
    assert sum(row["n"] for row in rows if row["subgroup"] == "all") == 400


def test_subgroups_of_many_patients_are_shown_in_every_quantile() -> None:
    y, risk, patient = uniform(2000)
    half = np.arange(2000) % 2 == 0
    rows = calibration(y, risk, patient, {"female": half, "male": ~half}, 5)
    places = {(row["subgroup"], row["quantile"]) for row in rows}
    assert places == {(group, k) for group in ("all", "female", "male") for k in range(1, 6)}


def test_fewer_quantiles_where_they_would_be_small_and_none_without_samples() -> None:
    y, risk, patient = uniform(70)
    rows = calibration(y, risk, patient, {}, 10)
    assert [row["quantile"] for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row["n"] for row in rows) == 70
    assert calibration(y[:10], risk[:10], patient[:10], {}, 10) == []
    assert calibration(y, risk, patient // 10, {}, 10) == []  # seven patients
    assert calibration(np.full(50, np.nan), risk[:1].repeat(50), np.arange(50), {}, 10) == []
    assert calibration(y, np.full(70, np.nan), patient, {}, 10) == []


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(11, 600),
    rate=st.sampled_from([0.02, 0.1, 0.5, 0.97]),
    quantiles=st.integers(1, 10),
)
def test_no_rate_of_a_calibration_tells_of_few(seed: int, n: int, rate: float, quantiles: int) -> None:
    """Whoever multiplies rates by numbers, and takes differences of groups, finds no count of 1 to 10."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < rate).astype(np.float64)
    sex, ward = rng.random(n) < 0.4, rng.integers(0, 3, n)
    groups = {"f": sex, "m": ~sex, **{f"ward {w}": ward == w for w in range(3)}}
    risks = {arm: np.clip(rng.random(n) * 0.5 + 0.3 * y, 0, 1) for arm in ("multi", "single")}
    found = curves.calibration(y, risks, np.arange(n), groups, quantiles)
    for rows in found.values():
        known = {(r["subgroup"], r["quantile"]): (r["n"], r["observed"] * r["n"]) for r in rows}
        said = [np.array([size, events, size - events]) for size, events in known.values()]
        for family in (("f", "m"), ("ward 0", "ward 1", "ward 2")):
            for q in {r["quantile"] for r in rows}:
                parts = [
                    np.array([*known[g, q], known[g, q][0] - known[g, q][1]])
                    for g in family
                    if (g, q) in known
                ]
                whole = np.array([*known["all", q], known["all", q][0] - known["all", q][1]])
                said.append(whole - sum(parts))
        for counts in said:
            whole_numbers = np.round(counts)
            np.testing.assert_allclose(counts, whole_numbers, atol=1e-6)
            assert not ((whole_numbers > 0) & (whole_numbers < 11)).any()


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
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(40, 900),
    levels=st.sampled_from([2, 5, 1000]),
    each=st.integers(1, 3),
)
def test_roc_against_scikit_learn(seed: int, n: int, levels: int, each: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n).astype(np.float64)
    y[:3] = [0, 1, 2]
    probability = np.round((rng.random((n, 3)) + (y[:, None] == np.arange(3))) / 2 * levels) / levels
    y[rng.random(n) < 0.1] = np.nan
    seen, patient = ~np.isnan(y), np.arange(n) // each
    rows = roc(y, probability, patient, ("a", "b", "c"))
    for index, name in enumerate(("a", "b", "c")):
        curve = [row for row in rows if row["class_name"] == name]
        positive = y[seen] == index
        corners = curves.roc_corners(positive, probability[seen, index], patient[seen])
        if min(len(np.unique(patient[seen][positive == side])) for side in (True, False)) < 11:
            assert curve == []
            assert corners is None or not positive.any()
            continue
        assert corners is not None
        exact = roc_curve(positive, probability[seen, index], drop_intermediate=False)
        known = {(round(f, 12), round(t, 12)) for f, t in zip(*exact[:2], strict=True)}
        assert {(round(f, 12), round(t, 12)) for f, t in zip(*corners, strict=True)} <= known
        # Whoever multiplies the steps by the numbers of samples finds no count of 1 to 10.
        for rates, side in zip(corners, (False, True), strict=True):
            steps = np.round(np.diff(rates) * (positive == side).sum())
            assert not ((steps > 0) & (steps < 11)).any()
        assert len(curve) == 101
        assert curve[0]["auroc"] == pytest.approx(roc_auc_score(positive, probability[seen, index]))
        assert (curve[-1]["fpr"], curve[-1]["tpr"]) == (1, 1)
        heights = [row["tpr"] for row in curve]
        assert heights == sorted(heights)


def test_of_many_patients_the_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(20_000) < 0.3).astype(np.float64)
    risk = rng.normal(size=20_000) + y
    rows = roc(y, np.stack([-risk, risk], 1), np.arange(20_000), ("no", "yes"))
    curve = [row for row in rows if row["class_name"] == "yes"]
    fpr, tpr, _ = roc_curve(y, risk)
    expected = np.interp([row["fpr"] for row in curve], fpr, tpr)
    np.testing.assert_allclose([row["tpr"] for row in curve], expected, atol=0.01)


def test_a_perfect_class_rises_at_once_and_absent_few_or_only_classes_have_no_curve() -> None:
    y = np.repeat([0.0, 1.0, 3.0], [20, 20, 5])
    likely = np.repeat([[0.9, 0.1, 0, 0], [0.1, 0.9, 0, 0], [0, 0, 0, 0.9]], [20, 20, 5], axis=0)
    rows = roc(y, likely, np.arange(45), ("a", "b", "c", "d"))
    assert {row["class_name"] for row in rows} == {"a", "b"}
    assert {row["tpr"] for row in rows} == {1.0}
    assert roc(np.zeros(50), np.ones((50, 2)), np.arange(50), ("a", "b")) == []
    assert roc(y, likely, np.arange(45) % 4, ("a", "b", "c", "d")) == []  # four patients


# --- agreement ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(11, 700),
    scale=st.sampled_from([1e-3, 1.0, 1e5]),
    each=st.integers(1, 3),
)
def test_cells_hold_samples_within_their_edges_and_none_tells_of_few(
    seed: int, n: int, scale: float, each: int
) -> None:
    rng = np.random.default_rng(seed)
    y = scale * rng.lognormal(1, 1, n)
    predicted = {"single": y + scale * rng.normal(size=n), "multi": np.full(n, 2.0 * scale)}
    y[rng.random(n) < 0.05] = np.nan
    patient = np.arange(n) // each
    found = agreement(y, predicted, patient)
    columns: dict[float, dict[str, int]] = {}
    for model, values in predicted.items():
        for row in found[model]:
            inside = (y >= row["observed_low"] - 1e-9 * scale) & (y < row["observed_high"] + 1e-9 * scale)
            inside &= values >= row["predicted_low"] - 1e-9 * scale
            inside &= values < row["predicted_high"] + 1e-9 * scale
            assert inside.sum() >= row["n"]
            assert len(np.unique(patient[inside])) >= 11
            side = row["observed_high"] - row["observed_low"]
            assert row["predicted_high"] - row["predicted_low"] == pytest.approx(side)
            column = columns.setdefault(row["observed_low"], dict.fromkeys(predicted, 0))
            column[model] += row["n"]
        # What is left of all that have a label.
        rest = (~np.isnan(y)).sum() - sum(row["n"] for row in found[model])
        assert rest == 0 or rest >= 11 or not found[model]
    # Of one model all of a column may be shown: what the other lacks there is no count of few.
    for low, shown in columns.items():
        inside = (y >= low - 1e-9 * scale) & (y < low + side - 1e-9 * scale)
        if max(shown.values()) == inside.sum():
            rest = max(shown.values()) - min(shown.values())
            assert rest == 0 or rest >= 11


def test_both_models_share_one_grid_and_absurd_values_do_not_stretch_it() -> None:
    y = np.linspace(0, 48, 2000)
    found = agreement(y, {"single": y, "multi": np.where(y > 47.4, 1e12, y)}, np.arange(2000))
    lows = {row["predicted_low"] for rows in found.values() for row in rows}
    assert max(lows) < 1000
    assert all(row["observed_high"] - row["observed_low"] == 1 for rows in found.values() for row in rows)
    on_diagonal = [row for row in found["single"] if row["observed_low"] == row["predicted_low"]]
    # The last value, alone in its cell, is left out, and the smallest cell for its sake.
    assert 1900 < sum(row["n"] for row in on_diagonal) < 2000 - 11


def test_constant_or_absent_values_have_a_grid_too() -> None:
    constant = agreement(np.full(20, 3.0), {"multi": np.full(20, 3.0)}, np.arange(20))["multi"]
    assert [row["n"] for row in constant] == [20]
    assert agreement(np.full(5, np.nan), {"multi": np.ones(5)}, np.arange(5)) == {"multi": []}
    assert agreement(np.full(20, 3.0), {"multi": np.full(20, 3.0)}, np.zeros(20, int)) == {"multi": []}
