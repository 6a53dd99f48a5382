"""Early stopping of a stack: fits are judged on patients set aside, and each keeps its best weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.config.training import EarlyStopping
from m3h_pipeline.model.keys import generator
from m3h_pipeline.training.data import StudyData

if TYPE_CHECKING:
    from m3h_pipeline.training.trainer import StackTrainer

IntArray = npt.NDArray[np.int64]


def divided_rows(
    data: StudyData, fold: int, replicate: int, seed: int, stopping: EarlyStopping | None
) -> tuple[IntArray, IntArray]:
    """Training rows of a fit: those it learns from, and those that decide when it stops.

    A share of the training patients is drawn, with all of their rows; the draw depends on the study's seed,
    the fold and the replicate, never on the combination.

    Args:
        data: the study.
        fold: of the fit; its own rows are in neither part.
        replicate: of the fit.
        seed: of the study.
        stopping: None: nothing is set aside.
    """
    rows = data.training_rows(fold)
    if stopping is None:
        return rows, rows[:0]
    patient = data.patients[rows]
    names = np.unique(patient)
    count = min(max(1, round(stopping.fraction * len(names))), len(names) - 1)
    chosen = generator(seed, fold, replicate, "early stopping").permutation(names)[:count]
    aside = np.isin(patient, chosen)
    return rows[~aside], rows[aside]


class BestWeights:
    """The best weights of every fit of a stack so far.

    Args:
        trainer: of the stack.
        patience: epochs without a smaller loss after which a fit is finished.
    """

    def __init__(self, trainer: StackTrainer, patience: int) -> None:
        self._trainer, self._patience = trainer, patience
        k, device = trainer.models, trainer.device
        self._best = torch.full((k,), torch.inf, dtype=torch.float64, device=device)
        self._since = torch.zeros(k, dtype=torch.int64, device=device)
        #: Epoch (1-based) of each fit's best weights; 0: none yet.
        self.epoch = torch.zeros(k, dtype=torch.int64, device=device)
        self._weights = [p.value.detach().clone() for p in trainer.parameters]

    @torch.no_grad()
    def look(self, epoch: int) -> bool:
        """Judge the weights after an epoch (from 1); False when every fit has run out of patience."""
        loss = stopping_loss(self._trainer)
        alive = self._since < self._patience
        better = alive & (loss < self._best)
        self._best = torch.where(better, loss, self._best)
        self.epoch = torch.where(better, epoch, self.epoch)
        self._since = torch.where(better, 0, self._since + 1)
        for p, kept in zip(self._trainer.parameters, self._weights, strict=True):
            rows = better.repeat_interleave(p.rows).view(-1, *[1] * (kept.ndim - 1))
            torch.where(rows, p.value, kept, out=kept)
        return bool((self._since < self._patience).any())

    @torch.no_grad()
    def restore(self) -> None:
        """Give every fit its best weights; one that was never judged keeps what it has."""
        for p, kept in zip(self._trainer.parameters, self._weights, strict=True):
            rows = (self.epoch > 0).repeat_interleave(p.rows).view(-1, *[1] * (kept.ndim - 1))
            p.value.copy_(torch.where(rows, kept, p.value))
        # A fit that diverged after its best epoch has weights to go by.
        self._trainer.diverged.masked_fill_(self.epoch > 0, 0)


def stopping_loss(trainer: StackTrainer) -> Tensor:
    """Weighted sum of the tasks' losses on the rows set aside, without dropout, (K,) float64.

    A task's loss is the mean over its observed rows, batch by batch; the contrastive loss does not count. A
    task without an observed row counts nothing.
    """
    from m3h_pipeline.training.scoring import pad

    trainer.network.eval()
    rows, valid = pad(trainer.stopping_rows, trainer.device)
    first = trainer.network.n_losses - trainer.network.positions
    total = torch.zeros(trainer.models, trainer.network.positions, dtype=torch.float64, device=trainer.device)
    count = torch.zeros_like(total)
    for a in range(0, rows.shape[1], trainer.stack.batch_size):
        part = slice(a, a + trainer.stack.batch_size)
        x, target, observed, present = trainer.batch(rows[:, part], valid[:, part])
        with trainer.data.arithmetic():
            losses = trainer.network.losses(x, target, observed, present, valid[:, part])
        seen = observed.sum(2).double()
        total += torch.where(seen > 0, losses[:, first:].double(), 0.0) * seen
        count += seen
    trainer.network.train()
    mean = total / count.clamp(min=1)
    return (mean * trainer.weights[:, first:].double()).sum(1)
