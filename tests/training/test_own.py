"""Networks and problem classes of the user's own in training: the same fit, its own metric, its own key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import fit_keys, run_fits
from m3h_pipeline.training.fitted import FittedModel
from tests.training.studies import settings, spec, study

CLASSES = """
import numpy as np
import torch
from m3h_pipeline.model.heads import Binary, Clustering, Multiclass, Regression, masked_mean

class SameBinary(Binary): pass
class SameMulticlass(Multiclass): pass
class SameRegression(Regression): pass
class SameClustering(Clustering): pass

class Squared(Regression):
    metric = "of_my_own.closeness"

    def loss(self, raw, target, valid, inputs):
        return masked_mean((raw[:, :, 0] - torch.where(valid, target, 0.0)).square(), valid)

def closeness(y, prediction, weights):
    return -np.average(np.abs(y - prediction[:, 0]), weights=weights)
"""
NETWORKS = """
from torch import nn
from m3h_pipeline.model.layers import Mlp

class SameMlp(Mlp): pass

class Ordinary(nn.Sequential):
    def __init__(self, inputs, hidden):
        super().__init__(nn.Linear(inputs, hidden[-1]), nn.Tanh())
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "of_my_own.py").write_text(CLASSES)
    (tmp_path / "my_networks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("of_my_own", "my_networks"):
        sys.modules.pop(name, None)


def with_class(data: StudyData, task: str, name: str, metric: str | None = None) -> StudyData:
    data.tasks[task]["own_class"] = f"of_my_own.{name}"
    data.tasks[task]["metric"] = metric or data.tasks[task]["metric"]
    return data


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("sepsis", "SameBinary"),
        ("grade", "SameMulticlass"),
        ("stay", "SameRegression"),
        ("phenotype", "SameClustering"),
    ],
)
def test_a_class_that_changes_nothing_changes_nothing(here: Path, task: str, name: str) -> None:
    config = settings()
    (want,) = run_fits([spec(task)], study(), config)
    (have,) = run_fits([spec(task)], with_class(study(), task, name), config)
    np.testing.assert_array_equal(have.predictions[task], want.predictions[task])
    np.testing.assert_equal(have.values, want.values)
    assert have.key != want.key


def test_a_class_with_its_own_loss_and_metric_beside_shipped_ones(here: Path) -> None:
    data = with_class(study(), "stay", "Squared", "of_my_own.closeness")
    (fit,) = run_fits([spec("anemia", "size", "stay")], data, settings(epochs=8), keep_models=True)
    rows = data.scored_rows(0)
    y, predicted = data.labels["stay"][rows], fit.predictions["stay"]
    seen = ~np.isnan(y)
    assert fit.values["stay"] == pytest.approx(-np.abs(y - predicted[:, 0])[seen].mean(), rel=1e-6)
    assert fit.n_scored["stay"] == seen.sum()
    # In the label's unit: the network saw it standardised.
    assert abs(predicted.mean() - np.nanmean(y)) < 3
    assert fit.parameters is not None
    again = FittedModel(fit.parameters, fit.metadata)
    features = {name: x[rows] for name, x in data.features.items()}
    np.testing.assert_allclose(again.predict(features)["stay"], predicted, rtol=1e-5)


def test_where_no_row_is_scored_the_metric_is_undefined(here: Path) -> None:
    from m3h_pipeline.model.heads import class_of
    from m3h_pipeline.model.metrics import score

    kind = class_of({"problem_class": "regression", "own_class": "of_my_own.Squared"})
    prediction, target = torch.zeros(3, 4, 1), torch.ones(3, 4)
    prediction[2, 0] = torch.nan
    valid = torch.tensor([[True] * 4, [False] * 4, [True] * 4])
    found = score(kind, prediction, target, valid)
    assert found[0] == -1
    assert torch.isnan(found[1:]).all()


def test_networks_of_ones_own_train_and_the_same_one_is_the_same(here: Path) -> None:
    (want,) = run_fits([spec("stay")], study(), settings())
    own = settings(encoder="my_networks.SameMlp", model={"task_network": "my_networks.SameMlp"})
    (have,) = run_fits([spec("stay")], study(), own)
    np.testing.assert_array_equal(have.predictions["stay"], want.predictions["stay"])
    assert have.key != want.key
    other = settings(encoder="my_networks.Ordinary", model={"task_network": "my_networks.Ordinary"})
    (fit,) = run_fits([spec("stay")], study(), other)
    assert fit.status == "ok"
    assert not np.array_equal(fit.predictions["stay"], want.predictions["stay"])


def test_an_edit_of_the_users_code_changes_the_keys_of_what_uses_it(here: Path) -> None:
    specs = [spec("anemia"), spec("stay"), spec("anemia", "stay")]

    def keys(**changes: Any) -> list[str]:
        data = with_class(study(), "stay", "Squared", "of_my_own.closeness")
        return fit_keys(specs, data, settings(**changes), "code", "cpu")

    before, networks = keys(), keys(encoder="my_networks.Ordinary")
    (here / "of_my_own.py").write_text(CLASSES + "\nMORE = 1\n")
    assert [a == b for a, b in zip(before, keys(), strict=True)] == [True, False, False]
    (here / "of_my_own.py").write_text(CLASSES)
    assert keys() == before
    (here / "my_networks.py").write_text(NETWORKS + "\nMORE = 1\n")
    assert keys() == before
    assert not set(networks) & set(keys(encoder="my_networks.Ordinary"))
