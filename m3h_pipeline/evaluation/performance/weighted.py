"""Sums over samples under every draw of patients; the first draw is everybody once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from m3h_pipeline.inference.intervals import Quantity
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.inference.resampled import Part
from m3h_pipeline.inference.scored import FEW, quantity

Bools = npt.NDArray[np.bool_]
#: Draws that are worked on together where every sample has a weight of its own.
_CHUNK = 128


class Key(NamedTuple):
    """What a number is, as in contracts.reported.PERFORMANCE but for task, candidate and state."""

    measure: str
    class_name: str = ""
    rule: str = ""
    at: float = float("nan")


#: What was measured, under every draw, (1 + draws,).
Measured = dict[Key, Float64]


@dataclass(frozen=True)
class Weighted:
    """Samples with the weight that each draw gives their patient.

    Attributes:
        unit: number of each sample's patient, (n,).
        weights: (patients, 1 + draws); the first column is 1.
    """

    unit: npt.NDArray[np.intp]
    weights: Floats

    @classmethod
    def of(cls, part: Part, rows: Bools, draws: int | None = None) -> Weighted:
        """Some samples of a part.

        Args:
            part: with its draws.
            rows: which of its samples, (n,).
            draws: so many of them; None: all.
        """
        drawn = part.weights[:, :draws]
        once = np.ones((len(drawn), 1), dtype=drawn.dtype)
        return cls(part.unit[rows], np.concatenate([once, drawn], axis=1))

    @property
    def few(self) -> Weighted:
        """The same with a few of the draws: as many as tell what patients explain of seeds."""
        return Weighted(self.unit, self.weights[:, : 1 + FEW])

    def total(self, values: Floats | Bools) -> Float64:
        """Sum of the samples' values under every draw: (n,) -> (1 + draws,)."""
        by_unit = np.bincount(self.unit, weights=values, minlength=len(self.weights))
        return np.asarray(by_unit @ self.weights.astype(np.float64, copy=False))

    def of_samples(self, order: npt.NDArray[Any]) -> list[Float64]:
        """Weights of the samples in some order, a few draws at a time: (n, at most 128) each."""
        unit = self.unit[order]
        return [
            self.weights[unit, start : start + _CHUNK].astype(np.float64)
            for start in range(0, self.weights.shape[1], _CHUNK)
        ]


def seeded(drawn: Float64, without: Float64, units: int) -> Quantity:
    """An estimate from its draws, and from those with one replicate left out each.

    Args:
        drawn: everybody once, then the draws; (1 + draws,).
        without: (replicates, 1 + a few draws).
        units: patients that carry the information.
    """
    return quantity(float(drawn[0]), drawn[1:], [without[:, 0]], units, moved=[without[:, 1:]])


def share(part: Float64, whole: Float64) -> Float64:
    """A ratio; NaN where the whole is 0.

    Examples:
        >>> share(np.array([1.0, 0.0]), np.array([4.0, 0.0])).tolist()
        [0.25, nan]
    """
    found: Float64 = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=found, where=whole != 0)
    return found


def average_precision(positive: Bools, score: Floats, weighted: Weighted) -> Float64:
    """Area under the precision-recall curve as the mean precision over the positives (no interpolation).

    Equal scores stand together. NaN under a draw without a positive.

    Args:
        positive: (n,).
        score: (n,), the higher the more likely positive.
        weighted: the samples.

    Shape:
        (1 + draws,)
    """
    order = np.argsort(-np.asarray(score, dtype=np.float64), kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hit = positive[order][:, None]
    found = []
    for weight in weighted.of_samples(order):
        hits = np.cumsum(weight * hit, axis=0)[ends]
        alerts = np.cumsum(weight, axis=0)[ends]
        precision = np.divide(hits, alerts, out=np.zeros_like(hits), where=alerts > 0)
        gained = np.diff(hits, axis=0, prepend=0.0)
        found.append(share((gained * precision).sum(axis=0), hits[-1]))
    return np.concatenate(found)
