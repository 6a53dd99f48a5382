"""The vectorised statistics against pandas, numpy and scipy, series by series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.cohort.mimic.series import EVENT_TABLES, STATISTICS
from m3h_pipeline.cohort.mimic.statistics import series_statistics
from tests.cohort.mimic.reference import statistics

# Few distinct values, so that ties and plateaus are common; and values far from zero.
VALUES = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e4, 1e4, width=32), st.just(1e6))


@pytest.mark.parametrize("published", [False, True])
@given(st.lists(st.lists(VALUES, max_size=12), min_size=1, max_size=8))
def test_equal_to_one_series_at_a_time(published: bool, series: list[list[float]]) -> None:
    values = np.array([value for one in series for value in one])
    counts = np.array([len(one) for one in series])
    found = series_statistics(values, counts, zero_appended=published)
    expected = np.array([statistics(pd.Series(one, dtype=float), published) for one in series])
    np.testing.assert_allclose(
        found, expected, rtol=1e-6, atol=1e-6 * max(1.0, np.abs(values).max(initial=0))
    )
    # What only counts or copies is exact.
    for name in ("max", "min", "npeaks"):
        column = STATISTICS.index(name)
        np.testing.assert_array_equal(found[:, column], expected[:, column])


def test_a_peak_of_one_series_is_none_of_its_neighbour() -> None:
    values, counts = np.array([1.0, 3.0, 2.0, 5.0, 2.0]), np.array([2, 0, 3])
    peaks = series_statistics(values, counts)[:, STATISTICS.index("npeaks")]
    np.testing.assert_array_equal(peaks, [0, np.nan, 1])


def test_no_series_has_an_event() -> None:
    assert np.isnan(series_statistics(np.empty(0), np.zeros(3, dtype=np.int64))).all()
    assert not series_statistics(np.empty(0), np.zeros(3, dtype=np.int64), zero_appended=True).any()


def test_names_and_units_are_as_many_as_published() -> None:
    assert [len(events.names) for events in EVENT_TABLES] == [99, 242, 110]
    for events in EVENT_TABLES:
        assert len(events.units) == len(set(events.names)) == len(events.names)
    assert EVENT_TABLES[0].names[:2] == ["Heart Rate_max", "Heart Rate_min"]
    assert EVENT_TABLES[0].units[3:5] == ["(bpm)^2", "bpm per event"]
