"""What a fit takes by the default and by the published recipe, at small and at published widths.

Not part of the test suite::

    OMP_NUM_THREADS=1 pytest -o addopts= -s tests/benchmarks/bench_recipes.py

Pairs of tasks on arrays of a study's shape, trained in stacks as a search does; seconds per fit, medians of
rounds in which the recipes take turns. ``before`` is what configurations stated until there was a default
recipe: one step on the sum, contrastive weight 1, a fixed number of epochs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from m3h_pipeline import config
from m3h_pipeline.config.recipes import RECIPES, merged
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec, TrainingSettings

TASKS = ("a", "b", "c", "d")
SMALL = {"encoder": [64], "projection": 32, "shared": [64], "task": [64], "decoder": [64]}
#: Rows, features of four modalities, widths, epochs of ``before``, folds trained, rounds.
SHAPES: dict[str, tuple[int, tuple[int, ...], Mapping[str, Any], int, int, int]] = {
    "default study": (2400, (6, 64, 70, 100), SMALL, 10, 3, 3),
    "published widths, a tenth of the rows": (4500, (6, 451, 2084, 2304), {}, 15, 1, 2),
}


def study(rows: int, widths: tuple[int, ...]) -> StudyData:
    """Binary tasks of a few factors that show in four modalities."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, 8))
    features = {
        f"m{i}": (z @ rng.normal(size=(8, width)) + 2 * rng.normal(size=(rows, width))).astype(np.float32)
        for i, width in enumerate(widths)
    }
    labels = {
        task: (z @ rng.normal(size=8) + 3 * rng.normal(size=rows) > 1).astype(np.float32) for task in TASKS
    }
    described = {task: {"id": task, "problem_class": "binary", "metric": "auroc"} for task in TASKS}
    return StudyData(features, labels, described, np.ones(rows, dtype=bool), np.arange(rows) % 5)


def settings(data: StudyData, name: str, widths: Mapping[str, Any], epochs: int) -> TrainingSettings:
    """Settings of a recipe, at the widths of a shape."""
    recipe = RECIPES["published" if name == "published" else "default"]
    own = {} if name == "default" else {"batch_sizes": [128], "learning_rates": [1e-3], "epochs": epochs}
    if name == "before":
        return TrainingSettings(
            config.Model(**widths),
            config.Training(**own),
            config.Compute(device="cpu"),
            {key: config.Modality(sources=[key]) for key in data.features},
            7,
        )
    return TrainingSettings(
        config.Model(**merged(recipe.model, widths)),
        config.Training(**merged(recipe.training, own)),
        config.Compute(device="cpu"),
        {key: config.Modality(sources=[key], **recipe.of_modality("mlp")) for key in data.features},
        7,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_seconds_per_fit(shape: str) -> None:
    rows, features, widths, epochs, folds, rounds = SHAPES[shape]
    data = study(rows, features)
    pairs = [tuple(sorted((a, b))) for a in TASKS for b in TASKS if a < b]
    taken: dict[str, list[float]] = {"before": [], "default": [], "published": []}
    for _ in range(rounds):
        for name, seconds in taken.items():
            chosen = settings(data, name, widths, epochs)
            specs = [FitSpec(pair, fold, 0, 128, 1e-3) for pair in pairs for fold in range(folds)]
            started = time.process_time()
            run_fits(specs, data, chosen)
            seconds.append((time.process_time() - started) / len(specs))
    print(f"\n{shape}: seconds of processor per fit of a pair")
    for name, seconds in taken.items():
        print(f"  {name:<10} {statistics.median(seconds):8.2f}")
