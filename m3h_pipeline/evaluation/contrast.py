"""Scores of models on a part, their difference, and how uncertain both are.

The score of a model with several replicates (seeds) is the metric of their mean prediction, as it would be
used; both arms are treated alike. Of a clustering task, whose clusters have no common names, it is the mean
of the replicates' silhouettes.

A variance has two components, each with its degrees of freedom (Satterthwaite):

- *patients*: the bootstrap over patients, the same draws for both arms, so that the difference is paired;
- *seeds*: the jackknife over replicates of the same score, again paired, since replicates of both arms share
  their seed. With five replicates it is sometimes tiny by luck, which among many tasks makes false
  positives; so it is not taken to be smaller than what seeds add, relative to patients, in the median task
  of the metric.

Everything is conditional on the training part: that another one would have given other models is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from m3h_pipeline.evaluation.cohort import Cohort
from m3h_pipeline.inference.bootstrap import bootstrap_variance
from m3h_pipeline.inference.intervals import Interval, jackknife_variance, paired_interval
from m3h_pipeline.inference.metrics import Floats, metric, metric_draws_by_unit

Float64 = npt.NDArray[np.float64]
#: A relative improvement is only reported where the reference score is at least this large: an R² near 0 (or
#: below) as denominator gives a percentage that means nothing.
RELATIVE_FLOOR = 0.05
#: More undefined draws of a ratio than this share, and its variance says nothing.
_UNDEFINED = 0.01


@dataclass(frozen=True)
class Quantity:
    """An estimate with the variances of its components.

    Attributes:
        value: the estimate; NaN = undefined.
        patients: its variance over patients.
        seeds: its variance over replicates; NaN with a single one.
    """

    value: float
    patients: float
    seeds: float


@dataclass(frozen=True)
class Contrast:
    """What a task's two arms say on the test part.

    Attributes:
        task: its id.
        metric: its metric.
        quantities: ``single``, ``multi``, ``difference``, ``relative``.
        units: patients that carry the task's information.
        replicates: number of replicates of each arm.
        identical: whether both arms are the same model.
        ensembles: the arms' mean predictions, (n, width).
    """

    task: str
    metric: str
    quantities: dict[str, Quantity]
    units: int
    replicates: int
    identical: bool
    ensembles: dict[str, Float64] = field(default_factory=dict)


def ensemble(predictions: Floats, problem_class: str) -> Float64:
    """The prediction of a model from those of its replicates.

    Args:
        predictions: (replicates, n, width).
        problem_class: of clustering, clusters are those of the first replicate, silhouettes are averaged.

    Shape:
        (n, width)
    """
    mean: Float64 = np.asarray(predictions, dtype=np.float64).mean(axis=0)
    if problem_class == "clustering":
        mean[:, 0] = predictions[0, :, 0]
    return mean


def score_draws(cohort: Cohort, task: str, number: int, prediction: Floats) -> Float64:
    """Scores of a prediction of a part under every draw of patients, shape (draws,)."""
    part = cohort.parts[number]
    name = cohort.tasks[task].metric
    return metric_draws_by_unit(name, cohort.observed(task, number), prediction, part.weights, part.unit)


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
    cohort: Cohort, task: str, number: int, single: Floats, multi: Floats, identical: bool = False
) -> Contrast:
    """Compare two arms on a part.

    Args:
        cohort: labels, parts and drawn patients.
        task: its id.
        number: the part.
        single: predictions of the single-task model, (replicates, n, width); the same seeds as ``multi``.
        multi: predictions of the multitask model.
        identical: both arms are the same model: then the difference is 0, whatever their predictions.
    """
    kind, name = cohort.tasks[task].problem_class, cohort.tasks[task].metric
    y = cohort.observed(task, number)
    arms = {"single": single, "multi": single if identical else multi}
    replicates = len(single)
    ensembles = {arm: ensemble(values, kind) for arm, values in arms.items()}
    full = {arm: metric(name, y, values) for arm, values in ensembles.items()}
    draws = {arm: score_draws(cohort, task, number, values) for arm, values in ensembles.items()}
    left_out = {
        arm: np.array(
            [metric(name, y, ensemble(np.delete(values, r, axis=0), kind)) for r in range(replicates)]
            if replicates > 1
            else []
        )
        for arm, values in arms.items()
    }
    units = cohort.informative(task, [number])

    def quantity(value: float, drawn: Float64, jackknife: Float64) -> Quantity:
        usable = np.isfinite(draws["single"])
        undefined = usable.any() and np.isnan(drawn[usable]).mean() > _UNDEFINED
        patients = float("nan") if undefined else bootstrap_variance(drawn, units)
        return Quantity(value, patients, jackknife_variance(jackknife))

    relative = relative_improvement(np.array([full["multi"]]), np.array([full["single"]]))
    quantities = {arm: quantity(full[arm], draws[arm], left_out[arm]) for arm in arms}
    quantities["difference"] = quantity(
        full["multi"] - full["single"],
        draws["multi"] - draws["single"],
        left_out["multi"] - left_out["single"],
    )
    quantities["relative"] = quantity(
        float(relative[0]),
        relative_improvement(draws["multi"], draws["single"]),
        relative_improvement(left_out["multi"], left_out["single"]),
    )
    return Contrast(task, name, quantities, units, replicates, identical, ensembles)


def intervals(contrasts: Sequence[Contrast], name: str) -> list[Interval]:
    """95 % intervals of one quantity of all tasks, which lend each other their variance between seeds."""
    pooled: dict[str, tuple[float, int]] = {}
    for kind in {one.metric for one in contrasts}:
        known = [
            (q.seeds, q.patients, one.replicates - 1)
            for one in contrasts
            if one.metric == kind and (q := one.quantities[name]).patients > 0 and np.isfinite(q.seeds)
        ]
        if known:
            ratio = float(np.median([seeds / patients for seeds, patients, _ in known]))
            pooled[kind] = ratio, sum(df for _, _, df in known)
    found = []
    for one in contrasts:
        q = one.quantities[name]
        components = [(q.patients, float(max(one.units - 1, 1)))]
        if one.identical and name in {"difference", "relative"}:
            components = [(0.0, 1.0)]
        elif np.isfinite(q.seeds):
            own = q.seeds, one.replicates - 1.0
            ratio, df = pooled.get(one.metric, (0.0, 0))
            floor = ratio * q.patients, float(df)
            components.append(floor if floor[0] > own[0] else own)
        found.append(paired_interval(q.value, components))
    return found
