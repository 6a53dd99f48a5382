"""Finished fits of references: found again by all that determines them, and fitted again if damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.config import Evaluation
from m3h_pipeline.environment import versions
from m3h_pipeline.references import stage, store
from m3h_pipeline.references.columns import columns_of
from m3h_pipeline.references.registry import REFERENCES, Part, Study
from m3h_pipeline.references.store import ReferenceStore, fit_key
from tests.references.test_stage import study

LINEAR = Evaluation(baselines=["linear"])


def test_a_killed_job_goes_on_from_its_finished_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = study(200, folds=3)
    wanted = stage.baseline_predictions("ill", data, LINEAR, 0)
    model, fitted = REFERENCES["linear"], list[int]()

    def counted(part: Part, chosen: list[int]) -> object:
        fitted.append(len(chosen))
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return model.path(part, chosen)

    one = type(model)(model.problem_classes, model.settings, counted)  # type: ignore[arg-type]
    monkeypatch.setitem(REFERENCES, "linear", one)
    kept = ReferenceStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        stage.baseline_predictions("ill", data, LINEAR, 0, store=kept)
    assert len(list((tmp_path / "references").iterdir())) == 2
    found = stage.baseline_predictions("ill", data, LINEAR, 0, store=kept)
    # There are three inner fits and one for each row of the table: two were there.
    assert (done := len(fitted)) == 3 + (3 + len(wanted)) - 2
    for before, after in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(np.asarray(before["prediction"]), np.asarray(after["prediction"]))
    stage.baseline_predictions("ill", data, LINEAR, 0, store=kept)
    assert len(fitted) == done


def test_a_fit_is_found_by_all_that_determines_it(tmp_path: Path) -> None:
    data, other = study(200), study(200)
    other.features["tabular"][3, 2] += 1
    relabelled = study(200)
    relabelled.labels["ill"][:] = 1 - relabelled.labels["ill"]
    parts = [
        Part(
            Study(columns_of(one), one, "ill", "binary", 2, seed), one.training_rows(fold), one.scored_rows(0)
        )
        for one, seed, fold in ((data, 0, 0), (data, 0, 1), (data, 1, 0), (other, 0, 0), (relabelled, 0, 0))
    ]
    keys = [fit_key("linear", part, ["C=1"]) for part in parts]
    keys += [fit_key("linear", parts[0], ["C=2"]), fit_key("gradient_boosting", parts[0], ["C=1"])]
    assert len(set(keys)) == len(keys)
    assert fit_key("linear", parts[0], ["C=1"]) == keys[0]


def test_other_patients_and_another_version_of_what_computes_it_are_another_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, other = study(200), study(200)
    other.patient = np.arange(200) // 2
    parts = [
        Part(Study(columns_of(data), one, "ill", "binary", 2, 0), one.training_rows(0), one.scored_rows(0))
        for one in (data, other)
    ]
    keys = [fit_key("tabm", part, ["tuned defaults"]) for part in parts]
    for name in ("pytabkit", "numpy", "scipy", "scikit-learn"):
        monkeypatch.setattr(store, "versions", lambda name=name: {**versions(), name: "another"})
        keys.append(fit_key("tabm", parts[0], ["tuned defaults"]))
    assert len(set(keys)) == len(keys) == 6


def test_a_damaged_fit_is_reported_and_fitted_again(tmp_path: Path) -> None:
    said: list[str] = []
    kept = ReferenceStore(tmp_path, said.append)
    predictions = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((3, 2), np.float32)]
    assert kept.load("a" * 64) is None
    kept.save("a" * 64, "ill", "linear", predictions)
    found = kept.load("a" * 64)
    assert found is not None
    for one, wanted in zip(found, predictions, strict=True):
        np.testing.assert_array_equal(one, wanted)
    path = kept.path_of("a" * 64)
    assert path is not None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert kept.load("a" * 64) is None
    assert "fitted again" in said[0]
