"""A stack before its first step knows nothing of the rows it will be scored on."""

from __future__ import annotations

import numpy as np
import torch

from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.prepared import Prepared, prepare
from m3h_pipeline.training.stacks import make_stacks
from tests.training.studies import DEVICE, settings, spec
from tests.training.test_survival_fits import survival_study


def prepared(data: StudyData) -> Prepared:
    data.labels["sepsis"][data.train & (np.arange(data.n) % 25 > 0)] = 0
    config = settings(precision="float64", model={"survival": {"bins": 8}})
    config.modalities["beta"] = config.modalities["beta"].model_copy(update={"scaling": "minmax"})
    fit = spec("death", "organ", "sepsis", "stay", fold=-1)
    (stack,) = make_stacks([fit], data, config, 1e9, torch.device(DEVICE))
    return prepare(stack, DeviceData(data, config, torch.device(DEVICE)), config)


def test_nothing_is_taken_from_the_rows_that_are_scored() -> None:
    one, other = survival_study(), survival_study()
    aside = ~other.train
    for data in (one, other):
        # Constant but for the rows that are scored.
        data.features["alpha"][data.train, 1] = 3.3
    for x in other.features.values():
        x[aside] = np.where(np.isnan(x[aside]), 1.0, 100 * x[aside] + 7)
    for y in other.labels.values():
        y[aside] = np.where(np.isnan(y[aside]), 1.0, 0.5 * y[aside])
    first, second = prepared(one), prepared(other)
    assert one.columns["alpha"].tolist() == other.columns["alpha"].tolist() == [True, False, True, True, True]
    for a, b in zip(first.scaling, second.scaling, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first.target_mean, second.target_mean)
    assert torch.equal(first.target_deviation, second.target_deviation)
    ((_, edges),) = first.edges
    assert torch.equal(edges, second.edges[0][1])
    # Biases of rare tasks and of hazards among them.
    for p, q in zip(first.parameters, second.parameters, strict=True):
        assert torch.equal(p.value, q.value), p.name
