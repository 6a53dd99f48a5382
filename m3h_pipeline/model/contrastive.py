"""Contrastive loss between modalities: symmetric InfoNCE over every pair."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

#: Entries of a similarity block that is worked on at a time; on a CPU it should stay in the cache.
_BLOCK_CPU = 2**18
_BLOCK_GPU = 2**27
#: exp(60) times any batch is far from the largest float32.
_NO_SHIFT = 60.0


class _InfoNce(torch.autograd.Function):
    """Loss per model, with its gradient computed in the same sweep.

    The gradient of the loss of a model with respect to its projections only needs scaling by what comes from
    above, so each block of similarities is used for both while it is in the cache, and none is kept.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, valid: Tensor | None, temperature: float) -> Tensor:
        models, modalities, batch, width = z.shape
        first, second = map(list, zip(*itertools.combinations(range(modalities), 2), strict=True))
        pairs = len(first)
        left = z[:, first].reshape(models * pairs, batch, width)
        right = z[:, second].reshape(models * pairs, batch, width)
        both = counts = None
        terms: Tensor | float = float(pairs)
        if valid is not None:
            both = (valid[:, first] & valid[:, second]).to(z.dtype)
            both = both.repeat_interleave(models // len(both), 0).reshape(models * pairs, batch)
            counts = both.sum(1)
            # One row has nothing to be told apart from: such a pair has no term.
            used = counts >= 2
            both = both * used[:, None]
            terms = used.view(models, pairs).sum(1).to(z.dtype)
        losses = z.new_empty(models * pairs)
        need = z.requires_grad or ctx.needs_input_grad[0]
        d_left = torch.empty_like(left) if need else None
        d_right = torch.empty_like(right) if need else None
        limit = _BLOCK_CPU if z.device.type == "cpu" else _BLOCK_GPU
        step = max(1, limit // (batch * batch))
        # Normalised vectors bound the logits by 1 / temperature: no maximum is needed, and no shift either
        # unless the exponential would overflow.
        shift = 1 / temperature if 1 / temperature > _NO_SHIFT else 0.0
        for a in range(0, models * pairs, step):
            b = min(a + step, models * pairs)
            scaled = left[a:b] / temperature
            e = torch.bmm(scaled, right[a:b].mT)
            if shift:
                e.sub_(shift)
            e.exp_()
            positive = (scaled * right[a:b]).sum(2)
            if both is None or counts is None:
                by_row, by_column = e.sum(2), e.sum(1)
                weight = torch.full_like(by_row, 1 / batch)
            else:
                m = both[a:b]
                e.mul_(m[:, :, None]).mul_(m[:, None, :])
                # Rows that do not count get a sum of 1, whose logarithm is 0.
                by_row = torch.where(m > 0, e.sum(2), 1.0)
                by_column = torch.where(m > 0, e.sum(1), 1.0)
                weight = m / counts[a:b, None].clamp(min=1)
            entropy = 0.5 * (by_row.log() + by_column.log()) + shift - positive
            losses[a:b] = torch.where(weight > 0, weight * entropy, 0.0).sum(1)
            if d_left is not None and d_right is not None:
                scale = weight / (2 * temperature)
                e.mul_((scale / by_row)[:, :, None] + (scale / by_column)[:, None, :])
                diagonal = (weight / temperature)[:, :, None]
                torch.baddbmm(diagonal * right[a:b], e, right[a:b], beta=-1, out=d_left[a:b])
                torch.baddbmm(diagonal * left[a:b], e.mT, left[a:b], beta=-1, out=d_right[a:b])
        ctx.terms = terms
        if d_left is not None and d_right is not None:
            grad = torch.zeros_like(z)
            d_left = d_left.view(models, pairs, batch, width)
            d_right = d_right.view(models, pairs, batch, width)
            for p, (i, j) in enumerate(zip(first, second, strict=True)):
                grad[:, i] += d_left[:, p]
                grad[:, j] += d_right[:, p]
            ctx.save_for_backward(grad)
        total = losses.view(models, pairs).sum(1)
        if isinstance(terms, float):
            return total / terms
        return torch.where(terms > 0, total / terms.clamp(min=1), 0.0)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        terms = ctx.terms if isinstance(ctx.terms, float) else ctx.terms.clamp(min=1)
        return grad * (outputs[0] / terms)[:, None, None, None], None, None


def info_nce(z: Tensor, valid: Tensor | None, temperature: float) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; both directions, as in CLIP), mean over modality pairs.

    For a pair, the rows in which both modalities are present are told apart from each other, in both
    directions; the mean is over those rows. A pair with fewer than two of them has no term, and the mean over
    pairs leaves it out.

    Args:
        z: (models, modalities, batch, width), of length 1 along the width; at least two modalities.
        valid: (G, modalities, batch), False where a modality is wholly missing or the row is padding; G
            divides the models. None: all valid.
        temperature: divides the cosine.

    Returns:
        (models,) losses.
    """
    loss: Tensor = _InfoNce.apply(z, valid, temperature)  # type: ignore[no-untyped-call]
    return loss
