"""A training run of a stack against an ordinary nn.Module with PyTorch's own Adam."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from docs.model import PlainM3H
from m3h_pipeline.model.priors import rare_bias
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.seeds import minibatches
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from m3h_pipeline.training.stacks import make_stacks, positions_of
from m3h_pipeline.training.trainer import Trainer
from tests.model.plain import plain_state
from tests.training.plain_balance import PlainBalance
from tests.training.studies import DEVICE, TASKS, settings, spec, study

#: Optimiser steps after which a run is compared, and the minibatches of an epoch.
STEPS, PER_EPOCH, BATCH = 60, 4, 13
#: Each class alone, pairs, several multiclass tasks with different numbers of classes, all four.
COMBINATIONS = [
    ("anemia",),
    ("gout",),
    ("organ",),
    ("stay",),
    ("phenotype",),
    ("anemia", "gout"),
    ("gout", "phenotype"),
    ("anemia", "gout", "grade", "organ"),
    ("anemia", "organ", "phenotype", "stay"),
    ("gout", "grade", "organ", "phenotype", "sepsis", "size", "stay"),
]
#: Same signature, other tasks: what stands beside them in the stack.
COMPANY = {"anemia": "sepsis", "phenotype": "subtype"}


def standardised(data: StudyData, rows: np.ndarray) -> np.ndarray:
    """Features as a fit of these training rows sees them, straight from the definition."""
    x = np.concatenate([data.features[name] for name in sorted(data.features)], axis=1).astype(np.float64)
    x = (x - np.nanmean(x[rows], axis=0)) / np.nanstd(x[rows], axis=0)
    return np.asarray(np.nan_to_num(np.clip(x, -10, 10), nan=0.0))


def plain_training(
    data: StudyData, fit: FitSpec, config: TrainingSettings, start: dict[str, torch.Tensor]
) -> tuple[PlainM3H, list[list[float]]]:
    """Train one ordinary model."""
    order, signature = positions_of(fit.combination, data, config.model)
    shapes = [(kind, outputs) for kind, outputs in signature]
    inputs = {name: x.shape[1] for name, x in data.features.items()}
    model = PlainM3H(inputs, shapes, config.model).double()
    model.load_state_dict(plain_state(start, shapes, config.model))
    rows = np.flatnonzero(data.train & (data.fold != fit.fold))
    # The data are read in float32 precision of the scaled values; the referee gets the same numbers.
    x = torch.from_numpy(standardised(data, rows))
    present = torch.from_numpy(np.stack([~np.isnan(v).all(1) for v in data.features.values()], 1))
    y = np.stack([data.labels[task] for task in order], 1).astype(np.float64)
    for t, task in enumerate(order):
        if TASKS[task]["problem_class"] == "regression":
            y[:, t] = (y[:, t] - np.nanmean(y[rows, t])) / np.nanstd(y[rows, t])
    target = torch.from_numpy(y)
    decayed = [p for name, p in model.named_parameters() if p.ndim == 2 and name != "attention.embedding"]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or name == "attention.embedding"]
    adam = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.training.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=fit.learning_rate,
    )
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    first = int(len(inputs) > 1)
    weights = [config.training.contrastive_weight] * first
    weights += [config.training.task_weights.get(task, 1.0) for task in order]

    balance = PlainBalance(config.training.balance, len(order))

    def step() -> None:
        if config.training.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.training.gradient_clip)
        adam.step()

    trace = []
    for epoch in range(config.training.epochs):
        for batch in minibatches(rows, config.seed, fit.replicate, fit.fold, epoch, fit.batch_size):
            arguments = x[batch], target[batch], present[batch]
            values = []
            if config.training.update == "sum":
                adam.zero_grad(set_to_none=False)
                losses = model.losses(*arguments)
                balance.clear()
                balanced = losses[:first] + balance.terms(losses[first:])
                terms = [w * loss for w, loss in zip(weights, balanced, strict=True) if loss is not None]
                torch.autograd.backward(torch.stack(terms).sum())
                step()
                balance.step(losses[first:], model.losses(*arguments)[first:])
                values = [0.0 if loss is None else loss.item() for loss in losses]
            else:
                for i, weight in enumerate(weights):
                    adam.zero_grad(set_to_none=True)
                    loss = model.losses(*arguments)[i]
                    values.append(0.0 if loss is None else loss.item())
                    if loss is not None:
                        torch.autograd.backward(weight * loss)
                        step()
            trace.append(values)
    return model, trace


def epochs(combination: tuple[str, ...], update: str) -> int:
    """Epochs of at least ``STEPS`` optimiser steps."""
    per_batch = 1 if update == "sum" else 1 + len(combination)
    return -(-STEPS // (PER_EPOCH * per_batch))


def compare(combination: tuple[str, ...], index: int = 0, missing: bool = True, **options: Any) -> None:
    """Train a stack of two folds, rates and combinations; compare one of its fits with the referee."""
    data = study(missing=missing)
    training = {"update": "sum", **options}
    config = settings(precision="float64", epochs=epochs(combination, training["update"]), **training)
    other = tuple(sorted(COMPANY.get(task, task) for task in combination))
    specs = [
        spec(*tasks, fold=fold, batch=BATCH, rate=rate)
        for tasks in sorted({combination, other})
        for fold in (0, 1)
        for rate in (1e-2, 3e-3)
    ]
    on_device = DeviceData(data, config, torch.device(DEVICE))
    # The standardised values that both see, so that rounding of the stored float32 features plays no part.
    stacks = make_stacks(specs, data, config, 1e9, torch.device(DEVICE))
    assert len(stacks) == 1
    trainer = Trainer(prepare(stacks[0], on_device, config))
    network = trainer.prepared.network
    starts = [{k: v.clone().cpu() for k, v in network.take(i).items()} for i in range(len(specs))]
    traces: list[torch.Tensor] = []
    for epoch in range(config.training.epochs):
        trainer.train_epoch(epoch, lambda losses: traces.append(losses.cpu()))
    assert len(traces) == PER_EPOCH * config.training.epochs
    index %= len(specs)
    fit = stacks[0].specs[index]
    model, trace = plain_training(data, fit, config, starts[index])
    _, signature = positions_of(fit.combination, data, config.model)
    want = model.state_dict()
    have = plain_state(network.take(index), list(signature), config.model)
    assert set(have) == set(want)
    np.testing.assert_allclose(torch.stack(traces)[:, index], trace, rtol=0, atol=1e-9)
    for name, value in want.items():
        np.testing.assert_allclose(have[name].cpu(), value, rtol=0, atol=1e-9, err_msg=name)


@pytest.fixture(autouse=True)
def _exact_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store the scaled features in float64, so that only the arithmetic is compared."""
    from m3h_pipeline.features import scaling as module

    def scaled(self: StudyData) -> module.Scaled:
        x = np.concatenate([self.features[name] for name in self.features], axis=1).astype(np.float64)
        return module.Scaled(x, np.zeros(x.shape[1]), np.ones(x.shape[1]))  # type: ignore[arg-type]

    monkeypatch.setattr(StudyData, "scaled", property(scaled))


@pytest.mark.parametrize(
    ("combination", "update", "normalise"),
    [
        case
        for case in itertools.product(COMBINATIONS, ("sum", "sequential"), ("max_abs", "published"))
        # A task alone attends to itself, however that is normalised.
        if len(case[0]) > 1 or case[2] == "max_abs"
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else value,
)
def test_a_training_run_agrees_with_an_ordinary_module(
    combination: tuple[str, ...], update: str, normalise: str
) -> None:
    index = {"max_abs": 0, "published": -1}[normalise]
    compare(combination, index, update=update, model={"attention": {"normalise": normalise}})


@pytest.mark.parametrize("update", ["sum", "sequential"])
def test_decay_clipping_and_weights_agree_with_an_ordinary_module(update: str) -> None:
    compare(
        ("anemia", "gout", "stay"),
        index=3,
        update=update,
        weight_decay=0.05,
        gradient_clip=0.3,
        contrastive_weight=0.5,
        task_weights={"anemia": 3.0, "stay": 0.25},
    )


@pytest.mark.parametrize("update", ["sum", "sequential"])
@pytest.mark.parametrize(
    "combination", [("gout", "sepsis"), ("anemia", "grade", "organ", "phenotype", "size", "stay")]
)
def test_the_linear_path_and_the_constant_own_weight_agree_with_an_ordinary_module(
    combination: tuple[str, ...], update: str
) -> None:
    model = {"linear_path": True, "attention": {"own_weight": "constant"}}
    compare(combination, index=1, update=update, weight_decay=0.1, model=model)


@pytest.mark.parametrize(
    "combination", [("gout", "sepsis"), ("anemia", "grade", "organ", "phenotype", "stay")]
)
def test_without_attention_and_shared_module_it_agrees_with_an_ordinary_module(
    combination: tuple[str, ...],
) -> None:
    compare(combination, index=1, model={"shared": [], "attention": {"own_weight": "whole"}})


def test_without_anything_missing_it_agrees_with_an_ordinary_module() -> None:
    compare(("anemia", "grade", "phenotype"), missing=False)


def test_every_class_may_start_from_its_log_odds() -> None:
    data = study()
    config = settings(precision="float64", output_bias="prior")
    combination = spec("anemia", "grade", "gout", "stay", fold=1)
    stack = make_stacks([combination], data, config, 1e9, torch.device(DEVICE))[0]
    prepared = prepare(stack, DeviceData(data, config, torch.device(DEVICE)), config)
    binary, multiclass = (prepared.network.take(0)[f"heads.{i}.bias"] for i in (0, 1))
    rows = data.train & (data.fold != 1)
    for row, task in enumerate(("anemia", "gout")):
        y = data.labels[task][rows]
        odds = np.log(np.nansum(y == 1) / np.nansum(y == 0))
        assert float(binary[row, 0]) == pytest.approx(odds)
    grade = data.labels["grade"][rows]
    shares = np.bincount(grade[~np.isnan(grade)].astype(int), minlength=3) / (~np.isnan(grade)).sum()
    np.testing.assert_allclose(torch.softmax(multiclass[0], 0).cpu(), shares, rtol=0, atol=1e-12)


def test_a_small_cohort_gets_passes_enough_for_the_least_number_of_steps() -> None:
    (fit,) = run_fits([spec("anemia", batch=13)], study(), settings(epochs=2, min_steps=30))
    # Four minibatches of the 50 training rows of two folds.
    assert fit.epochs == 8
    (fit,) = run_fits([spec("anemia", batch=13)], study(), settings(epochs=9, min_steps=30))
    assert fit.epochs == 9


def test_a_rare_task_starts_from_its_log_odds() -> None:
    data = study()
    y = data.labels["sepsis"]
    y[:] = 0
    y[data.train] = (np.arange(data.train.sum()) % 25 == 0).astype(np.float32)
    config = settings(precision="float64")
    stack = make_stacks([spec("anemia", "sepsis", fold=1)], data, config, 1e9, torch.device(DEVICE))[0]
    prepared = prepare(stack, DeviceData(data, config, torch.device(DEVICE)), config)
    bias = prepared.network.take(0)["heads.0.bias"]
    rows = data.train & (data.fold != 1)
    positives = int((y[rows] == 1).sum())
    expected = np.log(positives / (rows.sum() - positives))
    assert float(bias[1, 0]) == pytest.approx(expected)
    assert expected == rare_bias(positives, int(rows.sum()) - positives, 0.1)
    assert abs(float(bias[0, 0])) <= 1 / np.sqrt(8)
