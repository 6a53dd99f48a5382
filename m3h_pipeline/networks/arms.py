"""What a model scores on a part, and what two of them differ by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.evaluation.cohort import Cohort
from m3h_pipeline.evaluation.contrast import ensemble, score_draws
from m3h_pipeline.evaluation.validation import MeanDraws
from m3h_pipeline.inference.bootstrap import bootstrap_variance
from m3h_pipeline.inference.intervals import Interval, jackknife_variance, paired_interval
from m3h_pipeline.inference.metrics import Floats, metric

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """A model's score on a part: the metric of its replicates' mean prediction, mean over the folds.

    Attributes:
        value: the score; NaN = undefined.
        draws: the same under every draw of patients, (draws,).
        left_out: the same with one replicate left out each, (replicates,); empty of a model without seeds.
        alone: the score of each replicate by itself, (replicates,).
    """

    value: float
    draws: Float64
    left_out: Float64
    alone: Float64


def arm(cohort: Cohort, task: str, predictions: Mapping[int, Floats]) -> Arm:
    """Score a model.

    Args:
        cohort: labels, parts and drawn patients.
        task: its id.
        predictions: number of a fold (or of the test part) -> (replicates, n, width).
    """
    kind, name = cohort.tasks[task].problem_class, cohort.tasks[task].metric
    replicates = min(len(values) for values in predictions.values())

    def mean(chosen: list[int]) -> float:
        scores = [
            metric(name, cohort.observed(task, number), ensemble(values[chosen], kind))
            for number, values in predictions.items()
        ]
        defined = [score for score in scores if np.isfinite(score)]
        return float(np.mean(defined)) if defined else float("nan")

    every = list(range(replicates))
    draws = MeanDraws(cohort.draws)
    for number, values in predictions.items():
        draws.add("all", score_draws(cohort, task, number, ensemble(values, kind)))
    left_out = [mean([r for r in every if r != one]) for one in every] if replicates > 1 else []
    return Arm(mean(every), draws.mean("all"), np.array(left_out), np.array([mean([r]) for r in every]))


def score(one: Arm, units: int) -> Interval:
    """The score with its 95 % interval: patients by bootstrap, seeds by the jackknife."""
    return _interval(one.value, one.draws, [one.left_out], units)


def difference(one: Arm, other: Arm, units: int) -> Interval:
    """``one`` less ``other`` with its 95 % interval, paired by patient and by seed.

    Two models whose numbers of finished replicates differ are paired by patient alone.
    """
    paired = len(one.left_out) == len(other.left_out)
    seeds = [one.left_out - other.left_out] if paired else [one.left_out, other.left_out]
    return _interval(one.value - other.value, one.draws - other.draws, seeds, units)


def _interval(value: float, draws: Float64, seeds: list[Float64], units: int) -> Interval:
    components = [(bootstrap_variance(draws, units), max(units - 1.0, 1.0))]
    components += [(jackknife_variance(part), len(part) - 1.0) for part in seeds if len(part) > 1]
    return paired_interval(value, components)
