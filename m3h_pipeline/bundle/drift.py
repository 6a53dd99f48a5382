"""Whether the features of new samples lie as those of the training part do, feature by feature.

The number that decides is the population stability index, summed over the bins of the training part's
histogram and one for missing values: 0.2 and above is called a shift by custom. Of few samples it is larger
by chance alone, so that the limit is the larger of 0.2 and of what chance exceeds once in a thousand files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from m3h_pipeline.bundle.load import Sketch

Floats = npt.NDArray[np.floating[Any]]
#: From here on a feature is said to have shifted, if chance alone does not explain it.
SHIFTED: Final = 0.2
_CHANCE: Final = 0.999
#: No share is taken to be smaller: a bin that was empty has no logarithm.
_FLOOR: Final = 1e-4


class Drift:
    """Histograms of new samples on the training part's bins, and how far they are from its own.

    Args:
        sketches: source -> how its features lie in the training part.
        names: source -> names of its features.
    """

    def __init__(self, sketches: Mapping[str, Sketch], names: Mapping[str, list[str]]) -> None:
        self._sketches, self._names = dict(sketches), {name: names[name] for name in sketches}
        self._counts: dict[str, npt.NDArray[np.int64]] = {
            name: np.zeros(one.shares.shape, dtype=np.int64) for name, one in sketches.items()
        }
        self._missing = {name: np.zeros(len(one.missing), dtype=np.int64) for name, one in sketches.items()}
        self._outside = {name: np.zeros(len(one.missing), dtype=np.int64) for name, one in sketches.items()}
        self._rows = 0

    def add(self, features: Mapping[str, Floats | None]) -> dict[str, npt.NDArray[np.bool_]]:
        """Count samples.

        Args:
            features: source -> (n, D), NaN = missing; None: nobody has the source.

        Returns:
            Source -> (n, D), where a value is out of the training part's range.
        """
        outside: dict[str, npt.NDArray[np.bool_]] = {}
        rows = next((len(x) for x in features.values() if x is not None), 0)
        for name, one in self._sketches.items():
            x = features.get(name)
            if x is None:
                # Nobody has it: every value is missing.
                self._missing[name] += rows
                continue
            width = len(one.missing)
            seen = ~np.isnan(x)
            self._missing[name] += (~seen).sum(0)
            with np.errstate(invalid="ignore"):
                outside[name] = (x < one.low) | (x > one.high)
            self._outside[name] += outside[name].sum(0)
            for j in range(width):
                inner = one.edges[j][~np.isnan(one.edges[j])]
                values = x[seen[:, j], j]
                if len(values):
                    at = np.searchsorted(inner, values, side="right")
                    self._counts[name][j] += np.bincount(at, minlength=self._counts[name].shape[1])
        self._rows += rows
        return outside

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per feature: index, limit, whether it shifted, and shares here and in the training part."""
        n = self._rows
        for name, one in self._sketches.items():
            for j, feature in enumerate(self._names[name]):
                shares = one.shares[j]
                known = bool(shares.sum() > 0) and n > 0
                before = 0.0 if np.isnan(one.missing[j]) else float(one.missing[j])
                now = self._missing[name][j] / n if n else float("nan")
                expected = np.array([before, *(shares * (1 - before))])
                counts = np.array([self._missing[name][j], *self._counts[name][j]], dtype=np.float64)
                used = (expected > 0) | (counts > 0)
                index = _stability(expected[used], counts[used]) if known else float("nan")
                limit = max(SHIFTED, _by_chance(int(used.sum())) / n) if known else float("nan")
                yield {
                    "source": name,
                    "feature": feature,
                    "samples": n,
                    "psi": index,
                    "limit": limit,
                    "shifted": int(index > limit) if known else "",
                    "missing": now,
                    "missing_in_training": one.missing[j],
                    "out_of_range": self._outside[name][j] / n if n else float("nan"),
                }


@cache
def _by_chance(bins: int) -> float:
    """What the index times the number of samples exceeds by chance once in a thousand times."""
    return float(chi2.ppf(_CHANCE, max(1, bins - 1)))


def _stability(expected: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> float:
    """The population stability index of new samples.

    To the counts one sample per bin is added, shared out as expected: that a bin of few happens to be empty
    among few samples is no shift.

    Args:
        expected: (bins,) shares, summing to 1.
        counts: (bins,) of the new samples.

    Examples:
        >>> round(_stability(np.array([0.5, 0.5]), np.array([5e6, 5e6])), 3)
        0.0
        >>> round(_stability(np.array([0.5, 0.5]), np.array([8e6, 2e6])), 3)
        0.416
    """
    more = len(counts)
    p = np.maximum(expected, _FLOOR)
    q = np.maximum((counts + more * expected) / (counts.sum() + more), _FLOOR)
    return float(((q - p) * np.log(q / p)).sum())
