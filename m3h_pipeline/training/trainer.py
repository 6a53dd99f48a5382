"""Training of a prepared stack: minibatches, steps, who diverged, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m3h_pipeline.model.absence.noise import Noise
from m3h_pipeline.model.keys import RandomKey
from m3h_pipeline.training.balance.learned import BALANCES, Balance
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.optimise import (
    BlockAdam,
    RowAdam,
    clip_per_model,
    is_shared,
    operate,
    projection_orders,
)
from m3h_pipeline.training.prepared import Batch, Prepared, prepare
from m3h_pipeline.training.seeds import dropout_key, minibatches
from m3h_pipeline.training.spec import TrainingSettings
from m3h_pipeline.training.stacks import Stack
from m3h_pipeline.training.stopping import BestWeights, WeightsAt

#: Called after every step with its losses, (K, n_losses).
Trace = Callable[[Tensor], None]


@dataclass(frozen=True)
class Epoch:
    """The minibatches of an epoch, for all groups of a stack.

    Attributes:
        rows: (steps, G, B) row numbers; padded with row 0.
        valid: (steps, G, B), False in padding.
        sizes: rows of each step if all groups have equally many, else None.
        keys: (steps, G) dropout keys.
    """

    rows: Tensor
    valid: Tensor
    sizes: list[int | None]
    keys: Tensor


def plan_epoch(stack: Stack, training_rows: Sequence[np.ndarray], epoch: int, seed: int) -> Epoch:
    """Lay out the minibatches of one epoch."""
    size = stack.batch_size
    batches = [
        minibatches(rows, seed, group.replicate, group.fold, epoch, size)
        for rows, group in zip(training_rows, stack.groups, strict=True)
    ]
    steps, width = len(batches[0]), max(len(batch) for group in batches for batch in group)
    rows = np.zeros((steps, len(batches), width), dtype=np.int64)
    valid = np.zeros(rows.shape, dtype=bool)
    for g, group in enumerate(batches):
        for s, batch in enumerate(group):
            rows[s, g, : len(batch)] = batch
            valid[s, g, : len(batch)] = True
    sizes: list[int | None] = []
    for s in range(steps):
        lengths = {len(group[s]) for group in batches}
        sizes.append(lengths.pop() if len(lengths) == 1 else None)
    keys = [
        [dropout_key(seed, group.replicate, group.fold, epoch, s, size) for group in stack.groups]
        for s in range(steps)
    ]
    return Epoch(torch.from_numpy(rows), torch.from_numpy(valid), sizes, torch.tensor(keys))


class Trainer:
    """A stack in training: the optimiser, and which models have diverged.

    Args:
        prepared: the stack; its network's weights are changed.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        stack, settings, device = prepared.stack, prepared.settings, prepared.data.device
        rates = [spec.learning_rate for spec in stack.specs]
        self._optimiser: BlockAdam | RowAdam
        if settings.training.update == "sequential":
            by_model = torch.tensor(rates, dtype=torch.float64, device=device)
            self._optimiser = RowAdam(prepared.parameters, by_model, settings.training.weight_decay)
        else:
            self._optimiser = BlockAdam(prepared.parameters, rates, settings.training.weight_decay)
        self._balance: Balance | None = None
        if settings.training.balance != "fixed":
            kind = BALANCES[settings.training.balance]
            self._balance = kind(prepared.weights, prepared.network.positions)
        model, inputs = settings.model, prepared.network.architecture.inputs
        tokens = [item.options.dropout for item in inputs if item.options]
        # Of a single modality nothing is hidden.
        self._modality = settings.training.modality_dropout if len(inputs) > 1 else 0.0
        self._drops = max(model.dropout, model.input_dropout, *tokens, self._modality) > 0
        # (G, 1, F) mean of the scaled features on the training rows; None: it is 0.
        self._centre = prepared.scaling[2] if prepared.data.ranged else None
        #: Epoch (1-based) in which each model diverged; 0: it did not.
        self.diverged = torch.zeros(prepared.models, dtype=torch.int64, device=device)

    def train_epoch(self, epoch: int, trace: Trace | None = None) -> None:
        """One pass over the training rows (``epoch`` counts from 0)."""
        prepared = self.prepared
        settings, device = prepared.settings, prepared.data.device
        plan = plan_epoch(prepared.stack, prepared.training_rows, epoch, settings.seed)
        all_rows, all_valid = plan.rows.to(device), plan.valid.to(device)
        keys = plan.keys.to(device)
        # What is drawn on the host is there before the first step: within steps nothing waits for the device.
        orders = self.orders(epoch, len(plan.sizes))
        for s, size in enumerate(plan.sizes):
            rows = all_rows[s] if size is None else all_rows[s, :, :size]
            valid = all_valid[s] if size is None else None
            losses = self.step(rows, valid, keys[s], None if orders is None else orders[s], epoch)
            if trace is not None:
                trace(losses)

    def step(
        self, rows: Tensor, valid: Tensor | None, keys: Tensor, orders: Tensor | None, epoch: int
    ) -> Tensor:
        """One step of every model on one minibatch of each group; the device is never waited for.

        Args:
            rows: (G, B) row numbers.
            valid: (G, B), False in padding; None: there is none.
            keys: (G,) of the dropout.
            orders: of gradient surgery, as of :func:`projection_orders`; None: there is none.
            epoch: counts from 0.

        Returns:
            The losses before the step, (K, n_losses), not weighted.
        """
        prepared, noise = self.prepared, None
        if self._drops:
            noise = Noise(prepared.settings.model, keys, prepared.task_keys, self._centre, self._modality)
        batch = prepared.batch(rows, valid)
        if noise is not None:
            shown = noise.hide(batch.present, prepared.network.architecture.inputs, rows.shape[1])
            batch = batch._replace(present=shown)
        if isinstance(self._optimiser, RowAdam):
            losses = self._step_sequentially(self._optimiser, batch, noise)
        else:
            losses = self._step_together(self._optimiser, batch, noise, orders)
        failed = ~torch.isfinite(losses).all(1) & (self.diverged == 0)
        self.diverged.masked_fill_(failed, epoch + 1)
        return losses

    def _backward(self, losses: Tensor) -> None:
        # Each model's losses depend on its own parameters only: their plain sum has independent gradients.
        torch.autograd.backward((losses * self.prepared.weights).sum())
        self._clip()

    def orders(self, epoch: int, steps: int) -> Tensor | None:
        """Orders of gradient surgery in an epoch, (steps, K, L, L - 1) on the device; None: there is none.

        They are drawn for each model and step.
        """
        prepared = self.prepared
        if prepared.settings.training.update != "pcgrad":
            return None
        seed, size = prepared.settings.seed, prepared.stack.batch_size
        found = []
        for step in range(steps):
            keys: list[RandomKey] = [
                (seed, spec.replicate, spec.fold, size, epoch, step, *spec.combination)
                for spec in prepared.stack.specs
            ]
            found.append(projection_orders(keys, prepared.network.n_losses))
        return torch.stack(found).to(prepared.data.device)

    def _operate(self, losses: Tensor, orders: Tensor) -> None:
        """Gradient surgery between each model's losses."""
        prepared = self.prepared
        parameters = prepared.parameters
        shared = [p.value for p in parameters if is_shared(p.name) and p.value.requires_grad]
        own = [p.value for p in parameters if not is_shared(p.name)]
        operate(losses * prepared.weights, shared, own, prepared.models, orders)
        self._clip()

    def _clip(self) -> None:
        limit = self.prepared.settings.training.gradient_clip
        if limit is not None:
            clip_per_model(self.prepared.parameters, self.prepared.models, limit)

    def _step_together(
        self, optimiser: BlockAdam, batch: Batch, noise: Noise | None, orders: Tensor | None
    ) -> Tensor:
        losses = self.prepared.losses(batch, noise)
        if orders is not None:
            self._operate(losses, orders)
        elif self._balance is not None:
            torch.autograd.backward(self._balance.total(losses))
            self._clip()
        else:
            self._backward(losses)
        optimiser.step()
        if self._balance is not None:
            self._balance.step(losses, lambda: self._losses_again(batch, noise))
        return losses.detach()

    @torch.no_grad()
    def _losses_again(self, batch: Batch, noise: Noise | None) -> Tensor:
        """The losses of a minibatch that was learned from, under the same dropout; nothing else changes."""
        # What is observed in passing, running statistics, was observed in the step.
        observed = [p for p in self.prepared.network.parameters() if not p.requires_grad]
        kept = [p.clone() for p in observed]
        losses = self.prepared.losses(batch, noise)
        for p, value in zip(observed, kept, strict=True):
            p.copy_(value)
        return losses

    def _step_sequentially(self, optimiser: RowAdam, batch: Batch, noise: Noise | None) -> Tensor:
        columns = []
        for index in range(self.prepared.network.n_losses):
            losses = self.prepared.losses(batch, noise, only=index)
            self._backward(losses)
            columns.append(losses.detach()[:, index])
            optimiser.step(moved_rows(self.prepared, batch, index))
        return torch.stack(columns, 1)


def moved_rows(prepared: Prepared, batch: Batch, index: int) -> list[Tensor | None]:
    """Rows of each parameter that a step of loss ``index`` alone moves; None: it does not depend on it."""
    network, device = prepared.network, prepared.data.device
    position = index - int(network.architecture.contrastive)
    if position >= 0:
        models = batch.observed[:, position].any(1)
    elif batch.present is None:
        models = torch.ones(prepared.models, dtype=torch.bool, device=device)
    else:
        # Some pair of modalities is present in two rows.
        present = batch.present.float()
        together = torch.einsum("gib,gjb->gij", present, present).triu(1)
        models = (together >= 2).flatten(1).any(1).repeat_interleave(prepared.stack.per_group)
    models = models & (prepared.weights[:, index] > 0)
    moved: list[Tensor | None] = []
    for p in prepared.parameters:
        if p.value.grad is None:
            moved.append(None)
            continue
        rows = models.repeat_interleave(p.rows)
        if p.name.startswith(("heads.", "linear.")):
            span = network.spans[int(p.name.split(".")[1])]
            own = torch.arange(p.rows, device=device) * span.count // p.rows
            rows = rows & (own == position - span.start).repeat(prepared.models)
        moved.append(rows)
    return moved


@dataclass(frozen=True)
class Trained:
    """A stack after training.

    Attributes:
        prepared: the stack; its network has the weights that are scored.
        diverged: (K,) epoch (1-based) in which each model diverged; 0: it did not.
        epochs: (K,) epochs behind the weights of each model.
    """

    prepared: Prepared
    diverged: Tensor
    epochs: Tensor


def train(
    prepared: Prepared, advance: Callable[[float], None] | None = None, trace: Trace | None = None
) -> Trained:
    """Train a stack for all epochs, or until each fit has its best weights.

    Args:
        prepared: the stack.
        advance: told how many fits' worth of work is done.
        trace: told the losses of every step.
    """
    fits, stopping = len(prepared.stack.specs), prepared.settings.training.early_stopping
    trainer = Trainer(prepared)
    prepared.network.train()
    best = None if stopping is None else BestWeights(prepared, stopping.patience)
    epochs = prepared.epochs
    share = 0.5 if stopping is not None and stopping.refit else 1.0
    for epoch in range(epochs):
        trainer.train_epoch(epoch, trace)
        over = best is not None and not best.look(epoch + 1)
        if advance is not None:
            advance(share * fits * ((epochs - epoch if over else 1) / epochs))
        if over:
            break
    prepared.network.eval()
    if stopping is None or best is None:
        return Trained(prepared, trainer.diverged, torch.full_like(trainer.diverged, epochs))
    # A fit that diverged after its best epoch has weights to go by.
    diverged = trainer.diverged.masked_fill(best.epoch > 0, 0)
    if stopping.refit:
        stack, data, settings, own = prepared.stack, prepared.data, prepared.settings, best.epoch
        # The weights and moments of the first training make room for those of the second.
        del prepared, trainer, best
        return _again(stack, data, settings, diverged, own, advance, trace)
    best.restore()
    return Trained(prepared, diverged, best.epoch)


def _again(
    stack: Stack,
    data: DeviceData,
    settings: TrainingSettings,
    diverged: Tensor,
    epochs: Tensor,
    advance: Callable[[float], None] | None,
    trace: Trace | None,
) -> Trained:
    """Train a stack anew on all of its rows, each fit for its own number of epochs.

    Args:
        stack: trained before, with patients set aside.
        data: the study on its device.
        settings: configuration.
        diverged: (K,) as of :class:`Trained`; what diverged before it was judged once is not trained again.
        epochs: (K,) of each fit.
        advance: as of :func:`train`.
        trace: as of :func:`train`.
    """
    fits = len(stack.specs)
    whole = prepare(stack, data, settings, whole=True)
    trainer, kept = Trainer(whole), WeightsAt(whole, epochs)
    whole.network.train()
    last = int(epochs.max())
    for epoch in range(last):
        trainer.train_epoch(epoch, trace)
        kept.look(epoch + 1)
        if advance is not None:
            advance(0.5 * fits / last)
    whole.network.eval()
    kept.restore()
    late = (trainer.diverged > 0) & (trainer.diverged <= epochs)
    return Trained(whole, torch.where(late & (diverged == 0), trainer.diverged, diverged), epochs)
