"""What an encoder takes, from its shape alone: numbers, not modules, so that a scheduler can ask."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from m3h_pipeline.config.model import Transcriptome


@dataclass(frozen=True)
class Footprint:
    """What one encoder of one model takes.

    Attributes:
        parameters: weights, biases left out.
        activations: numbers kept per sample for the backward pass.
        products: multiplications per sample of a forward pass.
    """

    parameters: int
    activations: int
    products: int


def footprint(inputs: int, hidden: Sequence[int], options: Transcriptome | None) -> Footprint:
    """An MLP's, or the transcriptome transformer's where there are ``options``.

    Args:
        inputs: features.
        hidden: widths of the layers.
        options: of a transformer.

    Examples:
        >>> footprint(10, (4, 2), None)
        Footprint(parameters=48, activations=6, products=48)
    """
    if options is None:
        chain = sum(a * b for a, b in itertools.pairwise([inputs, *hidden]))
        return Footprint(chain, sum(hidden), chain)
    width, wide = options.width, options.feed_forward
    # Queries, keys and values with a further entry, in multiples of 8.
    padded = options.heads * (8 * (-(-(width // options.heads + 1) // 8)))
    pooled = inputs * width if options.pooling == "flatten" else width
    tail = sum(a * b for a, b in itertools.pairwise([pooled, *hidden]))
    weights = options.layers * (4 * width * width + 2 * width * wide)
    tokens = options.layers * inputs * (4 * padded + 9 * width + 2 * wide)
    attention = options.layers * 2 * inputs * inputs * padded
    return Footprint(
        inputs * width + weights + tail,
        tokens + pooled + sum(hidden),
        inputs * weights + attention + tail,
    )
