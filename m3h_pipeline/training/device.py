"""The study's arrays on the device, once for all stacks of a job."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from m3h_pipeline.model.heads import problem_class
from m3h_pipeline.survival import bin_edges, time_grid
from m3h_pipeline.training.data import CLIP, Float64Array, StudyData
from m3h_pipeline.training.spec import TrainingSettings


def dtype_of(settings: TrainingSettings) -> torch.dtype:
    """Type of parameters and data; bfloat16 is used in products only."""
    return torch.float64 if settings.compute.precision == "float64" else torch.float32


class DeviceData:
    """Features, labels and statistics on the device.

    Args:
        data: the study.
        settings: configuration (precision, seed).
        device: where.
    """

    def __init__(self, data: StudyData, settings: TrainingSettings, device: torch.device) -> None:
        self.data, self.device, self.dtype = data, device, dtype_of(settings)
        self.x = torch.from_numpy(data.scaled.x).to(device, self.dtype)
        self.has_missing = bool(torch.isnan(self.x).any())
        present = np.stack(list(data.present.values()), 1)
        self.present = None if present.all() else torch.from_numpy(present).to(device)
        self.index = {task: i for i, task in enumerate(data.labels)}
        labels = np.stack(list(data.labels.values())) if data.labels else np.zeros((0, data.n))
        self.labels = torch.from_numpy(labels).to(device, self.dtype)
        self.autocast = settings.compute.precision == "bfloat16"
        self._statistics: dict[int, tuple[Tensor, Tensor]] = {}
        self._moments: dict[int, tuple[Float64Array, Float64Array]] = {}
        self._targets: dict[tuple[str, int], tuple[float, float]] = {}
        self._edges: dict[tuple[str, int, int], Float64Array] = {}

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context in which the network runs."""
        if self.autocast:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def moments(self, fold: int) -> tuple[Float64Array, Float64Array]:
        """Mean and reciprocal deviation of the scaled features on a fold's training rows, (F,) float64."""
        if fold not in self._moments:
            self._moments[fold] = self.data.scaled.statistics(self.data.training_rows(fold))
        return self._moments[fold]

    def statistics(self, folds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Mean and reciprocal deviation on the training rows of each fold, (G, 1, F) each."""
        for fold in set(folds) - set(self._statistics):
            mean, inverse = self.moments(fold)
            self._statistics[fold] = (
                torch.from_numpy(mean).to(self.device, self.dtype),
                torch.from_numpy(inverse).to(self.device, self.dtype),
            )
        means = torch.stack([self._statistics[fold][0] for fold in folds])
        inverses = torch.stack([self._statistics[fold][1] for fold in folds])
        return means[:, None], inverses[:, None]

    def inputs(self, rows: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
        """Standardised features of ``rows`` (G, B): (G, B, F), clipped, missing values 0."""
        x = (self.x[rows] - mean).mul_(inverse).clamp_(-CLIP, CLIP)
        return x.nan_to_num_(0.0) if self.has_missing else x

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
        """Mean and deviation of a task's target on a fold's training rows; (0, 1) if not standardised."""
        key = (task, fold)
        if key not in self._targets:
            mean, deviation = 0.0, 1.0
            if problem_class(str(self.data.tasks[task]["problem_class"])).standardise:
                y = self.data.labels[task][self.data.training_rows(fold)].astype(np.float64)
                y = y[~np.isnan(y)]
                if len(y):
                    mean = float(y.mean())
                    deviation = float(y.std()) or 1.0
            self._targets[key] = (mean, deviation)
        return self._targets[key]
