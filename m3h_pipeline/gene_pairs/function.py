"""Interactions of a model's function: by how much moving two genes together differs from moving each alone.

What a model computes is asked, not how: attention weights say where a transformer looks, and need not say
what its prediction depends on (Jain & Wallace 2019). The mixed second difference of a task's output in two
genes,

    f(x + a + b) - f(x + a) - f(x + b) + f(x),

is 0 for all samples exactly where the output is a sum of a function of one and a function of the other. Here
one of the steps is taken as a derivative: 2 G passes instead of G^2. The other one has the size of the gene's
deviation, so that it also crosses the kinks of piecewise linear layers, whose second derivative is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.errors import TaskError
from m3h_pipeline.training.fitted import FittedModel

Float64Array = npt.NDArray[np.float64]
#: Maps a model's input (n, F) to outputs (n, C) of one task; where rows may lack modalities also takes which
#: each row has, (modalities, n).
Output = Callable[..., Tensor]
_ROWS = 256


@dataclass(frozen=True)
class Effects:
    """What a task's output depends on, in units of the output per deviation of each gene.

    Attributes:
        importance: (G,) mean magnitude of the effect of each gene alone.
        signed: (C, G, G) mean mixed difference of two genes, symmetric, 0 on the diagonal.
        magnitude: (C, G, G) mean magnitude of it.
    """

    importance: Float64Array
    signed: Float64Array
    magnitude: Float64Array


def output_of(model: FittedModel, task: str) -> Output:
    """A task's output as a differentiable function of the model's input.

    Log odds of a binary task; of a multiclass task one output per class, the logit less the mean of all; the
    standardised value of a regression; of a survival task the mean log odds of an event over the bins of
    time, or the log hazard ratio (``cox``).

    Raises:
        TaskError: the model has no such task, or it is a clustering task, which has no output.
    """
    if task not in model.positions:
        raise TaskError("the model does not predict it", where=task)
    position, network = model.positions.index(task), model.network
    index, span = next((i, s) for i, s in enumerate(network.spans) if s.start <= position < s.stop)
    if span.kind.clusters:
        raise TaskError("a clustering task has no output whose interactions could be measured", where=task)

    def output(x: Tensor, present: Tensor | None = None) -> Tensor:
        encodings = network.encode(x[None], present=None if present is None else present[None])
        attended, _ = network.attend(encodings)
        raw = network.raw(attended[:, span.start : span.stop], index, x[None])[position - span.start]
        if raw.ndim == 1:
            raw = raw[:, None]
        if span.kind.name == "multiclass":
            return raw - raw.mean(1, keepdim=True)
        return raw.mean(1, keepdim=True)

    return output


def effects(
    output: Output,
    x: Tensor,
    genes: slice,
    deviation: Tensor,
    advance: Callable[[int], None] = lambda genes: None,
    present: Tensor | None = None,
) -> Effects:
    """Importance of genes and their interactions, averaged over samples.

    Args:
        output: of a task.
        x: (n, F) inputs of a model, float64 for exact differences.
        genes: the columns that are genes.
        deviation: (G,) of each gene in ``x``: the size of a step.
        advance: called with 1 after each gene.
        present: (modalities, n), False where a row lacks a modality; None: nowhere.
    """
    count = len(deviation)
    first = _gradient(output, x, genes, present)
    importance = (first * deviation).abs().mean((0, 1))
    signed = x.new_zeros(first.shape[0], count, count)
    magnitude = torch.zeros_like(signed)
    for g in range(count):
        ends = []
        for sign in (1.0, -1.0):
            moved = x.clone()
            moved[:, genes.start + g] += sign * deviation[g]
            ends.append(_gradient(output, moved, genes, present))
        mixed = (ends[0] - ends[1]) / 2 * deviation
        signed[:, g], magnitude[:, g] = mixed.mean(1), mixed.abs().mean(1)
        advance(1)
    return Effects(importance.numpy(), _symmetric(signed), _symmetric(magnitude))


def _gradient(output: Output, x: Tensor, genes: slice, present: Tensor | None) -> Tensor:
    """Gradient of every output in the genes, (C, n, G)."""
    parts = []
    for a in range(0, len(x), _ROWS):
        part = x[a : a + _ROWS].detach().requires_grad_()
        out = output(part) if present is None else output(part, present[:, a : a + _ROWS])
        rows = [
            torch.autograd.grad(out[:, c].sum(), part, retain_graph=c + 1 < out.shape[1])[0]
            for c in range(out.shape[1])
        ]
        parts.append(torch.stack(rows)[:, :, genes])
    return torch.cat(parts, 1)


def _symmetric(mixed: Tensor) -> Float64Array:
    mixed = (mixed + mixed.mT) / 2
    mixed.diagonal(dim1=1, dim2=2).zero_()
    return mixed.double().numpy()
