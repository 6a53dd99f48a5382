"""The arrays of a study: what is refused, digests, files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.config.model import Modality
from m3h_pipeline.errors import ContractError, InputError, TaskError
from m3h_pipeline.training.data import StudyData, load_study_data
from m3h_pipeline.training.fits import check_specs, fit_keys
from tests.training.studies import settings, spec, study, write_study


def test_a_modality_without_variation_is_refused() -> None:
    data = study(missing=False)
    data.features["gamma"][:] = 1.0
    with pytest.raises(InputError, match="no feature of the modality varies"):
        _ = data.columns


def test_arrays_of_other_length_or_infinite_are_refused() -> None:
    data = study()
    parts = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    with pytest.raises(ContractError, match="89 rows"):
        StudyData(**{**parts, "features": {**data.features, "alpha": data.features["alpha"][:-1]}})
    broken = data.labels["stay"].copy()
    broken[3] = np.inf
    with pytest.raises(ContractError, match="infinite"):
        StudyData(**{**parts, "labels": {**data.labels, "stay": broken}})


def test_a_clustering_task_without_labels_is_about_all_samples() -> None:
    data = study()
    parts = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    empty = np.full(data.n, np.nan, dtype=np.float32)
    again = StudyData(**{**parts, "labels": {**data.labels, "phenotype": empty}})
    assert (again.labels["phenotype"] == 0).all()


def keys(data: StudyData, **options: object) -> list[str]:
    specs = [spec("anemia", "stay"), spec("anemia", "stay", fold=1), spec("sepsis", "stay")]
    return fit_keys(specs, data, settings(**options), "code", "cpu")  # type: ignore[arg-type]


def test_a_key_changes_with_all_that_determines_the_fit_and_nothing_else() -> None:
    base = keys(study())
    assert len(set(base)) == 3
    assert keys(study()) == base
    other = study()
    other.labels["anemia"][0] = 1 - np.nan_to_num(other.labels["anemia"][0])
    changed = keys(other)
    assert [a == b for a, b in zip(base, changed, strict=True)] == [False, False, True]
    titled = study()
    titled.tasks["stay"]["title"] = "Length of stay"
    assert keys(titled) == base
    classed = study()
    classed.tasks["stay"]["problem_class"] = "binary"
    assert not set(keys(classed)) & set(base)
    features = study()
    features.features["beta"][5, 2] = 0.5
    assert not set(keys(features)) & set(base)
    split = study()
    split.fold[np.flatnonzero(split.train)[0]] += 1
    assert not set(keys(split)) & set(base)
    for option in (
        {"seed": 8},
        {"width": 16},
        {"epochs": 3},
        {"update": "sequential"},
        {"precision": "bfloat16"},
        {"model": {"dropout": 0.1}},
    ):
        assert not set(keys(study(), **option)) & set(base), option
    weighted = keys(study(), task_weights={"sepsis": 2.0, "gout": 3.0})
    assert [a == b for a, b in zip(base, weighted, strict=True)] == [True, True, False]
    # What is chosen from, and how fits are stacked, determines no fit.
    assert keys(study(), batch_sizes=[1], learning_rates=[1.0], stack=2) == base
    specs = [spec("anemia", "stay")]
    assert fit_keys(specs, study(), settings(), "other code", "cpu") != base[:1]
    assert fit_keys(specs, study(), settings(), "code", "cuda") != base[:1]


def test_modalities_in_another_order_are_the_same_study() -> None:
    data = study()
    turned = dataclasses.replace(data, features=dict(reversed(data.features.items())))
    assert list(turned.features) == list(data.features)
    assert keys(turned, modalities=list(reversed(data.features))) == keys(data)


def test_a_study_is_read_from_its_files(tmp_path: Path) -> None:
    data = study()
    write_study(data, tmp_path, {})
    modalities = {name: Modality(sources=[name]) for name in ("gamma", "beta", "alpha")}
    tasks = ["stay", "anemia"]
    again = load_study_data(
        tmp_path / "cohort", tmp_path / "labels", tmp_path / "split.parquet", tasks, modalities
    )
    assert list(again.features) == ["alpha", "beta", "gamma"]
    for name, x in data.features.items():
        np.testing.assert_array_equal(again.features[name], x)
    assert set(again.labels) == set(tasks)
    np.testing.assert_array_equal(again.labels["anemia"], data.labels["anemia"])
    assert again.tasks["stay"] == data.tasks["stay"]
    np.testing.assert_array_equal(again.train, data.train)
    np.testing.assert_array_equal(again.fold, data.fold)
    assert again.names["beta"][2] == "beta_2"
    joined = {"both": Modality(sources=["gamma", "alpha"])}
    both = load_study_data(tmp_path / "cohort", tmp_path / "labels", tmp_path / "split.parquet", [], joined)
    assert both.features["both"].shape == (data.n, 9)
    with pytest.raises(InputError, match="does not exist"):
        load_study_data(
            tmp_path / "cohort", tmp_path / "labels", tmp_path / "split.parquet", ["unknown"], modalities
        )


def test_fits_that_cannot_be_trained_are_refused() -> None:
    data = study()
    for wrong, message in (
        (dataclasses.replace(spec("anemia"), combination=("stay", "anemia")), "sorted"),
        (dataclasses.replace(spec("anemia"), combination=()), "sorted"),
        (spec("unknown"), "`unknown` are not loaded"),
        (spec("anemia", fold=7), "fold 7"),
    ):
        with pytest.raises(TaskError, match=message):
            check_specs([wrong], data)
    data.train[:] = True
    data.fold = np.abs(data.fold)
    with pytest.raises(TaskError, match="no test part"):
        check_specs([spec("anemia", fold=-1)], data)
