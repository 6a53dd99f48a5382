"""A fit is the same model alone, in any company, in any order, and beside other folds and replicates."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.export import train_stack
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.spec import FitResult, FitSpec
from m3h_pipeline.training.stacks import Stack, make_stacks
from m3h_pipeline.training.trainer import Trainer
from tests.training.studies import DEVICE, settings, spec, study

#: 60 steps: 15 epochs of 4 minibatches.
LONG = {"precision": "float64", "epochs": 15}
PAIRS = [("anemia", "stay"), ("gout", "stay"), ("sepsis", "size"), ("anemia", "size")]


def trained(stack: Stack, **options: Any) -> dict[FitSpec, FitResult]:
    data, config = study(), settings(**{**LONG, **options})
    on_device = DeviceData(data, config, torch.device(DEVICE))
    results = train_stack(stack, on_device, config, keep_models=True)
    return {result.spec: result for result in results}


def stacks(specs: Sequence[FitSpec], **options: Any) -> list[Stack]:
    return make_stacks(specs, study(), settings(**{**LONG, **options}), 1e9, torch.device(DEVICE))


def assert_same(a: FitResult, b: FitResult, inert: tuple[str, ...] = ()) -> None:
    """``inert``: ends of names of parameters that no prediction depends on: their gradients are rounding."""
    assert a.status == b.status == "ok"
    assert a.parameters is not None
    assert b.parameters is not None
    assert set(a.parameters) == set(b.parameters)
    for name, value in a.parameters.items():
        if not name.endswith(inert):
            np.testing.assert_allclose(b.parameters[name], value, rtol=0, atol=1e-9, err_msg=name)
    for task, prediction in a.predictions.items():
        np.testing.assert_allclose(b.predictions[task], prediction, rtol=1e-6, atol=1e-6)
    for task, latent in a.latents.items():
        np.testing.assert_allclose(b.latents[task], latent, rtol=1e-6, atol=1e-6)
    assert a.attention is not None
    assert b.attention is not None
    np.testing.assert_allclose(b.attention, a.attention, rtol=0, atol=1e-9)
    assert a.n_scored == b.n_scored
    np.testing.assert_allclose(list(a.values.values()), list(b.values.values()), atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"update": "sequential", "epochs": 5},
        {"model": {"dropout": 0.3, "input_dropout": 0.1}, "epochs": 5},
        {"model": {"absence": "learned"}, "modality_dropout": 0.3, "epochs": 5},
        {"model": {"attention": {"normalise": "published"}}, "gradient_clip": 0.5, "epochs": 5},
    ],
    ids=["default", "sequential", "dropout", "absence", "published"],
)
def test_a_fit_is_the_same_alone_in_company_and_among_folds_replicates_and_rates(
    options: dict[str, Any],
) -> None:
    specs = [
        spec(*pair, fold=fold, replicate=replicate, rate=rate)
        for pair, fold, replicate, rate in itertools.product(PAIRS[::3], (0, 2), (0, 1), (1e-2, 2e-3))
    ]
    (whole,) = stacks(specs, **options)
    assert len(whole.groups) == 8
    assert whole.per_group == 2
    together = trained(whole, **options)
    for chosen in (specs[0], specs[13]):
        (alone,) = stacks([chosen], **options)
        assert_same(trained(alone, **options)[chosen], together[chosen])


def test_the_order_within_a_stack_plays_no_part() -> None:
    (stack,) = stacks([spec(*pair) for pair in PAIRS])
    turned = dataclasses.replace(stack, specs=stack.specs[::-1], positions=stack.positions[::-1])
    a, b = trained(stack), trained(turned)
    for chosen in stack.specs:
        assert_same(a[chosen], b[chosen])


def test_all_four_classes_in_a_stack_of_two_folds() -> None:
    tasks = ("anemia", "organ", "phenotype", "stay")
    specs = [spec(*tasks, fold=fold) for fold in (0, 1)]
    (stack,) = stacks(specs)
    together = trained(stack)
    for chosen in specs:
        assert_same(trained(stacks([chosen])[0])[chosen], together[chosen])


def test_float32_agrees_in_the_first_steps() -> None:
    data, config = study(), settings(precision="float32", epochs=1)
    on_device = DeviceData(data, config, torch.device(DEVICE))
    specs = [spec(*pair, fold=fold) for pair in PAIRS for fold in (0, 1)]
    traces = {}
    for mine in (specs, [specs[2]]):
        (stack,) = make_stacks(mine, data, config, 1e9, torch.device(DEVICE))
        losses: list[torch.Tensor] = []
        trainer = Trainer(prepare(stack, on_device, config))
        trainer.train_epoch(0, losses.append)
        traces[len(mine)] = torch.stack(losses)[:, stack.specs.index(specs[2])].cpu()
    np.testing.assert_allclose(traces[1][:3], traces[8][:3], rtol=0, atol=1e-5)


def test_a_short_last_group_is_padded_without_effect() -> None:
    """Folds of unequal size: the minibatches of one group are shorter than those of the other."""
    data = study()
    data.fold[data.train] = np.arange(data.train.sum()) % 3
    data.fold[np.flatnonzero(data.fold == 0)[:2]] = 1
    config = settings(**LONG)  # type: ignore[arg-type]
    on_device = DeviceData(data, config, torch.device(DEVICE))
    specs = [spec("anemia", "phenotype", "sepsis", fold=fold, batch=13) for fold in (0, 1)]
    assert len({len(data.training_rows(s.fold)) for s in specs}) == 2
    (stack,) = make_stacks(specs, data, config, 1e9, torch.device(DEVICE))
    together = train_stack(stack, on_device, config, keep_models=True)
    for result in together:
        (alone,) = make_stacks([result.spec], data, config, 1e9, torch.device(DEVICE))
        assert_same(train_stack(alone, on_device, config, keep_models=True)[0], result)


def test_two_runs_are_byte_identical() -> None:
    specs = [spec("anemia", "organ", "phenotype", "stay", fold=fold) for fold in (0, -1)]
    options = settings(epochs=3, model={"dropout": 0.2})
    first, second = (run_fits(specs, study(), options, code="") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a.key, a.status, a.values, a.n_scored) == (b.key, b.status, b.values, b.n_scored)
        assert all(a.predictions[t].tobytes() == b.predictions[t].tobytes() for t in a.predictions)


def test_a_model_that_diverges_leaves_the_others_alone() -> None:
    options: dict[str, Any] = {"epochs": 5, "precision": "float32"}
    sound = [spec(*pair) for pair in PAIRS]
    broken = [spec(*pair, rate=1e18) for pair in PAIRS]
    (stack,) = stacks(sound + broken, **options)
    together = trained(stack, **options)
    # The same stack with a harmless second rate.
    (other,) = stacks(sound + [spec(*pair, rate=1e-1) for pair in PAIRS], **options)
    without = trained(other, **options)
    for chosen in sound:
        a, b = together[chosen], without[chosen]
        assert a.status == "ok"
        np.testing.assert_equal(a.values, b.values)
        assert a.parameters is not None
        assert b.parameters is not None
        assert all(np.array_equal(a.parameters[name], b.parameters[name]) for name in a.parameters)
    for chosen in broken:
        result = together[chosen]
        assert result.status == "diverged"
        assert 1 <= result.epochs <= 2
        assert all(np.isnan(value) for value in result.values.values())
        assert result.predictions == {}
        assert result.parameters is None


def test_divergence_in_a_clustering_task_is_recorded() -> None:
    options: dict[str, Any] = {"epochs": 2, "precision": "float32"}
    (stack,) = stacks([spec("phenotype"), spec("phenotype", rate=1e18)], **options)
    results = trained(stack, **options)
    assert sorted(result.status for result in results.values()) == ["diverged", "ok"]
