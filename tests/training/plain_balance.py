"""Balancing of one model's losses as papers and their authors' code have it: the referee of the tests."""

from __future__ import annotations

import torch
from torch import Tensor

Losses = list[Tensor | None]


class PlainBalance:
    """Weights of one model's tasks.

    Args:
        kind: as ``training.balance``.
        tasks: how many.
    """

    def __init__(self, kind: str, tasks: int) -> None:
        self.kind = kind
        self.learned = torch.zeros(tasks, dtype=torch.float64, requires_grad=True)
        # FAMO: rate and L2 decay of the authors' code.
        self.adam = torch.optim.Adam([self.learned], lr=0.025, weight_decay=0.001 if kind == "famo" else 0.0)

    def terms(self, losses: Losses) -> Losses:
        """What each loss contributes; None: it has no row to learn from."""
        if self.kind == "fixed":
            return losses
        if self.kind == "famo":
            present = [loss for loss in losses if loss is not None]
            if not present:
                return losses
            here = torch.tensor([loss is not None for loss in losses])
            z = torch.softmax(self.learned.detach()[here], 0)
            inverse = sum(z_i / loss.detach() for z_i, loss in zip(z, present, strict=True))
            scaled = iter(
                len(present) * z_i * loss.log() / inverse for z_i, loss in zip(z, present, strict=True)
            )
            return [None if loss is None else next(scaled) for loss in losses]
        s = self.learned
        if self.kind == "uncertainty":
            each = [None if loss is None else loss / s[i].exp() + s[i] / 2 for i, loss in enumerate(losses)]
        else:
            each = [None if loss is None else s[i].exp() * loss - s[i] for i, loss in enumerate(losses)]
        return each

    def clear(self) -> None:
        self.learned.grad = torch.zeros_like(self.learned)

    def step(self, before: Losses, after: Losses) -> None:
        """Move the weights, after the model's own step."""
        if self.kind == "famo":
            here = [i for i, loss in enumerate(before) if loss is not None]
            if here:
                pairs = [(before[i], after[i]) for i in here]
                delta = torch.stack([b.detach().log() - a.detach().log() for b, a in pairs])  # type: ignore[union-attr]
                z = torch.softmax(self.learned[here], 0)
                (self.learned.grad,) = torch.autograd.grad(z, self.learned, grad_outputs=delta)
        self.adam.step()
