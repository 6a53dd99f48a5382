"""What regression tasks learn by, by out-of-fold R^2 of single tasks on real cohorts.

Not part of the test suite. It needs the real data beside the project, and a quarter of an hour::

    OMP_NUM_THREADS=1 pytest -o addopts= -s tests/benchmarks/bench_regression.py

Of every cohort of :mod:`tests.benchmarks.real_cohorts` that has numbers to predict, each is learned alone by
a small network (the mean prediction of three seeds) under each of ``model.regression.loss``. Printed are the
mean scores over five folds.
"""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest

from m3h_pipeline import config
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec
from tests.benchmarks.bench_scaling import SEEDS, score, settings
from tests.benchmarks.real_cohorts import DATA, FOLDS, study_of

LOSSES = get_args(config.RegressionHead.model_fields["loss"].annotation)


@pytest.mark.parametrize("cohort", ["support2", "small_hospital", "eicu", "diabetes130", "gse7390"])
def test_scores_by_loss(cohort: str) -> None:
    if not DATA.exists():
        pytest.skip("no real data beside the project")
    data = study_of(cohort)
    tasks = [task for task, known in data.tasks.items() if known["problem_class"] == "regression"]
    base = settings(data)
    print(f"\n{cohort}: {', '.join(tasks)}")
    for loss in LOSSES:
        model = base.model.model_copy(update={"regression": config.RegressionHead(loss=loss)})
        training = base.training.model_copy(update={"contrastive_weight": 0.0})
        chosen = dataclasses.replace(base, model=model, training=training)
        batch = training.batch_sizes[0]
        specs = [
            FitSpec((task,), fold, seed, batch, 1e-3)
            for task in tasks
            for fold in range(FOLDS)
            for seed in range(SEEDS)
        ]
        found: dict[tuple[str, int], list[np.ndarray]] = {}
        for result in run_fits(specs, data, chosen):
            (task,) = result.spec.combination
            found.setdefault((task, result.spec.fold), []).append(result.predictions[task])
        means = [
            np.mean([score(data, task, k, np.mean(found[task, k], 0)) for k in range(FOLDS)])
            for task in tasks
        ]
        print(f"  {loss:<10}" + "".join(f"  {value:7.3f}" for value in means), flush=True)
