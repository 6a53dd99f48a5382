"""Columns that say which values are missing: which there are, and that a kept model makes the same ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.config import Modality
from m3h_pipeline.contracts import samples_schema
from m3h_pipeline.features.indicators import indicated, with_indicators
from m3h_pipeline.files import write_table
from m3h_pipeline.training.data import StudyData, load_study_data
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.fitted import FittedModel
from tests.training.studies import TASKS, settings, spec, study, write_study


def told(x: np.ndarray, train: np.ndarray, patient: np.ndarray) -> list[int]:
    """The definition, feature by feature."""
    found: dict[tuple[bool, ...], int] = {}
    rows = [i for i in range(len(x)) if train[i] and not np.isnan(x[i]).all()]
    for j in range(x.shape[1]):
        gone = {patient[i] for i in rows if np.isnan(x[i, j])}
        there = {patient[i] for i in rows if not np.isnan(x[i, j])}
        if len(gone) >= 11 and len(there) >= 11:
            found.setdefault(tuple(bool(np.isnan(x[i, j])) for i in rows), j)
    return sorted(found.values())


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_which_there_are(seed: int, visits: int) -> None:
    rng = np.random.default_rng(seed)
    n = 90
    x = rng.normal(size=(n, 8)).astype(np.float32)
    # Few and many gone, about as many there, the same ones twice, all, none.
    for j, share in enumerate((0.1, 0.14, 0.3, 0.86, 0.9)):
        x[rng.random(n) < share, j] = np.nan
    x[:, 5] = np.where(np.isnan(x[:, 2]), np.nan, 1.0)
    x[:, 6] = np.nan
    x[rng.random(n) < 0.2] = np.nan
    train, patient = rng.random(n) < 0.8, np.arange(n) // visits
    have = indicated(x, train, patient)
    # Of more there than gone the smaller number decides, which is counted in patients.
    assert have.tolist() == told(x, train, patient)


def test_without_anything_missing_there_are_none() -> None:
    x = np.ones((50, 3), dtype=np.float32)
    assert indicated(x, np.ones(50, dtype=bool), np.arange(50)).tolist() == []


def test_a_column_says_where_and_a_row_without_the_modality_says_nothing() -> None:
    nan = float("nan")
    x = np.array([[1, nan, 3], [nan, 5, 6], [nan, nan, nan]], dtype=np.float32)
    expected = [[1, nan, 3, 0, 1], [nan, 5, 6, 1, 0], [nan] * 5]
    np.testing.assert_array_equal(with_indicators(x, np.array([0, 1])), expected)


@pytest.fixture
def loaded(tmp_path: Path) -> StudyData:
    data = study(n=200)
    data.features["alpha"][np.random.default_rng(0).random(200) < 0.4, 2] = np.nan
    write_study(data, tmp_path, {})
    schema = samples_schema([])
    ids = [{"sample_id": f"s{i:05d}", "patient_id": f"p{i // 2:05d}", "stay_id": None} for i in range(200)]
    write_table(pa.Table.from_pylist(ids, schema=schema), tmp_path / "cohort/samples.parquet", schema)
    modalities = {name: Modality(sources=[name], indicators=name != "gamma") for name in data.features}
    return load_study_data(
        tmp_path / "cohort", tmp_path / "labels", tmp_path / "split.parquet", TASKS, modalities
    )


def test_a_kept_model_makes_them_of_raw_features(loaded: StudyData) -> None:
    raw = study(n=200)
    raw.features["alpha"][np.random.default_rng(0).random(200) < 0.4, 2] = np.nan
    assert 2 in loaded.indicated["alpha"]
    assert "gamma" not in loaded.indicated
    assert loaded.features["alpha"].shape[1] == 5 + len(loaded.indicated["alpha"])
    assert np.array_equal(loaded.present["beta"], raw.present["beta"])
    config = settings(model={"absence": "learned"}, modality_dropout=0.2, precision="float64", epochs=6)
    (result,) = run_fits([spec("anemia", "phenotype", "stay", fold=-1)], loaded, config, keep_models=True)
    assert result.parameters is not None
    model = FittedModel(result.parameters, result.metadata)
    assert model.modalities == {"alpha": 5, "beta": 7, "gamma": 4}
    said = model.predict({name: x[~raw.train] for name, x in raw.features.items()})
    for task, value in result.predictions.items():
        np.testing.assert_allclose(said[task], value, rtol=0, atol=1e-6, err_msg=task)


def test_what_is_missing_is_learned_from(loaded: StudyData) -> None:
    """A label that says nothing but whether a value is missing."""
    gone = np.isnan(loaded.features["alpha"][:, 2]) & loaded.present["alpha"]
    labels = {**loaded.labels, "sepsis": gone.astype(np.float32)}
    data = replace(loaded, labels=labels)
    plain = replace(data, features={**data.features, "alpha": data.features["alpha"][:, :5]}, indicated={})
    scores = [
        run_fits([spec("sepsis", fold=-1)], one, settings(epochs=20))[0].values["sepsis"]
        for one in (data, plain)
    ]
    assert scores[0] > 0.95
    assert scores[1] < 0.9


def test_a_transcriptome_has_none() -> None:
    with pytest.raises(ValueError, match="takes genes alone"):
        Modality(sources=["rna"], encoder="transcriptome", indicators=True)
