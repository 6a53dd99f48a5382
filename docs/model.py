"""The network as an ordinary nn.Module, written to be read; docs/model.md walks through it.

The package trains many such models at once, with a leading model axis on every parameter
(:mod:`m3h_pipeline.model.m3h`). The tests hold the two against each other, forwards and over whole training
runs, so that what stands here is what is trained: the four problem classes of M3H, encoders of affine layers,
no dropout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3h_pipeline.config.model import Model


def mlp(inputs: int, hidden: Sequence[int], slope: float = 0.0) -> nn.Sequential:
    """Linear layers with ReLU, or with a slope below 0."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.LeakyReLU(slope)]
        inputs = width
    return nn.Sequential(*layers)


class PlainAttention(nn.Module):
    """Algorithm 1 of the paper, one sample batch at a time."""

    def __init__(
        self, tasks: int, width: int, alpha: float, normalise: str, own_weight: str = "published"
    ) -> None:
        super().__init__()
        constant = 1 + math.log(max(tasks - 1, 1))
        self.own = {"published": 1.0, "constant": constant, "whole": 750.0}[own_weight]
        self.embedding = nn.Parameter(torch.zeros(tasks, width))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.alpha, self.normalise = alpha, normalise

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, d) to (B, T, d) and the weights (B, T, T)."""
        m = self.query(self.embedding) @ self.key(x).transpose(1, 2)
        if self.normalise == "published":
            largest = m.max()
        else:
            largest = m.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
        identity = self.own * torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
        w = torch.softmax(identity + self.alpha * m / largest, dim=2)
        return w @ self.value(x), w


class PlainM3H(nn.Module):
    """One model.

    Args:
        inputs: modality -> number of features, in order.
        tasks: (problem class, classes) of each task.
        model: configured widths.
    """

    def __init__(self, inputs: Mapping[str, int], tasks: Sequence[tuple[str, int]], model: Model) -> None:
        super().__init__()
        self.inputs, self.tasks, self.model = dict(inputs), list(tasks), model
        slope = model.negative_slope
        self.encoders = nn.ModuleDict({name: mlp(f, model.encoder, slope) for name, f in inputs.items()})
        self.projections = nn.ModuleDict(
            {name: nn.Linear(model.encoder[-1], model.projection) for name in inputs if len(inputs) > 1}
        )
        encoded = len(inputs) * model.encoder[-1]
        self.shared = mlp(encoded, model.shared, slope)
        joined = [encoded, *model.shared][-1]
        self.networks = nn.ModuleList(mlp(joined, model.task, slope) for _ in tasks)
        width = model.task[-1]
        attention = model.attention
        self.attention = PlainAttention(
            len(tasks), width, attention.alpha, attention.normalise, attention.own_weight
        )
        self.heads, self.linear = nn.ModuleList(), nn.ModuleDict()
        for t, (kind, classes) in enumerate(tasks):
            if kind == "clustering":
                body = mlp(width, model.decoder)
                self.heads.append(nn.Sequential(*body, nn.Linear(model.decoder[-1], sum(inputs.values()))))
            else:
                outputs = classes if kind == "multiclass" else 1
                self.heads.append(nn.Linear(width, outputs))
                if model.linear_path:
                    path = nn.Linear(sum(inputs.values()), outputs, bias=False)
                    nn.init.zeros_(path.weight)
                    self.linear[str(t)] = path

    def encode(self, x: Tensor) -> list[Tensor]:
        """Encodings of the modalities."""
        parts = torch.split(x, list(self.inputs.values()), dim=1)
        return [self.encoders[name](part) for name, part in zip(self.inputs, parts, strict=True)]

    def contrastive(self, encodings: Sequence[Tensor], present: Tensor) -> Tensor | None:
        """Symmetric InfoNCE, mean over the pairs with at least two rows; None without any."""
        z = [
            F.normalize(self.projections[name](h), dim=1)
            for name, h in zip(self.inputs, encodings, strict=True)
        ]
        terms = []
        for i, j in itertools.combinations(range(len(z)), 2):
            rows = present[:, i] & present[:, j]
            if rows.sum() < 2:
                continue
            logits = z[i][rows] @ z[j][rows].T / self.model.temperature
            same = torch.arange(len(logits), device=logits.device)
            terms.append((F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2)
        return torch.stack(terms).mean() if terms else None

    def attend(self, encodings: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Attended embeddings (B, T, d) and attention weights."""
        shared = self.shared(torch.cat(list(encodings), dim=1))
        out: tuple[Tensor, Tensor] = self.attention(
            torch.stack([network(shared) for network in self.networks], dim=1)
        )
        return out

    def losses(self, x: Tensor, y: Tensor, present: Tensor) -> list[Tensor | None]:
        """The contrastive loss, if there are two modalities, and each task's; None: no row to learn from.

        Args:
            x: (B, F).
            y: (B, T), NaN = not observed.
            present: (B, modalities).
        """
        encodings = self.encode(x)
        losses: list[Tensor | None] = []
        if len(self.inputs) > 1:
            losses.append(self.contrastive(encodings, present))
        attended, _ = self.attend(encodings)
        for t, (kind, _) in enumerate(self.tasks):
            rows = ~torch.isnan(y[:, t])
            if not rows.any():
                losses.append(None)
                continue
            out, target = self.output(t, attended[rows, t], x[rows]), y[rows, t]
            if kind == "binary":
                losses.append(F.binary_cross_entropy_with_logits(out[:, 0], target))
            elif kind == "multiclass":
                losses.append(F.nll_loss(F.log_softmax(out, dim=1), target.long()))
            elif kind == "regression":
                losses.append(F.l1_loss(out[:, 0], target))
            else:
                losses.append(F.mse_loss(out, x[rows]))
        return losses

    def output(self, t: int, embedding: Tensor, x: Tensor) -> Tensor:
        """A task's head on its attended embedding, and the linear path beside it."""
        out: Tensor = self.heads[t](embedding)
        return out + self.linear[str(t)](x) if str(t) in self.linear else out

    def raw(self, x: Tensor) -> list[Tensor]:
        """Each task's raw output; of a clustering task its latent."""
        attended, _ = self.attend(self.encode(x))
        return [
            attended[:, t] if kind == "clustering" else self.output(t, attended[:, t], x)
            for t, (kind, _) in enumerate(self.tasks)
        ]
