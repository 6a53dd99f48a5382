"""Binary and multiclass tasks: errors of the probabilities, precision, rates at thresholds, net benefit.

Of ``n`` samples with ``e`` events, at a threshold ``t`` with ``a`` alerts of which ``h`` have the event, the
net benefit is h/n - (a - h)/n * t/(1 - t) (Vickers and Elkin, Medical Decision Making 2006; 26:565). Alerting
everybody has that with a = n, h = e; alerting nobody has 0. The scaled Brier score is 1 less the Brier score
over that of the event rate for everybody (Steyerberg et al., Epidemiology 2010; 21:128).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from m3h_pipeline.disclosure import is_small
from m3h_pipeline.evaluation.performance.told import Index
from m3h_pipeline.evaluation.performance.weighted import (
    Key,
    Measured,
    Weighted,
    average_precision,
    share,
)
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.inference.metrics import Float64, Floats, metric_draws_by_unit

RATES = ("sensitivity", "specificity", "ppv", "npv", "alerts_per_100")


class Point(NamedTuple):
    """A threshold of the probability: what it was chosen by, and where it is."""

    rule: str
    at: float


def binary(y: Floats, p: Floats, weighted: Weighted, points: Sequence[Point]) -> Measured:
    """Brier score, scaled Brier score, area under the precision-recall curve; rates and net benefit.

    Args:
        y: 1 = event, 0 = none; (n,).
        p: probabilities, (n,).
        weighted: the samples.
        points: thresholds.
    """
    n, events = weighted.total(np.ones(len(y))), weighted.total(y)
    rate = share(events, n)
    error = share(weighted.total((p - y) ** 2), n)
    found: Measured = {
        Key("brier"): error,
        Key("scaled_brier"): 1 - share(error, rate * (1 - rate)),
        Key("auprc"): average_precision(y == 1, p, weighted),
    }
    for point in points:
        above = p >= point.at
        hits, alerts = weighted.total(above * y), weighted.total(above)
        rates = (*rates_of(hits, alerts, events, n), net_benefit(hits, alerts, n, point.at))
        for name, values in zip((*RATES, "net_benefit"), rates, strict=True):
            found[Key(name, "", *point)] = values
    return found


def treat_all(y: Floats, weighted: Weighted, points: Sequence[Point]) -> Measured:
    """Net benefit of alerting everybody; arguments as of :func:`binary`."""
    n, events = weighted.total(np.ones(len(y))), weighted.total(y)
    return {Key("net_benefit", "", *point): net_benefit(events, n, n, point.at) for point in points}


def net_benefit(hits: Float64, alerts: Float64, n: Float64, at: float) -> Float64:
    """Events found less false alerts, these at the odds of the threshold, per sample.

    Examples:
        >>> net_benefit(np.array([30.0]), np.array([80.0]), np.array([400.0]), 0.2).tolist()
        [0.04375]
        >>> net_benefit(np.array([30.0]), np.array([30.0]), np.array([400.0]), 1.0).tolist()
        [0.075]
    """
    false = np.inf if at >= 1 else at / (1 - at)
    # Nobody alerted in vain costs nothing, at infinite odds neither.
    cost = np.multiply(alerts - hits, false, out=np.zeros_like(hits), where=alerts > hits)
    return share(hits - cost, n)


def multiclass(
    y: Floats, p: Floats, weighted: Weighted, classes: Sequence[str], rates: Sequence[str]
) -> Measured:
    """Of all classes, of each against the rest, and their mean over the classes that occur (``macro``).

    The class of a sample is the one with the highest probability.

    Args:
        y: class indices, (n,).
        p: probabilities, (n, classes).
        weighted: the samples.
        classes: their names.
        rates: which may be shown: ``accuracy``, ``classes``.
    """
    n = weighted.total(np.ones(len(y)))
    truth = np.eye(p.shape[1])[y.astype(np.intp)]
    frequency = np.stack([share(weighted.total(column), n) for column in truth.T])
    error = share(weighted.total(((p - truth) ** 2).sum(axis=1)), n)
    found: Measured = {
        Key("brier"): error,
        Key("scaled_brier"): 1 - share(error, 1 - (frequency**2).sum(axis=0)),
    }
    said = p.argmax(axis=1)
    if "accuracy" in rates:
        found[Key("accuracy")] = share(weighted.total(said == y), n)
    for c, name in enumerate(classes):
        has = y == c
        found[Key("auprc", name)] = (
            average_precision(has, p[:, c], weighted) if has.any() else np.full(len(n), np.nan)
        )
        found[Key("auroc", name)] = metric_draws_by_unit(
            "auroc", has.astype(np.float64), p[:, c], weighted.weights, weighted.unit
        )
        if "classes" in rates:
            hits, alerts = weighted.total((said == c) & has), weighted.total(said == c)
            for rate, values in zip(RATES, rates_of(hits, alerts, weighted.total(has), n), strict=True):
                found[Key(rate, name)] = values
    for measure in ("auprc", *(RATES[:4] if "classes" in rates else ())):
        each = np.stack([found[Key(measure, name)] for name in classes])
        found[Key(measure, "macro")] = share(np.nansum(each, axis=0), (~np.isnan(each)).sum(axis=0))
    return found


def shown_rates(y: Floats, p: Floats, patient: Index) -> list[str]:
    """Which rates of a multiclass task tell of no 1 to 10 patients: ``accuracy``, ``classes``.

    Who knows the rates of all classes knows much of which class was taken for which: they are shown where no
    such pair is of 1 to 10 patients.

    Args:
        y: class indices, (n,).
        p: probabilities, (n, classes).
        patient: (n,).
    """
    said = p.argmax(axis=1)
    right = said == y
    pairs = [(y == a) & (said == b) for a in range(p.shape[1]) for b in range(p.shape[1])]
    asked = {"accuracy": [right, ~right], "classes": pairs}
    return [
        name
        for name, parts in asked.items()
        if not any(is_small(patients_of(patient, rows)) for rows in parts)
    ]


def rates_of(hits: Float64, alerts: Float64, events: Float64, n: Float64) -> tuple[Float64, ...]:
    """Of events found and alerts, of so many events and samples: in the order of :data:`RATES`."""
    spared = n - alerts - (events - hits)
    return (
        share(hits, events),
        share(spared, n - events),
        share(hits, alerts),
        share(spared, n - alerts),
        100 * share(alerts, n),
    )
