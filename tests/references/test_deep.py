"""RealMLP and TabM as references; what needs their package is skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m3h_pipeline.check import check_study
from m3h_pipeline.config import Evaluation
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.references import deep
from m3h_pipeline.references.deep import DEEP, deep_path, needs, set_aside
from m3h_pipeline.references.problem import Floats, Problem
from m3h_pipeline.references.registry import REFERENCES
from m3h_pipeline.references.stage import baseline_predictions
from tests.end_to_end.test_given import write
from tests.references.test_stage import study

installed = pytest.mark.skipif(
    importlib.util.find_spec("pytabkit") is None, reason="pytabkit is not installed: pip install '.[deep]'"
)


def problem(problem_class: str = "binary", n: int = 160, classes: int = 2) -> Problem[Floats]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n + 60, 4)).astype(np.float32)
    signal = x[:, 0] - x[:, 1] + 0.3 * rng.normal(size=n + 60)
    y = {
        "binary": signal > 0,
        "multiclass": np.digitize(signal, [-0.5, 0.5]),
        "regression": 10 + 3 * signal,
    }[problem_class]
    return Problem(problem_class, classes, x[:n], y[:n].astype(np.float32), x[n:])


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few epochs of a narrow network: what is tested is not how well the authors chose."""
    made = deep._estimator

    def estimator(name: str, regression: bool, seed: int) -> Any:
        model = made(name, regression, seed)
        less: dict[str, Any] = {"n_epochs": 20, "batch_size": 32}
        width = {"hidden_sizes": [32]} if name == "realmlp" else {"d_block": 32, "n_blocks": 1, "tabm_k": 4}
        return model.set_params(**less, **width)

    monkeypatch.setattr(deep, "_estimator", estimator)


def test_patients_are_set_aside_with_all_of_their_rows() -> None:
    patients = np.random.default_rng(1).integers(0, 50, size=400)
    rows = set_aside(patients, 3)
    aside = set(patients[rows].tolist())
    assert len(aside) == 10
    assert not aside & set(patients[~rows].tolist())
    np.testing.assert_array_equal(rows, set_aside(patients, 3))
    assert (rows != set_aside(patients, 4)).any()
    assert not set_aside(np.arange(9), 0).any()


def test_an_absent_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(deep, "find_spec", lambda name: None)
    needs(["linear", "gradient_boosting"])
    with pytest.raises(
        ConfigError, match="`tabm` is a model of the package pytabkit, which is not installed"
    ):
        needs(["linear", "tabm"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="`realmlp` is a model of the package pytabkit"):
        check_study(write(tmp_path, baselines=["realmlp"]))
    with pytest.raises(ConfigError, match="pytabkit"):
        deep_path("realmlp", problem(), np.arange(160), 0)


def test_they_know_no_survival() -> None:
    for name in DEEP:
        assert REFERENCES[name].problem_classes == {"binary", "multiclass", "regression"}


@installed
@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize(("problem_class", "classes"), [("binary", 2), ("multiclass", 3), ("regression", 0)])
def test_planted_signal_is_learned_the_same_by_the_same_seed(
    name: str,
    problem_class: str,
    classes: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    small(monkeypatch)
    one = problem(problem_class, classes=classes)
    patients = np.arange(len(one.y)) // 2
    torch.manual_seed(5)
    random.seed(5)
    expected = torch.rand(1), random.random()
    torch.manual_seed(5)
    random.seed(5)
    (found,), (again,), (other,) = (deep_path(name, one, patients, seed) for seed in (1, 1, 2))
    # Others' random numbers are as if nothing had been trained.
    assert (torch.rand(1), random.random()) == expected
    np.testing.assert_array_equal(found, again)
    assert (found != other).any()
    assert capfd.readouterr() == ("", "")
    assert found.shape == (len(one.scored), one.width)
    signal = one.scored[:, 0] - one.scored[:, 1]
    if problem_class == "regression":
        assert metric("r2", 10 + 3 * signal, found) > 0.5
    else:
        assert metric("auroc", (signal > 0).astype(float), found[:, -1]) > 0.85
    if problem_class == "multiclass":
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@installed
def test_labels_of_scored_rows_reach_no_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    found = []
    for flip in (False, True):
        data = study(200)
        y, hidden = data.labels["ill"], data.fold == -1
        y[hidden] = 1 - y[hidden] if flip else y[hidden]
        rows = baseline_predictions("ill", data, Evaluation(baselines=["realmlp"]), 0)
        assert [row["fold"] for row in rows] == [-1, 0, 1, 2, 3]
        found.append(np.asarray(rows[0]["prediction"]))
    np.testing.assert_array_equal(found[0], found[1])


@installed
@pytest.mark.parametrize("name", DEEP)
def test_what_cannot_be_learned_is_constant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    one = problem()
    same = Problem("binary", 2, one.x, np.ones_like(one.y), one.scored)
    np.testing.assert_array_equal(deep_path(name, same, np.arange(len(one.y)), 0)[0], 1)
    # A class nobody has gets nothing.
    y = np.where(one.y == 1, 2, 0).astype(np.float32)
    (found,) = deep_path(name, Problem("multiclass", 3, one.x, y, one.scored), np.arange(len(y)), 0)
    assert found.shape == (60, 3)
    assert (found[:, 1] == 0).all()
