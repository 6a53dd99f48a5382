"""Median, typical distance, robust mean and deviation of columns, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

from m3h_pipeline.features.spread import FARTHEST, NORMAL, spread

VALUES = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, -1.0, np.nan]), st.floats(-(2.0**99), 2.0**99, width=32)),
    max_size=30,
)


@given(VALUES)
def test_it_is_what_it_says(values: list[float]) -> None:
    x = np.array(values, dtype=np.float32).astype(np.float64)[:, None]
    seen = x[~np.isnan(x)]
    found = [float(value[0]) for value in spread(x)]
    if not len(seen):
        assert found == [0.0] * 4
        return
    centre = np.median(seen)
    distance = np.abs(seen - centre)
    apart = distance[distance > 0]
    typical = np.median(apart) if len(apart) else 0.0
    counted = np.clip(seen, centre - FARTHEST * typical, centre + FARTHEST * typical)
    want = [centre, typical, counted.mean(), counted.std()]
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9 * typical)


def test_of_ordinary_values_it_is_the_ordinary_deviation() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(5000, 300))
    found = spread(x)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, x.std(axis=0), rtol=1e-9)
    # Without ties the typical distance is the median absolute deviation.
    np.testing.assert_allclose(NORMAL * found.typical, median_abs_deviation(x, scale="normal"), rtol=1e-3)
    rare = (np.random.default_rng(1).random((5000, 1)) < 0.05).astype(float)
    assert spread(rare).deviation == pytest.approx(rare.std())


@given(st.floats(1e3, 1e38), st.booleans())
def test_one_absurd_value_among_many_changes_little(absurd: float, negative: bool) -> None:
    x = np.random.default_rng(2).normal(size=(200, 1))
    spoiled = np.concatenate([x, [[-absurd if negative else absurd]]])
    assert spread(spoiled).deviation[0] < 1.2 * spread(x).deviation[0]


def test_rows_of_nothing_are_no_error() -> None:
    assert [part.shape for part in spread(np.zeros((0, 3)))] == [(3,)] * 4
