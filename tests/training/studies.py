"""Small studies for the tests, and where they run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from m3h_pipeline import config
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.spec import FitSpec, TrainingSettings

#: ``cpu`` or ``cuda``.
DEVICE = os.environ.get("M3H_TEST_DEVICE", "cpu")
#: Precision of the tests that are not about one precision.
PRECISION = os.environ.get("M3H_TEST_PRECISION", "float32")

TASKS: dict[str, dict[str, Any]] = {
    "anemia": {"problem_class": "binary", "metric": "auroc"},
    "gout": {"problem_class": "binary", "metric": "auroc"},
    "sepsis": {"problem_class": "binary", "metric": "auroc"},
    "grade": {"problem_class": "multiclass", "metric": "macro_auroc", "classes": ["1", "2", "3"]},
    "organ": {"problem_class": "multiclass", "metric": "macro_auroc", "classes": list("abcd")},
    "stay": {"problem_class": "regression", "metric": "r2"},
    "size": {"problem_class": "regression", "metric": "r2"},
    "phenotype": {"problem_class": "clustering", "metric": "silhouette", "clusters": 3},
    "subtype": {"problem_class": "clustering", "metric": "silhouette", "clusters": 2},
}
WIDTHS = {"alpha": 5, "beta": 7, "gamma": 4}


def study(
    n: int = 90, seed: int = 0, folds: int = 3, widths: Mapping[str, int] = WIDTHS, missing: bool = True
) -> StudyData:
    """A study whose labels depend on a few latent factors that show in every modality.

    With ``missing``, features, whole modalities and labels are missing; ``gout`` is observed in few rows, so
    that most minibatches have none.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    features = {}
    for name, width in widths.items():
        x = z @ rng.normal(size=(4, width)) + 0.5 * rng.normal(size=(n, width))
        features[name] = (x * rng.uniform(0.1, 20, width) + rng.uniform(-50, 50, width)).astype(np.float32)
    labels: dict[str, Any] = {}
    for task, description in TASKS.items():
        score = z @ rng.normal(size=(4, 5)) + 0.3 * rng.normal(size=(n, 5))
        kind = description["problem_class"]
        if kind == "binary":
            y: Any = score[:, 0] > 0.3
        elif kind == "multiclass":
            y = score[:, : len(description["classes"])].argmax(1)
        elif kind == "regression":
            y = 3 * score[:, 0] + 12
        else:
            y = np.zeros(n)
        labels[task] = y.astype(np.float32)
    if missing:
        for values in features.values():
            values[rng.random(values.shape) < 0.05] = np.nan
        if "beta" in features:
            features["beta"][rng.random(n) < 0.2] = np.nan
        for task in ("anemia", "grade", "stay"):
            labels[task][rng.random(n) < 0.3] = np.nan
        labels["gout"][rng.random(n) < 0.9] = np.nan
    train = np.arange(n) % 6 != 5
    fold = np.where(train, rng.permutation(n) % folds, -1)
    tasks = {task: {"id": task, "title": task, **value} for task, value in TASKS.items()}
    return StudyData(features, labels, tasks, train, fold)


def settings(
    *,
    precision: str = PRECISION,
    width: int = 8,
    seed: int = 7,
    modalities: Iterable[str] = WIDTHS,
    model: Mapping[str, Any] | None = None,
    stack: int | None = None,
    encoder: str = "mlp",
    **training: Any,
) -> TrainingSettings:
    """Settings of a small network."""
    widths: dict[str, Any] = {
        "encoder": [width, width],
        "projection": width,
        "shared": [width, width],
        "task": [width],
        "decoder": [width],
    }
    return TrainingSettings(
        config.Model(**{**widths, **(model or {})}),
        config.Training(**{"epochs": 2, **training}),
        config.Compute(precision=precision, device=DEVICE, stack=stack),
        {name: config.Modality(sources=[name], encoder=encoder) for name in modalities},
        seed,
    )


def spec(*tasks: str, fold: int = 0, replicate: int = 0, batch: int = 16, rate: float = 1e-2) -> FitSpec:
    """A fit."""
    return FitSpec(tuple(sorted(tasks)), fold, replicate, batch, rate)


def write_study(data: StudyData, folder: Path, packs: Mapping[str, Any]) -> None:
    """Write a study's files as the stages before training do."""
    # The rest of this module also runs where these cannot be installed: see tests/gpu.
    import pyarrow as pa

    from m3h_pipeline.contracts import SPLIT, samples_schema
    from m3h_pipeline.files import write_features, write_json, write_labels, write_table

    for name, x in data.features.items():
        names = [f"{name}_{i}" for i in range(x.shape[1])]
        write_features(x, names, folder / "cohort" / "features" / f"{name}.parquet")
    for task, y in data.labels.items():
        write_labels(y, folder / "labels" / f"{task}.parquet", data.tasks[task])
    samples = {
        "sample_id": [f"s{i:05d}" for i in range(data.n)],
        "patient_id": [f"p{i:05d}" for i in data.patients],
        "stay_id": [None] * data.n,
    }
    schema = samples_schema([])
    write_table(pa.table(samples, schema=schema), folder / "cohort" / "samples.parquet", schema)
    split = pa.table(
        {
            "sample_id": pa.array([f"s{i:05d}" for i in range(data.n)]),
            "part": pa.array(["train" if train else "test" for train in data.train]),
            "fold": pa.array(data.fold, pa.int16()),
        },
        schema=SPLIT,
    )
    write_table(split, folder / "split.parquet", SPLIT)
    write_json({"stage": "round", "packs": dict(packs)}, folder / "plan.json")
