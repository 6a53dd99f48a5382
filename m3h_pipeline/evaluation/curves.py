"""Tables behind the paper's Figure 4: calibration, ROC curves, predicted against observed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import LEAST, is_small, round_step
from m3h_pipeline.evaluation.shown import (
    few_patients,
    patients_of,
    share_shown,
    shown_cells,
    shown_grid,
)
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
#: Cells become wider until they show this share of the samples, but not fewer than so many across.
_VISIBLE = 0.6
_FEWEST = 10
# Where a sample without a prediction stands.
_NOWHERE = -(2**40)


# --- calibration -------------------------------------------------------------------------------------------


def calibration(
    y: Floats,
    risks: Mapping[str, Floats],
    patient: npt.NDArray[np.intp],
    subgroups: Mapping[str, Bools],
    quantiles: int,
) -> dict[str, Rows]:
    """Observed event rate by quantile of the predicted risk, for all samples and for each subgroup.

    The quantiles are those of all samples, so that a quantile is the same risk in every subgroup. There are
    as many as asked for, or fewer: neighbours become one while they hold fewer than :data:`LEAST` patients,
    or 1 to 10 with an event or without one. Equal risks stay together. Of a subgroup a quantile is left out
    where a rate would tell so few, of the group or of those who are not in it.

    Args:
        y: 1 = event, 0 = none, NaN = not observed; (n,).
        risks: model -> predicted probabilities, (n,).
        patient: number of each sample's patient, (n,).
        subgroups: name -> its samples, (n,).
        quantiles: how many.

    Returns:
        Model -> rows of contracts.CALIBRATION but for task, control and model.
    """
    seen = ~np.isnan(y)
    y, patient = y[seen], patient[seen]
    groups = {"all": np.ones(len(y), dtype=bool), **{name: m[seen] for name, m in subgroups.items()}}
    places = {model: risk_quantiles(y, risk[seen], patient, quantiles) for model, risk in risks.items()}
    allowed = shown_cells(y, patient, groups, places)
    found: dict[str, Rows] = {}
    for model, risk in risks.items():
        predicted = risk[seen].astype(np.float64)
        found[model] = []
        for group, members in groups.items():
            for q in np.unique(places[model]).tolist():
                if (model, group, q) not in allowed:
                    continue
                here = members & (places[model] == q)
                rate = float(y[here].mean())
                low, high = wilson(rate, effective_size(y[here], patient[here]))
                found[model].append(
                    {
                        "subgroup": group,
                        "quantile": q,
                        "predicted": float(predicted[here].mean()),
                        "observed": rate,
                        "low": low,
                        "high": high,
                        "n": int(here.sum()),
                    }
                )
    return found


def risk_quantiles(
    y: Floats, risk: Floats, patient: npt.NDArray[np.intp], quantiles: int
) -> npt.NDArray[np.int64]:
    """Each sample's quantile, from 1; empty where no quantile may be shown."""
    number = min(quantiles, len(y) // LEAST)
    if number < 1 or not np.isfinite(risk).all():
        return np.zeros(0, dtype=np.int64)
    edges = np.unique(np.quantile(risk.astype(np.float64), np.arange(1, number) / number))
    place = np.searchsorted(edges, risk, side="left")

    def few(group: list[int]) -> bool:
        return few_patients(y, patient, np.isin(place, group))

    # From the highest risk down, where events are: each quantile takes what it lacks from the next.
    groups: list[list[int]] = []
    for q in np.unique(place)[::-1].tolist():
        if groups and few(groups[-1]):
            groups[-1].append(q)
        else:
            groups.append([q])
    while few(groups[-1]):
        if len(groups) == 1:
            return np.zeros(0, dtype=np.int64)
        last = groups.pop()
        groups[-1] += last
    merged = np.zeros(len(y), dtype=np.int64)
    for i, group in enumerate(reversed(groups), start=1):
        merged[np.isin(place, group)] = i
    return merged


# --- ROC curves --------------------------------------------------------------------------------------------


def roc(y: Floats, probabilities: Floats, patient: npt.NDArray[np.intp], classes: Sequence[str]) -> Rows:
    """ROC curve of each class against the others, on a grid of false positive rates.

    A step of a ROC curve is a patient. So only corners are kept between which the curve passes no patients,
    or at least :data:`LEAST`, of the class, and of the others; straight lines join them. Where the curve
    rises at one false positive rate, the grid has the upper end. A class that is absent, of few patients, or
    the only one, has no curve. The area is that of all corners.

    Args:
        y: class indices, NaN = not observed; (n,).
        probabilities: (n, classes).
        patient: number of each sample's patient, (n,).
        classes: their names.

    Returns:
        Rows of contracts.ROC but for task, control and model.
    """
    seen = ~np.isnan(y)
    y, probabilities, patient = y[seen], probabilities[seen], patient[seen]
    grid = np.linspace(0, 1, GRID)
    found: Rows = []
    for index, name in enumerate(classes):
        positive = y == index
        if not positive.any() or positive.all() or not np.isfinite(probabilities[:, index]).all():
            continue
        corners = roc_corners(positive, probabilities[:, index], patient)
        if corners is None:
            continue
        area = metric("auroc", positive.astype(np.float64), probabilities[:, index])
        # Of equal false positive rates, interpolation takes the last: the upper end of a rise.
        heights = np.interp(grid, *corners)
        found += [
            {"class_name": name, "fpr": f, "tpr": t, "auroc": area}
            for f, t in zip(grid.tolist(), heights.tolist(), strict=True)
        ]
    return found


def roc_corners(
    positive: Bools, score: Floats, patient: npt.NDArray[np.intp]
) -> tuple[Float64, Float64] | None:
    """The corners that may be shown, from (0, 0) to (1, 1): false and true positive rates, never falling.

    Returns:
        None where even the two ends tell of few patients.
    """
    order = np.argsort(-score, kind="stable")
    hit, who = positive[order], patient[order]
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1) + 1  # of runs of equal scores
    kept, passed = [0], (set[int](), set[int]())
    at = 0
    for end in ends.tolist():
        for i in range(at, end):
            passed[int(hit[i])].add(int(who[i]))
        at = end
        if not any(is_small(len(people)) for people in passed):
            kept.append(end)
            passed = (set(), set())
    if kept[-1] < len(order):
        kept.append(len(order))
        # What is left over at the end is too little: the corners before it go.
        while any(is_small(patients_of(who[kept[-2] :], hit[kept[-2] :] == side)) for side in (0, 1)):
            if len(kept) == 2:
                return None
            kept.pop(-2)
    hits = np.append(0, np.cumsum(hit))[kept] / hit.sum()
    alarms = np.append(0, np.cumsum(~hit))[kept] / (~hit).sum()
    return alarms, hits


# --- predicted against observed ----------------------------------------------------------------------------


def agreement(y: Floats, predictions: Mapping[str, Floats], patient: npt.NDArray[np.intp]) -> dict[str, Rows]:
    """Counts of samples on a grid of observed against predicted values, the same grid for all models.

    Cells are squares with a round side, about 48 across all but the 1 % most extreme observed values, and
    twice, four times, ... as wide until cells of at least :data:`LEAST` patients hold most of the samples of
    every model. Values absurdly far from the others are counted in the outermost cells. Cells of fewer
    patients are left out, and others from which, with the models' common observed values, one could tell.

    Args:
        y: observed values, NaN = not observed; (n,).
        predictions: model -> predicted values, (n,).
        patient: number of each sample's patient, (n,).

    Returns:
        Model -> rows of contracts.AGREEMENT but for task, control and model.
    """
    seen = ~np.isnan(y)
    observed, patient = y[seen].astype(np.float64), patient[seen]
    if not len(observed):
        return {model: [] for model in predictions}
    low, middle, high = np.quantile(observed, [_EXTREME, 0.5, 1 - _EXTREME])
    step = round_step(float(high - low) / CELLS or float(np.ptp(observed)) / CELLS or 1.0)
    centre = int(np.floor(middle / step))

    def cells(values: Float64) -> npt.NDArray[np.int64]:
        finite = np.where(np.isfinite(values), values, middle)
        return np.clip(np.floor(finite / step), centre - _REACH, centre + _REACH).astype(np.int64)

    across = cells(observed)
    places = {}
    for model, values in predictions.items():
        predicted = values[seen].astype(np.float64)
        places[model] = np.stack([across, cells(predicted)], axis=1)
        places[model][~np.isfinite(predicted)] = _NOWHERE
    factor = 1
    while (
        min(share_shown(place // factor, patient) for place in places.values()) < _VISIBLE
        and CELLS / (2 * factor) >= _FEWEST
    ):
        factor *= 2
    side = factor * step
    return {
        model: [
            {
                "observed_low": i * side,
                "observed_high": (i + 1) * side,
                "predicted_low": j * side,
                "predicted_high": (j + 1) * side,
                "n": n,
            }
            for (i, j), n in sorted(counts.items())
            if (i + 1) * factor > _NOWHERE // 2
        ]
        for model, counts in shown_grid({m: p // factor for m, p in places.items()}, patient).items()
    }
