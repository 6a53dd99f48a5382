"""What outputs start from: log odds and shares of classes in the training rows, as biases of heads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m3h_pipeline.model.layers import StackedLinear


def rare_bias(positives: int, negatives: int, rare_below: float) -> float | None:
    """Output bias of a rare binary task, log(n_pos / n_neg); None if it is not rare.

    Without any positive, half a one is counted.

    Examples:
        >>> rare_bias(50, 50, 0.1) is None, round(rare_bias(1, 99, 0.1), 3)
        (True, -4.595)
    """
    total = positives + negatives
    if total == 0 or positives / total >= rare_below:
        return None
    return math.log(max(positives, 0.5) / negatives)


def class_bias(counts: Sequence[int]) -> list[float]:
    """Output biases of a multiclass task, the log of each class's share; half a sample of an empty class.

    Examples:
        >>> [round(bias, 3) for bias in class_bias([50, 50, 0])]
        [-0.698, -0.698, -5.303]
    """
    filled = [max(count, 0.5) for count in counts]
    return [math.log(count / sum(filled)) for count in filled]


def set_bias(head: nn.Module, row: int, value: float | Tensor) -> None:
    """Set the output bias of one model of a head: the same for all outputs, or (outputs,)."""
    if isinstance(head, StackedLinear) and head.bias is not None:
        with torch.no_grad():
            head.bias[row] = value
