"""A slice of the published study, from arrays to scores, and what the whole of it would take."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from m3h_pipeline import config
from m3h_pipeline.coding import METRICS
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from tests.gpu.card import now
from tests.gpu.rates import WIDTHS

#: Tasks of the published study by problem class (resources/tasks/m3h.yaml).
TASKS = {"binary": 38, "multiclass": 1, "regression": 1, "clustering": 1}
ROWS = 34_537
#: Classes of its multiclass task, clusters of its clustering task.
CLASSES, CLUSTERS = 8, 15


@dataclass(frozen=True)
class Size:
    """How much of the study is trained.

    Attributes:
        rows: samples.
        widths: of :data:`m3h_pipeline`'s tests, ``published`` or ``small``.
        share: of the pairs; every fold and setting of each.
        epochs: passes over the training rows.
        budget: seconds after which no further part of the slice is begun.
    """

    rows: int = ROWS
    widths: str = "published"
    share: float = 0.05
    epochs: int = config.Training().epochs
    budget: float = 120.0


REHEARSAL = Size(rows=400, widths="small", share=0.01, epochs=1)
FOLDS = 5
#: Parts of the slice that are trained one after another, as packs are.
_PARTS = 4


def synthetic(size: Size) -> StudyData:
    """Features of the published widths, labels that depend on a few latent factors."""
    rng = np.random.default_rng(0)
    widths, _ = WIDTHS[size.widths]
    z = rng.standard_normal((size.rows, 8), dtype=np.float32)
    features = {}
    for name, width in widths.items():
        features[name] = rng.standard_normal((size.rows, width), dtype=np.float32)
        features[name] += z @ rng.standard_normal((8, width), dtype=np.float32)
    labels: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = {}
    for kind, count in TASKS.items():
        for i in range(count):
            task = f"{kind}{i:02d}"
            score = z @ rng.standard_normal((8, CLASSES), dtype=np.float32)
            y = {
                "binary": score[:, 0] > np.quantile(score[:, 0], rng.uniform(0.5, 0.95)),
                "multiclass": score.argmax(1),
                "regression": score[:, 0],
                "clustering": np.zeros(size.rows),
            }[kind]
            labels[task] = y.astype(np.float32)
            tasks[task] = {"id": task, "title": task, "problem_class": kind, "metric": METRICS[kind]}
            tasks[task] |= {"classes": [str(c) for c in range(CLASSES)]} if kind == "multiclass" else {}
            tasks[task] |= {"clusters": CLUSTERS} if kind == "clustering" else {}
    train = np.arange(size.rows) % 5 != 4
    fold = np.where(train, rng.permutation(size.rows) % FOLDS, -1)
    return StudyData(features, labels, tasks, train, fold)


def settings(size: Size, device: torch.device, precision: str) -> TrainingSettings:
    """The default network and training of the published study's widths."""
    widths, hidden = WIDTHS[size.widths]
    return TrainingSettings(
        config.Model(encoder=list(hidden), shared=list(hidden)),
        config.Training(epochs=size.epochs),
        config.Compute(device=device.type, precision=precision),
        {name: config.Modality(sources=[name]) for name in widths},
        0,
    )


def slice_of(pairs: Sequence[tuple[str, str]], share: float) -> list[tuple[str, str]]:
    """At least that share of the pairs, evenly spaced in their order: of each kind about as many.

    Examples:
        >>> len(slice_of([("a", "b")] * 820, 0.05))
        41
    """
    number = max(1, -int(-len(pairs) * share // 1))
    return [pairs[i * len(pairs) // number] for i in range(number)]


def run(
    size: Size, device: torch.device, say: Callable[[str], object], precision: str = "float32"
) -> dict[str, Any]:
    """Time the slice: fits with their scores from arrays in memory, as packs do it one after another."""
    data, chosen = synthetic(size), settings(size, device, precision)
    pairs = list(itertools.combinations(sorted(data.tasks), 2))
    training = chosen.training
    grid = list(itertools.product(range(FOLDS), training.batch_sizes, training.learning_rates))
    mine = slice_of(pairs, size.share)
    started, wall = now(device), time.monotonic()
    done, fits, failed = 0, 0, 0
    parts = min(_PARTS, len(mine))
    for part in range(parts):
        if part and time.monotonic() - wall > size.budget:
            break
        # Every part has pairs of all kinds.
        combinations = mine[part::parts]
        specs = [FitSpec(pair, k, 0, batch, rate) for pair in combinations for k, batch, rate in grid]
        results = run_fits(specs, data, chosen)
        done, fits = done + len(combinations), fits + len(specs)
        failed += sum(result.status != "ok" for result in results)
        say(f"{done} of {len(mine)} pairs, {fits} fits in {now(device) - started:.1f} s")
    took = now(device) - started
    whole = len(pairs) * len(grid)
    return {
        "rows": size.rows,
        "features": sum(WIDTHS[size.widths][0].values()),
        "epochs": size.epochs,
        "precision": precision,
        "pairs": done,
        "pairs_of_slice": len(mine),
        "pairs_of_study": len(pairs),
        "fits": fits,
        "fits_of_study": whole,
        "diverged": failed,
        "seconds": round(took, 2),
        "minutes_of_study": round(took / fits * whole / 60, 2),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 2)
        if device.type == "cuda"
        else "not on this device",
    }
