"""Grouping fits into stacks: fits of one signature and batch size whose epochs have equally many steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from m3h_pipeline.config import Model
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.model.architecture import Architecture, Input, Signature
from m3h_pipeline.model.footprint import MOST_ON_CPU, bytes_per_fit
from m3h_pipeline.model.heads import rank
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.seeds import divided_rows, n_steps
from m3h_pipeline.training.spec import FitSpec, TrainingSettings

#: Parts of the memory of a GPU that a stack may take.
_GPU_SHARE = 0.7


@dataclass(frozen=True)
class Group:
    """Fits that share their minibatches and learning rate."""

    fold: int
    replicate: int
    learning_rate: float


@dataclass(frozen=True)
class Stack:
    """Fits trained as one model with a leading axis.

    Attributes:
        signature: of every fit.
        positions: of each fit, its tasks by position.
        specs: the fits, group by group, in the order of the model axis.
        groups: the groups, by ascending learning rate, so that each rate is one contiguous block; each has
            ``len(specs) / len(groups)`` fits.
        batch_size: most rows of a minibatch.
    """

    signature: Signature
    positions: tuple[tuple[str, ...], ...]
    specs: tuple[FitSpec, ...]
    groups: tuple[Group, ...]
    batch_size: int

    @property
    def per_group(self) -> int:
        """Fits of each group."""
        return len(self.specs) // len(self.groups)


def positions_of(
    combination: Sequence[str], data: StudyData, model: Model
) -> tuple[tuple[str, ...], Signature]:
    """The tasks of a combination in the order of a model's positions, and their signature.

    The order is by problem class, number of outputs and name: a function of the combination alone.

    Args:
        combination: task ids.
        data: the study.
        model: the configured network.
    """
    described = []
    for task in combination:
        kind = data.kind_of(task, model)
        described.append((rank(kind.name), kind.outputs(data.tasks[task], model), task, kind.name))
    described.sort()
    return tuple(item[2] for item in described), tuple((item[3], item[1]) for item in described)


def architecture_of(signature: Signature, data: StudyData, settings: TrainingSettings) -> Architecture:
    """The shape of a model of ``signature`` on this data."""
    inputs = []
    for name in data.features:
        modality = settings.modalities[name]
        hidden, options = modality.widths(settings.model), modality.options
        genes: tuple[str, ...] = ()
        if options is not None:
            genes = tuple(np.array(data.feature_names(name))[data.columns[name]].tolist())
        features = int(data.columns[name].sum())
        absence = learns_absence(name, data, settings)
        inputs.append(Input(name, features, modality.encoder, hidden, options, genes, absence))
    return Architecture(
        tuple(inputs), signature, settings.model, contrast=settings.training.contrastive_weight > 0
    )


def learns_absence(name: str, data: StudyData, settings: TrainingSettings) -> bool:
    """Whether a vector stands for the encoding of rows without a modality: of enough of them it is learned.

    What fewer than 11 patients taught would tell of them.
    """
    if settings.model.absence == "mean":
        return False
    if settings.training.modality_dropout > 0 and len(settings.modalities) > 1:
        return True
    lacking = data.train & ~data.present[name]
    return len(np.unique(data.patients[lacking])) >= LEAST


def memory_limit(settings: TrainingSettings, device: torch.device) -> float:
    """Bytes a stack may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return _GPU_SHARE * free
    return settings.compute.memory_gb * 2**30


def planned_bytes(stack: Stack, data: StudyData, settings: TrainingSettings) -> float:
    """Bytes that a stack is reckoned to take."""
    architecture = architecture_of(stack.signature, data, settings)
    each = bytes_per_fit(architecture, settings.training, stack.batch_size, settings.compute.precision)
    return each * len(stack.specs)


def make_stacks(
    specs: Sequence[FitSpec],
    data: StudyData,
    settings: TrainingSettings,
    limit: float,
    device: torch.device,
) -> list[Stack]:
    """Group fits into stacks.

    Fits of one signature and batch size that share fold, replicate and learning rate are divided into equal
    groups; groups of equal size whose epochs have equally many steps stand in one stack, up to the memory.

    Args:
        specs: distinct fits.
        data: the study.
        settings: configuration.
        limit: bytes a stack may take.
        device: where it is trained.
    """
    placed = {
        combination: positions_of(combination, data, settings.model)
        for combination in {s.combination for s in specs}
    }
    stopping = settings.training.early_stopping
    learned = {}
    for fold, replicate in {(s.fold, s.replicate) for s in specs}:
        rows, aside = divided_rows(data, fold, replicate, settings.seed, stopping)
        again = len(rows) + len(aside) if stopping is not None and stopping.refit else len(rows)
        learned[fold, replicate] = len(rows), again
    sets: dict[tuple[Signature, int, tuple[int, ...]], dict[Group, list[FitSpec]]] = {}
    for spec in specs:
        steps = tuple(n_steps(rows, spec.batch_size) for rows in learned[spec.fold, spec.replicate])
        key = (placed[spec.combination][1], spec.batch_size, steps)
        group = Group(spec.fold, spec.replicate, spec.learning_rate)
        sets.setdefault(key, {}).setdefault(group, []).append(spec)
    stacks = []
    for (signature, batch_size, _), groups in sets.items():
        architecture = architecture_of(signature, data, settings)
        each = bytes_per_fit(architecture, settings.training, batch_size, settings.compute.precision)
        most = max(1, int(limit / each))
        if device.type == "cpu":
            most = min(most, MOST_ON_CPU)
        if settings.compute.stack is not None:
            most = min(most, settings.compute.stack)
        sized: dict[int, list[tuple[Group, list[FitSpec]]]] = {}
        for group, members in groups.items():
            members = sorted(members, key=lambda spec: spec.combination)
            # As equal parts as possible, so that few sizes occur.
            parts = math.ceil(len(members) / most)
            for i in range(parts):
                part = members[i * len(members) // parts : (i + 1) * len(members) // parts]
                sized.setdefault(len(part), []).append((group, part))
        for size, chunks in sized.items():
            chunks.sort(key=lambda chunk: (chunk[0].learning_rate, chunk[0].fold, chunk[0].replicate))
            count = max(1, most // size)
            parts = math.ceil(len(chunks) / count)
            for i in range(parts):
                mine = chunks[i * len(chunks) // parts : (i + 1) * len(chunks) // parts]
                members = [spec for _, part in mine for spec in part]
                stacks.append(
                    Stack(
                        signature,
                        tuple(placed[spec.combination][0] for spec in members),
                        tuple(members),
                        tuple(group for group, _ in mine),
                        batch_size,
                    )
                )
    return stacks
