"""Training a stack against training the same models one after another as ordinary modules.

Not part of the test suite. Run it on a machine that does nothing else::

    OMP_NUM_THREADS=1 pytest -o addopts= -s tests/benchmarks/bench_training.py

Both sides train the same pairs of tasks on the same minibatches with fused Adam, an epoch each in turn
(A B A B), after one epoch of each that is not counted; the median is printed. On a CPU it is the time of the
processor, so that other work on the machine counts less; on a GPU the wall clock.
``M3H_TEST_DEVICE``, ``M3H_TEST_PRECISION`` and ``M3H_BENCH_ROUNDS`` choose where, how and how often.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from docs.model import PlainM3H
from m3h_pipeline import config
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.seeds import minibatches
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from m3h_pipeline.training.stacks import make_stacks
from m3h_pipeline.training.trainer import Trainer
from tests.training.studies import DEVICE, PRECISION

ROUNDS = int(os.environ.get("M3H_BENCH_ROUNDS", "5"))
SMALL = {"language": 64, "tabular": 6, "time_series": 70, "vision": 100}
PUBLISHED = {"language": 2304, "tabular": 6, "time_series": 451, "vision": 2084}
TASKS = 9


def study(rows: int, widths: dict[str, int]) -> StudyData:
    """Binary tasks on random features; speed does not depend on the values."""
    rng = np.random.default_rng(0)
    features = {name: rng.normal(size=(rows, width)).astype(np.float32) for name, width in widths.items()}
    names = [f"task{i}" for i in range(TASKS)]
    labels = {name: (rng.random(rows) < 0.3).astype(np.float32) for name in names}
    tasks = {name: {"id": name, "problem_class": "binary"} for name in names}
    train = np.ones(rows, dtype=bool)
    train[: rows // 10] = False
    fold = np.where(train, np.arange(rows) % 2, -1)
    return StudyData(features, labels, tasks, train, fold)


def clock() -> float:
    """Seconds of the processor, or of the wall where a GPU works."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def plain_side(
    data: StudyData, specs: list[FitSpec], settings: TrainingSettings, prepared: torch.Tensor
) -> Callable[[int], None]:
    """An epoch of each model in turn, as an ordinary loop would train it."""
    inputs = {name: x.shape[1] for name, x in data.features.items()}
    shapes = [("binary", 1)] * len(specs[0].combination)
    models, optimisers, targets = [], [], []
    for spec in specs:
        model = PlainM3H(inputs, shapes, settings.model).to(DEVICE, prepared.dtype)
        models.append(model)
        optimisers.append(torch.optim.Adam(model.parameters(), lr=spec.learning_rate, fused=True))
        y = np.stack([data.labels[task] for task in spec.combination], 1)
        targets.append(torch.from_numpy(y).to(DEVICE, prepared.dtype))
    present = torch.ones(data.n, len(inputs), dtype=torch.bool, device=DEVICE)
    rows = data.training_rows(0)

    def epoch(number: int) -> None:
        for spec, model, optimiser, y in zip(specs, models, optimisers, targets, strict=True):
            for batch in minibatches(rows, 0, 0, 0, number, spec.batch_size):
                index = torch.from_numpy(batch).to(DEVICE)
                optimiser.zero_grad()
                losses = model.losses(prepared[index], y[index], present[index])
                torch.autograd.backward(torch.stack([loss for loss in losses if loss is not None]).sum())
                optimiser.step()

    return epoch


@pytest.mark.parametrize(
    ("name", "rows", "widths", "model", "models", "batch"),
    [
        ("small widths", 2400, SMALL, (64, 64), 16, 256),
        ("small widths, batch 128", 2400, SMALL, (64, 64), 16, 128),
        ("published widths", 1200, PUBLISHED, (256, 128), 8, 256),
    ],
)
def test_a_stack_is_faster_than_a_loop(
    name: str, rows: int, widths: dict[str, int], model: tuple[int, int], models: int, batch: int
) -> None:
    data = study(rows, widths)
    settings = TrainingSettings(
        config.Model(encoder=list(model), shared=list(model)),
        config.Training(),
        config.Compute(device=DEVICE, precision=PRECISION),
        {name: config.Modality(sources=[name]) for name in widths},
        0,
    )
    pairs = list(itertools.combinations(sorted(data.tasks), 2))[:models]
    specs = [FitSpec(pair, 0, 0, batch, 1e-3) for pair in pairs]
    device = torch.device(DEVICE)
    on_device = DeviceData(data, settings, device)
    (stack,) = make_stacks(specs, data, settings, 1e10, device)
    trainer = Trainer(prepare(stack, on_device, settings))
    everything = torch.arange(data.n, device=device)[None]
    prepared = on_device.inputs(everything, on_device.statistics([0]))[0]
    sides = {"stack": trainer.train_epoch, "loop": plain_side(data, specs, settings, prepared)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(ROUNDS + 1):
        for side, epoch in sides.items():
            start = clock()
            epoch(number)
            if number:
                seconds[side].append(clock() - start)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    steps = len(minibatches(data.training_rows(0), 0, 0, 0, 0, batch))
    parameters = sum(p.numel() for p in trainer.prepared.network.parameters()) // models
    per_step = {side: 1e3 * value / models / steps for side, value in medians.items()}
    sys.stdout.write(
        f"\n{name}: {models} models of {parameters:,} parameters, batch {batch}, {PRECISION} on {DEVICE}: "
        f"stack {per_step['stack']:.2f} ms, loop {per_step['loop']:.2f} ms per model and step; "
        f"ratio {medians['loop'] / medians['stack']:.2f}\n"
    )
    assert medians["stack"] < medians["loop"]
