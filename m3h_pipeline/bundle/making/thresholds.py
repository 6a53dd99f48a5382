"""Thresholds of a probability: chosen out of fold, with how they do there and on the test part."""

from __future__ import annotations

from typing import Final

import numpy as np

from m3h_pipeline.bundle.schema import Rates, Threshold
from m3h_pipeline.config import Thresholds
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.evaluation.performance.thresholds import (
    DIGITS,
    Floats,
    Index,
    Kind,
    threshold,
)
from m3h_pipeline.evaluation.performance.told import Counted
from m3h_pipeline.evaluation.shown import patients_of

_UNKNOWN: Final = Rates(sensitivity=None, specificity=None, ppv=None, npv=None, alerts=None)

#: Labels (n,), NaN = not observed; probabilities (n,); patients (n,).
Seen = tuple[Floats, Floats, Index]


def thresholds(validation: Seen, test: Seen, asked: Thresholds) -> list[Threshold]:
    """Thresholds of a binary task; none where fewer than 11 patients have the event, or have it not.

    Args:
        validation: labels, calibrated probabilities and patients out of fold.
        test: likewise of the test part.
        asked: sensitivities, and shares of samples above the threshold.
    """
    y, p, patient = validation
    if any(patients_of(patient, y == event) < LEAST for event in (0, 1)):
        return []
    said = ShownRates(validation), ShownRates(test)
    chosen: list[tuple[Kind, float | None]] = [("youden", None)]
    chosen += [("sensitivity", target) for target in asked.sensitivity]
    chosen += [("alerts", target) for target in asked.alerts]
    found = []
    for kind, target in chosen:
        value = threshold(y, p, kind, target)
        found.append(
            Threshold(
                chosen_for=kind, target=target, value=value, validation=said[0](value), test=said[1](value)
            )
        )
    return found


class ShownRates:
    """Rates at thresholds of the same samples, as far as they tell of no few patients.

    Rates whose counts are of 1 to 10 patients are not shown, nor those at a threshold between which and
    another one that is shown lie 1 to 10 patients.

    Args:
        seen: labels, probabilities and patients.
    """

    def __init__(self, seen: Seen) -> None:
        y, p, patient = seen
        known = ~np.isnan(y)
        self._y, self._p = y[known], p[known]
        self._counted = Counted([self._y == 1, self._y == 0], patient[known])
        self._shown: dict[float, Rates] = {}

    def __call__(self, value: float) -> Rates:
        if value in self._shown:
            return self._shown[value]
        above = self._p >= value
        events = self._y == 1
        if not self._counted.may_tell(above):
            return _UNKNOWN
        cells = [above & events, ~above & events, above & ~events, ~above & ~events]
        hit, missed, false, rest = (int(rows.sum()) for rows in cells)
        found = Rates(
            sensitivity=_share(hit, missed),
            specificity=_share(rest, false),
            ppv=_share(hit, false),
            npv=_share(rest, missed),
            alerts=_share(hit + false, missed + rest),
        )
        self._shown[value] = found
        return found


def _share(part: int, rest: int) -> float | None:
    return round(part / (part + rest), DIGITS) if part + rest else None
