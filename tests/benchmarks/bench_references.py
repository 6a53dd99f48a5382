"""Reference models on real cohorts: scores out of fold and seconds, in one table.

``python -m tests.benchmarks.bench_references eicu support2 --tasks aki --references linear tabm`` chooses. Of
RealMLP and TabM the optional package pytabkit is needed; one seed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from m3h_pipeline.config import Evaluation, validate
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.references.deep import DEEP
from m3h_pipeline.references.registry import REFERENCES
from m3h_pipeline.references.stage import baseline_predictions
from m3h_pipeline.training.data import StudyData
from tests.benchmarks.real_cohorts import COHORTS, DATA, study_of


def scores(data: StudyData, task: str, name: str, seed: int = 0) -> tuple[float, float]:
    """A reference's mean score over the folds, and the seconds of all its fits; NaN where it has none."""
    start = time.perf_counter()
    evaluation = validate(Evaluation, {"baselines": [name]}, "a benchmark")
    rows = baseline_predictions(task, data, evaluation, seed)
    y, named = data.labels[task], data.tasks[task]["metric"]
    values = []
    for row in rows:
        prediction = np.asarray(row["prediction"]).reshape(-1, int(str(row["width"])))
        values.append(metric(named, y[data.scored_rows(int(str(row["fold"])))], prediction))
    return float(np.mean(values)) if values else float("nan"), time.perf_counter() - start


def show(cohort: str, tasks: list[str], references: list[str]) -> dict[tuple[str, str], float]:
    """Print a line per task and reference as it comes; (task, reference) -> score."""
    data = study_of(cohort)
    found = {}
    for task in tasks or list(data.labels):
        for name in references:
            value, seconds = scores(data, task, name)
            found[task, name] = value
            print(f"{cohort:>14} {task:>16} {name:>18} {value:8.4f} {seconds:7.1f} s", flush=True)
    return found


@pytest.mark.skipif(not (DATA / "eicu-demo").is_dir(), reason="the real data folder is not there")
def test_references_of_the_emergency_units() -> None:
    installed = importlib.util.find_spec("pytabkit") is not None
    found = show("eicu", [], [name for name in REFERENCES if installed or name not in DEEP])
    assert found["creatinine", "gradient_boosting"] > 0.7


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohorts", nargs="+", choices=list(COHORTS))
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--references", nargs="*", default=list(REFERENCES))
    arguments = parser.parse_args()
    with threadpool_limits(limits=1):
        for one in arguments.cohorts:
            show(one, arguments.tasks, arguments.references)
    sys.exit(0)
