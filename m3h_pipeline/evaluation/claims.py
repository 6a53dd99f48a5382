"""What may be said of a difference on the test part: every table, figure and message takes its verdict here.

*Better* takes three things: the false discovery rate among the tasks that were tested is kept (q), the
difference's own 95 % interval lies above 0, and the better model's lower bound above what a model without
information reaches. The first alone would call a difference between two guesses a gain. *Worse* is the same
the other way round: the interval below 0, and the model that is better, the other one, above chance.

A task whose selected model is the single-task model itself was not tested, and takes no part in the
adjustment: p-values that are 1 by construction would only weaken it. Nor do phenotypes, whose silhouettes
are of spaces that each model made itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from m3h_pipeline.inference.intervals import Interval, benjamini_hochberg
from m3h_pipeline.inference.metrics import CHANCE

BETTER: Final = "better"
WORSE: Final = "worse"
OPEN: Final = "not significant"
UNTESTED: Final = "not tested"
NOTHING: Final = "no comparison"
#: Verdicts that claim something.
DECIDED: Final = (BETTER, WORSE)
#: Metrics whose values of two models are of two spaces, and cannot be compared.
OWN_SPACES: Final = frozenset({"silhouette"})
#: The chance to find a difference of the size that counts as detectable.
POWER: Final = 0.8


@dataclass(frozen=True)
class Compared:
    """Two models of a task.

    Attributes:
        difference: ``one`` less ``other``, with its interval and p-value.
        one: the score of the model of which something is claimed.
        other: that of the model it is held against.
        metric: name of the metric.
        tested: whether there is anything to test: two models, not one under two names.
        seeds: whether the interval counts seeds. With one replicate it does not, and nothing is claimed: of
            studies without any effect four in five would declare a gain.
    """

    difference: Interval
    one: Interval
    other: Interval
    metric: str
    tested: bool = True
    seeds: bool = True


@dataclass(frozen=True)
class Claim:
    """What may be said.

    Attributes:
        p: p-value; NaN where nothing was tested.
        q: adjusted over the tasks that were tested.
        verdict: better, worse, not significant, not tested or no comparison.
        detectable: the least difference that the test would have found (:func:`detectable`).
    """

    p: float
    q: float
    verdict: str
    detectable: float


def claims(compared: Sequence[Compared], rate: float) -> list[Claim]:
    """The claims of one family of comparisons, one of each task.

    Args:
        compared: in any order.
        rate: the false discovery rate among those that were tested.

    Examples:
        >>> gain = Interval(0.03, 0.01, 0.05, 0.003, 0.01, 50.0)
        >>> good, guess = (Interval(s, s - 0.05, s + 0.05, 0.0, 0.025, 50.0) for s in (0.8, 0.53))
        >>> [one.verdict for one in claims([Compared(gain, good, good, "auroc"),
        ...                                 Compared(gain, guess, guess, "auroc"),
        ...                                 Compared(gain, good, good, "auroc", tested=False)], 0.05)]
        ['better', 'not significant', 'not tested']
    """
    tested = [one.tested and one.metric not in OWN_SPACES for one in compared]
    p = np.array(
        [
            one.difference.p if seen and one.seeds else np.nan
            for one, seen in zip(compared, tested, strict=True)
        ]
    )
    return [
        Claim(
            float(p[i]),
            float(q),
            _verdict(one, float(q), rate) if tested[i] else UNTESTED,
            detectable(one.difference) if tested[i] and one.seeds else float("nan"),
        )
        for i, (one, q) in enumerate(zip(compared, benjamini_hochberg(p), strict=True))
    ]


def _verdict(one: Compared, q: float, rate: float) -> str:
    if not np.isfinite(q):
        return NOTHING
    if q <= rate and one.difference.low > 0 and above_chance(one.one, one.metric):
        return BETTER
    if q <= rate and one.difference.high < 0 and above_chance(one.other, one.metric):
        return WORSE
    return OPEN


def above_chance(score: Interval, metric: str) -> bool:
    """Whether a score's lower bound is above what a model without information reaches.

    Of a metric of the user's own that is not known, and not asked.
    """
    return metric not in CHANCE or bool(score.low > CHANCE[metric])


def detectable(difference: Interval, power: float = POWER) -> float:
    """The least true difference that the test of this difference finds with some power: (t₀.₉₇₅ + t₀.₈) · SE.

    With the difference's own standard error and degrees of freedom (Bloom, Evaluation Review 1995; 19:547);
    at 5 % two-sided, before the adjustment for other tasks, which asks for more.

    Returns:
        NaN where the difference has no standard error, or nothing varies.

    Examples:
        >>> round(detectable(Interval(0.01, -0.01, 0.03, 0.3, 0.01, 1e6)), 4)
        0.028
        >>> detectable(Interval(0.0, 0.0, 0.0, 1.0, 0.0, float("nan")))
        nan
    """
    from scipy import stats

    error, freedom = difference.standard_error, difference.degrees_of_freedom
    if not (error > 0 and freedom > 0):
        return float("nan")
    return float((stats.t.ppf(0.975, freedom) + stats.t.ppf(power, freedom)) * error)
