"""Normalisation per model of a stack."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3h_pipeline.model.keys import Draws

#: Added to variances, as in PyTorch.
EPSILON = 1e-5
#: Share of a minibatch in the running statistics, as in PyTorch.
MOMENTUM = 0.1


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
