"""Curves and scores of censored times: scikit-survival is the referee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sksurv.compare import compare_survival
from sksurv.metrics import brier_score, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from m3h_pipeline.inference.censored import Curve, brier, dynamic_auroc, log_rank, uno_concordance

Array = npt.NDArray[Any]


def _same(found: Array, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@dataclass(frozen=True)
class Times:
    """Times and events of a training and of a tested part, risks and curves of the tested one."""

    training: tuple[Array, Array]
    time: Array
    event: Array
    risk: Array
    rng: np.random.Generator

    @property
    def censoring(self) -> Curve:
        return Curve.of(*self.training, censoring=True)

    def grid(self) -> Array:
        """Times within both follow-ups, of which each has had an event."""
        end = min(self.training[0].max(), self.time.max())
        grid: Array = np.unique(np.quantile(self.time[self.event], [0.1, 0.3, 0.5, 0.7, 0.9]))
        inside: Array = grid[grid < end]
        return inside

    def referee(self, end: float) -> tuple[Array, Array]:
        """Both parts as scikit-survival wants them, the tested one observed until ``end``."""
        over = self.time > end
        time = np.where(over, np.nextafter(end, np.inf), self.time)
        return Surv.from_arrays(*self.training[::-1]), Surv.from_arrays(self.event & ~over, time)


@st.composite
def times(draw: st.DrawFn) -> Times:
    """Of few to many, with and without times, risks and both of several people that are the same."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, m = draw(st.integers(4, 150)), draw(st.integers(20, 150))
    tied, seen = draw(st.booleans()), draw(st.sampled_from([0.2, 0.6, 0.95]))

    def part(k: int) -> tuple[Array, Array]:
        time = rng.exponential(10, k)
        return np.ceil(time) if tied else time, rng.random(k) < seen

    training, (time, event) = part(m), part(n)
    assume(event.any() and training[1].any())
    risk = rng.normal(size=n).round(draw(st.sampled_from([0, 1, 9])))
    return Times(training, time, event, risk, rng)


@settings(max_examples=60, deadline=None)
@given(times())
def test_curves_and_their_bands(one: Times) -> None:
    time, survival, band = kaplan_meier_estimator(one.event, one.time, conf_type="log-log")
    curve = Curve.of(one.time, one.event)
    np.testing.assert_array_equal(curve.time, time)
    _same(curve.survival, survival)
    _same(curve.band(), band)
    _, seen = kaplan_meier_estimator(one.event, one.time, reverse=True)
    _same(Curve.of(one.time, one.event, censoring=True).survival, seen)


def test_a_curve_between_and_beyond_its_times() -> None:
    curve = Curve.of(np.array([1.0, 2.0, 2.0, 4.0]), np.array([True, True, False, False]))
    _same(curve.at(np.array([0.5, 1, 1.5, 2, 3, 4])), [1, 0.75, 0.75, 0.5, 0.5, 0.5])
    assert np.isnan(curve.at(np.array([5.0]))).all()
    assert Curve.of(np.array([1.0]), np.array([True])).at(np.array([5.0])).tolist() == [0.0]
    assert Curve.of(np.zeros(0), np.zeros(0, dtype=bool)).at(np.array([1.0])).tolist() == [1.0]


@settings(max_examples=60, deadline=None)
@given(times(), st.integers(2, 4))
def test_the_log_rank_test(one: Times, groups: int) -> None:
    group = one.rng.integers(0, groups, len(one.time))
    assume(len(np.unique(group)) > 1)
    try:
        expected = float(compare_survival(Surv.from_arrays(one.event, one.time), group)[1])
    except np.linalg.LinAlgError:
        expected = np.nan
    assert log_rank(one.time, one.event, group) == pytest.approx(expected, rel=1e-6, abs=1e-10, nan_ok=True)


def test_nothing_to_compare() -> None:
    time, event = np.arange(1.0, 5), np.array([True, False, True, False])
    assert np.isnan(log_rank(time, event, np.zeros(4, dtype=int)))
    assert np.isnan(log_rank(time, np.zeros(4, dtype=bool), np.array([0, 1, 0, 1])))
    censoring = Curve.of(time, event, censoring=True)
    assert np.isnan(uno_concordance(censoring, time, np.zeros(4, dtype=bool), time, 9.0))
    # Nobody of the training part was watched for so long: what weight an event has then is not known.
    assert np.isnan(uno_concordance(censoring, time + 3, event, time, 9.0))


@settings(max_examples=60, deadline=None)
@given(times())
def test_uno_s_concordance(one: Times) -> None:
    grid = one.grid()
    assume(len(grid))
    end = float(np.nextafter(grid[-1], np.inf))
    expected = concordance_index_ipcw(*one.referee(grid[-1]), one.risk, tau=end)[0]
    found = uno_concordance(one.censoring, one.time, one.event, one.risk, end)
    assert found == pytest.approx(expected, abs=1e-8)


def test_events_count_before_the_end_and_not_at_it() -> None:
    time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, True, False, False])
    # Right for the first event, wrong for the second.
    risk = np.array([9.0, 0.0, 1.0, 1.0])
    survival = Surv.from_arrays(event, time)
    for end, expected in ((2.0, 1.0), (2.5, 0.6)):
        assert concordance_index_ipcw(survival, survival, risk, tau=end)[0] == pytest.approx(expected)
        found = uno_concordance(Curve.of(time, event, censoring=True), time, event, risk, end)
        assert found == pytest.approx(expected)


def test_uno_s_concordance_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More pairs than fit at once."""
    rng = np.random.default_rng(0)
    time, event, risk = rng.exponential(10, 3000), rng.random(3000) < 0.7, rng.normal(size=3000)
    survival = Surv.from_arrays(event, time)
    end = float(np.quantile(time, 0.8))
    expected = concordance_index_ipcw(survival, survival, risk, tau=end)[0]
    found = uno_concordance(Curve.of(time, event, censoring=True), time, event, risk, end)
    assert found == pytest.approx(expected, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(times())
def test_auroc_and_brier_score_over_time(one: Times) -> None:
    grid = one.grid()
    assume(len(grid))
    expected, mean = cumulative_dynamic_auc(*one.referee(grid[-1]), one.risk, grid)
    found, of_all = dynamic_auroc(one.censoring, one.time, one.event, one.risk, grid)
    _same(found, expected)
    assert of_all == pytest.approx(mean, abs=1e-8)
    survival = one.rng.random((len(one.time), len(grid)))
    _, error = brier_score(*one.referee(grid[-1]), survival, grid)
    _same(brier(one.censoring, one.time, one.event, survival, grid), error)
