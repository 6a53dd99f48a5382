"""Survival tasks of a stack: bins of time, initial hazards, and curves from what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.model.heads import set_bias
from m3h_pipeline.model.m3h import M3H, Span
from m3h_pipeline.model.survival import discrete_prediction
from m3h_pipeline.survival import breslow, cox_prediction, interpolation, marginal_logits
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.stacks import Stack

if TYPE_CHECKING:
    from m3h_pipeline.training.scoring import Outputs
    from m3h_pipeline.training.trainer import StackTrainer

Array = npt.NDArray[Any]


def stacked_edges(stack: Stack, data: DeviceData, spans: Sequence[Span]) -> list[tuple[Span, Tensor]]:
    """Of every discrete-time span the edges of its tasks' bins, (K, count, bins), filled up with infinity."""
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


def binned(target: Tensor, edges: Tensor) -> Tensor:
    """:func:`m3h_pipeline.survival.survived_bins` of a stack: signed times (K, T, B), edges (K, T, bins)."""
    time = target.abs().nan_to_num(0.0).contiguous()
    event = ~torch.signbit(target)
    before = torch.searchsorted(edges, time).to(target.dtype)
    upto = torch.searchsorted(edges, time, right=True).to(target.dtype)
    return torch.where(torch.isnan(target), target, torch.where(event, before, -upto))


def set_marginal_hazards(network: M3H, stack: Stack, data: DeviceData) -> None:
    """Start discrete-time heads from the training rows' hazards, as rare tasks start from their odds."""
    for index, span in enumerate(network.spans):
        if not span.kind.timed or span.outputs == 1:
            continue
        for k, (spec, row) in enumerate(zip(stack.specs, stack.positions, strict=True)):
            y_rows = data.data.training_rows(spec.fold)
            for p, task in enumerate(row[span.start : span.stop]):
                edges = data.bin_edges(task, spec.fold, span.outputs)
                logits = marginal_logits(data.data.labels[task][y_rows], edges, span.outputs)
                value = torch.from_numpy(logits).to(data.dtype)
                set_bias(network.heads[index], k * span.count + p, value)


def curves(
    trainer: StackTrainer, span: Span, index: int, scored: Outputs, train: Outputs
) -> tuple[Tensor, list[dict[str, Array]]]:
    """Predictions (M, n, 1 + SURVIVAL_TIMES) of a survival span, and what each model needs to repeat them."""
    tasks = [task for row in trainer.stack.positions for task in row[span.start : span.stop]]
    specs = [spec for spec in trainer.stack.specs for _ in range(span.count)]
    grids = {task: trainer.data.time_grid(task) for task in set(tasks)}
    if span.outputs > 1:
        known: list[dict[str, Array]] = []
        for task, spec in zip(tasks, specs, strict=True):
            edges = trainer.data.bin_edges(task, spec.fold, span.outputs)
            known.append({"weights": interpolation(edges, grids[task], span.outputs), "edges": edges})
        weights = torch.from_numpy(np.stack([one["weights"] for one in known]))
        predicted = discrete_prediction(scored.raw[index], weights.to(scored.raw[index].device))
    else:
        raw = train.raw[index][:, :, 0].cpu().numpy()
        labels = trainer.data.data.labels
        known = []
        for i, task in enumerate(tasks):
            rows = trainer.training_rows[i // (span.count * trainer.stack.per_group)]
            eta = np.nan_to_num(raw[i, : len(rows)].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
            known.append({"baseline": breslow(eta, labels[task][rows], grids[task])})
        eta = scored.raw[index][:, :, 0].double().cpu().numpy()
        found = cox_prediction(eta, np.stack([one["baseline"] for one in known]))
        predicted = torch.from_numpy(found).to(trainer.device)
    for task, one in zip(tasks, known, strict=True):
        one["grid"] = grids[task]
    return predicted, known


def predict_times(raw: Tensor, known: dict[str, Array]) -> Tensor:
    """Predictions (n, 1 + SURVIVAL_TIMES) of one fitted model from its raw output (n, outputs)."""
    if "baseline" in known:
        return torch.from_numpy(cox_prediction(raw[:, 0].double().numpy(), known["baseline"]))
    return discrete_prediction(raw[None], torch.from_numpy(np.array(known["weights"]))[None])[0]
