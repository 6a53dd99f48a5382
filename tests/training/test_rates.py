"""Regressions of targets that are never negative, learned as rates: the mean, heavy tails included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_poisson_deviance

from m3h_pipeline.config import Model
from m3h_pipeline.model.heads import problem_class
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.fitted import FittedModel
from m3h_pipeline.training.stacks import positions_of
from tests.training.studies import settings, spec, study

RATE: dict[str, Any] = {"regression": {"loss": "poisson"}}
INPUTS = torch.zeros(1, 1, 1)


def heavy(n: int = 600, factor: float = 1.0) -> StudyData:
    """A study in which ``stay`` has a long tail and is never negative, and ``size`` is sometimes negative."""
    data = study(n, missing=False)
    z = (data.labels["stay"] - data.labels["stay"].mean()) / data.labels["stay"].std()
    noise = np.random.default_rng(5).normal(size=n)
    data.labels["stay"] = (factor * np.exp(0.7 * z + noise)).astype(np.float32)
    data.labels["stay"][:20] = 0.0
    data.labels["size"] -= data.labels["size"].mean()
    return data


def test_the_loss_is_half_the_deviance() -> None:
    rng = np.random.default_rng(0)
    y, log = rng.poisson(1.5, (2, 30)) / 1.5, rng.normal(size=(2, 30))
    valid = torch.from_numpy(rng.random((2, 30)) < 0.7)
    raw = torch.from_numpy(log)[:, :, None].requires_grad_()
    target = torch.where(valid, torch.from_numpy(y), torch.nan)
    loss = problem_class("rate").loss(raw, target, valid, INPUTS)
    for k in range(2):
        rows = valid[k].numpy()
        want = mean_poisson_deviance(y[k, rows], np.exp(log[k, rows])) / 2
        assert loss[k].item() == pytest.approx(want)
    (gradient,) = torch.autograd.grad(loss[0], raw)
    want = torch.where(valid[0], torch.from_numpy(np.exp(log[0]) - y[0]) / valid[0].sum(), 0.0)
    torch.testing.assert_close(gradient[0, :, 0], want)


def test_nothing_is_predicted_beyond_a_hundred_times_the_mean_and_nothing_overflows() -> None:
    kind = problem_class("rate")
    raw = torch.tensor([[[1e4], [4.6], [-1e4]]], requires_grad=True)
    loss = kind.loss(raw, torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool), INPUTS)
    (gradient,) = torch.autograd.grad(loss.sum(), raw)
    assert torch.isfinite(loss).all()
    # Far off on either side the output is drawn back.
    assert gradient[0, 0] > 10
    assert gradient[0, 2] < 0
    assert kind.predict(raw.detach())[0, :, 0].tolist() == pytest.approx([100, np.exp(4.6), 0])


def test_only_what_is_never_negative_is_a_rate() -> None:
    data = heavy()
    names = ("anemia", "size", "stay")
    for loss, want in (("poisson", ("regression", "rate")), ("squared", ("regression", "regression"))):
        tasks, signature = positions_of(names, data, Model(regression={"loss": loss}))
        assert tasks == names
        assert signature == (("binary", 1), *((name, 1) for name in want))
    # It is judged on the training part: what the test part holds is not known.
    data.labels["size"][data.train] = np.abs(data.labels["size"][data.train])
    assert data.kind_of("size", Model(**RATE)).name == "rate"
    data.tasks["size"]["own_class"] = "tests.model.test_own.Huber"
    assert data.kind_of("size", Model(**RATE)).name == "tests.model.test_own.Huber"


def test_what_is_no_rate_is_learned_by_squared_errors_beside_one() -> None:
    data = heavy()
    fits = [
        run_fits([spec("size")], data, settings(model={"regression": {"loss": loss}}))[0].predictions["size"]
        for loss in ("poisson", "squared", "absolute")
    ]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])


def test_a_rate_learns_the_mean_and_an_absolute_error_the_median() -> None:
    data = heavy()
    rows = data.scored_rows(0)
    y = data.labels["stay"][rows].astype(np.float64)
    found = {}
    for loss in ("poisson", "absolute"):
        chosen = settings(model={"regression": {"loss": loss}}, epochs=12, width=16)
        (fit,) = run_fits([spec("anemia", "size", "stay")], data, chosen)
        found[loss] = fit
    assert found["poisson"].predictions["stay"].mean() == pytest.approx(y.mean(), rel=0.25)
    assert found["absolute"].predictions["stay"].mean() < 0.75 * y.mean()
    assert (found["poisson"].predictions["stay"] > 0).all()
    assert found["poisson"].values["stay"] > found["absolute"].values["stay"] + 0.05


def test_the_unit_means_nothing_and_a_kept_model_predicts_in_it() -> None:
    chosen = settings(model=RATE, precision="float64", epochs=3)
    fits = []
    for factor in (1.0, 1024.0):
        data = heavy(200, factor)
        (fit,) = run_fits([spec("anemia", "stay")], data, chosen, keep_models=True)
        fits.append(fit)
        assert fit.parameters is not None
        rows = data.scored_rows(0)
        again = FittedModel(fit.parameters, fit.metadata).predict(
            {name: x[rows] for name, x in data.features.items()}
        )
        np.testing.assert_allclose(again["stay"], fit.predictions["stay"], rtol=1e-5)
    np.testing.assert_allclose(fits[1].predictions["stay"], 1024 * fits[0].predictions["stay"], rtol=1e-6)
