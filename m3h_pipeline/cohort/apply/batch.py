"""Samples and their features, some at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import Float32Array


class Batch(NamedTuple):
    """Some samples.

    Attributes:
        ids: n names of samples.
        features: source -> (n, D) float32, NaN = missing; None: nobody has the source.
        unseen: column of a category -> (n,) where it holds a value that the study has no feature for.
        total: samples there are in all, as far as that is known.
    """

    ids: list[str]
    features: dict[str, Float32Array | None]
    unseen: dict[str, npt.NDArray[np.bool_]]
    total: int | None = None
