"""Sequential updates: which rows of which parameters a step of one loss moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.prepared import Prepared, prepare
from m3h_pipeline.training.stacks import make_stacks
from m3h_pipeline.training.trainer import moved_rows
from tests.training.studies import DEVICE, settings, spec, study


def moved(data: StudyData, rows: list[int], index: int, **training: Any) -> dict[str, list[bool]]:
    """Parameter -> which of its rows a step on the loss ``index`` of some rows moves, in a stack of two."""
    config = settings(precision="float64", update="sequential", **training)
    specs = [spec("anemia", "sepsis"), spec("anemia", "gout")]
    (stack,) = make_stacks(specs, data, config, 1e9, torch.device(DEVICE))
    prepared: Prepared = prepare(stack, DeviceData(data, config, torch.device(DEVICE)), config)
    batch = prepared.batch(torch.tensor([rows], device=DEVICE), None)
    torch.autograd.backward((prepared.losses(batch, only=index) * prepared.weights).sum())
    found = zip(prepared.parameters, moved_rows(prepared, batch, index), strict=True)
    return {p.name: rows.tolist() for p, rows in found if rows is not None}


def labelled() -> StudyData:
    data = study(missing=False)
    data.labels["gout"][:10] = np.nan
    return data


def test_a_step_moves_the_models_with_a_labelled_row_and_the_head_of_the_task() -> None:
    # Positions are by name: anemia, gout and anemia, sepsis; the first ten rows have no gout.
    first = moved(labelled(), list(range(10)), 1)
    assert first["heads.0.bias"] == [True, False, True, False]
    assert all(first["shared.layers.0.weight"])
    second = moved(labelled(), list(range(10)), 2)
    assert second["heads.0.bias"] == [False, False, False, True]
    assert second["shared.layers.0.weight"] == [False, True]
    assert not any(name.startswith("projections") for name in second)


def test_a_loss_without_weight_moves_nothing() -> None:
    data, rows = labelled(), list(range(20, 40))
    weighed = moved(data, rows, 2, task_weights={"gout": 0.0})
    assert weighed["shared.layers.0.weight"] == [False, True]
    assert all(moved(data, rows, 2)["shared.layers.0.weight"])


def test_a_contrastive_step_needs_two_rows_of_a_pair_of_modalities() -> None:
    for first, enough in ((9, False), (8, True)):
        data = labelled()
        data.features["beta"][:first] = np.nan
        data.features["gamma"][:first] = np.nan
        assert all(all(mine) is enough for mine in moved(data, list(range(10)), 0).values())
