"""Predictions of rows that share modalities, as those with sources taken away do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m3h_pipeline.model.absence import replaced
from m3h_pipeline.training.fitted import Array, FittedModel

#: Rows that are computed at a time.
_TOGETHER = 1024


@torch.inference_mode()
def crossed(
    model: FittedModel, features: Mapping[str, Array], rows: Mapping[str, npt.NDArray[np.int64]]
) -> dict[str, Array]:
    """Predict rows that share modalities: each is encoded once, however many rows have it.

    What comes out is what :meth:`FittedModel.predict` says of the whole rows. Rows are computed by more at a
    time than there: only of networks that compute each row by itself.

    Args:
        model: which computes each row by itself.
        features: modality -> (its own number of rows, F_raw), NaN = missing.
        rows: modality -> (n,) which of these each of the n rows has.

    Raises:
        InputError: a modality is missing or has another number of features.
    """
    inputs = model.network.architecture.inputs
    centre, start = model.arrays["feature/missing"], 0
    scaled, encoded = [], []
    for i, item in enumerate(inputs):
        columns = slice(start, start + item.features)
        start += item.features
        x = model.scaled(model.chosen(features, item.name), columns)
        present = torch.from_numpy(~np.isnan(np.asarray(features[item.name])).all(1))
        middle = torch.from_numpy(centre[..., columns]).to(model.dtype)
        x = replaced(x[None], present[None, None], [item.features], middle)[0]
        scaled.append(x)
        # What encoders of genes compute on the way is large.
        size = model.batch if item.options is not None else max(model.batch, _TOGETHER)
        parts = [
            model.network.encode_one(i, x[None, a : a + size], present=present[None, a : a + size])
            for a in range(0, len(x), size)
        ]
        encoded.append(torch.cat(parts, 1))
    which = [torch.from_numpy(rows[item.name]) for item in inputs]
    raw: dict[str, list[Tensor]] = {task: [] for task in model.positions}
    for a in range(0, len(which[0]), _TOGETHER):
        at = [one[a : a + _TOGETHER] for one in which]
        # Whole rows are what a linear path reads, and nothing else.
        wanted = at if len(model.network.linear) else [one[:0] for one in at]
        seen = torch.cat([x[one] for x, one in zip(scaled, wanted, strict=True)], 1)[None]
        model.decode([x[:, one] for x, one in zip(encoded, at, strict=True)], seen, raw)
    return model.predictions(raw, True)
