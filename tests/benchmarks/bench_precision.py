"""What bfloat16 does to scores on real cohorts: single tasks in float32 and in bfloat16, same seeds and rows.

Not part of the test suite. It needs the real data beside the project, and ten minutes::

    OMP_NUM_THREADS=1 pytest -o addopts= -s tests/benchmarks/bench_precision.py

Of two cohorts of :mod:`tests.benchmarks.real_cohorts` each task is learned alone by the default network, by
some seeds and out of fold. Printed are the mean score in float32, the mean paired difference of bfloat16 and
its standard error over folds and seeds, and how far two seeds of float32 are apart on the same fold.
``python -m tests.gpu.document`` takes the table from the file that ``M3H_BENCH_FILE`` names.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from m3h_pipeline import config
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from tests.benchmarks.real_cohorts import DATA, FOLDS, study_of

COHORTS = ("support2", "eicu")
SEEDS = 2


def trained(data: StudyData, precision: str) -> tuple[dict[str, npt.NDArray[Any]], float]:
    """Task -> scores (folds, seeds), and the seconds it took."""
    chosen = TrainingSettings(
        config.Model(),
        config.Training(),
        config.Compute(device="cpu", precision=precision),
        {name: config.Modality(sources=[name]) for name in data.features},
        7,
    )
    specs = [
        FitSpec((task,), fold, seed, 256, 1e-3)
        for task in data.labels
        for fold in range(FOLDS)
        for seed in range(SEEDS)
    ]
    started = time.process_time()
    found = {task: np.full((FOLDS, SEEDS), np.nan) for task in data.labels}
    for result in run_fits(specs, data, chosen):
        (task,) = result.spec.combination
        found[task][result.spec.fold, result.spec.replicate] = result.values[task]
    return found, time.process_time() - started


@pytest.mark.parametrize("cohort", COHORTS)
def test_scores_by_precision(cohort: str) -> None:
    if not DATA.exists():
        pytest.skip("no real data beside the project")
    data = study_of(cohort)
    (full, long), (half, short) = (trained(data, precision) for precision in ("float32", "bfloat16"))
    print(f"\n{cohort}: {data.n} rows, {FOLDS} folds, {SEEDS} seeds; {long:.0f} s and {short:.0f} s")
    rows = []
    for task, scores in full.items():
        change = half[task] - scores
        error = float(change.std(ddof=1) / np.sqrt(change.size))
        seeds = float(np.abs(scores[:, 0] - scores[:, 1]).mean())
        metric = data.tasks[task]["metric"]
        rows.append([task, metric, float(scores.mean()), float(change.mean()), error, seeds])
        print(
            f"  {task:<16}{metric:<12} {scores.mean():.4f}  {change.mean():+.4f} +- {error:.4f}"
            f"  seeds differ by {seeds:.4f}"
        )
    assert all(np.isfinite(values).all() for values in (*full.values(), *half.values()))
    if "M3H_BENCH_FILE" in os.environ:
        path = Path(os.environ["M3H_BENCH_FILE"])
        known = json.loads(path.read_text()) if path.exists() else {}
        known[cohort] = {"rows": data.n, "folds": FOLDS, "seeds": SEEDS, "tasks": rows}
        path.write_text(json.dumps(known, indent=1) + "\n")
