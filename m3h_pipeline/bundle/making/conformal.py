"""Intervals of a value with a stated coverage: quantiles of residuals out of fold, patient by patient.

Cross-validation residuals (Barber, Candès, Ramdas & Tibshirani, Annals of Statistics 2021; 49:486), symmetric
about the calibrated value. A patient with several samples counts once: each sample has the weight of one over
its patient's number (Dunn, Wasserman & Ramdas, JASA 2023; 118:2491).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Index = npt.NDArray[np.integer[Any]]
COVERAGE: Final = 0.9


def half_width(residual: Floats, patient: Index, coverage: float = COVERAGE) -> tuple[float, int] | None:
    """How far from a value the interval reaches, rounded up to three digits, and how many patients it is of.

    With N patients it is the smallest residual whose cumulative weight is ``coverage * (N + 1)``: a new
    patient is one of N + 1.

    Args:
        residual: label less prediction out of fold, NaN = not observed; (n,).
        patient: (n,).
        coverage: of the interval.

    Returns:
        None: too few patients for this coverage.

    Examples:
        >>> half_width(np.arange(1.0, 20.0), np.arange(19))
        (18.0, 19)
        >>> half_width(np.arange(1.0, 9.0), np.arange(8)) is None
        True
    """
    seen = ~np.isnan(residual)
    size, whose = np.abs(residual[seen]), patient[seen]
    people, at, count = np.unique(whose, return_inverse=True, return_counts=True)
    needed = coverage * (len(people) + 1)
    order = np.argsort(size, kind="stable")
    weight = np.cumsum(1.0 / count[at[order]])
    place = int(np.searchsorted(weight, needed - 1e-9))
    if place >= len(size):
        return None
    return rounded_up(float(size[order[place]])), len(people)


def rounded_up(value: float, digits: int = 3) -> float:
    """A value that is not negative, rounded up to some digits: it is one patient's.

    Examples:
        >>> rounded_up(12.3401), rounded_up(0.0), rounded_up(12.3)
        (12.4, 0.0, 12.3)
    """
    if value <= 0:
        return 0.0
    places = digits - 1 - math.floor(math.log10(value))
    step = 10.0**-places
    return round(math.ceil(value / step - 1e-9) * step, max(0, places))
