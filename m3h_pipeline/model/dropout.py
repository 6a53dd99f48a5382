"""Dropout whose mask is a function of its key: the same in any stack, on any device.

A mask element hashes (key of the step, site, layer, unit, position in the batch) with integer arithmetic on
the device; no state of a generator is involved, so nothing depends on which other models are trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BITS = 2**31 - 1
# Odd multipliers below 2**31: a product of two 31-bit numbers never overflows an int64.
_MULTIPLIERS = (0x2C1B3C6D, 0x297A2D39)


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
