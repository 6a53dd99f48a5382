"""A study with a prediction in its data: the check looks at it, and it stands beside every other model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from m3h_pipeline.check import check_study
from m3h_pipeline.config import load_study
from m3h_pipeline.contracts import COMPARISON
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.files import read_features, read_table
from tests.end_to_end.in_process import Whole

N = 240
STUDY: dict[str, Any] = {
    "study": "theirs",
    "source": {
        "kind": "table",
        "files": [{"path": "ward.csv", "id": "stay"}],
        "blocks": {"labs": {"pattern": ".+"}},
        "columns": ["died", "theirs"],
    },
    "modalities": {"tabular": {"sources": ["labs"]}},
    "tasks": {"definitions": ["tasks.yaml"]},
    "split": {"folds": 2},
    "model": {"encoder": [4], "projection": 2, "shared": [4], "task": [4], "decoder": [4]},
    "training": {"epochs": 2, "batch_sizes": [64], "learning_rates": [1e-3]},
    "search": {"max_size": 2, "replicates": 1},
    "evaluation": {
        "replicates": 1,
        "draws": 20,
        "baselines": ["linear"],
        "given": {"their_model": {"died": {"column": "theirs", "means": "event"}}},
    },
}
TASKS = {
    name: {
        "title": name,
        "department": "Ward",
        "class": "binary",
        "criterion": {"kind": "values", "column": "died", "positive": [1], "negative": [0]},
    }
    for name in ("died", "again")
}


def write(folder: Path, **evaluation: Any) -> Path:
    rng = np.random.default_rng(0)
    labs = pd.DataFrame(rng.normal(size=(N, 3)), columns=["ph", "urea", "lactate"])
    risk = 1 / (1 + np.exp(-3 * labs["ph"]))
    labs["theirs"] = risk.where(np.arange(N) % 8 > 0)
    labs["died"] = (rng.random(N) < risk).astype(int)
    labs.insert(0, "stay", [f"s{i:03d}" for i in range(N)])
    labs.to_csv(folder / "ward.csv", index=False)
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": TASKS}))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"evaluation": STUDY["evaluation"] | evaluation}))
    return path


def test_it_stands_beside_every_other_model_and_is_no_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = io.StringIO()
    check_study(write(tmp_path), screen)
    assert f"their_model of died: column=theirs, {N // 8} of {N} rows without\n" in screen.getvalue()
    assert "their_model of again" not in screen.getvalue()
    whole = Whole(load_study(tmp_path / "study.yaml", []), tmp_path / "results")
    whole.run()
    assert read_features(whole.cohort / "features/labs.parquet")[1] == ["ph", "urea", "lactate"]
    rows = read_table(whole.folder / "evaluation/comparison.parquet", COMPARISON).to_pylist()
    found = {(row["task"], row["model"]): row["value"] for row in rows if row["part"] == "test"}
    models = {task: [model for one, model in found if one == task] for task in TASKS}
    assert models == {
        "died": ["multi", "single", "linear", "their_model"],
        "again": ["multi", "single", "linear"],
    }
    assert found["died", "their_model"] > 0.8


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dead": {"column": "theirs", "means": "event"}}, "names `dead`, which is no task of this study"),
        ({"died": {"column": "ph", "means": "score"}}, "`ph` is a feature of the modality `tabular`"),
        ({"died": {"column": "their", "means": "event"}}, "the cohort has no column `their`"),
        ({"died": {"column": "theirs", "means": "value"}}, "says nothing of a binary task"),
    ],
)
def test_the_check_refuses_what_cannot_be_held_against_a_task(
    given: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=says):
        check_study(write(tmp_path, given={"their_model": given}), io.StringIO())
