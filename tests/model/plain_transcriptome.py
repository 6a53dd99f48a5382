"""The transcriptome transformer as an ordinary nn.Module, in its literal form: the referee."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from m3h_pipeline.config.model import Transcriptome


class PlainLayer(nn.Module):
    """One layer; attention written out, values as position queries and keys of the full width."""

    def __init__(self, options: Transcriptome) -> None:
        super().__init__()
        d, self.heads, self.pre_norm = options.width, options.heads, options.pre_norm
        self.query, self.key, self.value, self.out = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, options.feed_forward), nn.Linear(options.feed_forward, d)
        self.first, self.second = nn.LayerNorm(d), nn.LayerNorm(d)

    def split(self, t: Tensor) -> Tensor:
        return t.reshape(*t.shape[:2], self.heads, -1).transpose(1, 2)

    def weights(self, t: Tensor, positions: tuple[Tensor, Tensor] | None) -> Tensor:
        q, k = self.split(self.query(t)), self.split(self.key(t))
        width = q.shape[-1]
        if positions is None:
            return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width), -1)
        p, r = (self.split(part) for part in positions)
        content = q @ k.transpose(-1, -2) / math.sqrt(2 * width)
        position = p @ r.transpose(-1, -2) / math.sqrt(2 * width)
        return torch.softmax(content + position, -1)

    def attend(self, t: Tensor, positions: tuple[Tensor, Tensor] | None) -> Tensor:
        o = self.weights(t, positions) @ self.split(self.value(t))
        out: Tensor = self.out(o.transpose(1, 2).flatten(2))
        return out

    def forward(self, t: Tensor, positions: tuple[Tensor, Tensor] | None) -> Tensor:
        if self.pre_norm:
            t = t + self.attend(self.first(t), positions)
            return torch.add(t, self.down(torch.relu(self.up(self.second(t)))))
        t = self.first(t + self.attend(t, positions))
        out: Tensor = self.second(t + self.down(torch.relu(self.up(t))))
        return out


class PlainTranscriptome(nn.Module):
    """Expression (B, G) to an encoding (B, hidden[-1])."""

    def __init__(
        self, genes: int, hidden: tuple[int, ...], options: Transcriptome, slope: float = 0.0
    ) -> None:
        super().__init__()
        d, self.options = options.width, options
        self.embedding = nn.Embedding(genes, d)
        self.position_query, self.position_key = nn.Linear(1, d, bias=False), nn.Linear(1, d, bias=False)
        self.layers = nn.ModuleList(PlainLayer(options) for _ in range(options.layers))
        self.last = nn.LayerNorm(d) if options.pre_norm else nn.Identity()
        widths = [genes * d if options.pooling == "flatten" else d, *hidden]
        norm = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}.get(options.normalise)
        parts: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            parts += [
                nn.Linear(a, b, bias=options.normalise != "batch"),
                nn.Identity() if norm is None else norm(b),
                nn.LeakyReLU(slope),
            ]
        self.tail = nn.Sequential(*parts)

    def start(self, x: Tensor, added: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Tokens before the first layer, and position queries and keys."""
        t = self.embedding.weight.expand(len(x), -1, -1)
        if added is not None:
            return t + added, None
        return t, (self.position_query(x[..., None]), self.position_key(x[..., None]))

    def encode(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """The encoding; ``added``: what a value encoding adds to the tokens."""
        t, positions = self.start(x, added)
        for layer in self.layers:
            t = layer(t, positions)
        t = self.last(t)
        out: Tensor = self.tail(t.flatten(1) if self.options.pooling == "flatten" else t.mean(1))
        return out

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each layer's attention weights, (B, heads, G, G)."""
        t, positions = self.start(x, None)
        maps = []
        for layer in self.layers:
            assert isinstance(layer, PlainLayer)
            maps.append(layer.weights(layer.first(t) if self.options.pre_norm else t, positions))
            t = layer(t, positions)
        return maps


#: Names of a normalisation's parameters here, and in PyTorch.
_NORM = {"gain": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}


def plain_state(state: Mapping[str, Tensor], model: int, options: Transcriptome) -> dict[str, Tensor]:
    """The state of a :class:`PlainTranscriptome` from one model of a stack."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        part = value[model]
        if name == "embedding":
            out["embedding.weight"] = part
        elif name == "position":
            out["position_query.weight"], out["position_key.weight"] = (p.reshape(-1, 1) for p in part)
        elif name == "pool":
            out["tail.0.weight"] = part.transpose(0, 1).flatten(1)
        elif name == "pool_bias":
            out["tail.0.bias"] = part
        elif name.startswith("tail."):
            number, rest = name.removeprefix("tail.").split(".")
            shift = 1 if options.pooling == "flatten" else 0
            out[f"tail.{3 * (int(number) + shift)}.{rest}"] = part
        elif name.startswith("norms."):
            number, rest = name.removeprefix("norms.").split(".")
            out[f"tail.{3 * int(number) + 1}.{_NORM[rest]}"] = part
        elif not name.startswith("values."):
            stem, _, rest = name.rpartition(".")
            out[f"{stem}.{_NORM.get(rest, rest)}"] = part
    return out
