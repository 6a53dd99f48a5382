"""The definitions of the two breast cancer studies on their real files."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3h_pipeline.coding import Float32Array, time_and_event
from m3h_pipeline.files import read_labels
from m3h_pipeline.tasks.definitions import load_definitions
from m3h_pipeline.tasks.labels import label_task
from tests.tasks.cohorts import write_cohort

TASKS = Path(__file__).resolve().parents[2] / "resources/tasks"


def labels(study: str, columns: dict[str, list[Any]], folder: Path) -> dict[str, Float32Array]:
    n = len(next(iter(columns.values())))
    cohort = write_cohort(folder / "cohort", [(f"p{i:04d}", None) for i in range(n)], columns=columns)
    found = {}
    for task, definition in load_definitions([TASKS / f"{study}.yaml"]).items():
        output = folder / f"{task}.parquet"
        label_task(task, definition, cohort, output, folder / f"{task}.audit.tsv")
        found[task] = read_labels(output)[0]
    return found


def counts(y: Float32Array) -> dict[float, int]:
    values, numbers = np.unique(y[~np.isnan(y)], return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def test_gse7390(tmp_path: Path) -> None:
    package = find_spec("sksurv")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "datasets/data/breast_cancer_GSE7390-metastasis.arff"
    rows = [line.split(",") for line in path.read_text().splitlines() if line and line[0] not in "@%"]
    head = [line.split()[1] for line in path.read_text().splitlines() if line.startswith("@attribute")]
    order = {name: head.index(name) for name in ("size", "grade", "er", "t.tdm", "e.tdm")}
    columns: dict[str, list[Any]] = {
        name: [row[i].strip().strip("'") for row in rows] for name, i in order.items()
    }
    found = labels("gse7390", columns, tmp_path)
    assert counts(found["er"]) == {0: 64, 1: 134}
    assert counts(found["grade"]) == {0: 30, 1: 83, 2: 83}
    assert np.allclose(found["size"], [float(text) for text in columns["size"]])
    early = [float(t) < 1826.25 for t in columns["t.tdm"]]
    event = [e == "1" for e in columns["e.tdm"]]
    expected = [(1.0 if seen else np.nan) if soon else 0.0 for soon, seen in zip(early, event, strict=True)]
    assert np.array_equal(found["metastasis_5y"], np.array(expected, np.float32), equal_nan=True)
    assert counts(found["metastasis_5y"]) == {0: 154, 1: 35}
    time, happened = time_and_event(found["metastasis"])
    assert np.allclose(time, [float(t) / 365.25 for t in columns["t.tdm"]])
    assert happened.tolist() == event


@pytest.mark.real_data
def test_tcga_brca(real_data: Path, tmp_path: Path) -> None:
    with (real_data / "tcga-brca/outcomes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] or None for row in rows] for name in rows[0]}
    found = labels("tcga_brca", columns, tmp_path)
    assert counts(found["er"]) == {0: 158, 1: 513}
    assert counts(found["her2"]) == {0: 356, 1: 108}
    assert counts(found["pam50"]) == {0: 344, 1: 139, 2: 122, 3: 52, 4: 27}
    assert counts(found["stage"]) == {0: 127, 1: 404, 2: 146 + 12}
    died = sum(float(r["os_months"]) < 60 and r["os_event"] == "1.0" for r in rows)
    lived = sum(float(r["os_months"]) >= 60 for r in rows)
    assert counts(found["death_5y"]) == {0: lived, 1: died}
    for task, name in (("survival", "os"), ("progression", "pfs")):
        time, event = time_and_event(found[task])
        known = [bool(r[f"{name}_months"]) and bool(r[f"{name}_event"]) for r in rows]
        assert np.array_equal(~np.isnan(time), known)
        assert event.tolist() == [r[f"{name}_event"] == "1.0" for r in rows]
