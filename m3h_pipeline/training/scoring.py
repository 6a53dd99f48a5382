"""Predictions and metrics of a trained stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.model import metrics
from m3h_pipeline.model.clustering import k_means, silhouettes, squared_distances
from m3h_pipeline.model.m3h import Span
from m3h_pipeline.model.survival import discrete_prediction
from m3h_pipeline.survival import breslow, cox_prediction, interpolation
from m3h_pipeline.training.prepared import IntArray, Prepared, pad
from m3h_pipeline.training.trainer import Trained

Array = npt.NDArray[Any]


@dataclass
class Outputs:
    """What a stack says about some rows.

    Attributes:
        rows: (G, n) row numbers, padded with row 0.
        valid: (G, n), False in padding.
        raw: span index -> (K * count, n, outputs), of classes that do not cluster.
        latents: span index -> (K * count, n, d) float64, of classes that cluster.
        attention: (K, T, T) mean over the rows, entry (t, u): weight of task u in task t; or None.
    """

    rows: Tensor
    valid: Tensor
    raw: dict[int, Tensor] = field(default_factory=dict)
    latents: dict[int, Tensor] = field(default_factory=dict)
    attention: Tensor | None = None


@torch.inference_mode()
def run_network(
    prepared: Prepared, rows: Sequence[IntArray], attention: bool, latents_only: bool = False
) -> Outputs:
    """Run the network over rows, in their order, in batches of the training's batch size."""
    out = Outputs(*pad(rows, prepared.data.device))
    network, size, per_group = prepared.network, prepared.stack.batch_size, prepared.stack.per_group
    raw: dict[int, list[Tensor]] = {}
    latents: dict[int, list[Tensor]] = {}
    total: Tensor | None = None
    for a in range(0, out.rows.shape[1], size):
        part, valid = out.rows[:, a : a + size], out.valid[:, a : a + size]
        x = prepared.data.inputs(part, prepared.scaling)
        with prepared.data.arithmetic():
            encodings = network.encode(x, present=prepared.data.modalities(part))
            attended, weights = network.attend(encodings, valid)
            for index, span in enumerate(network.spans):
                if span.kind.clusters:
                    latent = attended[:, span.start : span.stop].flatten(0, 1).mT
                    latents.setdefault(index, []).append(latent.double())
                elif not latents_only:
                    raw.setdefault(index, []).append(
                        network.raw(attended[:, span.start : span.stop], index, x).to(prepared.data.dtype)
                    )
        if attention:
            seen = valid.repeat_interleave(per_group, 0)[:, None, None, :]
            add = torch.where(seen, weights.double(), 0.0).sum(3)
            total = add if total is None else total + add
    out.raw = {index: torch.cat(parts, 1) for index, parts in raw.items()}
    out.latents = {index: torch.cat(parts, 1) for index, parts in latents.items()}
    if total is not None:
        count = out.valid.sum(1).repeat_interleave(per_group)
        out.attention = (total / count[:, None, None]).mT
    return out


@dataclass
class Scores:
    """What one fit of a stack says about the rows it is scored on.

    Attributes:
        predictions: task -> (n, width) float32, as recorded.
        values: task -> metric.
        n_scored: task -> rows behind it.
        centres: clustering task -> centres of its clusters.
        times: survival task -> what its curves take, see :func:`survival_predictions`.
        attention: (T, T) mean over the rows, by position; row = task, column = companion; None: not asked.
        latents: clustering task -> (n, d) float64.
        finite: whether all outputs and latents are.
    """

    predictions: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    n_scored: dict[str, int] = field(default_factory=dict)
    centres: dict[str, Tensor] = field(default_factory=dict)
    times: dict[str, dict[str, Array]] = field(default_factory=dict)
    attention: Tensor | None = None
    latents: dict[str, Tensor] = field(default_factory=dict)
    finite: bool = True


@torch.inference_mode()
def score(trained: Trained, attention: bool) -> list[Scores]:
    """Score every fit of a trained stack on its fold or the test part, in the order of its fits.

    Args:
        trained: the stack.
        attention: whether the mean attention is wanted.
    """
    prepared = trained.prepared
    stack, data, network = prepared.stack, prepared.data.data, prepared.network
    rows = [data.scored_rows(group.fold) for group in stack.groups]
    scored = run_network(prepared, rows, attention)
    clustering = any(span.kind.clusters for span in network.spans)
    cox = any(span.kind.timed and span.outputs == 1 for span in network.spans)
    train = run_network(prepared, prepared.training_rows, False, not cox) if clustering or cox else scored
    counts = [len(group) for group in rows for _ in range(stack.per_group)]
    found = [Scores() for _ in stack.specs]
    for index, span in enumerate(network.spans):
        y, observed = _labels(prepared, span, scored)
        outputs = (scored.latents if span.kind.clusters else scored.raw)[index]
        if span.kind.clusters:
            predicted, centres = cluster_predictions(prepared, span, index, train, scored)
            for (k, task), centre in zip(_fits(prepared, span), centres, strict=True):
                found[k].centres[task] = centre.cpu()
        elif span.kind.timed:
            predicted, times = survival_predictions(prepared, span, index, train, scored)
            for (k, task), known in zip(_fits(prepared, span), times, strict=True):
                found[k].times[task] = known
        else:
            predicted = span.kind.predict(outputs)
        if span.kind.standardise:
            part = slice(span.start, span.stop)
            mean = prepared.target_mean[:, part].flatten(0, 1).double()
            deviation = prepared.target_deviation[:, part].flatten(0, 1).double()
            predicted = predicted.double() * deviation[:, :, None] + mean[:, :, None]
        predicted = predicted.float()
        value = metrics.score(span.kind, predicted, y, observed).cpu()
        number, predicted = observed.sum(1).cpu(), predicted.cpu()
        every = scored.valid.repeat_interleave(stack.per_group * span.count, 0)[:, :, None]
        finite = (torch.isfinite(outputs) | ~every).flatten(1).all(1).cpu()
        sound = finite.view(len(stack.specs), span.count).all(1).tolist()
        for i, (k, task) in enumerate(_fits(prepared, span)):
            found[k].predictions[task] = predicted[i, : counts[k]]
            found[k].values[task], found[k].n_scored[task] = float(value[i]), int(number[i])
            found[k].finite &= sound[k]
            if span.kind.clusters:
                found[k].latents[task] = outputs[i, : counts[k]]
    if scored.attention is not None:
        for k, fit in enumerate(found):
            fit.attention = scored.attention[k]
    return found


def _fits(prepared: Prepared, span: Span) -> Iterator[tuple[int, str]]:
    """Of each of a span's models: number of its fit, and its task."""
    for k, row in enumerate(prepared.stack.positions):
        for task in row[span.start : span.stop]:
            yield k, task


def _labels(prepared: Prepared, span: Span, at: Outputs) -> tuple[Tensor, Tensor]:
    """Labels of a span's tasks in some rows: (K * count, n) in the label's unit, and which are observed."""
    index = prepared.task_index[:, :, span.start : span.stop]
    y = prepared.data.labels[index, at.rows[:, None, None, :]].flatten(0, 2)
    each = prepared.stack.per_group * span.count
    return y, ~torch.isnan(y) & at.valid.repeat_interleave(each, 0)


def cluster_predictions(
    prepared: Prepared, span: Span, index: int, train: Outputs, scored: Outputs
) -> tuple[Tensor, list[Tensor]]:
    """Predictions (M, n, 2) of a clustering span, and the centres of each of its M models.

    Args:
        prepared: the stack.
        span: of clustering tasks.
        index: of the span.
        train: latents of the training rows, which are clustered.
        scored: latents of the scored rows, whose clusters and silhouettes are predicted.
    """
    fits = list(_fits(prepared, span))
    described, seed = prepared.data.data.tasks, prepared.settings.seed
    clusters = torch.tensor([int(described[task].get("clusters") or 2) for _, task in fits])
    _, train_valid = _labels(prepared, span, train)
    _, scored_valid = _labels(prepared, span, scored)
    x, fit_on = scored.latents[index], train.latents[index]
    out = x.new_full((*x.shape[:2], 2), torch.nan)
    centres: list[Tensor] = [x.new_zeros(0)] * len(fits)
    specs = [prepared.stack.specs[k] for k, _ in fits]
    for number in sorted(set(clusters.tolist())):
        which = torch.nonzero(clusters == number)[:, 0]
        here = which.to(x.device)
        keys = [(seed, specs[i].replicate, specs[i].fold, fits[i][1]) for i in which.tolist()]
        # A diverged model has no latents to cluster; its result is discarded.
        fit_x, score_x = fit_on[here].nan_to_num(0, 0, 0), x[here].nan_to_num(0, 0, 0)
        found = k_means(fit_x, train_valid[here], number, keys)
        cluster = squared_distances(score_x, found).argmin(2)
        value = silhouettes(score_x, cluster, scored_valid[here], number)
        out[here] = torch.stack([cluster.double(), value], 2)
        for j, i in enumerate(which.tolist()):
            rows = prepared.training_rows[fits[i][0] // prepared.stack.per_group]
            patient = torch.from_numpy(prepared.data.data.patients[rows]).to(x.device)
            here_valid = train_valid[here][j, : len(rows)]
            centres[i] = told_centres(found[j], fit_x[j, : len(rows)][here_valid], patient[here_valid])
    return out, centres


def told_centres(centres: Tensor, x: Tensor, patient: Tensor) -> Tensor:
    """Centres that a model may hold: those of fewer than 11 patients give way to the nearest of the others.

    The centre of a few patients' latents is what the model says of them. Where no cluster has as many, all
    become the mean.

    Args:
        centres: (k, d).
        x: latents of the rows that were clustered, (n, d).
        patient: (n,) number of each row's patient.
    """
    if not len(x):
        return torch.zeros_like(centres)
    member = squared_distances(x[None], centres[None])[0].argmin(1)
    pairs = torch.unique(torch.stack([member, patient]), dim=1)[0]
    enough = torch.bincount(pairs, minlength=len(centres)) >= LEAST
    if not enough.any():
        return x.mean(0).expand_as(centres).clone()
    far = squared_distances(centres[None], centres[None])[0]
    nearest = torch.where(enough, far, torch.inf).argmin(1)
    nearest[enough] = torch.arange(len(centres), device=centres.device)[enough]
    return centres[nearest]


def survival_predictions(
    prepared: Prepared, span: Span, index: int, train: Outputs, scored: Outputs
) -> tuple[Tensor, list[dict[str, Array]]]:
    """Predictions (M, n, 1 + SURVIVAL_TIMES) of a survival span, and what each model needs to repeat them.

    Args:
        prepared: the stack.
        span: of survival tasks.
        index: of the span.
        train: outputs of the training rows, for the baseline hazard of Cox's model (Breslow's estimate).
        scored: outputs of the scored rows.
    """
    data = prepared.data
    fits = list(_fits(prepared, span))
    grids = {task: data.time_grid(task) for task in {task for _, task in fits}}
    known: list[dict[str, Array]] = []
    if span.outputs > 1:
        for k, task in fits:
            edges = data.bin_edges(task, prepared.stack.specs[k].fold, span.outputs)
            known.append({"weights": interpolation(edges, grids[task], span.outputs), "edges": edges})
        weights = torch.from_numpy(np.stack([one["weights"] for one in known]))
        predicted = discrete_prediction(scored.raw[index], weights.to(scored.raw[index].device))
    else:
        raw = train.raw[index][:, :, 0].cpu().numpy()
        for i, (k, task) in enumerate(fits):
            rows = prepared.training_rows[k // prepared.stack.per_group]
            eta = np.nan_to_num(raw[i, : len(rows)].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
            known.append({"baseline": breslow(eta, data.data.labels[task][rows], grids[task])})
        eta = scored.raw[index][:, :, 0].double().cpu().numpy()
        found = cox_prediction(eta, np.stack([one["baseline"] for one in known]))
        predicted = torch.from_numpy(found).to(data.device)
    for (_, task), one in zip(fits, known, strict=True):
        one["grid"] = grids[task]
    return predicted, known
