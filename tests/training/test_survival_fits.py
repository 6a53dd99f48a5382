"""Survival tasks in the training: what they learn, stacks that change nothing, models that come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored, integrated_brier_score
from sksurv.util import Surv

from m3h_pipeline.coding import SURVIVAL_TIMES, signed_time, time_and_event
from m3h_pipeline.evaluation.survival import Outcome, kaplan_meier, scores, usable_times
from m3h_pipeline.survival import time_grid
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import fit_keys, run_fits
from m3h_pipeline.training.fitted import FittedModel
from m3h_pipeline.training.spec import TrainingSettings
from tests.training.studies import settings, spec, study

LOSSES = ("discrete", "cox")


def survival_study(n: int = 300, seed: int = 0) -> StudyData:
    """Two survival tasks beside the others: one follows the first modality, one is noise."""
    data = study(n, seed)
    rng = np.random.default_rng(seed)
    source = next(iter(data.features.values()))
    x = np.nan_to_num(np.asarray(source, dtype=np.float64))
    risk = (x[:, 0] - x[:, 0].mean()) / x[:, 0].std()
    for name, hazard in (("death", np.exp(1.5 * risk)), ("relapse", np.ones(n))):
        time, censored = rng.exponential(1 / hazard), rng.exponential(2.0, n)
        y = signed_time(np.minimum(time, censored), time <= censored)
        y[rng.random(n) < 0.1] = np.nan
        data.labels[name] = y
        data.tasks[name] = {"problem_class": "survival", "metric": "concordance"}
    return data


def survival_settings(loss: str, **changes: Any) -> TrainingSettings:
    return settings(model={"survival": {"loss": loss, "bins": 8}}, **changes)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_planted_hazard_is_learned_and_curves_are_survival_curves(loss: str) -> None:
    data = survival_study()
    own = survival_settings(loss, epochs=25)
    (fit,) = run_fits([spec("death")], data, own)
    rows = data.scored_rows(0)
    prediction = fit.predictions["death"]
    assert prediction.shape == (len(rows), 1 + SURVIVAL_TIMES)
    curves = prediction[:, 1:]
    assert ((curves >= 0) & (curves <= 1)).all()
    assert (np.diff(curves, axis=1) <= 1e-6).all()
    y = data.labels["death"][rows]
    time, event = time_and_event(y[~np.isnan(y)])
    wanted = concordance_index_censored(event, time, prediction[~np.isnan(y), 0])[0]
    assert fit.values["death"] == pytest.approx(wanted, abs=1e-6)
    assert wanted > 0.7
    # Better than the curve that knows nothing, in what a calibrated curve is measured by.
    train = data.labels["death"][data.training_rows(0)]
    outcome, training = Outcome.of(y[~np.isnan(y)]), Outcome.of(train[~np.isnan(train)])
    grid = time_grid(data.labels["death"][data.train])
    usable = usable_times(grid, training, outcome)
    mine = prediction[~np.isnan(y)][:, [0, *(1 + usable)]]
    flat = np.tile(mine.mean(0), (len(mine), 1))
    of_model, of_nothing = (scores(training, outcome, p, grid[usable]) for p in (mine, flat))
    assert of_model["brier"] < of_nothing["brier"]
    last = grid[usable][-1]
    over = outcome.time > last
    until = Outcome(np.where(over, np.nextafter(last, np.inf), outcome.time), outcome.event & ~over)
    known = [Surv.from_arrays(o.event, o.time) for o in (training, until)]
    assert of_model["brier"] == pytest.approx(integrated_brier_score(*known, mine[:, 1:], grid[usable]))


@pytest.mark.parametrize("loss", LOSSES)
def test_what_stands_beside_a_survival_task_in_a_stack_changes_nothing(loss: str) -> None:
    data = survival_study()
    own = survival_settings(loss, epochs=3, precision="float64")
    alone = [spec("death"), spec("anemia", "death", "stay"), spec("death", "relapse")]
    together = [*alone, spec("relapse"), spec("anemia", "relapse", "size"), spec("death", replicate=1)]
    first = [run_fits([one], data, own)[0] for one in alone]
    for a, b in zip(first, run_fits(together, data, own), strict=False):
        for task in a.predictions:
            np.testing.assert_allclose(a.predictions[task], b.predictions[task], rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_saved_model_predicts_the_same_curves(loss: str) -> None:
    data = survival_study()
    own = survival_settings(loss, epochs=2)
    (fit,) = run_fits([spec("anemia", "death")], data, own, keep_models=True)
    assert fit.parameters is not None
    model = FittedModel(fit.parameters, fit.metadata)
    rows = data.scored_rows(0)
    found = model.predict({name: x[rows] for name, x in data.features.items()})
    np.testing.assert_allclose(found["death"], fit.predictions["death"], atol=1e-5)


def test_keys_depend_on_the_survival_head_only_where_there_is_a_survival_task() -> None:
    data = survival_study()
    specs = [spec("anemia"), spec("anemia", "death")]
    first, second = (fit_keys(specs, data, survival_settings(loss), "code", "cpu") for loss in LOSSES)
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_kaplan_meier_ends_where_few_are_at_risk_and_is_ordered_by_risk() -> None:
    rng = np.random.default_rng(0)
    risk = rng.normal(size=240)
    time, censored = rng.exponential(np.exp(-risk)), rng.exponential(2, 240)
    outcome = Outcome(np.minimum(time, censored), time <= censored)
    rows = kaplan_meier(outcome, risk, np.arange(240))
    for name in {row["group"] for row in rows}:
        ends = max(row["time"] for row in rows if row["group"] == name)
        assert (outcome.time >= ends).sum() >= 11
    assert rows[0]["p"] < 0.001
    last = {row["group"]: row["survival"] for row in rows if row["time"] <= 0.5}
    assert last["low risk"] > last["medium risk"] > last["high risk"]
    assert kaplan_meier(Outcome(outcome.time[:20], outcome.event[:20]), risk[:20], np.arange(20)) == []
