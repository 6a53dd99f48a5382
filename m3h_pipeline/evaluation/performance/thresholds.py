"""Thresholds of a probability: how they are chosen, and at which of them samples may be counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import is_small
from m3h_pipeline.evaluation.shown import patients_of

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.integer[Any]]
Kind = Literal["youden", "sensitivity", "alerts"]
#: Thresholds are rounded to so many digits: a probability is one patient's.
DIGITS: Final = 4


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
    values = np.unique(np.round(p, DIGITS))
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


class Counted:
    """Sets of the same samples of which numbers are shown, such as those at or above a threshold.

    A set may be shown where it and the rest, and what it and every set that is shown differ by, are of no 1
    to 10 patients of any class: a rate is a count to who knows how many there are.

    Args:
        classes: with the event and without it, say: (n,) each.
        patient: (n,).
        told: sets that readers know from elsewhere, (n,) each.
    """

    def __init__(self, classes: Sequence[Bools], patient: Index, told: Iterable[Bools] = ()) -> None:
        self._classes, self._patient = classes, patient
        self._told = [np.asarray(members, dtype=bool) for members in told]

    def may_tell(self, members: Bools) -> bool:
        """Whether numbers of these samples may be shown; if so, they count as shown from now on."""
        others = [np.zeros(len(members), dtype=bool), np.ones(len(members), dtype=bool), *self._told]
        for other in others:
            apart = members ^ other
            if any(is_small(patients_of(self._patient, apart & of_class)) for of_class in self._classes):
                return False
        self._told.append(members)
        return True
