"""What a model scores on parts of the cohort, and what two models differ by.

The score of a model with several replicates (seeds) is the metric of their mean prediction, as it would be
used. Of a clustering task, whose clusters have no common names, it is the mean of the replicates'
silhouettes.

A variance has two components, each with its degrees of freedom (Satterthwaite):

- *patients*: the bootstrap over patients, the same draws for all models, so that differences are paired;
- *seeds*: the jackknife over replicates of the same score, again paired, where replicates of both models
  share their seed; less what patients explain of it, the same jackknife under drawn patients, which the first
  component has already; and drawn towards that of other tasks (:mod:`m3h_pipeline.inference.lent`).

Everything is conditional on the training part: that another one would have given other models is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from m3h_pipeline.inference.bootstrap import bootstrap_variance
from m3h_pipeline.inference.intervals import Quantity, jackknife_variance
from m3h_pipeline.inference.metrics import Float64, Floats, metric
from m3h_pipeline.inference.resampled import Cohort, MeanDraws, score_draws

#: More undefined draws than this share, and their variance says nothing.
_UNDEFINED = 0.01
#: Draws by which is told what patients explain of the variance between seeds: known to a few percent.
FEW = 40


@dataclass(frozen=True)
class Scored:
    """A model's score on some parts: the mean over those where it is defined.

    Attributes:
        value: the score; NaN = undefined.
        draws: the same under every draw of patients, (draws,).
        left_out: the same with one replicate left out each, (replicates,); empty of a single replicate.
        moved: the latter under the first draws of patients, (replicates, a few); empty: not known.
    """

    value: float
    draws: Float64
    left_out: Float64
    moved: Float64 = field(default_factory=lambda: np.zeros((0, 0)))


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


def scored(cohort: Cohort, task: str, predictions: Mapping[int, Floats]) -> Scored:
    """Score a model.

    Args:
        cohort: labels, parts and drawn patients.
        task: its id.
        predictions: number of a part -> predictions, (replicates, n, width).
    """
    replicates = min(len(values) for values in predictions.values())
    without = [
        {number: np.delete(values, one, axis=0) for number, values in predictions.items()}
        for one in (range(replicates) if replicates > 1 else ())
    ]
    few = cohort.first(FEW)
    return Scored(
        _score(cohort, task, predictions),
        _drawn(cohort, task, predictions),
        np.array([_score(cohort, task, one) for one in without]),
        np.array([_drawn(few, task, one) for one in without]).reshape(len(without), few.draws),
    )


def _drawn(cohort: Cohort, task: str, predictions: Mapping[int, Floats]) -> Float64:
    """The score under every draw of patients, (draws,)."""
    draws = MeanDraws(cohort.draws)
    for number, values in predictions.items():
        mean = ensemble(values, cohort.tasks[task].problem_class)
        draws.add("all", score_draws(cohort, task, number, mean))
    return draws.mean("all")


def scores_by_replicate(cohort: Cohort, task: str, predictions: Mapping[int, Floats]) -> Float64:
    """The score of each replicate by itself, (replicates,); arguments as of :func:`scored`."""
    replicates = min(len(values) for values in predictions.values())
    return np.array(
        [
            _score(cohort, task, {number: values[[one]] for number, values in predictions.items()})
            for one in range(replicates)
        ]
    )


def _score(cohort: Cohort, task: str, predictions: Mapping[int, Floats]) -> float:
    described = cohort.tasks[task]
    values = [
        metric(described.metric, cohort.observed(task, number), ensemble(values, described.problem_class))
        for number, values in predictions.items()
    ]
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def score(one: Scored, units: int) -> Quantity:
    """A model's score as a quantity.

    Args:
        one: the model.
        units: patients that carry the task's information.
    """
    return quantity(one.value, one.draws, [one.left_out], units, moved=[one.moved])


def difference(one: Scored, other: Scored, units: int) -> Quantity:
    """``one`` less ``other``, paired by patient and by seed.

    Two models whose numbers of finished replicates differ are paired by patient alone.
    """
    paired = len(one.left_out) == len(other.left_out)
    seeds = [one.left_out - other.left_out] if paired else [one.left_out, other.left_out]
    moved = [one.moved - other.moved] if paired else [one.moved, other.moved]
    return quantity(one.value - other.value, one.draws - other.draws, seeds, units, moved=moved)


def quantity(
    value: float,
    draws: Float64,
    seeds: Sequence[Float64],
    units: int,
    usable: npt.NDArray[np.bool_] | None = None,
    moved: Sequence[Float64] = (),
) -> Quantity:
    """An estimate from its draws and its values with replicates left out.

    Args:
        value: the estimate.
        draws: under every draw of patients, (draws,).
        seeds: with one replicate left out each, (replicates,): once if replicates are paired, else of each
            model.
        units: patients that carry the information.
        usable: the draws in which it has to be defined; where it is not, leaving them out would flatter it.
        moved: as ``seeds``, under some draws of patients, (replicates, draws); none: what patients explain of
            the variance between seeds is not known, and stays in.
    """
    undefined = usable is not None and usable.any() and np.isnan(draws[usable]).mean() > _UNDEFINED
    patients = float("nan") if undefined else bootstrap_variance(draws, units)
    parts = [(jackknife_variance(part), len(part) - 1.0) for part in seeds if len(part) > 1]
    if not parts:
        return Quantity(value, patients, units)
    known = sum(map(explained, moved))
    if len(parts) == 1:
        return Quantity(value, patients, units, *parts[0], known)
    variance = sum(v for v, _ in parts)
    spread = sum(v**2 / df for v, df in parts)
    freedom = variance**2 / spread if spread > 0 else sum(df for _, df in parts)
    return Quantity(value, patients, units, variance, freedom, known)


def explained(moved: Float64) -> float:
    """What patients explain of the jackknife's variance over replicates: the same of what draws change.

    Args:
        moved: values with one replicate left out each, under draws of patients, (replicates, draws).
    """
    defined = moved[:, np.isfinite(moved).all(axis=0)]
    n, draws = defined.shape
    if n < 2 or draws < 2:
        return 0.0
    own = defined - defined.mean(axis=1, keepdims=True)
    found: float = own.var(axis=0).sum() * (n - 1) / (draws - 1)
    return found
