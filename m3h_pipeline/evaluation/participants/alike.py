"""How alike the training and the test part are in one value.

Two numbers say it. The standardised mean difference, that of the means over the pooled deviation (Austin,
Statistics in Medicine 2009; 28:3083), is how far the parts lie apart, whatever their size. ``deviations`` is
the same difference in standard deviations of what chance does to it where patients are drawn into parts: of a
share that is the binomial deviation, widened by the design effect of patients whose samples are alike (Kish,
Survey Sampling, 1965). A warning goes by the latter: in a small test part large differences are chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.integer[Any]]
#: Differences of more deviations are told; without any imbalance one of twenty is.
TOLD: Final = 2.0


@dataclass(frozen=True)
class Parts:
    """A value in the training and in the test part; NaN where nothing is known.

    Attributes:
        train, test: means.
        train_deviation, test_deviation: standard deviations.
        standardised: mean of the test part less that of the training part, over the pooled deviation.
        deviations: the same over its standard deviation by chance.
    """

    train: float
    train_deviation: float
    test: float
    test_deviation: float
    standardised: float
    deviations: float

    @property
    def told(self) -> bool:
        """Whether the parts differ by more than chance explains well."""
        return abs(self.deviations) > TOLD


def alike(value: Floats, test: Bools, patient: Index) -> Parts:
    """Compare a value between the parts.

    Args:
        value: NaN = missing; (n,).
        test: whether a sample is in the test part, (n,).
        patient: (n,).

    Examples:
        >>> value, test = np.array([0.0, 1, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 1, 1]) == 1
        >>> found = alike(value, test, np.arange(6))
        >>> found.train, found.test, round(found.deviations, 3)
        (0.5, 1.0, 1.118)
    """
    seen = ~np.isnan(value)
    value, test, patient = np.asarray(value, dtype=np.float64)[seen], test[seen], patient[seen]
    sides = [value[~test], value[test]]
    if any(len(side) == 0 for side in sides):
        means = [float(side.mean()) if len(side) else np.nan for side in sides]
        spread = [float(side.std()) if len(side) else np.nan for side in sides]
        return Parts(means[0], spread[0], means[1], spread[1], np.nan, np.nan)
    (train, one), (held, other) = ((float(side.mean()), float(side.std())) for side in sides)
    difference, pooled = held - train, float(np.sqrt((one**2 + other**2) / 2))
    if np.ptp(value) == 0:
        return Parts(train, one, held, other, 0.0, 0.0)
    residual = value - value.mean()
    members = np.unique(patient, return_inverse=True)[1].reshape(-1)
    effect = float((np.bincount(members, weights=residual) ** 2).sum() / (residual**2).sum())
    variance = float(residual.var(ddof=1)) * max(effect, 1.0) * (1 / len(sides[0]) + 1 / len(sides[1]))
    standardised = difference / pooled if pooled > 0 else np.inf * np.sign(difference)
    return Parts(train, one, held, other, float(standardised), float(difference / np.sqrt(variance)))
