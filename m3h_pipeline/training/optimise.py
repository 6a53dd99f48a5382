"""Optimiser steps of a stack: fused Adam per learning rate, Adam per model, clipping, gradient surgery.

Gradient surgery is PCGrad (Yu et al. 2020, *Gradient surgery for multi-task learning*, alg. 1). Where two
losses of a model pull in opposite directions (their gradients have a negative inner product), what the one
takes from the other is projected out. Every projected gradient is a combination of the original ones, so it
is enough to know their inner products: the projections are done on coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from m3h_pipeline.model.keys import RandomKey, generator

#: Constants of Adam (Kingma & Ba 2015), the defaults of PyTorch.
BETAS = (0.9, 0.999)
EPSILON = 1e-8
#: Parts of the network that belong to a task, or connect tasks: they take the plain sum of the gradients.
_OWN = ("networks.", "heads.", "linear.", "attention.")


@dataclass(frozen=True)
class Stacked:
    """A parameter of a stack.

    Attributes:
        name: in the network.
        value: (K * rows, ...).
        rows: leading entries that belong to one model.
        decays: whether weight decay applies: weight matrices only.
    """

    name: str
    value: nn.Parameter
    rows: int
    decays: bool


def stacked_parameters(network: nn.Module, models: int) -> list[Stacked]:
    """The parameters of a network with a leading model axis."""
    return [
        Stacked(name, value, len(value) // models, value.ndim >= 3 and not name.endswith("embedding"))
        for name, value in network.named_parameters()
    ]


class _Group:
    """Parameters that share a learning rate and a weight decay, with their moments and counts of steps."""

    def __init__(self, leaves: list[nn.Parameter], rate: float, decay: float) -> None:
        self._leaves, self._rate, self._decay = leaves, rate, decay
        self._mean = [torch.zeros_like(p) for p in leaves]
        self._square = [torch.zeros_like(p) for p in leaves]
        self._steps = [torch.zeros((), device=p.device) for p in leaves]

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        every = zip(self._leaves, self._mean, self._square, self._steps, strict=True)
        mine = [
            (p, _laid_out_like(p, p.grad), mean, square, step)
            for p, mean, square, step in every
            if p.grad is not None
        ]
        if not mine:
            return
        leaves, grads, means, squares, steps = (list(column) for column in zip(*mine, strict=True))
        adamw(
            leaves, grads, means, squares, [], steps, fused=True, amsgrad=False, maximize=False,
            beta1=BETAS[0], beta2=BETAS[1], lr=self._rate, weight_decay=self._decay, eps=EPSILON,
        )  # fmt: skip


def _laid_out_like(p: Tensor, grad: Tensor) -> Tensor:
    """A gradient with the strides of its parameter.

    The fused kernel goes through memory as it lies: on a CPU it takes a transposed gradient for another
    matrix without a word, on a card it refuses. ``backward`` lays gradients out so, ``grad`` does not.
    """
    return grad if grad.stride() == p.stride() else torch.empty_like(p).copy_(grad)


class BlockAdam:
    """Adam with decoupled weight decay, one fused call per learning rate.

    Calls PyTorch's function: its class loads the compiler, which takes a training job seconds.

    Args:
        parameters: of the stack.
        rates: learning rate of each model; equal rates are adjacent.
        decay: weight decay of the weight matrices.
    """

    def __init__(self, parameters: Sequence[Stacked], rates: Sequence[float], decay: float) -> None:
        self._parameters = list(parameters)
        blocks: list[list[int]] = []
        for i, rate in enumerate(rates):
            if i and rates[i - 1] == rate:
                blocks[-1][1] = i + 1
            else:
                blocks.append([i, i + 1])
        self._blocks = blocks
        self._groups: list[_Group] = []
        self._slices: list[list[nn.Parameter]] = []
        for a, b in blocks:
            # A block is a leaf of its own that shares the memory of the whole.
            leaves = [
                p.value if len(blocks) == 1 else nn.Parameter(p.value.detach()[a * p.rows : b * p.rows])
                for p in self._parameters
            ]
            self._slices.append(leaves)
            for decays in (False, True):
                mine = [x for x, p in zip(leaves, self._parameters, strict=True) if p.decays is decays]
                if mine:
                    self._groups.append(_Group(mine, rates[a], decay if decays else 0.0))

    def step(self) -> None:
        """Update from the gradients of the whole parameters, and drop them."""
        if len(self._blocks) > 1:
            for (a, b), leaves in zip(self._blocks, self._slices, strict=True):
                for leaf, p in zip(leaves, self._parameters, strict=True):
                    grad = p.value.grad
                    leaf.grad = None if grad is None else grad[a * p.rows : b * p.rows]
        for group in self._groups:
            group.step()
        for p in self._parameters:
            p.value.grad = None


class RowAdam:
    """Adam that can leave models out of a step, as sequential updates need.

    A step of one loss moves the parameters that this loss depends on, in the models that have a labelled
    row for it; elsewhere neither parameter, nor moments, nor the count of steps change.

    Args:
        parameters: of the stack.
        rates: (K,) learning rate of each model.
        decay: weight decay of the weight matrices.
    """

    def __init__(self, parameters: Sequence[Stacked], rates: Tensor, decay: float) -> None:
        self._parameters, self._rates, self._decay = list(parameters), rates, decay
        self._mean = [torch.zeros_like(p.value) for p in parameters]
        self._square = [torch.zeros_like(p.value) for p in parameters]
        self._steps = [torch.zeros(len(p.value), dtype=rates.dtype, device=rates.device) for p in parameters]

    @torch.no_grad()
    def step(self, active: Sequence[Tensor | None]) -> None:
        """Update and drop the gradients.

        Args:
            active: for each parameter its rows that take part, (K * rows,) bool; None: the loss does not
                depend on it.
        """
        for i, (p, rows) in enumerate(zip(self._parameters, active, strict=True)):
            grad, p.value.grad = p.value.grad, None
            if rows is None or grad is None:
                continue
            shape = (-1, *[1] * (grad.ndim - 1))
            used = rows.view(shape)
            rate = self._rates.repeat_interleave(p.rows).view(shape).to(grad.dtype)
            self._steps[i] += rows
            steps = self._steps[i].clamp(min=1).view(shape)
            first, second = (1 - BETAS[0] ** steps).to(grad.dtype), (1 - BETAS[1] ** steps).to(grad.dtype)
            mean = torch.lerp(self._mean[i], grad, 1 - BETAS[0])
            square = BETAS[1] * self._square[i] + (1 - BETAS[1]) * grad.square()
            value = p.value * (1 - rate * self._decay) if p.decays and self._decay else p.value
            moved = value - rate / first * mean / ((square / second).sqrt() + EPSILON)
            self._mean[i] = torch.where(used, mean, self._mean[i])
            self._square[i] = torch.where(used, square, self._square[i])
            p.value.copy_(torch.where(used, moved, p.value))


@torch.no_grad()
def clip_per_model(parameters: Sequence[Stacked], models: int, limit: float) -> None:
    """Scale the gradients of each model whose total norm exceeds ``limit``."""
    total: Tensor | float = 0.0
    for p in parameters:
        if p.value.grad is not None:
            total = total + p.value.grad.reshape(models, -1).square().sum(1)
    if isinstance(total, float):
        return
    scale = (limit / (total.sqrt() + 1e-6)).clamp(max=1.0)
    for p in parameters:
        if p.value.grad is not None:
            shape = (-1, *[1] * (p.value.ndim - 1))
            p.value.grad.mul_(scale.repeat_interleave(p.rows).view(shape))


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


def projection_orders(keys: Sequence[RandomKey], losses: int) -> Tensor:
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
