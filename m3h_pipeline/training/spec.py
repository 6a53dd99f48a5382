"""What a fit is: its specification, the settings it is trained with, its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from m3h_pipeline.config import Compute, Modality, Model, Training

FloatArray = npt.NDArray[Any]


@dataclass(frozen=True, order=True)
class FitSpec:
    """One fit.

    Attributes:
        combination: task ids, sorted.
        fold: 0..k-1: train on the other folds and score this one; -1: train on the whole training part and
            score the test part.
        replicate: repetition with another seed.
        batch_size: most rows of a minibatch.
        learning_rate: of Adam.
    """

    combination: tuple[str, ...]
    fold: int
    replicate: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class TrainingSettings:
    """The configuration that training uses.

    Attributes:
        model: the network.
        training: how a fit is trained.
        compute: where and how.
        modalities: modality -> its sources and encoder.
        seed: of the study.
    """

    model: Model
    training: Training
    compute: Compute
    modalities: dict[str, Modality]
    seed: int

    def __post_init__(self) -> None:
        if self.training.sizes:
            raise ValueError("sizes that follow from a study's shape are resolved before training")


@dataclass
class FitResult:
    """A finished fit.

    Attributes:
        key: content key, see :func:`m3h_pipeline.training.fits.fit_keys`.
        spec: what was trained.
        status: ``ok`` or ``diverged``.
        epochs: epochs trained; of a diverged fit, the (1-based) epoch in which it diverged.
        seconds: wall time of its stack, divided by the fits in it.
        values: task -> metric on the scored rows; NaN where undefined or diverged.
        n_scored: task -> rows behind the metric.
        predictions: task -> (rows of the scored part, width) float32, all rows in cohort order; empty if
            diverged. See ``contracts.PREDICTIONS``.
        parameters: kept models: everything :func:`m3h_pipeline.training.fitted.load_model` needs.
        metadata: kept models: what the parameters mean.
        attention: kept models: (T, T), row = task of ``combination``, column = companion; mean over the
            scored rows.
        latents: kept models: clustering task -> (scored rows, d) float32.
    """

    key: str
    spec: FitSpec
    status: str
    epochs: int
    seconds: float
    values: dict[str, float]
    n_scored: dict[str, int]
    predictions: dict[str, FloatArray]
    parameters: dict[str, FloatArray] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    attention: FloatArray | None = None
    latents: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the model itself is there."""
        return self.parameters is not None
