"""A small valid HAIM study on disk, for tests that then spoil one thing about it."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

PATIENTS = 60


def write_study(folder: Path) -> dict[str, Any]:
    """Write the files of a study of 120 samples, and return its configuration (also ``study.yaml``)."""
    rng = np.random.default_rng(7)
    header: list[Any] = ["haim_id", "img_id", "img_charttime", "img_deltacharttime", "discharge_location"]
    header += ["img_length_of_stay", "death_status", "de_0", "de_1", "vd_0", "vd_1"]
    rows: list[list[Any]] = []
    for i in range(2 * PATIENTS):
        stay = i // 2
        numbers = [f"{value:.4f}" for value in rng.normal(size=2)]
        rows.append([stay, i, "2150-01-01 00:00:00", 1.5, "HOME", 24.0 * (1 + i % 9), int(i % 5 == 0)])
        rows[-1] += [60 + stay % 20, stay % 2, *numbers]
    write_csv(folder / "table.csv", [header, *rows])
    keys: list[list[Any]] = [["subject_id", "hadm_id", "stay_id", "haim_id"]]
    keys += [[100 + s, 200 + s, 300 + s, s] for s in range(PATIENTS)]
    write_csv(folder / "keys.csv", keys)
    codes: list[list[Any]] = [["subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"]]
    codes += [[100 + s, 200 + s, 1, "I509" if s % 3 == 0 else "Z0000", 10] for s in range(PATIENTS)]
    write_csv(folder / "hosp/diagnoses_icd.csv.gz", codes)
    titles: list[list[Any]] = [
        ["icd_code", "icd_version", "long_title"],
        ["I509", 10, "Heart failure, unspecified"],
    ]
    titles += [["Z0000", 10, "General adult medical examination"]]
    write_csv(folder / "hosp/d_icd_diagnoses.csv.gz", titles)
    tasks = {
        "heart_failure": {
            "title": "Heart failure",
            "department": "Cardiology",
            "class": "binary",
            "criterion": {"kind": "diagnosis", "icd": {10: ["I50"]}},
        },
        "days_left": {
            "title": "Days left",
            "department": "Operations",
            "class": "regression",
            "unit": "days",
            "criterion": {"kind": "number", "column": "img_length_of_stay", "scale": 1 / 24},
        },
    }
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    study = {
        "study": "small",
        "data": str(folder),
        "source": {
            "kind": "haim",
            "table": "table.csv",
            "key_ids": "keys.csv",
            "hosp": "hosp",
            "blocks": {"demographics": "de_", "vision": "vd_"},
        },
        "modalities": {"tabular": {"sources": ["demographics"]}, "vision": {"sources": ["vision"]}},
        "tasks": {"definitions": [str(folder / "tasks.yaml")], "min_per_fold": 2},
        "split": {"folds": 2},
    }
    write_yaml(folder, study)
    return study


def write_yaml(folder: Path, study: dict[str, Any]) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


def write_csv(path: Path, rows: list[list[Any]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def edit_csv(path: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    """Rewrite a CSV file through a function of its rows, header first."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="") as file:
        rows = list(csv.reader(file))
    write_csv(path, change(rows))


def edit_tasks(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "tasks.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["tasks"])
    path.write_text(yaml.safe_dump(content))
