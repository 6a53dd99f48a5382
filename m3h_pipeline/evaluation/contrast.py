"""A task's two arms on a part: their scores, their difference, that to a reference, and how sure this is.

Both arms are treated alike; see :mod:`m3h_pipeline.inference.scored` for what is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from m3h_pipeline.inference.intervals import Interval, Quantity, pooled_intervals
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.inference.resampled import Cohort
from m3h_pipeline.inference.scored import difference, ensemble, quantity, score, scored

#: A relative improvement is only reported where the reference score is at least this large: an R² near 0 (or
#: below) as denominator gives a percentage that means nothing.
RELATIVE_FLOOR = 0.05


@dataclass(frozen=True)
class Contrast:
    """What a task's two arms say on the test part.

    Attributes:
        task: its id.
        metric: its metric.
        quantities: ``single``, ``multi``, ``difference``, ``relative``; with a reference ``reference`` and
            ``versus_reference``, too.
        replicates: number of replicates of each arm.
        identical: whether both arms are the same model.
        ensembles: the arms' mean predictions, (n, width).
    """

    task: str
    metric: str
    quantities: dict[str, Quantity]
    replicates: int
    identical: bool
    ensembles: dict[str, Float64] = field(default_factory=dict)


def relative_improvement(multi: Floats, single: Floats, floor: float = RELATIVE_FLOOR) -> Float64:
    """(multi - single) / single, as in Figure 2 of the paper; NaN where ``single`` is below ``floor``.

    Below the floor (a regression that explains almost nothing, a negative R² or silhouette) the ratio
    explodes or changes its sign: the absolute difference is to be read instead.

    Shape:
        broadcasts

    Examples:
        >>> relative_improvement(np.array([0.88, 0.1]), np.array([0.8, -0.01])).round(3).tolist()
        [0.1, nan]
    """
    multi, single = np.broadcast_arrays(np.asarray(multi, np.float64), np.asarray(single, np.float64))
    out = np.full(single.shape, np.nan)
    np.divide(multi - single, single, out=out, where=single >= floor)
    return out


def contrast(
    cohort: Cohort,
    task: str,
    number: int,
    single: Floats,
    multi: Floats,
    identical: bool = False,
    reference: Floats | None = None,
) -> Contrast:
    """Compare two arms on a part.

    Args:
        cohort: labels, parts and drawn patients.
        task: its id.
        number: the part.
        single: predictions of the single-task model, (replicates, n, width); the same seeds as ``multi``.
        multi: predictions of the multitask model.
        identical: both arms are the same model: then the difference is 0, whatever their predictions.
        reference: predictions of the reference that the multitask model is held against, (n, width).
    """
    described, units = cohort.tasks[task], cohort.informative(task, [number])
    arms = {"single": single, "multi": single if identical else multi}
    by_arm = {arm: scored(cohort, task, {number: values}) for arm, values in arms.items()}
    one, other = by_arm["single"], by_arm["multi"]
    relative = float(relative_improvement(np.array([other.value]), np.array([one.value]))[0])
    quantities = {arm: score(each, units) for arm, each in by_arm.items()}
    if identical:
        quantities |= {
            "difference": Quantity(other.value - one.value, 0.0, units),
            "relative": Quantity(relative, 0.0, units),
        }
    else:
        quantities["difference"] = difference(other, one, units)
        quantities["relative"] = quantity(
            relative,
            relative_improvement(other.draws, one.draws),
            [relative_improvement(other.left_out, one.left_out)],
            units,
            usable=np.isfinite(one.draws),
            moved=[relative_improvement(other.moved, one.moved)],
        )
    if reference is not None:
        rival = scored(cohort, task, {number: reference[None]})
        quantities["reference"] = score(rival, units)
        quantities["versus_reference"] = difference(other, rival, units)
    ensembles = {arm: ensemble(values, described.problem_class) for arm, values in arms.items()}
    return Contrast(task, described.metric, quantities, len(single), identical, ensembles)


def intervals(contrasts: Iterable[Contrast], name: str) -> dict[str, Interval]:
    """95 % intervals of one quantity of the tasks that have it; they lend each other variance of seeds.

    A model that is both arms of its task has one interval, that of ``single``: what is lent in ``multi``
    comes from other models.
    """
    having = [one for one in contrasts if name in one.quantities]
    found = pooled_intervals([one.quantities[name] for one in having], [one.metric for one in having])
    known = {one.task: interval for one, interval in zip(having, found, strict=True)}
    if name == "multi" and any(one.identical for one in having):
        single = intervals(having, "single")
        known |= {one.task: single[one.task] for one in having if one.identical}
    return known
