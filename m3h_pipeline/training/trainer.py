"""Training of a stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m3h_pipeline.model.heads import rare_bias, set_bias
from m3h_pipeline.model.keys import Key
from m3h_pipeline.model.m3h import M3H, Architecture, Noise
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.optimise import BlockAdam, RowAdam, clip_per_model, stacked_parameters
from m3h_pipeline.training.scoring import score_stack
from m3h_pipeline.training.seeds import dropout_key, minibatches, task_key
from m3h_pipeline.training.spec import FitResult, TrainingSettings
from m3h_pipeline.training.stacks import Stack, architecture_of
from m3h_pipeline.training.stopping import BestWeights, divided_rows
from m3h_pipeline.training.surgery import is_shared, operate, projection_orders
from m3h_pipeline.training.times import binned, set_marginal_hazards, stacked_edges

#: Called after every step with its losses, (K, n_losses).
Trace = Callable[[Tensor], None]


@dataclass
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


class StackTrainer:
    """A stack in training.

    Args:
        stack: what is trained.
        data: the study on its device.
        settings: configuration.
    """

    def __init__(self, stack: Stack, data: DeviceData, settings: TrainingSettings) -> None:
        self.stack, self.data, self.settings = stack, data, settings
        self.device, self.dtype = data.device, data.dtype
        self.models, self.groups = len(stack.specs), len(stack.groups)
        self.architecture: Architecture = architecture_of(stack.signature, data.data, settings)
        seeds = [(settings.seed, spec.replicate) for spec in stack.specs]
        network = M3H(self.architecture, seeds, stack.positions, self.dtype)
        self._set_rare_biases(network)
        set_marginal_hazards(network, stack, data)
        self._set_gene_vectors(network)
        self.network = network.to(self.device)
        divided = [
            divided_rows(
                data.data, group.fold, group.replicate, settings.seed, settings.training.early_stopping
            )
            for group in stack.groups
        ]
        #: Rows that each group learns from, and rows that decide when its fits stop.
        self.training_rows = [learned for learned, _ in divided]
        self.stopping_rows = [aside for _, aside in divided]
        folds = [group.fold for group in stack.groups]
        self.scaling = data.statistics(folds)
        #: (G, 1, F) mean of the scaled features on the training rows; None: it is 0.
        self.centre = self.scaling[2] if data.ranged else None
        index = [[data.index[task] for task in row] for row in stack.positions]
        shape = (self.groups, stack.per_group, len(stack.signature), 1)
        self.task_index = torch.tensor(index, device=self.device).view(shape)
        pairs = [
            [data.target_statistics(task, spec.fold) for task in row]
            for spec, row in zip(stack.specs, stack.positions, strict=True)
        ]
        scale = torch.tensor(pairs, dtype=self.dtype, device=self.device)
        self.target_mean, self.target_deviation = scale[:, :, :1], scale[:, :, 1:]
        self.bins = stacked_edges(stack, data, self.network.spans)
        weights = settings.training.task_weights
        columns = [[settings.training.contrastive_weight]] * self.models
        if not self.architecture.contrastive:
            columns = [[] for _ in range(self.models)]
        rows = [
            [*first, *(weights.get(task, 1.0) for task in row)]
            for first, row in zip(columns, stack.positions, strict=True)
        ]
        self.weights = torch.tensor(rows, dtype=self.dtype, device=self.device)
        self.parameters = stacked_parameters(self.network, self.models)
        rates = [spec.learning_rate for spec in stack.specs]
        decay = settings.training.weight_decay
        self.sequential = settings.training.update == "sequential"
        self.block_adam = None if self.sequential else BlockAdam(self.parameters, rates, decay)
        self.row_adam = None
        if self.sequential:
            by_model = torch.tensor(rates, dtype=torch.float64, device=self.device)
            self.row_adam = RowAdam(self.parameters, by_model, decay)
        tasks = [
            [task_key(settings.seed, spec.replicate, task) for task in row]
            for spec, row in zip(stack.specs, stack.positions, strict=True)
        ]
        self.task_keys = torch.tensor(tasks, device=self.device).view(-1)
        rates = [item.options.dropout for item in self.architecture.inputs if item.options]
        self.drops = max(settings.model.dropout, settings.model.input_dropout, *rates, 0.0) > 0
        #: Epoch (1-based) in which each model diverged; 0: it did not.
        self.diverged = torch.zeros(self.models, dtype=torch.int64, device=self.device)
        #: Epochs behind the weights of each model.
        self.epochs = torch.full_like(self.diverged, settings.training.epochs)

    def _set_rare_biases(self, network: M3H) -> None:
        data = self.data.data
        for index, span in enumerate(network.spans):
            if span.kind.name != "binary":
                continue
            for k, (spec, row) in enumerate(zip(self.stack.specs, self.stack.positions, strict=True)):
                for p, task in enumerate(row[span.start : span.stop]):
                    y = data.labels[task][data.training_rows(spec.fold)]
                    bias = rare_bias(
                        int((y == 1).sum()), int((y == 0).sum()), self.settings.training.rare_below
                    )
                    if bias is not None:
                        set_bias(network.heads[index], k * span.count + p, bias)

    def _set_gene_vectors(self, network: M3H) -> None:
        data = self.data.data
        for name in data.vectors:
            encoder, used = network.encoders[name], data.columns[name]
            for k, spec in enumerate(self.stack.specs):
                vectors = data.gene_vectors(name, spec.fold)
                if vectors is not None:
                    encoder.start_from(k, torch.from_numpy(vectors[used]))  # type: ignore[operator]

    def batch(self, rows: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Inputs (G, B, F), targets (K, T, B), observed (K, T, B), present (G, modalities, B) or None."""
        x = self.data.inputs(rows, self.scaling)
        target = self.data.labels[self.task_index, rows[:, None, None, :]].flatten(0, 1)
        observed = ~torch.isnan(target)
        present = None if self.data.present is None else self.data.present[rows].mT
        if valid is not None:
            observed &= valid.repeat_interleave(self.stack.per_group, 0)[:, None]
            modalities = len(self.architecture.inputs)
            every = valid[:, None].expand(-1, modalities, -1)
            present = every if present is None else present & every
        target = (target - self.target_mean) / self.target_deviation
        for span, edges in self.bins:
            part = slice(span.start, span.stop)
            target[:, part] = binned(target[:, part], edges)
        return x, target, observed, present

    def train_epoch(self, epoch: int, trace: Trace | None = None) -> None:
        """One pass over the training rows (``epoch`` counts from 0)."""
        plan = plan_epoch(self.stack, self.training_rows, epoch, self.settings.seed)
        all_rows, all_valid = plan.rows.to(self.device), plan.valid.to(self.device)
        keys = plan.keys.to(self.device)
        for s, size in enumerate(plan.sizes):
            rows = all_rows[s] if size is None else all_rows[s, :, :size]
            valid = all_valid[s] if size is None else None
            noise = Noise(self.settings.model, keys[s], self.task_keys, self.centre) if self.drops else None
            batch = self.batch(rows, valid)
            if self.sequential:
                losses = self._step_sequentially(batch, valid, noise)
            else:
                losses = self._step_together(batch, valid, noise, (epoch, s))
            failed = ~torch.isfinite(losses).all(1) & (self.diverged == 0)
            self.diverged.masked_fill_(failed, epoch + 1)
            if trace is not None:
                trace(losses)

    def _losses(
        self,
        batch: tuple[Tensor, Tensor, Tensor, Tensor | None],
        valid: Tensor | None,
        noise: Noise | None,
        only: int | None = None,
    ) -> Tensor:
        x, target, observed, present = batch
        with self.data.arithmetic():
            return self.network.losses(x, target, observed, present, valid, noise, only)

    def _backward(self, losses: Tensor) -> None:
        # Each model's losses depend on its own parameters only: their plain sum has independent gradients.
        torch.autograd.backward((losses * self.weights).sum())
        self._clip()

    def _operate(self, losses: Tensor, place: tuple[int, int]) -> None:
        """Gradient surgery between each model's losses, in an order drawn for the model and the step."""
        size = self.stack.batch_size
        keys: list[Key] = [
            (self.settings.seed, spec.replicate, spec.fold, size, *place, *spec.combination)
            for spec in self.stack.specs
        ]
        orders = projection_orders(keys, losses.shape[1]).to(self.device)
        shared = [p.value for p in self.parameters if is_shared(p.name) and p.value.requires_grad]
        own = [p.value for p in self.parameters if not is_shared(p.name)]
        operate(losses * self.weights, shared, own, self.models, orders)
        self._clip()

    def _clip(self) -> None:
        if self.settings.training.gradient_clip is not None:
            clip_per_model(self.parameters, self.models, self.settings.training.gradient_clip)

    def _step_together(
        self,
        batch: tuple[Tensor, Tensor, Tensor, Tensor | None],
        valid: Tensor | None,
        noise: Noise | None,
        place: tuple[int, int],
    ) -> Tensor:
        losses = self._losses(batch, valid, noise)
        if self.settings.training.update == "pcgrad":
            self._operate(losses, place)
        else:
            self._backward(losses)
        assert self.block_adam is not None
        self.block_adam.step()
        return losses.detach()

    def _step_sequentially(
        self,
        batch: tuple[Tensor, Tensor, Tensor, Tensor | None],
        valid: Tensor | None,
        noise: Noise | None,
    ) -> Tensor:
        assert self.row_adam is not None
        columns = []
        first = int(self.architecture.contrastive)
        for index in range(self.network.n_losses):
            losses = self._losses(batch, valid, noise, only=index)
            self._backward(losses)
            columns.append(losses.detach()[:, index])
            self.row_adam.step(self._active(index, index - first, batch))
        return torch.stack(columns, 1)

    def _active(
        self, index: int, position: int, batch: tuple[Tensor, Tensor, Tensor, Tensor | None]
    ) -> list[Tensor | None]:
        """Rows of each parameter that a step of one loss moves."""
        _, _, observed, present = batch
        if position >= 0:
            models = observed[:, position].any(1)
        elif present is None:
            models = torch.ones(self.models, dtype=torch.bool, device=self.device)
        else:
            # Some pair of modalities is present in two rows.
            together = torch.einsum("gib,gjb->gij", present.float(), present.float()).triu(1)
            models = (together >= 2).flatten(1).any(1).repeat_interleave(self.stack.per_group)
        models = models & (self.weights[:, index] > 0)
        active: list[Tensor | None] = []
        for p in self.parameters:
            if p.value.grad is None:
                active.append(None)
                continue
            rows = models.repeat_interleave(p.rows)
            if p.name.startswith("heads."):
                span = self.network.spans[int(p.name.split(".")[1])]
                own = torch.arange(p.rows, device=self.device) * span.count // p.rows
                rows = rows & (own == position - span.start).repeat(self.models)
            active.append(rows)
        return active


def train_stack(
    stack: Stack,
    data: DeviceData,
    settings: TrainingSettings,
    keep_models: bool = False,
    advance: Callable[[float], None] | None = None,
    trace: Trace | None = None,
) -> list[FitResult]:
    """Train a stack and score it after the last epoch, or with each fit's best weights.

    Args:
        stack: the fits.
        data: the study on its device.
        settings: configuration.
        keep_models: also return parameters, attention and latents.
        advance: told how many fits' worth of work is done.
        trace: told the losses of every step.

    Returns:
        Results in the order of ``stack.specs``, without keys.
    """
    started = time.perf_counter()
    trainer = StackTrainer(stack, data, settings)
    epochs = settings.training.epochs
    trainer.network.train()
    stopping = settings.training.early_stopping
    best = None if stopping is None else BestWeights(trainer, stopping.patience)
    for epoch in range(epochs):
        trainer.train_epoch(epoch, trace)
        over = best is not None and not best.look(epoch + 1)
        if advance is not None:
            advance(len(stack.specs) * ((epochs - epoch if over else 1) / epochs))
        if over:
            break
    if best is not None:
        best.restore()
        trainer.epochs = best.epoch
    trainer.network.eval()
    results = score_stack(trainer, keep_models)
    seconds = (time.perf_counter() - started) / len(stack.specs)
    for result in results:
        result.seconds = seconds
    return results
