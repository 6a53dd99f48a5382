"""References kept as arrays: they say what the fitted models said, of whatever rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.coding import signed_time
from m3h_pipeline.errors import InputError
from m3h_pipeline.references.columns import columns_of
from m3h_pipeline.references.kept.models import Kept
from m3h_pipeline.references.registry import REFERENCES, Part, Study
from m3h_pipeline.references.store import read_kept, write_kept
from m3h_pipeline.training.data import StudyData

Array = npt.NDArray[Any]
CLASSES = {"binary": 2, "multiclass": 3, "regression": 0, "survival": 0}
CASES = [(name, kind) for name in ("linear", "gradient_boosting") for kind in CLASSES]


def study(kind: str, n: int = 400, wide: int = 0, seed: int = 0) -> StudyData:
    """Numbers, a ward of five values (one of few patients, some missing), a sex, flags of no category."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 3 + wide)) * 7 + 40
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    ward = rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.09, 0.01])
    wards = (ward[:, None] == np.arange(5)).astype(float)
    wards[rng.random(n) < 0.2] = np.nan
    sex = rng.random(n) < 0.5
    x = np.column_stack([numbers, wards, sex, ~sex, rng.random((n, 2)) < 0.4]).astype(np.float32)
    names = [f"n{j}" for j in range(3 + wide)] + [f"ward={w}" for w in "abcde"]
    names += ["sex=F", "sex=M", "code=1", "code=2"]
    signal = np.nan_to_num(numbers[:, 0] - 40) / 7 + (ward == 1) - sex + rng.normal(size=n)
    y = {
        "binary": signal > 0,
        "multiclass": np.digitize(signal, [-0.5, 0.5]),
        "regression": 12 + 3 * signal,
        "survival": signed_time(np.round(30 * np.exp(-signal)) + 1, rng.random(n) < 0.6),
    }[kind]
    fold = np.arange(n) % 4 - 1
    tasks: dict[str, dict[str, Any]] = {"t": {"problem_class": kind}}
    labels = {"t": np.asarray(y, dtype=np.float32)}
    return StudyData({"all": x}, labels, tasks, fold >= 0, fold.astype(np.int64), {"all": names})


def kept(name: str, kind: str, data: StudyData, setting: int = 2) -> tuple[Array, Kept]:
    """What a reference predicts of the test part, and its model."""
    task = Study(columns_of(data), data, "t", kind, CLASSES[kind], 3)
    path = REFERENCES[name].kept
    assert path is not None
    return path(Part(task, data.training_rows(-1), data.scored_rows(-1)), setting)


@pytest.mark.parametrize("wide", [0, 500])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_kept_model_says_what_the_fitted_one_said(name: str, kind: str, wide: int, tmp_path: Path) -> None:
    data = study(kind, wide=wide)
    said, model = kept(name, kind, data)
    write_kept(model, tmp_path / "m.safetensors")
    again = read_kept(tmp_path / "m.safetensors")
    found = again.predict({"all": data.features["all"][data.scored_rows(-1)]})
    assert found.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(found, said, rtol=1e-9, atol=1e-9)
    # Fitted with others or alone, the predictions are those of the path that folds are scored by.
    task = Study(columns_of(data), data, "t", kind, CLASSES[kind], 3)
    part = Part(task, data.training_rows(-1), data.scored_rows(-1))
    np.testing.assert_allclose(REFERENCES[name].path(part, [2])[0], said, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_row_is_predicted_alone_as_among_others(name: str, kind: str) -> None:
    data = study(kind)
    _, model = kept(name, kind, data)
    x = data.features["all"][data.scored_rows(-1)]
    whole = model.predict({"all": x}).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(model.predict({"all": x[order]}).astype(np.float32), whole[order])
    for i in range(0, len(x), 17):
        np.testing.assert_array_equal(model.predict({"all": x[i : i + 1]}).astype(np.float32)[0], whole[i])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_value_without_a_feature_is_other_and_moves_nobody(name: str, kind: str) -> None:
    data = study(kind)
    _, model = kept(name, kind, data)
    x = data.features["all"][data.scored_rows(-1)].copy()
    before = model.predict({"all": x})
    rare, known = x.copy(), ~np.isnan(x[:, 3])
    x[0, 3:8] = 0  # a ward that was never seen: none of the five
    rare[0, 3:8] = [0, 0, 0, 0, 1]  # the ward of too few patients
    assert known.any()
    np.testing.assert_array_equal(model.predict({"all": x}), model.predict({"all": rare}))
    np.testing.assert_array_equal(model.predict({"all": x})[1:], before[1:])
    missing = model.predict({"all": None, "other": x})
    np.testing.assert_array_equal(missing, np.tile(missing[:1], (len(x), 1)))


@pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
def test_wrong_features_are_refused(name: str) -> None:
    data = study("binary")
    _, model = kept(name, "binary", data)
    x = data.features["all"][:5].copy()
    with pytest.raises(InputError, match="fitted to"):
        model.predict({"all": x[:, :-1]})
    x[0, 3:8] = [1, 1, 0, 0, 0]
    with pytest.raises(InputError, match="not 0 or 1"):
        model.predict({"all": x})


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_cannot_be_learned_is_kept_too(name: str, kind: str) -> None:
    data = study(kind)
    # One label for all; of survival tasks no event.
    data.labels["t"][:] = -3.0 if kind == "survival" else 1.0
    said, model = kept(name, kind, data)
    np.testing.assert_array_equal(model.predict({"all": data.features["all"][data.scored_rows(-1)]}), said)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**16), st.sampled_from(["binary", "multiclass"]), st.integers(0, 7))
def test_trees_are_those_of_scikit_learn(seed: int, kind: str, setting: int) -> None:
    data = study(kind, n=160, seed=seed)
    said, model = kept("gradient_boosting", kind, data, setting)
    found = model.predict({"all": data.features["all"][data.scored_rows(-1)]})
    np.testing.assert_allclose(found, said, rtol=1e-9, atol=1e-9)
