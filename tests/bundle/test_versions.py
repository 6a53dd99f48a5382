"""Bundles of every version are read for ever, and say what they said. Their files are never changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.schema import VERSION

DATA = Path(__file__).parent / "data"


def test_there_is_one_of_every_version() -> None:
    assert {path.name for path in DATA.iterdir() if path.is_dir()} == {
        f"version_{number}" for number in range(1, VERSION + 1)
    }


@pytest.mark.parametrize("number", range(1, VERSION + 1))
def test_an_old_bundle_says_what_it_said(number: int) -> None:
    bundle = Bundle.load(DATA / f"version_{number}")
    known = json.loads((DATA / f"version_{number}.json").read_text())
    features = {name: np.array(rows, dtype=np.float32) for name, rows in known["features"].items()}
    said = bundle.predict_features(features)
    # Of simulated patients; among the tasks are all classes, a network, both references and a blend.
    assert {task.problem_class for task in bundle.tasks.values()} == {
        *("binary", "multiclass", "regression", "survival", "clustering")
    }
    kinds = {one.kind for task in bundle.tasks.values() for one in task.candidates.values()}
    assert kinds == {"network", "reference", "blend"}
    for name in bundle.tasks:
        np.testing.assert_allclose(said[name].raw, known["raw"][name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(said[name].calibrated, known["calibrated"][name], rtol=1e-5, atol=1e-6)
