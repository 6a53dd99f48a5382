"""Parts of the user's own that keep the contract, and what is said about those that do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from m3h_pipeline.config import Model
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.model.heads import Binary, Clustering, Multiclass, Regression, Survival, masked_mean
from m3h_pipeline.model.keys import Draws
from m3h_pipeline.model.layers import StackedLinear, StackedModule
from m3h_pipeline.model.own import try_class, try_network

HERE = __name__
Array = npt.NDArray[Any]


class Huber(Regression):
    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        error = raw[:, :, 0] - torch.where(valid, target, 0.0)
        return masked_mean(torch.where(error.abs() < 1, error.square() / 2, error.abs() - 0.5), valid)


class Ordered(Multiclass):
    """C - 1 thresholds: another number of outputs than of predictions."""

    def outputs(self, description: Any, model: Model) -> int:
        return super().outputs(description, model) - 1

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        y = torch.where(valid, target, 0.0)
        above = (y[:, :, None] > torch.arange(raw.shape[2])).to(raw.dtype)
        loss = nn.functional.binary_cross_entropy_with_logits(raw, above, reduction="none").sum(2)
        return masked_mean(loss, valid)

    def predict(self, raw: Tensor) -> Tensor:
        above = torch.sigmoid(raw)
        ones = torch.ones_like(above[:, :, :1])
        return torch.cat([ones, above], 2) - torch.cat([above, torch.zeros_like(ones)], 2)


class Focal(Binary):
    metric = f"{HERE}.accuracy"

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        p = torch.sigmoid(raw[:, :, 0])
        own = torch.where(torch.where(valid, target, 0.0) == 1, p, 1 - p)
        return masked_mean(-(1 - own).square() * own.log(), valid)


class Weighted(Survival):
    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        return 2 * super().loss(raw, target, valid, inputs)


class Wide(Clustering):
    def head(self, width: int, outputs: int, inputs: int, decoder: Sequence[int], draws: Draws) -> Any:
        return StackedLinear(width, inputs, draws)


class Multiplied(Regression):
    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        return ((raw[:, :, 0] - target).abs() * valid).sum(1) / valid.sum(1).clamp(min=1)


class Unmasked(Regression):
    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        return (raw[:, :, 0] - torch.where(valid, target, 0.0)).abs().mean(1)


class Summed(Regression):
    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        return super().loss(raw, target, valid, inputs).sum()


class Twice(Regression):
    def predict(self, raw: Tensor) -> Tensor:
        return torch.cat([raw, raw], 2)


class Broken(Regression):
    def predict(self, raw: Tensor) -> Tensor:
        raise KeyError("absent")


class Vector(Regression):
    metric = f"{HERE}.errors"


class Failing(Regression):
    metric = f"{HERE}.failing"


def accuracy(y: Array, prediction: Array, weights: Array) -> float:
    return float(np.average((prediction[:, 0] > 0.5) == y, weights=weights))


def errors(y: Array, prediction: Array, weights: Array) -> Array:
    return prediction[:, 0] - y


def failing(y: Array, prediction: Array, weights: Array) -> float:
    return float(y[len(y)])


def described(name: str) -> dict[str, Any]:
    kind = next(k for k in globals()[name].__mro__ if k.__module__ == "m3h_pipeline.model.heads").name
    classes = ["low", "middle", "high"] if kind == "multiclass" else []
    return {"id": "t", "problem_class": kind, "classes": classes, "own_class": f"{HERE}.{name}"}


@pytest.mark.parametrize("survival", [{"loss": "cox"}, {"loss": "discrete"}])
@pytest.mark.parametrize("name", ["Huber", "Ordered", "Focal", "Weighted", "Wide"])
def test_a_class_that_keeps_the_contract_passes(name: str, survival: dict[str, Any]) -> None:
    try_class(described(name), Model.model_validate({"survival": survival}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Multiplied", "a label that is not observed (NaN) reaches the loss"),
        ("Unmasked", "a row without a label changes the loss"),
        ("Summed", "the loss of two models is (), not (2,)"),
        ("Twice", "the prediction of two models is (2, 6, 2), not (2, 6, 1)"),
        ("Broken", "it fails: KeyError: 'absent'"),
        ("Vector", "not a number"),
        ("Failing", "it fails: IndexError"),
    ],
)
def test_a_class_that_does_not_is_explained(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        try_class(described(name), Model())
    assert message in str(caught.value)
    assert HERE in str(caught.value)


def test_a_failure_says_the_line() -> None:
    with pytest.raises(ConfigError) as caught:
        try_class(described("Broken"), Model())
    assert f"{__file__}, line " in str(caught.value)


class Plain(nn.Module):
    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, hidden[-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class Unused(Plain):
    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__(inputs, hidden)
        self.forgotten = nn.Linear(2, 2)


class Running(Plain):
    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__(inputs, hidden)
        self.norm = nn.BatchNorm1d(hidden[-1])


class Branching(Plain):
    def forward(self, x: Tensor) -> Tensor:
        # A choice by value, which one pass for all models of a stack cannot make.
        return super().forward(x) if bool(x.sum() >= 0) else -super().forward(x)


class Bare(nn.Module):
    pass


class Axisless(StackedModule):
    def __init__(self, inputs: int, hidden: Sequence[int], draws: Draws) -> None:
        super().__init__()
        self.models, self.width = draws.models, 3
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor, dropout: object = None) -> Tensor:
        return x[:, :, :3] * self.scale


def test_a_network_that_keeps_the_contract_passes() -> None:
    assert try_network(f"{HERE}.Plain", 5, (9, 4)) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Unused", "the output does not depend on `forgotten/"),
        ("Running", "it contains BatchNorm1d"),
        ("Branching", "it fails: "),
        ("Bare", "calling it with (inputs, hidden)"),
        ("Axisless", "no leading model axis of 2"),
        ("accuracy", "calling it with (inputs, hidden)"),
        ("Absent", "has no `Absent`"),
    ],
)
def test_a_network_that_does_not_is_explained(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        try_network(f"{HERE}.{name}", 5, (9, 4))
    assert message in str(caught.value)
