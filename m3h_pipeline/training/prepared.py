"""A stack prepared for training: its networks with their first weights, its rows, scaling, weights of losses.

Whatever trains, stops, scores or exports a stack reads it here. Nothing in it changes but the weights of the
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.coding import labelled_by
from m3h_pipeline.config import Training
from m3h_pipeline.model.absence.noise import Noise
from m3h_pipeline.model.m3h import M3H, Span
from m3h_pipeline.model.priors import class_bias, rare_bias, set_bias
from m3h_pipeline.model.survival import survived_bins
from m3h_pipeline.survival import marginal_logits
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.optimise import Stacked, stacked_parameters
from m3h_pipeline.training.seeds import divided_rows, n_steps, task_key
from m3h_pipeline.training.spec import TrainingSettings
from m3h_pipeline.training.stacks import Stack, architecture_of

IntArray = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """A minibatch of every group.

    Attributes:
        inputs: (G, B, F) scaled features.
        target: (K, T, B) as the losses want it; NaN where not observed.
        observed: (K, T, B).
        present: (G, modalities, B), False where a modality is missing, and in padding; None: all True.
        valid: (G, B), False in rows of padding; None: no padding.
    """

    inputs: Tensor
    target: Tensor
    observed: Tensor
    present: Tensor | None
    valid: Tensor | None


@dataclass(frozen=True)
class Prepared:
    """A stack before its first step; see :func:`prepare`.

    Attributes:
        stack: what is trained.
        data: the study on its device.
        settings: configuration.
        network: the K models; its weights are what training changes.
        parameters: of the network.
        training_rows: of each group, the rows it learns from.
        stopping_rows: of each group, the rows that decide when its fits stop.
        scaling: shift, reciprocal scale and value of missing features, (G, 1, F) each.
        task_index: (G, K / G, T, 1) which of the study's labels each position has.
        target_mean: (K, T, 1) of the training rows; 0 where the target is not standardised.
        target_deviation: (K, T, 1); 1 where the target is not standardised.
        edges: of every discrete-time span the edges of its tasks' bins, (K, count, bins).
        weights: (K, n_losses) of the losses.
        task_keys: (K * T,) keys of the dropout in the tasks' own layers.
    """

    stack: Stack
    data: DeviceData
    settings: TrainingSettings
    network: M3H
    parameters: tuple[Stacked, ...]
    training_rows: tuple[IntArray, ...]
    stopping_rows: tuple[IntArray, ...]
    scaling: tuple[Tensor, Tensor, Tensor]
    task_index: Tensor
    target_mean: Tensor
    target_deviation: Tensor
    edges: tuple[tuple[Span, Tensor], ...]
    weights: Tensor
    task_keys: Tensor

    @property
    def models(self) -> int:
        """K."""
        return len(self.stack.specs)

    @property
    def epochs(self) -> int:
        """Passes over the training rows."""
        return self.settings.training.passes(n_steps(len(self.training_rows[0]), self.stack.batch_size))

    def batch(self, rows: Tensor, valid: Tensor | None) -> Batch:
        """The minibatch of ``rows`` (G, B); ``valid``: False in padding, None where there is none."""
        inputs = self.data.inputs(rows, self.scaling)
        target = self.data.labels[self.task_index, rows[:, None, None, :]].flatten(0, 1)
        observed = ~torch.isnan(target)
        present = self.data.modalities(rows)
        if valid is not None:
            observed &= valid.repeat_interleave(self.stack.per_group, 0)[:, None]
            modalities = len(self.network.architecture.inputs)
            every = valid[:, None].expand(-1, modalities, -1)
            present = every if present is None else present & every
        target = (target - self.target_mean) / self.target_deviation
        for span, edges in self.edges:
            part = slice(span.start, span.stop)
            target[:, part] = survived_bins(target[:, part], edges)
        return Batch(inputs, target, observed, present, valid)

    def losses(self, batch: Batch, noise: Noise | None = None, only: int | None = None) -> Tensor:
        """All losses of a minibatch, (K, n_losses), not yet weighted; see :meth:`M3H.losses`."""
        with self.data.arithmetic():
            return self.network.losses(*batch, noise, only)


def prepare(stack: Stack, data: DeviceData, settings: TrainingSettings, whole: bool = False) -> Prepared:
    """Make a stack's networks and everything their training needs.

    Args:
        stack: what is to be trained.
        data: the study on its device.
        settings: configuration.
        whole: set no patients aside, even where early stopping is asked for.
    """
    network = _network(stack, data, settings)
    stopping = None if whole else settings.training.early_stopping
    divided = [
        divided_rows(data.data, group.fold, group.replicate, settings.seed, stopping)
        for group in stack.groups
    ]
    index = [[data.index[task] for task in row] for row in stack.positions]
    shape = (len(stack.groups), stack.per_group, len(stack.signature), 1)
    pairs = [
        [data.target_statistics(task, spec.fold) for task in row]
        for spec, row in zip(stack.specs, stack.positions, strict=True)
    ]
    scale = torch.tensor(pairs, dtype=data.dtype, device=data.device)
    tasks = [
        [task_key(settings.seed, spec.replicate, task) for task in row]
        for spec, row in zip(stack.specs, stack.positions, strict=True)
    ]
    return Prepared(
        stack,
        data,
        settings,
        network,
        parameters=tuple(stacked_parameters(network, len(stack.specs))),
        training_rows=tuple(learned for learned, _ in divided),
        stopping_rows=tuple(aside for _, aside in divided),
        scaling=data.statistics([group.fold for group in stack.groups]),
        task_index=torch.tensor(index, device=data.device).view(shape),
        target_mean=scale[:, :, :1],
        target_deviation=scale[:, :, 1:],
        edges=tuple(_stacked_edges(stack, data, network.spans)),
        weights=_weights(stack, network, data, settings),
        task_keys=torch.tensor(tasks, device=data.device).view(-1),
    )


def _network(stack: Stack, data: DeviceData, settings: TrainingSettings) -> M3H:
    """The models with their first weights, on the device."""
    seeds = [(settings.seed, spec.replicate) for spec in stack.specs]
    architecture = architecture_of(stack.signature, data.data, settings)
    network = M3H(architecture, seeds, stack.positions, data.dtype)
    _start_from_odds(network, stack, data, settings.training)
    _start_from_hazards(network, stack, data)
    _start_from_gene_vectors(network, stack, data)
    return network.to(data.device)


def _start_from_odds(network: M3H, stack: Stack, data: DeviceData, training: Training) -> None:
    """Classes start from their log odds in the training rows: of rare binary tasks, or of all tasks."""
    prior = training.output_bias == "prior"
    for index, span in enumerate(network.spans):
        if span.kind.name != "binary" and not (prior and span.kind.name == "multiclass"):
            continue
        for k, (spec, row) in enumerate(zip(stack.specs, stack.positions, strict=True)):
            for p, task in enumerate(row[span.start : span.stop]):
                y = data.data.labels[task][data.data.training_rows(spec.fold)]
                counts = [int((y == c).sum()) for c in range(max(span.outputs, 2))]
                if span.kind.name == "multiclass":
                    start: float | Tensor | None = torch.tensor(class_bias(counts), dtype=data.dtype)
                else:
                    start = rare_bias(counts[1], counts[0], 1.1 if prior else training.rare_below)
                if start is not None:
                    set_bias(network.heads[index], k * span.count + p, start)


def _start_from_hazards(network: M3H, stack: Stack, data: DeviceData) -> None:
    """Discrete-time heads start from the training rows' hazards, as rare tasks from their odds."""
    for index, span in enumerate(network.spans):
        if not span.kind.timed or span.outputs == 1:
            continue
        for k, (spec, row) in enumerate(zip(stack.specs, stack.positions, strict=True)):
            rows = data.data.training_rows(spec.fold)
            for p, task in enumerate(row[span.start : span.stop]):
                edges = data.bin_edges(task, spec.fold, span.outputs)
                logits = marginal_logits(data.data.labels[task][rows], edges, span.outputs)
                value = torch.from_numpy(logits).to(data.dtype)
                set_bias(network.heads[index], k * span.count + p, value)


def _start_from_gene_vectors(network: M3H, stack: Stack, data: DeviceData) -> None:
    for name in data.data.vectors:
        encoder, used = network.encoders[name], data.data.columns[name]
        for k, spec in enumerate(stack.specs):
            vectors = data.data.gene_vectors(name, spec.fold)
            if vectors is not None:
                # Items of a module dictionary are hinted as bare modules.
                encoder.start_from(k, torch.from_numpy(vectors[used]))  # type: ignore[operator]


def _stacked_edges(stack: Stack, data: DeviceData, spans: Sequence[Span]) -> list[tuple[Span, Tensor]]:
    """Of every discrete-time span the edges of its tasks' bins, filled up with infinity."""
    found = []
    for span in spans:
        if not span.kind.timed or span.outputs == 1:
            continue
        edges = np.full((len(stack.specs), span.count, span.outputs), np.inf)
        for k, (spec, row) in enumerate(zip(stack.specs, stack.positions, strict=True)):
            for p, task in enumerate(row[span.start : span.stop]):
                own = data.bin_edges(task, spec.fold, span.outputs)
                edges[k, p, : len(own)] = own
        found.append((span, torch.from_numpy(edges).to(data.device, data.dtype)))
    return found


def _weights(stack: Stack, network: M3H, data: DeviceData, settings: TrainingSettings) -> Tensor:
    training = settings.training
    contrastive = [training.contrastive_weight] if network.architecture.contrastive else []
    rows = [
        [*contrastive, *(training.task_weights.get(labelled_by(task), 1.0) for task in row)]
        for row in stack.positions
    ]
    return torch.tensor(rows, dtype=data.dtype, device=data.device)


def pad(rows: Sequence[IntArray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row numbers of each group side by side, (G, n), and which entries are no padding."""
    width = max(len(group) for group in rows)
    padded = np.zeros((len(rows), width), dtype=np.int64)
    valid = np.zeros(padded.shape, dtype=bool)
    for g, group in enumerate(rows):
        padded[g, : len(group)] = group
        valid[g, : len(group)] = True
    return torch.from_numpy(padded).to(device), torch.from_numpy(valid).to(device)
