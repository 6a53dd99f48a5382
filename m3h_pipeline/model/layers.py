"""Layers whose parameters carry a leading model axis.

Activations have the shape (models, batch, width) and lie feature by feature in memory, (models, width,
batch): then one matrix product serves all models that read the same input, and nothing is ever permuted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3h_pipeline.model.dropout import Dropout
from m3h_pipeline.model.keys import Draws


class StackedModule(nn.Module):
    """Base of every part of a stack.

    The contract of a part: each parameter's leading axis is the model axis (a multiple of ``models`` is
    allowed), initial values come from the ``Draws`` it is given, and ``forward`` maps (G, batch, ...) to
    (models, batch, width). G is 1 or any divisor of ``models``: model m reads input m // (models / G).

    Attributes:
        models: length of the model axis.
        width: width of the output.
    """

    models: int
    width: int

    def forward(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        raise NotImplementedError


class StackedLinear(StackedModule):
    """An affine map per model.

    Weights are (models, out, in), drawn like those of ``torch.nn.Linear``: uniform within 1 / sqrt(in).

    Args:
        inputs: width of the input.
        width: width of the output.
        draws: initial values, one key per model.
        bias: whether there is a bias.
    """

    def __init__(self, inputs: int, width: int, draws: Draws, bias: bool = True) -> None:
        super().__init__()
        self.models, self.inputs, self.width = draws.models, inputs, width
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(draws.uniform("weight", (width, inputs), bound))
        self.bias = nn.Parameter(draws.uniform("bias", (width,), bound)) if bias else None

    def forward(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Map (G, B, in) to (models, B, out)."""
        groups, batch = x.shape[0], x.shape[1]
        rows = self.models // groups * self.width
        # Models that share an input are one wide product, (rows, in) @ (in, B).
        weight = self.weight.view(groups, rows, self.inputs)
        if self.bias is None:
            y = torch.bmm(weight, x.mT)
        else:
            y = torch.baddbmm(self.bias.view(groups, rows, 1), weight, x.mT)
        return y.view(self.models, self.width, batch).mT


def activate(x: Tensor, slope: float) -> Tensor:
    """ReLU, or with a slope below 0 leaky ReLU."""
    return F.leaky_relu(x, slope) if slope else torch.relu(x)


class Mlp(StackedModule):
    """Affine layers, each followed by ReLU and dropout.

    Args:
        inputs: width of the input.
        hidden: widths of the layers.
        draws: initial values, one key per model.
        slope: of the activations below 0.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], draws: Draws, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        widths = [inputs, *hidden]
        self.models, self.width = draws.models, widths[-1]
        self.layers = nn.ModuleList(
            StackedLinear(widths[i], widths[i + 1], draws.at(i)) for i in range(len(hidden))
        )

    def forward(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Map (G, B, in) to (models, B, width)."""
        for i, layer in enumerate(self.layers):
            x = activate(layer(x), self.slope)
            if dropout is not None:
                x = dropout(x, i)
        return x


def join(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate (models, B, width) along the width, keeping the layout of the activations."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.mT for part in parts], dim=1).mT
