"""Thresholds of a probability: how they are chosen."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
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
