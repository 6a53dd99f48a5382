"""Contrastive loss between modalities: symmetric InfoNCE over every pair."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Entries of a block of similarities that is worked on at a time; on a CPU it should stay in the cache.
_BLOCK_CPU = 2**18
_BLOCK_GPU = 2**26
#: Logits lie within plus or minus 1 / temperature. Up to this, no sum of exponentials overflows or vanishes
#: in float32, and no maximum needs to be taken out.
_BOUNDED = 40.0
#: Least length by which a projection is divided.
_SHORTEST = 1e-12


class _InfoNce(torch.autograd.Function):
    """Loss per model, with its gradient computed in the same sweep.

    The gradient of a model's loss with respect to its projections only needs scaling by what comes from
    above. So each block of similarities serves both while it is in the cache, and none is kept. A block is
    one modality against all later ones: for i < j, S_ij = z_i^T z_j / temperature.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, valid: Tensor | None, batch: int, temperature: float) -> Tensor:
        models, columns = h.shape[0], h.shape[2]
        modalities = columns // batch
        length = h.square().sum(1, keepdim=True).sqrt_().clamp_(min=_SHORTEST)
        # Scaled so that a product of two is the logit.
        length.mul_(temperature**0.5)
        z = h / length
        grad = torch.zeros_like(z) if ctx.needs_input_grad[0] else None
        loss = z.new_zeros(models)
        terms: Tensor | None = None
        mask = None
        if valid is not None:
            mask = valid.to(z.dtype).repeat_interleave(models // len(valid), 0)
            terms = z.new_zeros(models)
        block = _BLOCK_CPU if z.device.type == "cpu" else _BLOCK_GPU
        for i in range(modalities - 1):
            rest = modalities - 1 - i
            here, later = slice(i * batch, (i + 1) * batch), slice((i + 1) * batch, None)
            step = max(1, block // (batch * batch * rest))
            for a in range(0, models, step):
                part = slice(a, a + step)
                left, right = z[part, :, here], z[part, :, later]
                flat = torch.bmm(left.mT, right)
                s = flat.view(-1, batch, rest, batch)
                # The logits of the same sample in both modalities.
                same = s.diagonal(dim1=1, dim2=3)
                positive = same.clone()
                flat.exp_()
                if mask is None:
                    by_row, by_column = s.sum(3), s.sum(1)
                    weight = z.new_full((1, 1, 1), 1 / batch)
                    entropy = by_row.log().sum((1, 2)) + by_column.log().sum((1, 2))
                    loss[part] += (0.5 * entropy - positive.sum((1, 2))) / batch
                else:
                    both = mask[part, i, :, None] * mask[part, i + 1 :].mT
                    count = both.sum(1, keepdim=True)
                    # One row has nothing to be told apart from: such a pair has no term.
                    both = torch.where(count >= 2, both, 0.0)
                    s.mul_(both.mT[:, None]).mul_(both[:, :, :, None])
                    by_row = torch.where(both > 0, s.sum(3), 1.0)
                    by_column = torch.where(both.mT > 0, s.sum(1), 1.0)
                    weight = both / count.clamp(min=1)
                    entropy = 0.5 * (by_row.log() + by_column.log().mT) - positive.mT
                    loss[part] += torch.where(weight > 0, weight * entropy, 0.0).sum((1, 2))
                    assert terms is not None
                    terms[part] += (count >= 2).sum((1, 2))
                if grad is not None:
                    half = 0.5 * weight
                    s.mul_((half / by_row)[:, :, :, None] + (half.mT / by_column)[:, None])
                    same.sub_(weight.mT)
                    grad[part, :, here] += torch.bmm(right, flat.mT)
                    grad[part, :, later] += torch.bmm(left, flat)
        if terms is None:
            loss /= modalities * (modalities - 1) / 2
        else:
            terms = terms.clamp_(min=1)
            loss /= terms
        if grad is not None:
            if terms is None:
                grad /= modalities * (modalities - 1) / 2
            else:
                grad /= terms[:, None, None]
            # Through the normalisation.
            inner = (grad * z).sum(1, keepdim=True).mul_(temperature)
            grad.addcmul_(z, inner, value=-1).div_(length)
            ctx.save_for_backward(grad)
        return loss

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * outputs[0][:, None, None], None, None, None


def _with_maximum(h: Tensor, valid: Tensor | None, batch: int, temperature: float) -> Tensor:
    """The same for temperatures so low that maxima must be taken out: slower, with PyTorch's gradients."""
    models, width, columns = h.shape
    modalities = columns // batch
    z = F.normalize(h, dim=1, eps=_SHORTEST).view(models, width, modalities, batch)
    losses, terms = h.new_zeros(models), h.new_zeros(models)
    for i, j in itertools.combinations(range(modalities), 2):
        logits = torch.bmm(z[:, :, i].mT, z[:, :, j]) / temperature
        both = h.new_ones(models, batch, dtype=torch.bool)
        if valid is not None:
            both = (valid[:, i] & valid[:, j]).repeat_interleave(models // len(valid), 0)
        used = both.sum(1) >= 2
        both = both & used[:, None]
        # Rows that do not count keep their own logit, so that no row is empty.
        pair = both[:, :, None] & both[:, None, :] | torch.eye(batch, dtype=torch.bool, device=h.device)
        masked = torch.where(pair, logits, -torch.inf)
        entropy = 0.5 * (masked.logsumexp(2) + masked.logsumexp(1)) - logits.diagonal(dim1=1, dim2=2)
        losses = losses + torch.where(both, entropy, 0.0).sum(1) / both.sum(1).clamp(min=1)
        terms = terms + used
    return losses / terms.clamp(min=1)


def info_nce(projections: list[Tensor], valid: Tensor | None, temperature: float) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; both directions, as in CLIP), mean over modality pairs.

    Projections are first brought to length 1. For a pair, the rows in which both modalities are present are
    told apart from each other, in both directions; the mean is over those rows. A pair with fewer than two of
    them has no term, and the mean over pairs leaves it out.

    Args:
        projections: at least two of (models, batch, width), one per modality.
        valid: (G, modalities, batch), False where a modality is wholly missing or the row is padding; G
            divides the models. None: all valid.
        temperature: divides the cosine.

    Returns:
        (models,) losses.
    """
    batch = projections[0].shape[1]
    h = torch.cat([projection.mT for projection in projections], 2)
    if 1 / temperature > _BOUNDED:
        return _with_maximum(h, valid, batch, temperature)
    # torch gives `apply` no hints.
    loss: Tensor = _InfoNce.apply(h, valid, batch, temperature)  # type: ignore[no-untyped-call]
    return loss
