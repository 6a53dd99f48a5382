"""The device of a job, and the study's arrays on it, once for all stacks."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m3h_pipeline.features.scaling import CLIP, Float64Array
from m3h_pipeline.survival import bin_edges, time_grid
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.spec import TrainingSettings


def dtype_of(settings: TrainingSettings) -> torch.dtype:
    """Type of parameters and data; bfloat16 is used in products only."""
    return torch.float64 if settings.compute.precision == "float64" else torch.float32


@contextmanager
def own_card(device: torch.device) -> Iterator[None]:
    """Where a machine has several cards, train on one that no other job trains on, for as long as this lasts.

    Jobs side by side on one machine each find a card of their own; if all are taken, the emptiest is shared.
    A scheduler that shows each job its own card leaves nothing to choose. A CPU is left alone.
    """
    if device.type != "cuda":
        yield
        return
    count = torch.cuda.device_count()
    names = [str(torch.cuda.get_device_properties(i).uuid) for i in range(count)]
    with one_of(names, Path(tempfile.gettempdir())) as index:
        if index is None:
            index = max(range(count), key=lambda i: torch.cuda.mem_get_info(i)[0])
        with torch.cuda.device(index):
            yield


@contextmanager
def one_of(names: Sequence[str], folder: Path) -> Iterator[int | None]:
    """The position of a name that nobody else holds; None: all are held.

    A name is held by a lock on a file of ``folder``, which ends with the process, however that ends.
    """
    for index, name in enumerate(names):
        path = folder / f"m3h-card-{name}.lock"
        try:
            # Whoever made the file: locks need no right to write.
            file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
        except OSError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            continue
        try:
            yield index
        finally:
            os.close(file)
        return
    yield None


@dataclass(frozen=True)
class Scaling:
    """How features become what a network sees: (x - shift) * inverse, clipped; (F,) float64 each.

    Attributes:
        shift: mean or minimum, as the modality is scaled.
        inverse: reciprocal deviation or range; 0 of features constant on the training rows.
        missing: what a missing value becomes: the scaled mean.
    """

    shift: Float64Array
    inverse: Float64Array
    missing: Float64Array


class DeviceData:
    """Features, labels and statistics on the device.

    Args:
        data: the study.
        settings: configuration (precision, seed).
        device: where.
    """

    def __init__(self, data: StudyData, settings: TrainingSettings, device: torch.device) -> None:
        self.data, self.device, self.dtype = data, device, dtype_of(settings)
        self._model = settings.model
        self.x = torch.from_numpy(data.scaled.x).to(device, self.dtype)
        self.has_missing = bool(torch.isnan(self.x).any())
        present = np.stack(list(data.present.values()), 1)
        self.present = None if present.all() else torch.from_numpy(present).to(device)
        self.index = {task: i for i, task in enumerate(data.labels)}
        labels = np.stack(list(data.labels.values())) if data.labels else np.zeros((0, data.n))
        self.labels = torch.from_numpy(labels).to(device, self.dtype)
        self.autocast = settings.compute.precision == "bfloat16"
        self._statistics: dict[int, Tensor] = {}
        self._moments: dict[int, Scaling] = {}
        used = {name: int(columns.sum()) for name, columns in data.columns.items()}
        self._kinds = np.repeat([settings.modalities[name].scaling for name in used], list(used.values()))
        #: Whether features of some modality are scaled to a range, so that their mean is not 0.
        self.ranged = "minmax" in self._kinds
        self._targets: dict[tuple[str, int], tuple[float, float]] = {}
        self._edges: dict[tuple[str, int, int], Float64Array] = {}

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context in which the network runs."""
        if self.autocast:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def moments(self, fold: int) -> Scaling:
        """How a fold's features are scaled, by the scaled features of its training rows."""
        if fold not in self._moments:
            rows, found = self.data.training_rows(fold), np.zeros((3, len(self._kinds)))
            for kind in sorted(set(self._kinds)):
                these = self._kinds == kind
                found[:, these] = self.data.scaled.statistics(rows, kind, these)
            self._moments[fold] = Scaling(*found)
        return self._moments[fold]

    def statistics(self, folds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Shift, reciprocal scale and value of missing features of each fold, (G, 1, F) each."""
        for fold in set(folds) - set(self._statistics):
            scaling = self.moments(fold)
            self._statistics[fold] = torch.from_numpy(
                np.stack([scaling.shift, scaling.inverse, scaling.missing])
            ).to(self.device, self.dtype)
        shift, inverse, missing = torch.stack([self._statistics[fold] for fold in folds], 1)[:, :, None]
        return shift, inverse, missing

    def inputs(self, rows: Tensor, scaling: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Scaled features of ``rows`` (G, B): (G, B, F), clipped; missing values are the training mean."""
        shift, inverse, missing = scaling
        x = (self.x[rows] - shift).mul_(inverse).clamp_(-CLIP, CLIP)
        return torch.where(torch.isnan(x), missing, x) if self.has_missing else x

    def modalities(self, rows: Tensor) -> Tensor | None:
        """Which modalities ``rows`` (G, B) have, (G, modalities, B); None: all have all."""
        return None if self.present is None else self.present[rows].mT

    def bin_edges(self, task: str, fold: int, bins: int) -> Float64Array:
        """Edges of a survival task's bins, from a fold's training rows (:func:`survival.bin_edges`)."""
        key = (task, fold, bins)
        if key not in self._edges:
            self._edges[key] = bin_edges(self.data.labels[task][self.data.training_rows(fold)], bins)
        return self._edges[key]

    def time_grid(self, task: str) -> Float64Array:
        """Times at which a survival task's curves are recorded, (SURVIVAL_TIMES,)."""
        return time_grid(self.data.labels[task][self.data.train])

    def target_statistics(self, task: str, fold: int) -> tuple[float, float]:
        """Mean and deviation of a task's target on a fold's training rows; (0, 1) if not standardised.

        Of a rate it is 0 and the mean.
        """
        key = (task, fold)
        if key not in self._targets:
            mean, deviation = 0.0, 1.0
            kind = self.data.kind_of(task, self._model)
            if kind.standardise:
                y = self.data.labels[task][self.data.training_rows(fold)].astype(np.float64)
                y = y[~np.isnan(y)]
                if len(y) and kind.name == "rate":
                    deviation = float(y.mean()) or 1.0
                elif len(y):
                    mean = float(y.mean())
                    deviation = float(y.std()) or 1.0
            self._targets[key] = (mean, deviation)
        return self._targets[key]
