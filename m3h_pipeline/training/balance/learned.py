"""Weights of the tasks' losses that are learned while a stack is trained.

Losses of different kinds have different sizes and fall at different rates; the sum of all of them listens to
the largest. ``training.balance`` names what sets their weights instead:

- ``uncertainty``: each loss is the likelihood of an outcome with a scale of its own, exp(-s) L + s / 2
  (Kendall, Gal & Cipolla 2018, eq. 10), and s is learned with the network;
- ``imtl_l``: exp(s) L - s, at whose minimum every scaled loss is 1 (Liu et al. 2021, *Towards impartial
  multi-task learning*, section 3.2);
- ``famo``: weights under which all losses fall at the same rate (Liu et al. 2023, *FAMO: fast adaptive
  multitask optimization*, alg. 1), at the price of a second forward pass of each step.

What they have in common here: the contrastive loss is no task and keeps its own weight;
``training.task_weights`` multiply what is learned; a task without a row to learn from, whose loss is 0, has
no term and moves no weight; every model of a stack has weights of its own, which Adam moves at a rate of
their own: at a network's rate a fit of a few hundred steps would end before they have left 1. They end with
training: no prediction needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from m3h_pipeline.training.optimise import BlockAdam, Stacked

#: Learning rate of the weights, and FAMO's decay towards equal ones: its authors' constants.
RATE: Final = 0.025
FAMO_DECAY: Final = 0.001
#: The least loss of which a logarithm is taken.
_LEAST: Final = 1e-8


class Balance:
    """Learned weights of the tasks' losses of K models, T tasks each.

    Args:
        weights: (K, n_losses) configured, of the losses before the tasks' too.
        tasks: T; the last columns of the losses are the tasks'.
    """

    def __init__(self, weights: Tensor, tasks: int) -> None:
        self._weights, self._first = weights, weights.shape[1] - tasks
        #: (K, T): what is learned of each task, 0 at first.
        self.learned = nn.Parameter(torch.zeros_like(weights[:, self._first :]))
        self._adam = BlockAdam([Stacked("balance", self.learned, 1, False)], [RATE] * len(weights), 0.0)

    def terms(self, losses: Tensor) -> Tensor:
        """The terms of the tasks' losses (K, T) in the total loss, before the configured weights."""
        raise NotImplementedError

    def total(self, losses: Tensor) -> Tensor:
        """The total loss of all models, from (K, n_losses) as the network gives them."""
        tasks = losses[:, self._first :]
        terms = torch.where(tasks == 0, 0.0, self.terms(tasks))
        return (torch.cat([losses[:, : self._first], terms], 1) * self._weights).sum()

    def step(self, losses: Tensor, again: Callable[[], Tensor]) -> None:
        """Move the weights after a step of the networks.

        Args:
            losses: before the step.
            again: the losses of the same minibatch after it.
        """
        self._adam.step()


class Uncertainty(Balance):
    """Homoscedastic uncertainty: exp(-s) L + s / 2, s the logarithm of a task's variance."""

    def terms(self, losses: Tensor) -> Tensor:
        return torch.exp(-self.learned) * losses + self.learned / 2


class ImtlL(Balance):
    """Impartial learning by losses: exp(s) L - s."""

    def terms(self, losses: Tensor) -> Tensor:
        return torch.exp(self.learned) * losses - self.learned


class Famo(Balance):
    """Fast adaptive multitask optimisation: z / L, z the softmax of what is learned, scaled to a mean of 1.

    The algorithm's weights have the sum 1, which changes no step of Adam; with a mean of 1 the contrastive
    weight, the decay and a limit of gradients mean what they mean beside fixed weights, and a task alone
    learns as with them. A loss that is not positive (a class of the user's own may have such a one) has no
    logarithm and keeps the weight 1.
    """

    def _shares(self, losses: Tensor) -> Tensor:
        """z, (K, T): the softmax over the tasks that have a positive loss; 0 of the others."""
        shares = torch.softmax(self.learned.detach(), 1)
        shares = torch.where(losses > 0, shares, 0.0)
        return shares / shares.sum(1, keepdim=True).clamp(min=_LEAST)

    def terms(self, losses: Tensor) -> Tensor:
        known = losses.detach()
        balanced = known > 0
        each = self._shares(known) / known.clamp(min=_LEAST)
        each = each / each.sum(1, keepdim=True) * balanced.sum(1, keepdim=True)
        return torch.where(balanced, each, 1.0) * losses

    @torch.no_grad()
    def step(self, losses: Tensor, again: Callable[[], Tensor]) -> None:
        before, after = losses.detach()[:, self._first :], again()[:, self._first :]
        shares = self._shares(before)
        fallen = before.clamp(min=_LEAST).log() - after.clamp(min=_LEAST).log()
        fallen = torch.where(before > 0, fallen, 0.0)
        # The softmax's transposed Jacobian times how far each logarithm fell.
        gradient = shares * (fallen - (shares * fallen).sum(1, keepdim=True))
        self.learned.grad = torch.where(before > 0, gradient, 0.0) + FAMO_DECAY * self.learned
        self._adam.step()


#: By the name of the configuration; ``fixed`` learns nothing.
BALANCES: Final[dict[str, type[Balance]]] = {"uncertainty": Uncertainty, "famo": Famo, "imtl_l": ImtlL}
