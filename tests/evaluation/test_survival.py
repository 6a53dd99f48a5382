"""Survival tasks on the test part: scikit-survival as referee, intervals, curves, reference models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

from m3h_pipeline.coding import signed_time, time_and_event
from m3h_pipeline.evaluation.survival import Outcome, kaplan_meier, scores, usable_times
from m3h_pipeline.survival import time_grid
from tests.evaluation.studies import Study, noisy, predictor, study


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Study:
    one = study(tmp_path_factory.mktemp("study"), n=600)
    one.write(predictor(one))
    return one


@pytest.fixture(scope="module")
def tables(written: Study) -> dict[str, list[dict[str, Any]]]:
    return written.evaluate(draws=40)


def test_the_metric_is_harrell_s_concordance_of_the_mean_prediction(
    written: Study, tables: dict[str, list[dict[str, Any]]]
) -> None:
    row = next(row for row in tables["evaluation"] if row["task"] == "relapse")
    test = np.flatnonzero(written.fold == -1)
    mean = np.mean([noisy(written, "relapse", 1.0, ("ill+relapse", r, -1), test) for r in range(3)], axis=0)
    y = written.labels["relapse"][test]
    seen = ~np.isnan(y)
    time, event = time_and_event(y[seen])
    assert row["multi"] == pytest.approx(concordance_index_censored(event, time, mean[seen, 0])[0], abs=1e-5)
    assert row["multi"] > row["single"]
    assert row["q"] < 0.05


def test_scores_and_intervals_of_every_model(written: Study, tables: dict[str, list[dict[str, Any]]]) -> None:
    rows = {(row["model"], row["score"]): row for row in tables["survival"]}
    assert {model for model, _ in rows} == {"multi", "single", "linear", "gradient_boosting", "kaplan_meier"}
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
    assert rows["multi", "uno"]["value"] > rows["single", "uno"]["value"]
    test = np.flatnonzero(written.fold == -1)
    y = written.labels["relapse"][test]
    seen = ~np.isnan(y)
    assert {row["n"] for row in rows.values()} == {int(seen.sum())}
    # The referee, by the stated rules.
    train = written.labels["relapse"][written.fold >= 0]
    training, tested = Outcome.of(train[~np.isnan(train)]), Outcome.of(y[seen])
    grid = time_grid(train)
    grid = grid[usable_times(grid, training, tested)]
    known = Surv.from_arrays(training.event, training.time)
    found = Surv.from_arrays(
        tested.event & (tested.time <= grid[-1]), np.minimum(tested.time, grid[-1] + 1e-9)
    )
    linear = noisy(written, "relapse", 0.6, ("linear", -1), test)[seen].astype(np.float32)[:, 0]
    uno = concordance_index_ipcw(known, found, linear, tau=grid[-1] + 1e-10)[0]
    assert rows["linear", "uno"]["value"] == pytest.approx(uno, abs=1e-6)
    auroc, mean = cumulative_dynamic_auc(known, found, linear, grid)
    assert rows["linear", "dynamic_auroc"]["value"] == pytest.approx(mean, abs=1e-6)
    curve = [row for row in tables["dynamic_auroc"] if row["model"] == "linear"]
    np.testing.assert_allclose([row["auroc"] for row in curve], auroc, atol=1e-6)
    np.testing.assert_allclose([row["time"] for row in curve], grid)


def test_curves_are_of_all_groups_and_without_a_count_of_few(tables: dict[str, list[dict[str, Any]]]) -> None:
    rows = tables["kaplan_meier"]
    assert {row["model"] for row in rows} == {"multi", "single"}
    assert {row["group"] for row in rows} == {"low risk", "medium risk", "high risk"}
    assert all(row[name] is None or row[name] >= 11 for row in rows for name in ("n", "events"))
    for row in rows:
        assert row["low"] <= row["survival"] <= row["high"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(12, 900), censored=st.sampled_from([0.1, 0.5, 0.95]))
def test_no_step_of_a_curve_is_a_patient(seed: int, n: int, censored: float) -> None:
    rng = np.random.default_rng(seed)
    time, event = rng.exponential(20, n), rng.random(n) > censored
    risk = -time + rng.normal(0, 20, n)
    rows = kaplan_meier(Outcome(time, event), risk, np.arange(n))
    group = np.searchsorted(np.quantile(risk, [1 / 3, 2 / 3]), risk, side="left")
    for g, name in enumerate(("low risk", "medium risk", "high risk")):
        mine = [row for row in rows if row["group"] == name]
        here = group == g
        if not mine:
            assert here.sum() < 11
            continue
        at = np.array([row["time"] for row in mine])
        assert (time[here] >= at[-1]).sum() >= 11
        assert not np.isin(at[1:], time).any()
        # Events between the times, and behind the last; a curve without a step tells of none.
        passed = np.diff([(here & event & (time <= t)).sum() for t in [*at, np.inf]])
        assert len(at) == 1 or all(k == 0 or k >= 11 for k in passed)
        assert mine[0]["survival"] == 1
        # With whole numbers of all, those of the groups tell none that is hidden.
        events, size = mine[0]["events"], mine[0]["n"]
        assert events is None or not any(0 < k < 11 for k in (events, size - events))


def test_a_part_without_events_has_no_scores_and_no_traceback(tmp_path: Path) -> None:
    one = study(tmp_path, n=300)
    test = one.fold == -1
    y = one.labels["relapse"]
    y[test] = -np.abs(y[test])
    one.write(predictor(one))
    tables = one.evaluate(draws=10)
    assert tables["survival"] == []
    row = next(row for row in tables["evaluation"] if row["task"] == "relapse")
    assert np.isnan(row["multi"])


def test_scores_of_a_sample_with_a_short_follow_up_are_of_its_own_times() -> None:
    rng = np.random.default_rng(0)
    time, event = rng.exponential(3, 200), rng.random(200) < 0.5
    training = Outcome(time, event)
    grid = np.unique(time_grid(signed_time(time, event)))
    short = Outcome(np.minimum(time[:50], 1.0), event[:50] & (time[:50] <= 1.0))
    prediction = np.column_stack([-time[:50], np.exp(-grid[None] / time[:50, None])])
    found = scores(training, short, prediction, grid)
    inside = np.asarray(found["auroc"])
    assert np.isfinite(inside[(grid < 1.0) & (grid >= short.time[short.event].min())]).all()
    assert np.isnan(inside[grid >= 1.0]).all()
