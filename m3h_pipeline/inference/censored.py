"""Censored times: Kaplan-Meier curves, log-rank test, Uno's concordance, Brier score, AUROC over time.

Scores weigh whoever is seen by the inverse of the chance of being seen, G: the Kaplan-Meier curve of the
censoring in the training part. Where G is 0 or unknown they are undefined: NaN. scikit-survival is the
referee in the tests.

- Uno, Cai, Pencina, D'Agostino, Wei: On the C-statistics (...) with censored survival data. Stat Med 2011.
- Graf, Schmoor, Sauerbrei, Schumacher: Assessment and comparison of prognostic classification schemes. 1999.
- Uno, Cai, Tian, Wei: Evaluating prediction rules for t-year survivors with censored regression models. 2007.
- Fleming, Harrington: A class of hypothesis tests for one and two samples of censored survival data. 1981.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

#: Risks that differ by less are equal.
TIED = 1e-8


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier curve: it falls at its times.

    Attributes:
        time: (k,), increasing: every different time at which somebody was seen last.
        survival: (k,), from each time on.
        variance: (k,), Greenwood's sum: the variance of the logarithm of ``survival``.
    """

    time: Float64
    survival: Float64
    variance: Float64

    @classmethod
    def of(cls, time: Floats, event: Booleans, *, censoring: bool = False) -> Curve:
        """The curve of the event, or of being censored.

        Of several things at one time events come first: who is censored then had been at risk of the event,
        and who has the event then is no longer at risk of being censored.

        Args:
            time: (n,).
            event: (n,), whether it was seen.
            censoring: of what the curve is.
        """
        times, where = np.unique(time, return_inverse=True)
        events = np.bincount(where, weights=event, minlength=len(times))
        all_here = np.bincount(where, minlength=len(times)).astype(np.float64)
        at_risk = np.cumsum(all_here[::-1])[::-1]
        falls = all_here - events if censoring else events
        at_risk = at_risk - events if censoring else at_risk
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(falls > 0, falls / at_risk, 0.0)
            greenwood = np.where(falls > 0, falls / (at_risk * (at_risk - falls)), 0.0)
        return cls(np.asarray(times, dtype=np.float64), np.cumprod(1 - share), np.cumsum(greenwood))

    def at(self, time: Floats) -> Float64:
        """Survival at times: 1 before the first, NaN behind the last unless the curve has reached 0, (n,)."""
        found = np.concatenate([[1.0], self.survival])[np.searchsorted(self.time, time, side="right")]
        if len(self.time) and self.survival[-1] > 0:
            found = np.where(time > self.time[-1], np.nan, found)
        return np.asarray(found, dtype=np.float64)

    def band(self, level: float = 0.95) -> Float64:
        """Pointwise interval of the survival by the logarithm of minus its logarithm, (2, k).

        Where the survival is 1 or 0, so are both ends.
        """
        from scipy.stats import norm

        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log(self.survival)
            width = norm.ppf(0.5 + level / 2) * np.sqrt(self.variance) / log
            # A negative logarithm: the first is the lower end.
            ends = self.survival ** np.exp(np.array([[-1.0], [1.0]]) * width)
        certain = (self.survival == 1) | (self.survival == 0)
        return np.where(certain, self.survival, ends)


def log_rank(time: Floats, event: Booleans, group: npt.NDArray[np.integer[Any]]) -> float:
    """The p-value of the log-rank test: whether groups have the same curve.

    Args:
        time: (n,).
        event: (n,).
        group: (n,), any numbers.

    Returns:
        NaN where it is undefined: fewer than two groups, no event, or too few of them.
    """
    from scipy.stats import chi2

    _, member = np.unique(group, return_inverse=True)
    groups = int(member.max(initial=0)) + 1
    if groups < 2 or not event.any():
        return np.nan
    at = np.unique(time[event])
    order = np.argsort(time, kind="stable")
    # At risk: those whose time is not before; (times, groups).
    first = np.searchsorted(time[order], at, side="left")
    ones = np.eye(groups)[member[order]]
    before = np.concatenate([np.zeros((1, groups)), np.cumsum(ones, axis=0)])
    at_risk = before[-1] - before[first]
    total = at_risk.sum(axis=1)
    place = np.searchsorted(at, time[event])
    events = np.zeros((len(at), groups))
    np.add.at(events, (place, member[event]), 1)
    seen = events.sum(axis=1)
    share = at_risk / total[:, None]
    excess = (events - seen[:, None] * share).sum(axis=0)[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(total > 1, seen * (total - seen) / (total - 1), 0.0)
    covariance = np.diag(factor @ share) - (share * factor[:, None]).T @ share
    try:
        statistic = excess @ np.linalg.solve(covariance[:-1, :-1], excess)
    except np.linalg.LinAlgError:
        return np.nan
    return float(chi2.sf(statistic, groups - 1))


def uno_concordance(censoring: Curve, time: Floats, event: Booleans, risk: Floats, end: float) -> float:
    """How often who has the event earlier has the higher risk, weighed; equal risks count half.

    Args:
        censoring: curve of being censored, of the training part.
        time: (n,).
        event: (n,).
        risk: (n,), higher is earlier.
        end: only events before it count.

    Returns:
        NaN without two that can be compared, or where a weight is unknown.
    """
    rows = np.flatnonzero(event & (time < end))
    at = censoring.at(time[rows])
    if not len(rows) or not (at > 0).all():
        return np.nan
    weight = 1 / at**2
    right = compared = 0.0
    # Chunks: a matrix of all pairs may not fit.
    for part in np.array_split(np.arange(len(rows)), max(1, len(rows) * len(time) // 2_000_000)):
        i = rows[part]
        later = (time > time[i, None]) | ((time == time[i, None]) & ~event)
        difference = risk[i, None] - risk
        tied = np.abs(difference) <= TIED
        won = later & (difference > 0) & ~tied
        right += float(weight[part] @ (won.sum(axis=1) + 0.5 * (later & tied).sum(axis=1)))
        compared += float(weight[part] @ later.sum(axis=1))
    return right / compared if compared else np.nan


def dynamic_auroc(
    censoring: Curve, time: Floats, event: Booleans, risk: Floats, grid: Floats
) -> tuple[Float64, float]:
    """AUROC at each time between who has had the event and who has not, and its mean over the events' times.

    Args:
        censoring: curve of being censored, of the training part.
        time: (n,).
        event: (n,).
        risk: (n,).
        grid: (k,), increasing.

    Returns:
        (k,), and the mean weighed by the fall of the tested curve; NaN where undefined.
    """
    # From the highest risk down, equal ones together.
    levels, level = np.unique(-np.asarray(risk, dtype=np.float64), return_inverse=True)
    weight = np.zeros(len(time))
    at = censoring.at(time[event])
    with np.errstate(divide="ignore"):
        weight[event] = np.where(at > 0, 1 / at, np.nan)
    found = np.full(len(grid), np.nan)
    for k, t in enumerate(grid):
        case = event & (time <= t)
        cases = np.bincount(level, weights=np.where(case, weight, 0.0), minlength=len(levels))
        others = np.bincount(level, weights=time > t, minlength=len(levels))
        pairs = cases.sum() * others.sum()
        if pairs > 0:
            # Who stands lower than a case, and half of who stands with it.
            found[k] = cases @ (others.sum() - np.cumsum(others) + others / 2) / pairs
    curve = Curve.of(time, event).at(grid)
    fall = -np.diff(np.concatenate([[1.0], curve]))
    total = 1 - curve[-1] if len(curve) else 0.0
    return found, float(found @ fall / total) if total > 0 else np.nan


def brier(censoring: Curve, time: Floats, event: Booleans, survival: Floats, grid: Floats) -> Float64:
    """Brier score at each time: the weighed squared error of the predicted survival, (k,).

    Args:
        censoring: curve of being censored, of the training part.
        time: (n,).
        event: (n,).
        survival: (n, k) predicted.
        grid: (k,).
    """
    at_time, at_grid = censoring.at(time), censoring.at(grid)
    had = event[:, None] & (time[:, None] <= grid)
    free = time[:, None] > grid
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = np.where(had, survival**2 / np.where(at_time > 0, at_time, np.nan)[:, None], 0.0)
        kept = np.where(free, (1 - survival) ** 2 / np.where(at_grid > 0, at_grid, np.nan), 0.0)
    return np.asarray((lost + kept).mean(axis=0), dtype=np.float64)
