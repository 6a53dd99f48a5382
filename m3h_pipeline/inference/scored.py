"""What a model scores on parts of the cohort, and what two models differ by.

The score of a model with several replicates (seeds) is the metric of their mean prediction, as it would be
used. Of a clustering task, whose clusters have no common names, it is the mean of the replicates'
silhouettes.

A variance has two components, each with its degrees of freedom (Satterthwaite):

- *patients*: the bootstrap over patients, the same draws for all models, so that differences are paired;
- *seeds*: the jackknife over replicates of the same score, again paired, where replicates of both models
  share their seed. It has a floor, see :func:`m3h_pipeline.inference.intervals.floored_seeds`.

Everything is conditional on the training part: that another one would have given other models is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.inference.bootstrap import bootstrap_variance
from m3h_pipeline.inference.intervals import Quantity, jackknife_variance
from m3h_pipeline.inference.metrics import Float64, Floats, metric
from m3h_pipeline.inference.resampled import Cohort, MeanDraws, score_draws

#: More undefined draws than this share, and their variance says nothing.
_UNDEFINED = 0.01


@dataclass(frozen=True)
class Scored:
    """A model's score on some parts: the mean over those where it is defined.

    Attributes:
        value: the score; NaN = undefined.
        draws: the same under every draw of patients, (draws,).
        left_out: the same with one replicate left out each, (replicates,); empty of a single replicate.
    """

    value: float
    draws: Float64
    left_out: Float64


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
    draws = MeanDraws(cohort.draws)
    for number, values in predictions.items():
        mean = ensemble(values, cohort.tasks[task].problem_class)
        draws.add("all", score_draws(cohort, task, number, mean))
    left_out = [
        _score(
            cohort, task, {number: np.delete(values, one, axis=0) for number, values in predictions.items()}
        )
        for one in (range(replicates) if replicates > 1 else ())
    ]
    return Scored(_score(cohort, task, predictions), draws.mean("all"), np.array(left_out))


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
    return quantity(one.value, one.draws, [one.left_out], units)


def difference(one: Scored, other: Scored, units: int) -> Quantity:
    """``one`` less ``other``, paired by patient and by seed.

    Two models whose numbers of finished replicates differ are paired by patient alone.
    """
    paired = len(one.left_out) == len(other.left_out)
    seeds = [one.left_out - other.left_out] if paired else [one.left_out, other.left_out]
    return quantity(one.value - other.value, one.draws - other.draws, seeds, units)


def quantity(
    value: float,
    draws: Float64,
    seeds: Sequence[Float64],
    units: int,
    usable: npt.NDArray[np.bool_] | None = None,
) -> Quantity:
    """An estimate from its draws and its values with replicates left out.

    Args:
        value: the estimate.
        draws: under every draw of patients, (draws,).
        seeds: with one replicate left out each, (replicates,): once if replicates are paired, else of each
            model.
        units: patients that carry the information.
        usable: the draws in which it has to be defined; where it is not, leaving them out would flatter it.
    """
    undefined = usable is not None and usable.any() and np.isnan(draws[usable]).mean() > _UNDEFINED
    patients = float("nan") if undefined else bootstrap_variance(draws, units)
    known = [(jackknife_variance(part), len(part) - 1.0) for part in seeds if len(part) > 1]
    if not known:
        return Quantity(value, patients, units)
    if len(known) == 1:
        return Quantity(value, patients, units, *known[0])
    variance = sum(v for v, _ in known)
    spread = sum(v**2 / df for v, df in known)
    freedom = variance**2 / spread if spread > 0 else sum(df for _, df in known)
    return Quantity(value, patients, units, variance, freedom)
