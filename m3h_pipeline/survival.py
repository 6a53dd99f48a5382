"""Times to an event: bins, curves, baseline hazards.

Labels are the signed times of :func:`m3h_pipeline.coding.signed_time`: positive for an event, negative for
a censored time, NaN where not observed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import SURVIVAL_TIMES, time_and_event

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
# Times are read as float32: so far, in steps of the grid, a multiple of the step may stand beside itself.
_NOISE = 1e-5


def bin_edges(y: Floats, bins: int) -> Float64:
    """Upper edges of the bins of time: quantiles of the times of the events.

    Bin b is the interval (edge b - 1, edge b], the first one begins at 0. Edges are times of events, rounded
    up to multiples of :func:`resolution`, so that a model holds nobody's time; where there are fewer
    different ones than bins, there are fewer bins. No event lies behind the last edge.

    Args:
        y: signed times of the training rows, (n,).
        bins: most bins.

    Shape:
        (at most ``bins``,), increasing; empty without an event.

    Examples:
        >>> bin_edges(np.array([1.0, 2.0, -2.5, 3.0, 4.0, -9.0]), 2).tolist()
        [2.0, 4.0]
    """
    time, event = time_and_event(y)
    if not event.any():
        return np.zeros(0)
    share = np.arange(1, bins + 1) / bins
    exact = np.quantile(time[event], share, method="inverted_cdf")
    step = resolution(y)
    rounded = np.ceil(exact / step - _NOISE) * step
    # A time that is on the grid but for the noise of its own arithmetic stays in the bin it ends.
    return np.unique(np.maximum(rounded, exact))


def resolution(y: Floats) -> float:
    """How finely times may be kept where they leave a study: a hundredth of the longest, or a bit more.

    Whole numbers (days, say) become multiples of a whole number.

    Args:
        y: signed times with an event, (n,).

    Examples:
        >>> resolution(np.array([1.5, 365.0, -1000.0])), resolution(np.array([30.0, 365.0]))
        (3.7, 4.0)
        >>> resolution(np.array([3600.0, 31_536_004.0]))
        320000.0
    """
    time, event = time_and_event(y)
    longest = float(time[event].max(initial=0.0))
    if not longest > 0:
        return 1.0
    # Two digits of the longest: a hundredth of it would tell it.
    digit = 10.0 ** (np.floor(np.log10(longest)) - 1)
    step = float(np.round(np.ceil(longest / digit - _NOISE) * digit / 100, 12 - int(np.log10(digit))))
    return float(np.ceil(step)) if np.array_equal(time[event], np.round(time[event])) else step


def survived_bins(y: Floats, edges: Floats) -> Float64:
    """Labels in bins: the number of bins survived in full, negative (-0.0 included) where censored.

    An event lies in the bin after those. A censored time says nothing of the bin it lies in, unless it is the
    bin's upper edge.

    Examples:
        >>> survived_bins(np.array([2.0, 2.5, -2.5, -2.0, -1.0]), np.array([2.0, 4.0])).tolist()
        [0.0, 1.0, -1.0, -1.0, -0.0]
    """
    time, event = time_and_event(y)
    before = np.searchsorted(edges, time, side="left").astype(np.float64)
    upto = np.searchsorted(edges, time, side="right").astype(np.float64)
    return np.where(np.isnan(time), np.nan, np.where(event, before, -upto))


def marginal_logits(y: Floats, edges: Floats, bins: int) -> Float64:
    """Log odds of an event in each bin among those who reach its end or have their event in it, (bins,).

    What a discrete-time model that knows nothing converges to, and where it starts. Bins that do not occur
    get 0. Half an event and half a survivor are added, so that none is infinite.
    """
    coded = survived_bins(y, edges)
    known = ~np.isnan(coded)
    survived, event = np.abs(coded[known]), ~np.signbit(coded[known])
    logits = np.zeros(bins)
    for b in range(len(edges)):
        events = float((event & (survived == b)).sum())
        beyond = float((survived > b).sum())
        logits[b] = np.log((events + 0.5) / (beyond + 0.5))
    return logits


def time_grid(y: Floats) -> Float64:
    """The times at which survival curves of a task are recorded: quantiles of the times of the events.

    They are rounded to multiples of :func:`resolution`.

    Args:
        y: signed times of the whole training part, (n,); the grid is the same for all folds.

    Shape:
        (SURVIVAL_TIMES,), not decreasing; zeros without an event.
    """
    time, event = time_and_event(y)
    if not event.any():
        return np.zeros(SURVIVAL_TIMES)
    share = np.arange(1, SURVIVAL_TIMES + 1) / (SURVIVAL_TIMES + 1)
    step = resolution(y)
    return np.asarray(np.round(np.quantile(time[event], share) / step) * step, dtype=np.float64)


def interpolation(edges: Floats, at: Floats, bins: int) -> Float64:
    """Weights that make survival at times ``at`` of survival at 0 and at the ends of the bins.

    Linear within a bin; after the last bin constant.

    Shape:
        (bins + 1, len(at)); columns add up to 1.
    """
    knots = np.concatenate([[0.0], edges])
    weights = np.zeros((bins + 1, len(at)))
    if len(edges) and edges[0] <= 0:
        # Events at time 0: the first bin is a point.
        knots[0] = -1.0
    for j, t in enumerate(np.clip(at, knots[0], knots[-1])):
        k = min(int(np.searchsorted(knots, t, side="right")), len(knots) - 1)
        if k == 0:
            weights[0, j] = 1.0
            continue
        share = (t - knots[k - 1]) / (knots[k] - knots[k - 1])
        weights[k - 1, j], weights[k, j] = 1 - share, share
    return weights


def breslow(log_hazard: Floats, y: Floats, at: Floats) -> Float64:
    """Cumulative baseline hazard at times ``at`` (Breslow 1972), shape (len(at),).

    Args:
        log_hazard: predictor of the training rows, (n,).
        y: their signed times, (n,).
        at: times.
    """
    seen = ~np.isnan(y)
    time, event = time_and_event(y[seen])
    eta = log_hazard[seen].astype(np.float64)
    if not event.any():
        return np.zeros(len(at))
    order = np.argsort(time, kind="stable")
    time, event, eta = time[order], event[order], eta[order]
    shift = float(eta.max())
    at_risk = np.cumsum(np.exp(eta - shift)[::-1])[::-1]
    first = np.searchsorted(time, time[event], side="left")
    with np.errstate(over="ignore", divide="ignore"):
        steps = np.exp(-shift) / at_risk[first]
    total = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(total[np.searchsorted(time[event], at, side="right")])


def cox_prediction(log_hazard: Floats, baseline: Floats) -> Float64:
    """Prediction of a proportional hazards model: the predictor, then survival on the grid.

    Args:
        log_hazard: (..., n).
        baseline: cumulative baseline hazard on the grid, (..., SURVIVAL_TIMES).

    Shape:
        (..., n, 1 + SURVIVAL_TIMES)
    """
    eta = np.asarray(log_hazard, dtype=np.float64)[..., None]
    with np.errstate(over="ignore", invalid="ignore"):
        hazard = np.exp(eta) * np.asarray(baseline, dtype=np.float64)[..., None, :]
    # 0 times infinity: a hazard beyond all bounds at a time before the first event.
    return np.concatenate([eta, np.exp(-np.nan_to_num(hazard, nan=0.0, posinf=np.inf))], axis=-1)
