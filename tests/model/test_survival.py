"""Survival: likelihoods written by hand; curves, baseline hazards, concordance of scikit-survival."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.linear_model.coxph import BreslowEstimator
from sksurv.metrics import concordance_index_censored

from m3h_pipeline.coding import SURVIVAL_TIMES, signed_time, time_and_event
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.model.metrics import concordance
from m3h_pipeline.model.survival import cox_loss, discrete_loss, discrete_prediction
from m3h_pipeline.survival import (
    bin_edges,
    breslow,
    cox_prediction,
    interpolation,
    marginal_logits,
    resolution,
    survived_bins,
    time_grid,
)

Outcome = tuple[np.ndarray, np.ndarray]


def outcome(n: int = 80, seed: int = 0, ties: bool = True) -> Outcome:
    rng = np.random.default_rng(seed)
    time = rng.exponential(3, n)
    time = np.ceil(time * 2) / 2 if ties else time
    return time, rng.random(n) < 0.6


outcomes = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=3, max_size=25)


@given(outcomes)
def test_signed_times_say_time_and_event(rows: list[tuple[int, bool]]) -> None:
    time, event = np.array([t for t, _ in rows], float), np.array([e for _, e in rows])
    found_time, found_event = time_and_event(signed_time(time, event))
    np.testing.assert_array_equal(found_time, time)
    np.testing.assert_array_equal(found_event, event)


def test_discrete_likelihood_is_the_product_of_hazards_written_by_hand() -> None:
    time, event = outcome()
    y = signed_time(time, event)
    edges = bin_edges(y, 6)
    bins = len(edges)
    raw = torch.randn(1, len(y), bins, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hazard = torch.sigmoid(raw[0]).numpy()
    total = 0.0
    for i in range(len(y)):
        likelihood, lower = 1.0, 0.0
        for b, upper in enumerate(edges):
            if event[i] and lower < time[i] <= upper:
                likelihood *= hazard[i, b]
            elif time[i] >= upper:
                # Seen without an event until the end of the bin.
                likelihood *= 1 - hazard[i, b]
            lower = upper
        total -= math.log(likelihood)
    target = torch.from_numpy(survived_bins(y, edges))[None]
    found = discrete_loss(raw, target, torch.ones(1, len(y), dtype=torch.bool))
    assert found.item() == pytest.approx(total / len(y), rel=1e-12)


@given(
    st.lists(st.tuples(st.floats(0, 1e6, width=32), st.booleans()), min_size=12, max_size=60),
    st.floats(1e-3, 1e3),
    st.integers(1, 12),
)
def test_nothing_that_is_kept_of_times_tells_one(
    rows: list[tuple[float, bool]], unit: float, bins: int
) -> None:
    """Edges and recorded times are multiples of a step that many times share, and no event lies behind."""
    time = np.array([t for t, _ in rows], np.float32) * np.float32(unit)
    event = np.array([e for _, e in rows])
    y = signed_time(time, event)
    edges, grid, step = bin_edges(y, bins), time_grid(y), resolution(y)
    if not event.any():
        return
    longest = float(time[event].max())
    if longest > 0:
        assert longest / 100 <= step * (1 + 1e-3)
        assert step <= max(longest / 90, 1.0)
    for kept in (edges, grid):
        assert (np.abs(kept / step - np.round(kept / step)) < 1e-3).all()
    assert len(edges) <= bins
    assert edges[-1] >= longest


def test_marginal_hazards_minimise_the_discrete_likelihood() -> None:
    time, event = outcome(4000, ties=False)
    y = signed_time(time, event)
    edges = bin_edges(y, 8)
    target, valid = torch.from_numpy(survived_bins(y, edges))[None], torch.ones(1, len(y), dtype=torch.bool)

    def loss(logits: np.ndarray) -> float:
        raw = torch.from_numpy(logits).expand(1, len(y), -1)
        return discrete_loss(raw, target, valid).item()

    found = marginal_logits(y, edges, len(edges))
    # Nobody outlives the last bin: its best hazard is 1, and its logit infinite.
    for b in range(len(edges) - 1):
        for shift in (-0.1, 0.1):
            moved = found.copy()
            moved[b] += shift
            assert loss(moved) > loss(found)


@pytest.mark.parametrize("ties", [False, True])
def test_cox_likelihood_is_efron_s_written_by_hand(ties: bool) -> None:
    time, event = outcome(40, ties=ties)
    eta = np.random.default_rng(3).normal(size=40)
    total = 0.0
    for t in np.unique(time[event]):
        tied = np.flatnonzero(event & (time == t))
        at_risk = np.exp(eta[time >= t]).sum()
        for k in range(len(tied)):
            total -= math.log(at_risk - k / len(tied) * np.exp(eta[tied]).sum())
        total += eta[tied].sum()
    raw = torch.from_numpy(eta)[None, :, None]
    y = torch.from_numpy(signed_time(time, event).astype(np.float64))[None]
    found = cox_loss(raw, y, torch.ones(1, 40, dtype=torch.bool))
    assert found.item() == pytest.approx(-total / event.sum(), rel=1e-6)


@pytest.mark.parametrize("loss", [discrete_loss, cox_loss])
def test_missing_rows_and_models_without_events_count_for_nothing(loss) -> None:  # type: ignore[no-untyped-def]
    y = torch.tensor([[2.0, -1.0, 3.0, -0.0, torch.nan], [-2.0, -1.0, -0.0, torch.nan, torch.nan]])
    outputs = 4 if loss is discrete_loss else 1
    raw = torch.randn(2, 5, outputs, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = loss(raw, y, ~torch.isnan(y))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert (raw.grad[0, 4] == 0).all()
    rows = slice(0, 4)
    alone = loss(raw[:1, rows], y[:1, rows], torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(found[:1], alone)
    if loss is cox_loss:
        assert found[1] == 0


def test_curves_fall_and_reach_the_bins_ends() -> None:
    edges = np.array([1.0, 2.0, 4.0])
    raw = torch.tensor([[[0.0, 1.0, -1.0, 9.0]]], dtype=torch.float64)
    grid = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 9.0])
    predicted = discrete_prediction(raw, torch.from_numpy(interpolation(edges, grid, 4))[None])[0, 0]
    ends = np.cumprod(1 - torch.sigmoid(raw[0, 0, :3]).numpy())
    wanted = [(1 + ends[0]) / 2, ends[0], ends[1], (ends[1] + ends[2]) / 2, ends[2], ends[2]]
    np.testing.assert_allclose(predicted[1:].numpy(), wanted)
    assert predicted[0].item() == pytest.approx(1 - np.mean(wanted))


@given(outcomes, st.integers(2, 7))
def test_bins_are_increasing_and_hold_every_event(rows: list[tuple[int, bool]], bins: int) -> None:
    y = signed_time([t for t, _ in rows], [e for _, e in rows])
    edges = bin_edges(y, bins)
    time, event = time_and_event(y)
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= bins
    if event.any():
        assert edges[-1] == time[event].max()
        assert (np.abs(survived_bins(y, edges))[event] < len(edges)).all()


@pytest.mark.parametrize("ties", [False, True])
def test_baseline_hazard_is_scikit_survival_s(ties: bool) -> None:
    time, event = outcome(ties=ties)
    eta = np.random.default_rng(5).normal(size=len(time))
    y = signed_time(time, event)
    # Before its first time the referee takes that of the first.
    grid = np.maximum(time_grid(y), np.float32(time.min()))
    known, found = signed_time(time, event), breslow(eta, y, grid)
    exact, happened = time_and_event(known)
    referee = BreslowEstimator().fit(eta, happened, exact)
    wanted = referee.cum_baseline_hazard_(grid)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    curves = cox_prediction(eta, found)
    assert curves.shape == (len(time), 1 + SURVIVAL_TIMES)
    wanted_curves = [f(grid) for f in referee.get_survival_function(eta)]
    np.testing.assert_allclose(curves[:, 1:], wanted_curves, rtol=1e-9)


@given(outcomes, st.integers(0, 1000))
def test_concordance_is_scikit_survival_s(rows: list[tuple[int, bool]], seed: int) -> None:
    time, event = np.array([t for t, _ in rows], float), np.array([e for _, e in rows])
    risk = np.random.default_rng(seed).integers(0, 4, len(rows)).astype(float)
    y = signed_time(time, event)
    found = metric("concordance", y, risk)
    prediction, target = torch.from_numpy(risk)[None, :, None], torch.from_numpy(y)[None]
    trained = concordance(prediction, target, ~torch.isnan(target)).item()
    comparable = any(
        e and (t < u or (t == u and not f))
        for t, e in zip(time, event, strict=True)
        for u, f in zip(time, event, strict=True)
    )
    if not comparable:
        assert math.isnan(found)
        assert math.isnan(trained)
        return
    wanted = concordance_index_censored(event, time, risk)[0]
    assert found == pytest.approx(wanted)
    assert trained == pytest.approx(wanted)


def test_cox_regression_of_the_references_is_scikit_survival_s() -> None:
    from m3h_pipeline.references.design import designed
    from m3h_pipeline.references.hazards import cox_path
    from m3h_pipeline.references.problem import Problem

    rng = np.random.default_rng(7)
    time, event = outcome(90)
    x = rng.normal(size=(90, 5))
    x[:, 0] += time
    scored = rng.normal(size=(20, 5))
    y = signed_time(time, event)
    grid = time_grid(y)
    problem = Problem("survival", 0, x, y, scored)
    found = cox_path(designed(problem), grid, (0.01, 1.0))
    surv = np.array(list(zip(event, time, strict=True)), dtype=[("e", "?"), ("t", "<f8")])
    for strength, prediction in zip((0.01, 1.0), found, strict=True):
        referee = CoxPHSurvivalAnalysis(alpha=1 / strength, ties="breslow", tol=1e-12).fit(x, surv)
        wanted = referee.predict(scored) - referee.predict(x).mean()
        mine = prediction[:, 0]
        np.testing.assert_allclose(mine - mine.mean(), wanted - wanted.mean(), atol=1e-4)
        curves = np.stack([f(np.clip(grid, *f.domain)) for f in referee.predict_survival_function(scored)])
        np.testing.assert_allclose(prediction[:, 1:], curves, atol=1e-4)
    # More features than rows: the problem is rotated into the space of the rows, which changes nothing.
    wide = np.concatenate([x, np.zeros((90, 200))], 1)
    padded = Problem("survival", 0, wide, y, np.concatenate([scored, np.zeros((20, 200))], 1))
    np.testing.assert_allclose(cox_path(designed(padded), grid, (1.0,))[0], found[1], atol=2e-4)


def test_curves_are_recorded_at_quantiles_of_the_times_of_events() -> None:
    generator = np.random.default_rng(1)
    events, censored = generator.exponential(10, 200), 100 + generator.exponential(10, 300)
    y = signed_time(np.r_[events, censored, np.nan], np.r_[np.ones(200), np.zeros(300), 1])
    grid = time_grid(y)
    expected = np.quantile(np.float32(events).astype(float), np.arange(1, 33) / 33)
    step = resolution(y)
    assert events.max() / 100 <= step <= events.max() / 90
    np.testing.assert_allclose(grid, expected, atol=0.51 * step)
    assert time_grid(-np.abs(y)).tolist() == [0.0] * SURVIVAL_TIMES


@given(st.integers(1_000, 2**31), st.booleans())
def test_the_step_of_times_tells_two_digits_of_the_longest(longest: int, whole: bool) -> None:
    # Whole numbers too: seconds and minutes are, and so is every large number in single precision.
    unit = 10 ** (len(str(longest - 1)) - 2)
    below = (longest - 1) // unit * unit
    # Not so near to the number below that single precision would not know.
    least, most = below + 1 + unit // 5000, below + unit
    longest = max(longest, least)
    rest = [1.0, 2.0] if whole else [1.25, 2.5]
    steps = {resolution(np.array([*rest, float(end)])) for end in (least, longest, most)}
    assert len(steps) == 1
    assert longest / 100 <= steps.pop() <= longest / 85 + 1
