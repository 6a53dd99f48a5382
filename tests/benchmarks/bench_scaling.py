"""How features are scaled, by out-of-fold scores of single tasks on real cohorts.

Not part of the test suite. It needs the real data beside the project, and half an hour::

    OMP_NUM_THREADS=1 pytest -o addopts= -s tests/benchmarks/bench_scaling.py

Of every cohort of :mod:`tests.benchmarks.real_cohorts` each task is learned alone: by a small network (the
mean prediction of three seeds), and by an L2 linear model with the best of its penalties. Both see features
scaled by mean and deviation, by median and interquartile range, or robustly as by default. Printed are the
mean scores over five folds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from m3h_pipeline import config
from m3h_pipeline.features import scaling
from m3h_pipeline.features.spread import Spread, spread
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.references.columns import columns_of
from m3h_pipeline.references.design import designed, seen
from m3h_pipeline.references.linear import linear_path
from m3h_pipeline.references.problem import Problem
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from tests.benchmarks.real_cohorts import COHORTS, DATA, FOLDS, study_of

SEEDS = 3
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
#: The interquartile range of a normal distribution of deviation 1.
NORMAL_RANGE = 1.349


def by_quartiles(x: npt.NDArray[np.floating[Any]]) -> Spread:
    """Median and interquartile range; the robust deviation where that range is 0."""
    found = spread(x)
    low, high = np.nan_to_num(np.nanquantile(x.astype(np.float64), [0.25, 0.75], axis=0))
    within = (high - low) / NORMAL_RANGE
    return found._replace(mean=found.median, deviation=np.where(within > 0, within, found.deviation))


def by_moments(x: npt.NDArray[np.floating[Any]]) -> Spread:
    """Mean and deviation."""
    mean, deviation = scaling.moments(x.astype(np.float32), np.arange(len(x)))
    return Spread(mean, deviation, mean, deviation)


ARMS: dict[str, Callable[[Any], Spread]] = {
    "standard": by_moments,
    "quartiles": by_quartiles,
    "robust": spread,
}


def settings(data: StudyData) -> TrainingSettings:
    """A small network, with more epochs for fewer rows."""
    small = data.n < 3000
    batch = 64 if small else 128
    return TrainingSettings(
        config.Model(encoder=[64], projection=32, shared=[64], task=[64], decoder=[64], input_dropout=0.2),
        config.Training(
            epochs=40 if small else 15,
            batch_sizes=[batch],
            learning_rates=[1e-3],
            weight_decay=1.0,
            contrastive_weight=0.1,
        ),
        config.Compute(device="cpu"),
        {name: config.Modality(sources=[name]) for name in data.features},
        7,
    )


def network(data: StudyData) -> dict[str, float]:
    """Task -> mean score of the network alone."""
    chosen = settings(data)
    specs = [
        FitSpec((task,), fold, seed, chosen.training.batch_sizes[0], 1e-3)
        for task in data.labels
        for fold in range(FOLDS)
        for seed in range(SEEDS)
    ]
    found: dict[tuple[str, int], list[npt.NDArray[Any]]] = {}
    for result in run_fits(specs, data, chosen):
        (task,) = result.spec.combination
        found.setdefault((task, result.spec.fold), []).append(result.predictions[task])
    return {
        task: float(np.mean([score(data, task, k, np.mean(found[task, k], 0)) for k in range(FOLDS)]))
        for task in data.labels
    }


def linear(data: StudyData) -> dict[str, float]:
    """Task -> mean score of the linear model with the best penalty; survival tasks have none here."""
    best, columns = {}, columns_of(data)
    for task, description in data.tasks.items():
        if (kind := description["problem_class"]) == "survival":
            continue
        scores = []
        for fold in range(FOLDS):
            training = data.training_rows(fold)
            labelled = training[np.isfinite(data.labels[task][training])]
            rows = data.scored_rows(fold)
            problem = Problem(
                kind,
                2 if kind == "binary" else 0,
                seen(columns, training, labelled),
                data.labels[task][labelled],
                seen(columns, training, rows),
            )
            path = linear_path(designed(problem), STRENGTHS)
            scores.append([score(data, task, fold, prediction) for prediction in path])
        best[task] = float(np.mean(scores, axis=0).max())
    return best


def score(data: StudyData, task: str, fold: int, prediction: Any) -> float:
    """The task's metric on a fold."""
    return metric(data.tasks[task]["metric"], data.labels[task][data.scored_rows(fold)], prediction)


@pytest.mark.parametrize("cohort", COHORTS)
def test_scores_by_scaling(cohort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DATA.exists():
        pytest.skip("no real data beside the project")
    rows: dict[str, list[tuple[float, float]]] = {}
    for by in ARMS.values():
        monkeypatch.setattr(scaling, "spread_of", by)
        data = study_of(cohort)
        deep, plain = network(data), linear(data)
        for task in data.labels:
            rows.setdefault(task, []).append((deep[task], plain.get(task, np.nan)))
    print(f"\n{cohort}: network, linear by {', '.join(ARMS)}")
    for task, found in rows.items():
        print(f"  {task:<16}" + "".join(f"  {deep:7.3f} {plain:7.3f}" for deep, plain in found))
