"""Early stopping of a stack: fits are judged on patients set aside, and each keeps its best weights."""

from __future__ import annotations

import torch
from torch import Tensor

from m3h_pipeline.training.prepared import Prepared, pad


class BestWeights:
    """The best weights of every fit of a stack so far.

    Args:
        prepared: the stack.
        patience: epochs without a smaller loss after which a fit is finished.
    """

    def __init__(self, prepared: Prepared, patience: int) -> None:
        self._prepared, self._patience = prepared, patience
        k, device = prepared.models, prepared.data.device
        self._best = torch.full((k,), torch.inf, dtype=torch.float64, device=device)
        self._since = torch.zeros(k, dtype=torch.int64, device=device)
        #: Epoch (1-based) of each fit's best weights; 0: none yet.
        self.epoch = torch.zeros(k, dtype=torch.int64, device=device)
        self._weights = [p.value.detach().clone() for p in prepared.parameters]

    @torch.no_grad()
    def look(self, epoch: int) -> bool:
        """Judge the weights after an epoch (from 1); False when every fit has run out of patience."""
        loss = stopping_loss(self._prepared)
        alive = self._since < self._patience
        # Of a fit that nothing is known of no epoch is better than the last one.
        better = alive & ((loss < self._best) | torch.isneginf(loss))
        self._best = torch.where(better, loss, self._best)
        self.epoch = torch.where(better, epoch, self.epoch)
        self._since = torch.where(better, 0, self._since + 1)
        for p, kept in zip(self._prepared.parameters, self._weights, strict=True):
            rows = better.repeat_interleave(p.rows).view(-1, *[1] * (kept.ndim - 1))
            torch.where(rows, p.value, kept, out=kept)
        return bool((self._since < self._patience).any())

    @torch.no_grad()
    def restore(self) -> None:
        """Give every fit its best weights; one that was never judged keeps what it has."""
        for p, kept in zip(self._prepared.parameters, self._weights, strict=True):
            rows = (self.epoch > 0).repeat_interleave(p.rows).view(-1, *[1] * (kept.ndim - 1))
            p.value.copy_(torch.where(rows, kept, p.value))


class WeightsAt:
    """The weights of every fit of a stack after its own number of epochs.

    Args:
        prepared: the stack.
        epoch: (K,) after how many epochs (from 1) a fit's weights are kept; 0: its first ones.
    """

    def __init__(self, prepared: Prepared, epoch: Tensor) -> None:
        self._prepared, self._epoch = prepared, epoch
        self._weights = [p.value.detach().clone() for p in prepared.parameters]

    @torch.no_grad()
    def look(self, epoch: int) -> None:
        """Keep the weights of the fits that have had their epochs."""
        for p, kept in zip(self._prepared.parameters, self._weights, strict=True):
            rows = (self._epoch == epoch).repeat_interleave(p.rows).view(-1, *[1] * (kept.ndim - 1))
            torch.where(rows, p.value, kept, out=kept)

    @torch.no_grad()
    def restore(self) -> None:
        """Give every fit the weights that were kept."""
        for p, kept in zip(self._prepared.parameters, self._weights, strict=True):
            p.value.copy_(kept)


def stopping_loss(prepared: Prepared) -> Tensor:
    """Weighted sum of the tasks' losses on the rows set aside, without dropout, (K,) float64.

    A task's loss is the mean over its observed rows, batch by batch; the contrastive loss does not count. A
    task without an observed row counts nothing; a fit of which no task has one is not judged: minus infinity.
    """
    network, size = prepared.network, prepared.stack.batch_size
    network.eval()
    rows, valid = pad(prepared.stopping_rows, prepared.data.device)
    first = network.n_losses - network.positions
    total = torch.zeros(prepared.models, network.positions, dtype=torch.float64, device=rows.device)
    count = torch.zeros_like(total)
    for a in range(0, rows.shape[1], size):
        part = slice(a, a + size)
        batch = prepared.batch(rows[:, part], valid[:, part])
        losses = prepared.losses(batch)
        seen = batch.observed.sum(2).double()
        total += torch.where(seen > 0, losses[:, first:].double(), 0.0) * seen
        count += seen
    network.train()
    mean, weights = total / count.clamp(min=1), prepared.weights[:, first:].double()
    judged = ((count > 0) & (weights > 0)).any(1)
    return torch.where(judged, (mean * weights).sum(1), -torch.inf)
