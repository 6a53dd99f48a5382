"""What the job of the references asks of a scheduler, against what the stage uses in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from m3h_pipeline.files import write_features
from m3h_pipeline.jobs.resources import reference_mb, reference_minutes
from m3h_pipeline.references.sizing import Shape, files_shape, memory_mb, runtime_minutes
from m3h_pipeline.training.data import StudyData
from tests.jobs.studies import study as configured
from tests.references.test_stage import write_study

_RUN = """
import sys, time
from pathlib import Path
from m3h_pipeline.config import Evaluation, Modality
from m3h_pipeline.references.stage import run_baselines
folder = Path(sys.argv[1])
sources = {"all": Modality(sources=["first", "second"])}
evaluation = Evaluation(baselines=sys.argv[2].split(","))
start = time.monotonic()
run_baselines("ill", folder, folder, folder / "split.parquet", folder / "out.parquet", sources, evaluation, 0)
# The peak of getrusage is also that of the process which started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0], time.monotonic() - start)
"""


def coded_study(n: int, numbers: int, categories: int, values: int, kind: str = "binary") -> StudyData:
    """Numbers and categories of so many values each, as a table with codes has them; a task of a class."""
    rng = np.random.default_rng(0)
    x = np.zeros((n, numbers + categories * values), dtype=np.float32)
    x[:, :numbers] = rng.normal(size=(n, numbers))
    names = [f"n{j}" for j in range(numbers)]
    for j in range(categories):
        code = rng.integers(values, size=n)
        x[np.arange(n), numbers + j * values + code] = 1
        names += [f"c{j}={v}" for v in range(values)]
    signal = x[:, 0] + rng.normal(size=n)
    y = (signal if kind == "survival" else signal > 0.5).astype(np.float32)
    fold = (np.arange(n) % 4 - 1).astype(np.int64)
    return StudyData(
        {"tabular": x}, {"ill": y}, {"ill": {"problem_class": kind}}, fold >= 0, fold, {"tabular": names}
    )


@pytest.mark.parametrize(
    ("shape", "kind", "baselines"),
    [
        ((20_000, 10, 10, 60), "binary", "linear"),
        ((4_000, 10, 2, 20), "binary", "gradient_boosting"),
        ((1_500, 10, 2, 20), "survival", "gradient_boosting"),
        ((900, 2_000, 1, 2), "binary", "linear"),
    ],
    ids=["codes", "boosting", "hazards", "wide"],
)
def test_the_job_asks_for_what_it_uses(
    tmp_path: Path, shape: tuple[int, int, int, int], kind: str, baselines: str
) -> None:
    data = coded_study(*shape, kind)
    write_study(tmp_path, data)
    x, names = data.features["tabular"], data.names["tabular"]
    write_features(x[:, :10], names[:10], tmp_path / "features/first.parquet")
    write_features(x[:, 10:], names[10:], tmp_path / "features/second.parquet")
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path), baselines], capture_output=True, text=True, check=True
    )
    peak, seconds = (float(word) for word in done.stdout.split())
    features = [tmp_path / "features/first.parquet", tmp_path / "features/second.parquet"]
    found = files_shape(tmp_path / "ill.parquet", features, 3)
    assert (found.rows, found.features) == (data.n, data.features["tabular"].shape[1])
    assert found.categories == shape[2]
    asked = memory_mb(found, [baselines], [])
    used = peak * 1024 / 1e6
    assert used < asked < 2.5 * used, (used, asked)
    assert seconds < 60 * runtime_minutes(found, [baselines], [])


def test_more_is_asked_for_larger_studies_and_on_retry(tmp_path: Path) -> None:
    write_study(tmp_path, coded_study(100, 12, 2, 3))
    inputs = SimpleNamespace(
        labels=str(tmp_path / "ill.parquet"),
        features=[str(tmp_path / f"features/{name}.parquet") for name in ("first", "second")],
    )
    one: Any = configured(evaluation__baselines=["linear", "gradient_boosting"])
    memory, minutes = reference_mb(one), reference_minutes(one)
    assert [memory(None, inputs, attempt) for attempt in (1, 2)] == [600, 1200]
    assert [minutes(None, inputs, attempt) for attempt in (1, 3)] == [20, 60]
    with pytest.raises(FileNotFoundError):
        memory(None, SimpleNamespace(labels=str(tmp_path / "absent.parquet"), features=[]), 1)
    small = Shape(10_000, 50, 0, 0, 5, 1, False, 1.0)
    large = Shape(100_000, 5_000, 0, 0, 5, 1, False, 1.0)
    both = ["linear", "gradient_boosting"]
    assert (
        memory_mb(large, both, []) > memory_mb(large, ["gradient_boosting"], []) > memory_mb(small, both, [])
    )
    assert runtime_minutes(large, both, []) > runtime_minutes(small, both, []) == 20
    assert runtime_minutes(small, [*both, "tabm"], ["tabm"]) >= 140
