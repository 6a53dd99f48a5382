"""Thresholds of a probability: chosen out of fold, with how they do there and on the test part."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.schema import Rates, Threshold
from m3h_pipeline.disclosure import LEAST, is_small
from m3h_pipeline.evaluation.shown import patients_of

Floats = npt.NDArray[np.floating[Any]]
Index = npt.NDArray[np.integer[Any]]
Kind = Literal["youden", "sensitivity", "alerts"]
#: Sensitivities, and shares of samples above the threshold, that are asked for.
SENSITIVITIES: Final = (0.8, 0.9, 0.95)
ALERTS: Final = (0.05, 0.1, 0.2)
_DIGITS: Final = 4
_UNKNOWN: Final = Rates(sensitivity=None, specificity=None, ppv=None, npv=None, alerts=None)

#: Labels (n,), NaN = not observed; probabilities (n,); patients (n,).
Seen = tuple[Floats, Floats, Index]


def thresholds(validation: Seen, test: Seen) -> list[Threshold]:
    """Thresholds of a binary task; none where fewer than 11 patients have the event, or have it not.

    Args:
        validation: labels, calibrated probabilities and patients out of fold.
        test: likewise of the test part.
    """
    y, p, patient = validation
    if any(patients_of(patient, y == event) < LEAST for event in (0, 1)):
        return []
    said = ShownRates(validation), ShownRates(test)
    chosen: list[tuple[Kind, float | None]] = [("youden", None)]
    chosen += [("sensitivity", target) for target in SENSITIVITIES]
    chosen += [("alerts", target) for target in ALERTS]
    found = []
    for kind, target in chosen:
        value = threshold(y, p, kind, target)
        found.append(
            Threshold(
                chosen_for=kind, target=target, value=value, validation=said[0](value), test=said[1](value)
            )
        )
    return found


def threshold(y: Floats, p: Floats, kind: Kind, target: float | None) -> float:
    """One threshold, rounded to four digits: positive is whoever is at or above it.

    Args:
        y: labels, NaN = not observed; (n,).
        p: probabilities, (n,).
        kind: what it is chosen for.
        target: the sensitivity, or the share above it.

    Examples:
        >>> y, p = np.array([0, 0, 0, 1, 1.0]), np.array([0.1, 0.2, 0.6, 0.5, 0.9])
        >>> threshold(y, p, "youden", None), threshold(y, p, "sensitivity", 0.5)
        (0.5, 0.9)
        >>> threshold(y, p, "alerts", 0.4)
        0.6
    """
    seen = ~np.isnan(y)
    y, p = y[seen], p[seen]
    values = np.unique(np.round(p, _DIGITS))
    events, others = (np.sort(p[y == event]) for event in (1, 0))
    above = 1 - np.searchsorted(events, values) / max(1, len(events))
    false = 1 - np.searchsorted(others, values) / max(1, len(others))
    if kind == "youden":
        return float(values[np.argmax(above - false)])
    if kind == "sensitivity":
        # Nobody who has the event is below the first of them, but for rounding.
        reached = np.flatnonzero(above >= (target or 0) - 1e-12)
        return float(values[reached[-1] if len(reached) else 0])
    few = np.flatnonzero(1 - np.searchsorted(np.sort(p), values) / len(p) <= (target or 0) + 1e-12)
    return float(values[few[0] if len(few) else -1])


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
        self._y, self._p, self._patient = y[known], p[known], patient[known]
        self._shown: dict[float, Rates] = {}

    def __call__(self, value: float) -> Rates:
        if value in self._shown:
            return self._shown[value]
        above = self._p >= value
        events = self._y == 1
        cells = [above & events, ~above & events, above & ~events, ~above & ~events]
        between = [
            (above ^ (self._p >= other)) & group for other in self._shown for group in (events, ~events)
        ]
        if any(is_small(patients_of(self._patient, rows)) for rows in [*cells, *between]):
            return _UNKNOWN
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
    return round(part / (part + rest), _DIGITS) if part + rest else None
