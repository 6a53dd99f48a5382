"""Tables behind the paper's Figure 4: calibration, ROC curves, predicted against observed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import LEAST, round_step
from m3h_pipeline.inference.intervals import effective_size, wilson
from m3h_pipeline.inference.metrics import Floats, metric

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = list[dict[str, Any]]

#: Points of a ROC curve's grid of false positive rates.
GRID = 101
#: Cells across the range that holds all but the most extreme of the observed values.
CELLS = 48
_EXTREME = 0.005
#: Values further out than this many cells from the middle stand in the outermost cell.
_REACH = 512


# --- calibration -------------------------------------------------------------------------------------------


def calibration(
    y: Floats,
    risk: Floats,
    patient: npt.NDArray[np.intp],
    subgroups: Mapping[str, Bools],
    quantiles: int,
) -> Rows:
    """Observed event rate by quantile of the predicted risk, for all samples and for each subgroup.

    The quantiles are those of all samples, so that a quantile is the same risk in every subgroup. There are
    as many as asked for, or fewer if they would hold fewer than :data:`LEAST` samples; equal risks stay
    together.
    Groups of fewer than :data:`LEAST` patients are left out.

    Args:
        y: 1 = event, 0 = none, NaN = not observed; (n,).
        risk: predicted probabilities, (n,).
        patient: number of each sample's patient, (n,).
        subgroups: name -> its samples, (n,).
        quantiles: how many.

    Returns:
        Rows of contracts.CALIBRATION but for task and model.
    """
    seen = ~np.isnan(y)
    y, risk, patient = y[seen], risk[seen].astype(np.float64), patient[seen]
    number = min(quantiles, len(y) // LEAST)
    if number < 1 or not np.isfinite(risk).all():
        return []
    edges = np.unique(np.quantile(risk, np.arange(1, number) / number))
    quantile = np.searchsorted(edges, risk, side="left") + 1
    found: Rows = []
    for group, members in {"all": np.ones(len(y), dtype=bool), **_restricted(subgroups, seen)}.items():
        for q in np.unique(quantile).tolist():
            here = members & (quantile == q)
            n = int(here.sum())
            if n < LEAST:
                continue
            rate = float(y[here].mean())
            low, high = wilson(rate, effective_size(y[here], patient[here]))
            found.append(
                {
                    "subgroup": group,
                    "quantile": q,
                    "predicted": float(risk[here].mean()),
                    "observed": rate,
                    "low": low,
                    "high": high,
                    "n": n,
                }
            )
    return found


def _restricted(subgroups: Mapping[str, Bools], rows: Bools) -> dict[str, Bools]:
    return {name: members[rows] for name, members in subgroups.items()}


# --- ROC curves --------------------------------------------------------------------------------------------


def roc(y: Floats, probabilities: Floats, classes: Sequence[str]) -> Rows:
    """ROC curve of each class against the others, on a grid of false positive rates.

    The curve joins its corners by straight lines; where it rises at one false positive rate, the grid has the
    upper end. A class that is absent, or the only one, has no curve.

    Args:
        y: class indices, NaN = not observed; (n,).
        probabilities: (n, classes).
        classes: their names.

    Returns:
        Rows of contracts.ROC but for task and model.
    """
    seen = ~np.isnan(y)
    y, probabilities = y[seen], probabilities[seen]
    grid = np.linspace(0, 1, GRID)
    found: Rows = []
    for index, name in enumerate(classes):
        positive = y == index
        if not positive.any() or positive.all() or not np.isfinite(probabilities[:, index]).all():
            continue
        fpr, tpr = _corners(positive, probabilities[:, index])
        area = metric("auroc", positive.astype(np.float64), probabilities[:, index])
        # Of equal false positive rates, interpolation takes the last: the upper end of a rise.
        heights = np.interp(grid, fpr, tpr)
        found += [
            {"class_name": name, "fpr": f, "tpr": t, "auroc": area}
            for f, t in zip(grid.tolist(), heights.tolist(), strict=True)
        ]
    return found


def _corners(positive: Bools, score: Floats) -> tuple[Float64, Float64]:
    """The curve's corners, from (0, 0) to (1, 1): false and true positive rates, neither ever falling."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # ends of runs of equal scores
    hits = np.cumsum(positive[order])[last] / positive.sum()
    alarms = np.cumsum(~positive[order])[last] / (~positive).sum()
    return np.append(0.0, alarms), np.append(0.0, hits)


# --- predicted against observed ----------------------------------------------------------------------------


def agreement(y: Floats, predictions: Mapping[str, Floats]) -> dict[str, Rows]:
    """Counts of samples on a grid of observed against predicted values, the same grid for all models.

    Cells are squares with a round side, about 48 across all but the 1 % most extreme observed values. Values
    absurdly far from the others are counted in the outermost cells. Empty cells are left out.

    Args:
        y: observed values, NaN = not observed; (n,).
        predictions: model -> predicted values, (n,).

    Returns:
        Model -> rows of contracts.AGREEMENT but for task and model.
    """
    seen = ~np.isnan(y)
    observed = y[seen].astype(np.float64)
    if not len(observed):
        return {model: [] for model in predictions}
    low, middle, high = np.quantile(observed, [_EXTREME, 0.5, 1 - _EXTREME])
    step = round_step(float(high - low) / CELLS or float(np.ptp(observed)) / CELLS or 1.0)
    centre = int(np.floor(middle / step))

    def cells(values: Float64) -> npt.NDArray[np.int64]:
        return np.clip(np.floor(values / step), centre - _REACH, centre + _REACH).astype(np.int64)

    across = cells(observed)
    found: dict[str, Rows] = {}
    for model, values in predictions.items():
        predicted = values[seen].astype(np.float64)
        finite = np.isfinite(predicted)
        pairs, counts = np.unique(
            np.stack([across[finite], cells(predicted[finite])], axis=1), axis=0, return_counts=True
        )
        found[model] = [
            {
                "observed_low": i * step,
                "observed_high": (i + 1) * step,
                "predicted_low": j * step,
                "predicted_high": (j + 1) * step,
                "n": n,
            }
            for (i, j), n in zip(pairs.tolist(), counts.tolist(), strict=True)
        ]
    return found
