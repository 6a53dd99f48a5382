"""Recalibration: a monotone map from what a model says to what was observed, fitted out of fold.

A map is a blend of one model (:mod:`m3h_pipeline.evaluation.choice.blend`): a slope that is not negative
and free intercepts on the log odds (binary: Cox, Biometrika 1958; 45:562, and Platt 1999; several classes:
a temperature and a bias per class, Guo et al. 2017), or on the log risk with a new baseline hazard
(survival), or a line (regression). Binary tasks with at least :data:`ISOTONIC` events and as many samples
without get isotonic regression in its place (Zadrozny and Elkan 2002), which has the rows to find any
monotone shape: linear between the centres of its blocks (Oron and Flournoy 2017), each of at least 11
patients, as maps are given away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.evaluation.choice.blend import Blend, blended, fit_blend, moved
from m3h_pipeline.inference.metrics import Float64, Floats

#: Events, and samples without, from which on isotonic regression is used.
ISOTONIC = 1000
_METHODS = {
    "binary": "logistic",
    "multiclass": "temperature",
    "regression": "linear",
    "survival": "hazards",
}


@dataclass(frozen=True)
class Recalibration:
    """A map of predictions.

    Attributes:
        problem_class: of the task.
        method: logistic, isotonic, temperature, linear or hazards.
        blend: slope and intercepts; None of isotonic regression.
        knots: probabilities and what becomes of them, (2, knots), linear in between; else empty.
    """

    problem_class: str
    method: str
    blend: Blend | None
    knots: Float64

    def __call__(self, prediction: Floats) -> Float64:
        """The predictions recalibrated, (n, width)."""
        if self.blend is not None:
            return blended(self.problem_class, self.blend, [prediction])
        return np.asarray(np.interp(np.asarray(prediction, dtype=np.float64), *self.knots))


def recalibration(
    problem_class: str,
    y: Floats,
    prediction: Floats,
    grid: Floats | None = None,
    patient: npt.NDArray[np.integer[Any]] | None = None,
    fold: npt.NDArray[np.integer[Any]] | None = None,
    of: tuple[Floats, Floats] | None = None,
    share: float = 1.0,
) -> Recalibration:
    """Fit a map.

    Args:
        problem_class: binary, multiclass, regression or survival.
        y: labels, NaN = not observed; (n,).
        prediction: out of fold, (n, width).
        grid: times of survival curves.
        patient: whose the rows are, (n,); None: everybody has one.
        fold: whose model predicted each row, (n,); None: one model did.
        of: what the model that predicted each row says without features, (n, width), and the model that is
            recalibrated, (1, width): see :func:`~m3h_pipeline.evaluation.choice.evidence.marginal`.
        share: of the patients that the model which is recalibrated learned from, those of the models here.

    Raises:
        ValueError: no label is observed, or of survival no event.
    """
    counts = [int((y == event).sum()) for event in (0, 1)]
    if problem_class == "binary" and min(counts) >= ISOTONIC:
        patient = np.arange(len(y)) if patient is None else patient
        return Recalibration(problem_class, "isotonic", None, _steps(y, prediction[:, 0], patient))
    blend = fit_blend(problem_class, y, [prediction], grid, fold, None if of is None else of[0], share)
    if of is not None:
        blend = moved(problem_class, blend, of[1])
    return Recalibration(problem_class, _METHODS[problem_class], blend, np.zeros((2, 0)))


def _steps(y: Floats, probability: Floats, patient: npt.NDArray[np.integer[Any]]) -> Float64:
    """Centres and levels of the blocks of isotonic regression, each of at least 11 patients.

    Neither end says less than half an event of a sample more than it has.
    """
    from sklearn.isotonic import IsotonicRegression

    seen = ~np.isnan(y)
    order = np.argsort(np.asarray(probability, dtype=np.float64)[seen], kind="stable")
    x, y, patient = probability.astype(np.float64)[seen][order], y[seen][order], patient[seen][order]
    said = IsotonicRegression().fit(x, y).predict(x)
    ends = np.append(np.flatnonzero(np.diff(said) > 0) + 1, len(said))
    blocks, start = list[tuple[int, int]](), 0
    for end in ends:
        if len(np.unique(patient[start:end])) >= LEAST:
            blocks.append((start, int(end)))
            start = int(end)
    if start < len(said):
        # What is left over joins the block before it.
        last = blocks.pop()[0] if blocks else 0
        blocks.append((last, len(said)))
    low, high = (0.5 / (blocks[end][1] - blocks[end][0] + 1) for end in (0, -1))
    centre, level = (np.array([part[a:b].mean() for a, b in blocks]) for part in (x, y))
    return np.stack([centre, np.clip(level, low, max(1 - high, low))])
