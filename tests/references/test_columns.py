"""Categories found again in 0/1 features, and design matrices that keep them sparse: against dense arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from m3h_pipeline.config import Evaluation, Modality
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.features.scaling import CLIP
from m3h_pipeline.features.spread import spread
from m3h_pipeline.files import write_features
from m3h_pipeline.references.boosting import SETTINGS, boosting_path
from m3h_pipeline.references.columns import MISSING, Columns, coded, columns_of, read_columns
from m3h_pipeline.references.design import designs, seen
from m3h_pipeline.references.linear import linear_path
from m3h_pipeline.references.problem import Problem
from m3h_pipeline.references.registry import Part, Study
from m3h_pipeline.references.stage import baseline_predictions
from m3h_pipeline.training.data import StudyData

Array = npt.NDArray[Any]


def study(n: int = 600, seed: int = 0) -> StudyData:
    """Two numbers, a ward of five values (one rare, some missing), a sex, and flags that are no category."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 2))
    numbers[rng.random((n, 2)) < 0.1] = np.nan
    ward = rng.choice(5, n, p=[0.5, 0.25, 0.15, 0.095, 0.005])
    wards = (ward[:, None] == np.arange(5)).astype(float)
    wards[rng.random(n) < 0.2] = np.nan
    sex = rng.random(n) < 0.5
    both = rng.random((n, 2)) < 0.4
    x = np.column_stack([numbers, wards, sex, ~sex, both]).astype(np.float32)
    names = [*("age", "crp"), *(f"ward={w}" for w in "abcde"), *("sex=F", "sex=M", "code=1", "code=2")]
    signal = np.nan_to_num(numbers[:, 0]) + (ward == 1) - sex + rng.normal(size=n)
    fold = np.arange(n) % 4 - 1
    labels = {"ill": (signal > 0).astype(np.float32)}
    tasks: dict[str, dict[str, Any]] = {"ill": {"problem_class": "binary"}}
    return StudyData({"all": x}, labels, tasks, fold >= 0, fold.astype(np.int64), {"all": names})


def test_categories_are_found_and_what_is_none_stays_numbers() -> None:
    data = study()
    columns = columns_of(data)
    # The rare ward is told by few patients, and both codes may be 1 at once.
    assert columns.sizes == (4, 2)
    assert columns.numbers.x.shape[1] == 4
    assert columns.width == 10
    x = data.features["all"]
    np.testing.assert_array_equal(columns.codes[:, 0] == MISSING, np.isnan(x[:, 2]))
    np.testing.assert_array_equal(columns.flags(np.arange(data.n)), x[:, [2, 3, 4, 5, 7, 8]])


@pytest.mark.parametrize("wrong", [[[0.5, 0.0]], [[1.0, 1.0]], [[np.nan, 0.0]], [[2.0, 0.0]]])
def test_features_that_are_no_category_are_not_taken_for_one(wrong: list[list[float]]) -> None:
    assert coded(np.array([[1.0, 0.0], [np.nan, np.nan], [0.0, 0.0]], dtype=np.float32)) is not None
    assert coded(np.array([[1.0, 0.0], *wrong], dtype=np.float32)) is None


def test_features_from_files_are_those_in_memory_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    # More rows than a batch; in the last one `sex` is no category any more.
    data = study(9000)
    x, names = data.features["all"], data.names["all"]
    x[-1, 7:9] = 1
    data.features["all"] = x
    write_features(x[:, :3], names[:3], tmp_path / "features/first.parquet")
    write_features(x[:, 3:], names[3:], tmp_path / "features/second.parquet")
    # One column in two files is two categories.
    split = StudyData(
        {"a": x[:, :3], "b": x[:, 3:]}, {}, {}, data.train, data.fold, {"a": names[:3], "b": names[3:]}
    )
    wanted = columns_of(split)
    found = read_columns(tmp_path, {"all": Modality(sources=["first", "second"])}, data)
    assert found.sizes == wanted.sizes == (1, 4)
    np.testing.assert_array_equal(found.codes, wanted.codes)
    np.testing.assert_array_equal(found.numbers.x, wanted.numbers.x)
    assert found.digest == wanted.digest
    short = StudyData({}, {}, {}, data.train[:-1], data.fold[:-1])
    with pytest.raises(ContractError, match="9000 rows, but the split has 8999"):
        read_columns(tmp_path, {"all": Modality(sources=["first"])}, short)
    write_features(np.full((9000, 1), np.inf, np.float32), ["x"], tmp_path / "features/first.parquet")
    with pytest.raises(ContractError, match="infinite values"):
        read_columns(tmp_path, {"all": Modality(sources=["first"])}, data)
    write_features(np.ones((9000, 1), np.float32), ["x"], tmp_path / "features/first.parquet")
    constant = read_columns(tmp_path, {"all": Modality(sources=["first"])}, data)
    assert constant.width == 0
    data.labels["ill"] = (data.fold % 2).astype(np.float32)
    with pytest.raises(InputError, match="no feature varies"):
        baseline_predictions("ill", data, Evaluation(), 0, None, constant)


def dense_of(data: StudyData, columns: Columns, training: Array, rows: Array) -> Array:
    """The referee: every feature a number, scaled by the statistics of the training rows."""
    x = columns.features(np.arange(data.n)).astype(np.float64)
    lie = spread(x[training])
    inverse = np.where(lie.deviation > 1e-6, 1 / np.maximum(lie.deviation, 1e-6), 0)
    return np.asarray(np.nan_to_num(np.clip((x[rows] - lie.mean) * inverse, -CLIP, CLIP)))


def test_features_are_seen_as_a_network_sees_them() -> None:
    data = study()
    columns, training = columns_of(data), data.training_rows(0)
    rows = np.arange(data.n)
    np.testing.assert_allclose(
        seen(columns, training, rows), dense_of(data, columns, training, rows), atol=1e-5
    )


def test_a_sparse_matrix_multiplies_as_the_dense_one() -> None:
    data = study()
    columns, training, scored = columns_of(data), data.training_rows(0), data.scored_rows(0)
    x, other = designs(columns, training, [training, scored])
    wanted = dense_of(data, columns, training, training)
    away = wanted.mean(axis=0)
    rng = np.random.default_rng(1)
    weights, rows = rng.normal(size=(x.width, 3)), rng.normal(size=(len(x), 2))
    np.testing.assert_allclose(x.dense(), wanted - away, atol=1e-5)
    np.testing.assert_allclose(x.times(weights), (wanted - away) @ weights, atol=1e-4)
    np.testing.assert_allclose(x.back(rows), (wanted - away).T @ rows, atol=1e-3)
    np.testing.assert_allclose(x.gram(), (wanted - away).T @ (wanted - away), atol=1e-2)
    assert other.width == x.width
    np.testing.assert_allclose(
        other.times(weights), (dense_of(data, columns, training, scored) - away) @ weights, atol=1e-4
    )
    # A matrix that is centred elsewhere has its own products.
    np.testing.assert_allclose(other.gram(), other.dense().T @ other.dense(), atol=1e-6)


def test_linear_models_on_categories_equal_scikit_learn_on_dense_features() -> None:
    data = study()
    part = Part(
        Study(columns_of(data), data, "ill", "binary", 2, 0), data.training_rows(0), data.scored_rows(0)
    )
    strengths = (1e-3, 1e-2, 1e-1, 1.0)
    dense = part.scaled()
    # The coordinates of the whole training part serve a fold: they decide how fast, not what.
    paths = [linear_path(part.design(), strengths, basis) for basis in (None, part.study.basis)]
    for k, strength in enumerate(strengths):
        referee = LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(dense.x.astype(float), dense.y)
        wanted = referee.predict_proba(dense.scored.astype(float))[:, 1:]
        for path in paths:
            np.testing.assert_allclose(path[k], wanted, atol=1e-4)


def test_boosting_sees_categories_as_codes() -> None:
    data = study()
    part = Part(
        Study(columns_of(data), data, "ill", "binary", 2, 0), data.training_rows(0), data.scored_rows(0)
    )
    mixed = part.mixed()
    assert mixed.categorical == (4, 5)
    np.testing.assert_array_equal(np.isnan(mixed.x[:, 4]), np.isnan(data.features["all"][part.labelled, 2]))


def test_rare_values_of_a_category_are_one_to_boosting() -> None:
    """Of 60 values 57 have one row in 500 each; a label that follows them alone teaches nothing of others."""
    rng = np.random.default_rng(2)
    code = np.where(rng.random(2000) < 0.8, rng.integers(3), rng.integers(3, 60, 2000)).astype(np.float32)
    x = np.column_stack([rng.normal(size=2000), code]).astype(np.float32)
    y = (code % 2).astype(np.float32)
    scored = np.column_stack([np.zeros(57), np.arange(3, 60)]).astype(np.float32)
    found = boosting_path(Problem("binary", 2, x, y, scored, (1,)), 0, SETTINGS[:1])[0]
    assert np.ptp(found) == 0
