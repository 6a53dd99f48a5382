"""Predictions and metrics of a trained stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.model.m3h import Span
from m3h_pipeline.training import metrics
from m3h_pipeline.training.clustering import k_means, silhouettes, squared_distances
from m3h_pipeline.training.fitted import describe
from m3h_pipeline.training.spec import FitResult
from m3h_pipeline.training.times import curves

if TYPE_CHECKING:
    from m3h_pipeline.training.trainer import StackTrainer

Array = npt.NDArray[Any]


class Outputs:
    """What a stack says about some rows.

    Attributes:
        rows: (G, n) row numbers, padded with row 0.
        valid: (G, n), False in padding.
        raw: span index -> (K * count, n, outputs), of classes that do not cluster.
        latents: span index -> (K * count, n, d) float64, of classes that cluster.
        attention: (K, T, T) mean over the rows, entry (t, u): weight of task u in task t; or None.
    """

    def __init__(self, rows: Tensor, valid: Tensor) -> None:
        self.rows, self.valid = rows, valid
        self.raw: dict[int, Tensor] = {}
        self.latents: dict[int, Tensor] = {}
        self.attention: Tensor | None = None


def pad(rows: list[npt.NDArray[np.int64]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row numbers of each group side by side, (G, n), and which entries are no padding."""
    width = max(len(group) for group in rows)
    padded = np.zeros((len(rows), width), dtype=np.int64)
    valid = np.zeros(padded.shape, dtype=bool)
    for g, group in enumerate(rows):
        padded[g, : len(group)] = group
        valid[g, : len(group)] = True
    return torch.from_numpy(padded).to(device), torch.from_numpy(valid).to(device)


@torch.inference_mode()
def run_network(
    trainer: StackTrainer, rows: list[npt.NDArray[np.int64]], attention: bool, latents_only: bool = False
) -> Outputs:
    """Run the network over rows, in their order, in batches of the training's batch size."""
    out = Outputs(*pad(rows, trainer.device))
    network, size = trainer.network, trainer.stack.batch_size
    raw: dict[int, list[Tensor]] = {}
    latents: dict[int, list[Tensor]] = {}
    total: Tensor | None = None
    for a in range(0, out.rows.shape[1], size):
        part, valid = out.rows[:, a : a + size], out.valid[:, a : a + size]
        x = trainer.data.inputs(part, trainer.scaling)
        with trainer.data.arithmetic():
            attended, weights = network.attend(network.encode(x), valid)
            for index, span in enumerate(network.spans):
                if span.kind.clusters:
                    latent = attended[:, span.start : span.stop].flatten(0, 1).mT
                    latents.setdefault(index, []).append(latent.double())
                elif not latents_only:
                    raw.setdefault(index, []).append(
                        network.raw(attended[:, span.start : span.stop], index).to(trainer.dtype)
                    )
        if attention:
            seen = valid.repeat_interleave(trainer.stack.per_group, 0)[:, None, None, :]
            add = torch.where(seen, weights.double(), 0.0).sum(3)
            total = add if total is None else total + add
    out.raw = {index: torch.cat(parts, 1) for index, parts in raw.items()}
    out.latents = {index: torch.cat(parts, 1) for index, parts in latents.items()}
    if total is not None:
        count = out.valid.sum(1).repeat_interleave(trainer.stack.per_group)
        out.attention = (total / count[:, None, None]).mT
    return out


def _labels(trainer: StackTrainer, span: Span, rows: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Labels of a span's tasks in rows (G, n): (K * count, n) in the label's unit, and which are observed."""
    index = trainer.task_index[:, :, span.start : span.stop]
    y = trainer.data.labels[index, rows[:, None, None, :]].flatten(0, 2)
    each = trainer.stack.per_group * span.count
    return y, ~torch.isnan(y) & valid.repeat_interleave(each, 0)


def _tasks(trainer: StackTrainer, span: Span) -> list[str]:
    return [task for row in trainer.stack.positions for task in row[span.start : span.stop]]


def _cluster(
    trainer: StackTrainer, span: Span, train: Outputs, scored: Outputs, index: int
) -> tuple[Tensor, list[Tensor]]:
    """Predictions (M, n, 2) of a clustering span, and the centres of each of its M models."""
    tasks = _tasks(trainer, span)
    specs = [spec for spec in trainer.stack.specs for _ in range(span.count)]
    clusters = torch.tensor([int(trainer.data.data.tasks[task].get("clusters") or 2) for task in tasks])
    _, train_valid = _labels(trainer, span, train.rows, train.valid)
    _, scored_valid = _labels(trainer, span, scored.rows, scored.valid)
    x, fit_on = scored.latents[index], train.latents[index]
    out = x.new_full((*x.shape[:2], 2), torch.nan)
    centres: list[Tensor] = [x.new_zeros(0)] * len(tasks)
    for k in sorted(set(clusters.tolist())):
        which = torch.nonzero(clusters == k)[:, 0]
        here = which.to(x.device)
        keys = [(trainer.settings.seed, specs[i].replicate, specs[i].fold, tasks[i]) for i in which.tolist()]
        # A diverged model has no latents to cluster; its result is discarded.
        fit_x, score_x = fit_on[here].nan_to_num(0, 0, 0), x[here].nan_to_num(0, 0, 0)
        found = k_means(fit_x, train_valid[here], k, keys)
        cluster = squared_distances(score_x, found).argmin(2)
        valid = scored_valid[here]
        out[here] = torch.stack([cluster.double(), silhouettes(score_x, cluster, valid, k)], 2)
        for j, i in enumerate(which.tolist()):
            centres[i] = found[j]
    return out, centres


@torch.inference_mode()
def score_stack(trainer: StackTrainer, keep_models: bool) -> list[FitResult]:
    """Score every fit of a trained stack on its fold or the test part."""
    stack, data, network = trainer.stack, trainer.data, trainer.network
    folds = [group.fold for group in stack.groups]
    rows = [data.data.scored_rows(fold) for fold in folds]
    scored = run_network(trainer, rows, attention=keep_models)
    clustering = any(span.kind.clusters for span in network.spans)
    cox = any(span.kind.timed and span.outputs == 1 for span in network.spans)
    train = run_network(trainer, trainer.training_rows, False, not cox) if clustering or cox else None
    counts = [len(group) for group in rows for _ in range(stack.per_group)]
    diverged = trainer.diverged.clone()
    predictions: list[dict[str, Tensor]] = [{} for _ in stack.specs]
    values: list[dict[str, Tensor]] = [{} for _ in stack.specs]
    numbers: list[dict[str, Tensor]] = [{} for _ in stack.specs]
    centres: list[dict[str, Tensor]] = [{} for _ in stack.specs]
    times: list[dict[str, dict[str, Array]]] = [{} for _ in stack.specs]
    for index, span in enumerate(network.spans):
        y, observed = _labels(trainer, span, scored.rows, scored.valid)
        if span.kind.clusters:
            assert train is not None
            finite = torch.isfinite(scored.latents[index])
            predicted, found = _cluster(trainer, span, train, scored, index)
        else:
            finite = torch.isfinite(scored.raw[index])
            found = []
            predicted = span.kind.predict(scored.raw[index])
            if span.kind.timed:
                predicted, known = curves(trainer, span, index, scored, scored if train is None else train)
                for i, task in enumerate(_tasks(trainer, span)):
                    times[i // span.count][task] = known[i]
            if span.kind.standardise:
                part = slice(span.start, span.stop)
                mean = trainer.target_mean[:, part].flatten(0, 1).double()
                deviation = trainer.target_deviation[:, part].flatten(0, 1).double()
                predicted = predicted.double() * deviation[:, :, None] + mean[:, :, None]
        every = scored.valid.repeat_interleave(stack.per_group * span.count, 0)[:, :, None]
        bad = ~(finite | ~every).flatten(1).all(1).view(len(stack.specs), span.count).all(1)
        diverged = torch.where((diverged == 0) & bad, trainer.settings.training.epochs, diverged)
        predicted = predicted.float()
        value = metrics.score(span.kind, predicted, y, observed).cpu()
        number = observed.sum(1).cpu()
        predicted = predicted.cpu()
        for i, task in enumerate(_tasks(trainer, span)):
            k = i // span.count
            predictions[k][task] = predicted[i, : counts[k]]
            values[k][task], numbers[k][task] = value[i], number[i]
            if found:
                centres[k][task] = found[i].cpu()
    status, epochs = diverged.cpu().tolist(), trainer.epochs.tolist()
    results = []
    for k, spec in enumerate(stack.specs):
        ok = status[k] == 0
        mine = {task: predictions[k][task].numpy().copy() for task in spec.combination}
        result = FitResult(
            key="",
            spec=spec,
            status="ok" if ok else "diverged",
            epochs=int(epochs[k]) if ok else status[k],
            seconds=0.0,
            values={task: float(values[k][task]) if ok else float("nan") for task in spec.combination},
            n_scored={task: int(numbers[k][task]) for task in spec.combination},
            predictions=mine if ok else {},
        )
        if keep_models and ok:
            describe(trainer, k, result, centres[k], times[k])
            order = [stack.positions[k].index(task) for task in spec.combination]
            assert scored.attention is not None
            result.attention = scored.attention[k].cpu().numpy()[np.ix_(order, order)]
            for index, span in enumerate(network.spans):
                if span.kind.clusters:
                    for p, task in enumerate(stack.positions[k][span.start : span.stop]):
                        latent = scored.latents[index][k * span.count + p, : counts[k]]
                        result.latents[task] = latent.float().cpu().numpy()
        results.append(result)
    return results
