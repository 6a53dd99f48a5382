"""Thresholds, conformal intervals, histograms: against scikit-learn, simulated truth, and of few patients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from m3h_pipeline.bundle.making.conformal import half_width, rounded_up
from m3h_pipeline.bundle.making.people import _subgroup
from m3h_pipeline.bundle.making.sketches import sketch
from m3h_pipeline.bundle.making.thresholds import thresholds
from m3h_pipeline.config import Thresholds


def binary(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n) - 0.5
    p = 1 / (1 + np.exp(-risk))
    y = (rng.random(n) < p).astype(np.float32)
    y[rng.random(n) < 0.1] = np.nan
    return y, p, np.arange(n)


def test_thresholds_are_those_of_a_roc_curve() -> None:
    seen, test = binary(3000), binary(2000, 1)
    found = thresholds(seen, test, Thresholds())
    assert len(found) == 1 + len(Thresholds().sensitivity) + len(Thresholds().alerts)
    known = ~np.isnan(seen[0])
    y, p = seen[0][known], seen[1][known]
    fpr, tpr, _ = roc_curve(y, np.round(p, 4))
    best = found[0].validation
    assert best.sensitivity is not None
    assert best.specificity is not None
    assert best.sensitivity + best.specificity - 1 == pytest.approx(float((tpr - fpr).max()), abs=2e-3)
    for one in found[1:]:
        assert one.target is not None
        above = p >= one.value
        if one.chosen_for == "sensitivity":
            assert (above & (y == 1)).sum() / (y == 1).sum() >= one.target
            higher = p >= one.value + 2e-3
            assert (higher & (y == 1)).sum() / (y == 1).sum() < one.target
        else:
            assert above.mean() <= one.target
            assert (p >= one.value - 2e-3).mean() > one.target
        held = ~np.isnan(test[0])
        if one.test.alerts is not None:
            assert one.test.alerts == pytest.approx(float((test[1][held] >= one.value).mean()), abs=1e-4)


@given(st.integers(0, 10_000), st.integers(20, 400))
@settings(deadline=None, max_examples=40)
def test_rates_tell_of_no_few_patients(seed: int, n: int) -> None:
    """Counts behind rates that are shown are of at least 11 patients; so is what two thresholds differ by."""
    y, p, patient = binary(n, seed)
    patient = patient // 2
    shown: list[float] = []
    for one in thresholds((y, p, patient), (y, p, patient), Thresholds()):
        if one.validation.sensitivity is None:
            continue
        cells = tuple(
            len(np.unique(patient[(y == event) & ((p >= one.value) == above)]))
            for event in (0, 1)
            for above in (True, False)
        )
        assert all(c == 0 or c >= 11 for c in cells)
        for other in shown:
            for event in (0, 1):
                between = len(np.unique(patient[(y == event) & ((p >= one.value) != (p >= other))]))
                assert between == 0 or between >= 11
        shown.append(one.value)


def test_intervals_hold_nine_in_ten_new_patients() -> None:
    """Over many small studies, of patients with one to six samples that are alike."""
    rng = np.random.default_rng(5)
    held = []
    for _ in range(300):
        size = rng.integers(1, 7, 60)
        patient = np.repeat(np.arange(60), size)
        residual = rng.normal(size=60)[patient] * 3 + rng.standard_t(4, len(patient))
        found = half_width(residual, patient)
        assert found is not None
        new = rng.integers(1, 7, 400)
        whose = np.repeat(np.arange(400), new)
        inside = np.abs(rng.normal(size=400)[whose] * 3 + rng.standard_t(4, len(whose))) <= found[0]
        # Of each new patient one sample.
        held.append(np.bincount(whose, inside) @ (1 / new) / 400)
    assert 0.88 <= np.mean(held) <= 0.92


@given(st.floats(1e-6, 1e9))
def test_a_half_width_is_rounded_up_by_less_than_a_hundredth(value: float) -> None:
    assert value * (1 - 1e-8) <= rounded_up(value) <= value * 1.0101


@pytest.mark.parametrize("kind", ["normal", "flags", "rare", "sparse", "whole"])
def test_histograms_have_no_bin_of_few_patients(kind: str) -> None:
    rng = np.random.default_rng(1)
    n = 500
    x = {
        "normal": rng.normal(50, 9, n),
        "flags": (rng.random(n) < 0.3).astype(float),
        "rare": (np.arange(n) < 7).astype(float),
        "sparse": np.where(rng.random(n) < 0.9, 0, rng.exponential(5, n)),
        "whole": rng.integers(0, 9, n).astype(float),
    }[kind]
    x[rng.random(n) < 0.1] = np.nan
    patient = np.arange(n) // 2
    one = sketch(x[:, None].astype(np.float32), patient)
    edges = one.edges[0][np.isfinite(one.edges[0])]
    place = np.searchsorted(edges, x, side="right")
    seen = ~np.isnan(x)
    for b in range(len(edges) + 1):
        assert len(np.unique(patient[seen & (place == b)])) >= 11
        assert one.shares[0, b] == pytest.approx((seen & (place == b)).sum() / seen.sum(), abs=1e-3)
    assert (len(edges) > 0) == (kind != "rare")
    assert one.missing[0] == pytest.approx(np.isnan(x).mean(), abs=1e-3)
    for low, beyond in ((True, x < one.low[0]), (False, x > one.high[0])):
        assert len(np.unique(patient[seen & beyond])) < 11, low
    if kind == "normal":
        assert one.low[0] > np.nanmin(x)
        assert one.high[0] < np.nanmax(x)


def test_a_feature_of_few_patients_says_nothing() -> None:
    x = np.full((100, 2), np.nan, dtype=np.float32)
    x[:8, 0] = 3.5
    x[4:, 1] = 1.0
    one = sketch(x, np.arange(100))
    assert np.isnan(one.edges).all()
    assert np.isnan(one.missing).all()
    assert not one.shares[0].any()
    assert np.isnan(one.low[0])


def test_groups_of_few_patients_are_other() -> None:
    values = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 6 + ["d"] * 7 + [None] * 20, dtype=object)
    assert _subgroup(values, np.arange(123)) == {"a": 60, "b": 30, "missing": 20, "other": 13}
    few = _subgroup(np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 6, dtype=object), np.arange(96))
    assert few["a"] == 60
    assert few["other"] is None
    assert few["b"] is None
