"""What training hides from the network in one step: modalities, features, and parts of its layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m3h_pipeline.config.model import Model
from m3h_pipeline.model.absence import hide, replaced
from m3h_pipeline.model.architecture import Input
from m3h_pipeline.model.keys import Dropout, mix, seed_of


class Noise:
    """Keys of the dropout of one step.

    Args:
        model: configured rates.
        step: (G,) 31-bit int64, one key per group for this step.
        tasks: (K * T,) 31-bit int64, one key per model and task.
        centre: (G, 1, F), what a dropped feature becomes: its mean on the training rows; None: 0 for all.
        modality: rate at which whole modalities are hidden.
    """

    def __init__(
        self, model: Model, step: Tensor, tasks: Tensor, centre: Tensor | None = None, modality: float = 0.0
    ) -> None:
        self._model, self._step, self._tasks, self._centre = model, step, tasks, centre
        self._modality = modality

    def _at(self, site: str, keys: Tensor, rate: float) -> Dropout:
        return Dropout(rate, mix((keys + (seed_of(site) & (2**31 - 1))) & (2**31 - 1)))

    def hide(self, present: Tensor | None, inputs: Sequence[Input], batch: int) -> Tensor | None:
        """Which modalities the network sees of each row, (G, modalities, B); None: all.

        Args:
            present: which there are, of the same shape; None: all.
            inputs: the modalities.
            batch: B.
        """
        if self._modality == 0.0:
            return present
        if present is None:
            shape = len(self._step), len(inputs), batch
            present = torch.ones(shape, dtype=torch.bool, device=self._step.device)
        return hide(self._modality, self._step, [item.name for item in inputs], present)

    def shown(self, x: Tensor, present: Tensor | None, inputs: Sequence[Input]) -> Tensor:
        """Scaled features (G, B, F) as the network sees them: what is hidden or dropped is at its mean.

        A modality that a row lacks is at its means anyway.
        """
        if self._modality and present is not None:
            x = replaced(x, present, [item.features for item in inputs], self._centre)
        return self.drop(x)

    def inputs(self) -> Dropout:
        """Dropout of the scaled features."""
        return self._at("inputs", self._step, self._model.input_dropout)

    def drop(self, x: Tensor) -> Tensor:
        """Drop scaled features (G, B, F): their deviation from the mean of the training rows.

        Of features scaled to a range the mean is not 0: dropped to 0, a gene would have its least expression.
        """
        dropout = self.inputs()
        return dropout(x, 0) if self._centre is None else dropout(x - self._centre, 0) + self._centre

    def site(self, name: str) -> Dropout:
        """Dropout of a part that knows no task."""
        return self._at(name, self._step, self._model.dropout)

    def task(self, name: str, rows: Tensor | None = None) -> Dropout:
        """Dropout of task networks (all rows) or decoders (some of the rows of K * T)."""
        tasks = self._tasks if rows is None else self._tasks[rows]
        step = self._step.repeat_interleave(len(self._tasks) // len(self._step))
        step = step if rows is None else step[rows]
        return self._at(name, (tasks + mix(step)) & (2**31 - 1), self._model.dropout)
