"""Layers and norms whose parameters carry a leading model axis.

Activations have the shape (models, batch, width) and lie feature by feature in memory, (models, width,
batch): then one matrix product serves all models that read the same input, and nothing is ever permuted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3h_pipeline.model.keys import Draws, Dropout

#: Added to variances, as in PyTorch.
EPSILON = 1e-5
#: Share of a minibatch in the running statistics, as in PyTorch.
MOMENTUM = 0.1


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
        bound = 1 / math.sqrt(inputs) if inputs else 0.0
        self.weight = nn.Parameter(draws.uniform("weight", (width, inputs), bound))
        self.bias = nn.Parameter(draws.uniform("bias", (width,), bound)) if bias else None

    @classmethod
    def zero(cls, inputs: int, width: int, draws: Draws) -> StackedLinear:
        """A map without bias that starts from 0."""
        made = cls(0, width, draws, bias=False)
        made.inputs = inputs
        made.weight = nn.Parameter(torch.zeros(draws.models, width, inputs, dtype=draws.dtype))
        return made

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


class LayerNorm(nn.Module):
    """Layer normalisation of the last axis, with a gain and an offset per model."""

    def __init__(self, width: int, draws: Draws) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(draws.models, width, dtype=draws.dtype))
        self.offset = nn.Parameter(torch.zeros(draws.models, width, dtype=draws.dtype))

    def forward(self, t: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map (models, ..., width); what is ``valid`` does not matter to a row by itself."""
        shape = (len(t), *[1] * (t.ndim - 2), -1)
        return F.layer_norm(t, t.shape[-1:], eps=EPSILON) * self.gain.view(shape) + self.offset.view(shape)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015), with statistics of each model's own minibatch.

    In training it couples the patients of a minibatch; afterwards the running statistics of training are
    used, and a prediction depends on no other patient. Those statistics are parameters without a gradient:
    whatever keeps, restores or slices a model's parameters takes them along.
    """

    def __init__(self, width: int, draws: Draws) -> None:
        super().__init__()
        ones = torch.ones(draws.models, width, dtype=draws.dtype)
        self.gain, self.offset = nn.Parameter(ones), nn.Parameter(torch.zeros_like(ones))
        self.mean = nn.Parameter(torch.zeros_like(ones), requires_grad=False)
        self.variance = nn.Parameter(ones.clone(), requires_grad=False)

    def forward(self, t: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map (models, B, width); ``valid``: (G, B), False in rows of padding, G divides the models."""
        # Statistics are those of full precision, whatever the products before were computed in.
        t = t.to(self.gain.dtype)
        if self.training:
            mean, variance = self._observe(t, valid)
        else:
            mean, variance = self.mean, self.variance
        scale = self.gain * torch.rsqrt(variance + EPSILON)
        return torch.addcmul(self.offset[:, None], t - mean[:, None], scale[:, None])

    def _observe(self, t: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        if valid is None:
            count = torch.full((len(t), 1), t.shape[1], dtype=t.dtype, device=t.device)
            mean = t.mean(1)
            squares = (t - mean[:, None]).square().sum(1)
        else:
            seen = valid.repeat_interleave(len(t) // len(valid), 0)[:, :, None]
            count = seen.sum(1).to(t.dtype)
            mean = torch.where(seen, t, 0.0).sum(1) / count.clamp(min=1)
            squares = torch.where(seen, t - mean[:, None], 0.0).square().sum(1)
        with torch.no_grad():
            self.mean.lerp_(mean, MOMENTUM)
            self.variance.lerp_(squares / (count - 1).clamp(min=1), MOMENTUM)
        return mean, squares / count.clamp(min=1)
