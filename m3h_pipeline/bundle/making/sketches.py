"""How the training part's features lie: a histogram of each, no bin of fewer than 11 patients."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.load import Sketch
from m3h_pipeline.disclosure import LEAST, is_small, round_step

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.integer[Any]]
#: Values between which bins end.
_LEVELS: Final = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BINS: Final = len(_LEVELS)


def sketch(x: Float32, patient: Index) -> Sketch:
    """The features of one source.

    Args:
        x: (n, F) of the training part, NaN = missing.
        patient: (n,).
    """
    width = x.shape[1]
    edges, shares = np.full((width, BINS - 1), np.nan), np.zeros((width, BINS))
    missing, low, high = (np.full(width, np.nan) for _ in range(3))
    for j in range(width):
        v = x[:, j].astype(np.float64)
        seen = ~np.isnan(v)
        some = [_people(patient[rows]) for rows in (seen, ~seen)]
        if not any(map(is_small, some)):
            missing[j] = round(float(1 - seen.mean()), 4)
        if some[0] < 2 * LEAST:
            continue
        inner, part = _bins(v[seen], patient[seen])
        edges[j, : len(inner)], shares[j, : len(part)] = inner, part
        low[j], high[j] = _ends(v[seen], patient[seen])
    return Sketch(edges, shares, missing, low, high)


def arrays_of(sketches: dict[str, Sketch]) -> dict[str, npt.NDArray[Any]]:
    """Sketches of sources as named arrays, as :attr:`Bundle.sketches` reads them."""
    return {
        f"{source}/{name}": value for source, one in sketches.items() for name, value in vars(one).items()
    }


def _people(patient: Index) -> int:
    """Patients of some rows; of many rows no more than is needed to know that they are enough."""
    some = len(np.unique(patient[:1000]))
    return some if some >= 2 * LEAST else len(np.unique(patient))


def _step(v: Float64) -> float:
    """To what values are rounded: a hundredth of where most of them lie."""
    low, high = np.quantile(v, (0.01, 0.99))
    width = float(high - low) or float(v.max() - v.min())
    return round_step(width / 100) if width > 0 else 1.0


def _bins(v: Float64, patient: Index) -> tuple[Float64, Float64]:
    """Inner edges, and shares of the bins."""
    values = np.unique(np.quantile(v, _LEVELS, method="inverted_cdf"))
    step = _step(v)
    middle = (values[:-1] + values[1:]) / 2
    inner = np.unique(np.round(middle / step) * step)
    place = np.searchsorted(inner, v, side="right")
    kept, left = [], np.zeros(len(v), dtype=bool)
    for i in range(len(inner)):
        left |= place == i
        if _people(patient[left]) >= LEAST and _people(patient[v >= inner[i]]) >= LEAST:
            kept.append(inner[i])
            left[:] = False
    found = np.array(kept)
    count = np.bincount(np.searchsorted(found, v, side="right"), minlength=len(kept) + 1)
    return found, np.round(count / len(v), 4)


def _ends(v: Float64, patient: Index) -> tuple[float, float]:
    """Beyond which values fewer than 11 patients lie, rounded outwards."""
    step, found = _step(v), []
    for sign in (1, -1):
        order = np.argsort(sign * v, kind="stable")
        # The first row of each patient, from the outside in.
        first = np.sort(np.unique(patient[order], return_index=True)[1])
        found.append(float(v[order[first[LEAST - 1]]]))
    return float(np.floor(found[0] / step + 1e-9) * step), float(np.ceil(found[1] / step - 1e-9) * step)
