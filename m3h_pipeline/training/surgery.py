"""Gradient surgery of a stack (PCGrad; Yu et al. 2020, *Gradient surgery for multi-task learning*, alg. 1).

Where two losses of a model pull in opposite directions (their gradients have a negative inner product), what
the one takes from the other is projected out. Every projected gradient is a combination of the original ones,
so it is enough to know their inner products: the projections are done on coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m3h_pipeline.model.keys import generator

#: Parts of the network that belong to a task, or connect tasks: they take the plain sum of the gradients.
_OWN = ("networks.", "heads.", "attention.")


def is_shared(name: str) -> bool:
    """Whether surgery is done on a parameter: it is in front of the task networks."""
    return not name.startswith(_OWN)


def coefficients(products: Tensor, orders: Tensor) -> Tensor:
    """How much of each loss's gradient is in the sum of the projected ones.

    Args:
        products: inner products of the losses' gradients, (K, L, L).
        orders: (K, L, L - 1) for each loss the others, in the order in which it is projected.

    Shape:
        (K, L)

    Examples:
        Opposite gradients cancel; gradients that agree are left alone.

        >>> orders = torch.tensor([[[1], [0]]])
        >>> coefficients(torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]]), orders).tolist()
        [[2.0, 2.0]]
        >>> coefficients(torch.tensor([[[1.0, 0.5], [0.5, 1.0]]]), orders).tolist()
        [[1.0, 1.0]]
    """
    models, losses = products.shape[:2]
    # Row i: the projected gradient of loss i.
    found = torch.eye(losses, dtype=products.dtype, device=products.device).repeat(models, 1, 1)
    lengths = products.diagonal(dim1=1, dim2=2)
    for step in range(losses - 1):
        other = orders[:, :, step]
        row = products.gather(1, other[:, :, None].expand(-1, -1, losses))
        product = (found * row).sum(2)
        length = lengths.gather(1, other)
        conflict = (product < 0) & (length > 0)
        change = torch.where(conflict, -product / torch.where(conflict, length, 1.0), 0.0)
        found.scatter_add_(2, other[:, :, None], change[:, :, None])
    return found.sum(1)


def projection_orders(keys: Sequence[tuple[str | int, ...]], losses: int) -> Tensor:
    """For every model and loss the others in random order, (K, L, L - 1): a function of the model's key."""
    found = torch.empty(len(keys), losses, max(losses - 1, 0), dtype=torch.int64)
    for k, key in enumerate(keys):
        draws = generator(*key, "surgery")
        for i in range(losses):
            others = [j for j in range(losses) if j != i]
            found[k, i] = torch.from_numpy(draws.permutation(others)) if others else found[k, i]
    return found


def operate(
    losses: Tensor, shared: Sequence[Tensor], own: Sequence[Tensor], models: int, orders: Tensor
) -> None:
    """Set the gradients of a stack's parameters.

    Args:
        losses: (K, L), weighted.
        shared: parameters on which surgery is done, each (K * rows, ...).
        own: the others.
        models: K.
        orders: as of :func:`projection_orders`.
    """
    number = losses.shape[1]
    parameters = [*shared, *own]
    gradients: list[Tensor] = []
    for i in range(number):
        last = i == number - 1
        parts = torch.autograd.grad(losses[:, i].sum(), parameters, retain_graph=not last, allow_unused=True)
        for p, part in zip(own, parts[len(shared) :], strict=True):
            if part is not None:
                p.grad = part if p.grad is None else p.grad.add_(part)
        gradients.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if part is None else part).reshape(models, -1)
                    for p, part in zip(shared, parts, strict=False)
                ],
                1,
            )
        )
    stacked = torch.stack(gradients, 1)
    share = coefficients(stacked @ stacked.mT, orders)
    total = torch.einsum("kl,klp->kp", share, stacked)
    start = 0
    for p in shared:
        width = p.numel() // models
        p.grad = total[:, start : start + width].reshape(p.shape).contiguous()
        start += width
