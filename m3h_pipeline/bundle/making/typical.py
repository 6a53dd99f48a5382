"""How typical a sample is of its cluster: distances of the training part's samples from their centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.schema import TaskModel, Typical
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.evaluation.shown import shown_groups
from m3h_pipeline.training.fitted import load_model

Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.integer]
_LEVELS: Final = np.arange(1, 20) / 20
_ROWS: Final = 4096


def clustered(
    model: TaskModel,
    task: str,
    folder: Path,
    features: Mapping[str, Float32],
    modalities: Mapping[str, Sequence[str]],
    patient: Index,
) -> TaskModel:
    """A clustering task with the distances of its training samples; without, where these are of few.

    Args:
        model: of the task.
        task: its id.
        folder: of the bundle.
        features: source -> (n, F) of the training part.
        modalities: modality -> its sources.
        patient: (n,).
    """
    import torch

    network = load_model(folder / model.candidates[model.chosen].files[0], torch.float64)
    parts = []
    for a in range(0, len(patient), _ROWS):
        some = {
            name: np.concatenate([features[source][a : a + _ROWS] for source in sources], axis=1)
            for name, sources in modalities.items()
        }
        parts.append(network.predict(some, distances=True)[task])
    said = np.concatenate(parts)
    # So many, that at least 11 lie beyond the last quantile and before the first.
    if len(np.unique(patient)) * _LEVELS[0] < LEAST:
        return model
    sizes = shown_groups(patient, np.zeros(len(patient), dtype=bool), said[:, 0].astype(int))
    shares = [None if n is None else round(n / len(patient), 4) for n, _ in sizes]
    distances = [float(f"{value:.3g}") for value in np.quantile(said[:, 1], _LEVELS)]
    return model.model_copy(update={"typical": Typical(distances=distances, sizes=shares)})
