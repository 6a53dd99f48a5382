"""Keyed randomness: every random number is a function of what it is for, never of what was drawn before.

A key is a tuple such as ``(seed, replicate, "encoder", "vision")``. The numbers drawn for it are the same in
any combination, stack, process and device: drawing is done on the CPU in float64 and then cast.

Masks of dropout are drawn on the device: an element hashes (key of the step, site, layer, unit, position in
the batch) with integer arithmetic; no state of a generator is involved, so nothing depends on which other
models are trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: What random numbers are drawn for.
RandomKey = tuple[str | int, ...]

_BITS = 2**31 - 1
# Odd multipliers below 2**31: a product of two 31-bit numbers never overflows an int64.
_MULTIPLIERS = (0x2C1B3C6D, 0x297A2D39)


def seed_of(*parts: str | int) -> int:
    """A 128-bit seed from a key; parts of different type or split never collide.

    Examples:
        >>> seed_of(1, "a") == seed_of(1, "a"), seed_of(1, "a") == seed_of("1", "a")
        (True, False)
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def generator(*parts: str | int) -> np.random.Generator:
    """A counter-based generator for a key."""
    return np.random.Generator(np.random.Philox(key=seed_of(*parts)))


class Draws:
    """Initial values of parameters with a leading model axis: one key per model.

    Models of equal key get equal values, so that two combinations differ only by their tasks.

    Args:
        keys: one key per model, in the order of the model axis.
        dtype: of the parameters.
    """

    def __init__(self, keys: Sequence[RandomKey], dtype: torch.dtype = torch.float32) -> None:
        self.keys = tuple(keys)
        self.dtype = dtype
        self._first: dict[RandomKey, int] = {}
        index = [self._first.setdefault(key, len(self._first)) for key in self.keys]
        self._index = torch.tensor(index)

    @property
    def models(self) -> int:
        """Length of the model axis."""
        return len(self.keys)

    def at(self, *site: str | int) -> Draws:
        """The same models, for another part of the network."""
        return Draws([(*key, *site) for key in self.keys], self.dtype)

    def uniform(self, name: str, shape: tuple[int, ...], bound: float) -> Tensor:
        """Uniform in (-bound, bound), shape (models, *shape)."""
        drawn = [generator(*key, name).random(shape) for key in self._first]
        return self._spread(drawn, 2 * bound, -bound)

    def normal(self, name: str, shape: tuple[int, ...], deviation: float) -> Tensor:
        """Normal with mean 0, shape (models, *shape)."""
        drawn = [generator(*key, name).standard_normal(shape) for key in self._first]
        return self._spread(drawn, deviation, 0.0)

    def seeds(self, name: str) -> list[int]:
        """One 63-bit seed per model, for code that seeds a generator of its own."""
        return [seed_of(*key, name) & (2**63 - 1) for key in self.keys]

    def _spread(self, drawn: list[np.ndarray], scale: float, shift: float) -> Tensor:
        distinct = torch.from_numpy(np.stack(drawn)).mul_(scale).add_(shift).to(self.dtype)
        return distinct[self._index]


def mix(x: Tensor) -> Tensor:
    """Scramble 31-bit integers (the finaliser of a multiplicative hash); int64 in, 31-bit int64 out."""
    for multiplier in _MULTIPLIERS:
        x = x ^ (x >> 15)
        x = (x * multiplier) & _BITS
    return x ^ (x >> 15)


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout after the hidden layers of one part of the network.

    Args:
        rate: probability that an activation is set to 0.
        keys: (R,) 31-bit int64; R divides the models, and the models of one block share masks.
    """

    rate: float
    keys: Tensor

    def __call__(self, h: Tensor, layer: int, units: Tensor | None = None) -> Tensor:
        """Drop activations of ``h``, shape (models, B, width).

        Args:
            h: activations.
            layer: number of the layer within the part.
            units: (width,) int64, what the units are known by; their places if not given.
        """
        if self.rate == 0.0:
            return h
        models, batch, width = h.shape
        device = h.device
        unit = torch.arange(width, device=device) if units is None else units
        unit = (unit + (layer + 1) * 1_000_003) & _BITS
        position = mix(torch.arange(1, batch + 1, device=device))
        rows = mix((self.keys[:, None] + mix(unit)) & _BITS)
        drawn = mix((rows[:, :, None] + position) & _BITS)
        kept = (drawn >= int(self.rate * (_BITS + 1))).to(h.dtype).div_(1 - self.rate)
        blocks = len(self.keys)
        return (
            (h.mT.reshape(blocks, models // blocks, width, batch) * kept[:, None])
            .view(models, width, batch)
            .mT
        )
