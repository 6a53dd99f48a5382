"""Survival tasks on the test part, beyond Harrell's concordance.

Uno's concordance, the Brier score and the AUROC over time are those of
:mod:`m3h_pipeline.inference.censored`, with the censoring distribution of the training part. Times are those
of the predicted curves that lie within the follow-up of the test part; what happens after the last of them is
not looked at. Intervals are percentiles of the bootstrap over patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.disclosure import LEAST, round_step
from m3h_pipeline.evaluation.contrast import Contrast
from m3h_pipeline.evaluation.shown import patients_of, shown_groups, shown_number, shown_times
from m3h_pipeline.evaluation.validation import References
from m3h_pipeline.inference.bootstrap import percentile_interval
from m3h_pipeline.inference.censored import Curve, brier, dynamic_auroc, log_rank, uno_concordance
from m3h_pipeline.inference.resampled import TEST, Cohort
from m3h_pipeline.survival import time_grid

Floats = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Rows = list[dict[str, Any]]
Scores = dict[str, float | Float64]

#: Bootstrap draws of these scores: enough for an interval, and the scores are slow.
DRAWS = 200
#: Times of a Kaplan-Meier curve. Steps at the patients' own times would tell them.
_TIMES = 40
_GROUPS = ("low risk", "medium risk", "high risk")


@dataclass(frozen=True)
class Outcome:
    """Times and events of some rows.

    Attributes:
        time: (n,), all observed.
        event: (n,).
    """

    time: Float64
    event: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, y: Floats) -> Outcome:
        """From signed times without NaN."""
        return cls(*time_and_event(y))

    def take(self, rows: npt.NDArray[Any]) -> Outcome:
        """Some of the rows."""
        return Outcome(self.time[rows], self.event[rows])


def usable_times(grid: Floats, training: Outcome, tested: Outcome) -> npt.NDArray[np.intp]:
    """Numbers of the grid's times within the follow-up of both parts, each time once."""
    last = min(float(training.time.max(initial=0)), float(tested.time.max(initial=0)))
    first = float(tested.time[tested.event].min(initial=np.inf))
    inside = np.flatnonzero((grid >= first) & (grid < last))
    return inside[np.unique(grid[inside], return_index=True)[1]]


def scores(training: Outcome, tested: Outcome, prediction: Floats, grid: Floats) -> Scores:
    """Uno's concordance, integrated Brier score, AUROC at each time and their mean.

    Args:
        training: of the training part, for the censoring distribution.
        tested: (n,) of the rows that are scored.
        prediction: (n, 1 + len(grid)): risk, and survival at the grid's times.
        grid: increasing times, all of them usable (:func:`usable_times`).

    Returns:
        ``uno``, ``brier``, ``dynamic_auroc`` and ``auroc`` (len(grid),); NaN where undefined.
    """
    found: Scores = {
        "uno": np.nan,
        "brier": np.nan,
        "dynamic_auroc": np.nan,
        "auroc": np.full(len(grid), np.nan),
    }
    # Of a drawn sample the follow-up may be shorter than of the whole.
    inside = usable_times(grid, training, tested)
    if not len(inside):
        return found
    grid = grid[inside]
    # Events at the last time count.
    end = float(np.nextafter(grid[-1], np.inf))
    risk = np.asarray(prediction[:, 0], dtype=np.float64)
    censoring = Curve.of(training.time, training.event, censoring=True)
    found["uno"] = uno_concordance(censoring, tested.time, tested.event, risk, end)
    auroc, mean = dynamic_auroc(censoring, tested.time, tested.event, risk, grid)
    at = np.full(prediction.shape[1] - 1, np.nan)
    at[inside] = auroc
    found["auroc"] = at
    found["dynamic_auroc"] = mean
    if len(grid) > 1:
        survival = np.asarray(prediction[:, 1 + inside], dtype=np.float64)
        error = brier(censoring, tested.time, tested.event, survival, grid)
        found["brier"] = float(np.trapezoid(error, grid) / (grid[-1] - grid[0]))
    return found


def survival_rows(
    contrasts: Mapping[str, Contrast], cohort: Cohort, references: References
) -> dict[str, Rows]:
    """Rows of contracts.SURVIVAL, DYNAMIC_AUROC and KAPLAN_MEIER for every survival task, but for control.

    Args:
        contrasts: task -> both networks on the test part.
        cohort: labels, parts and drawn patients.
        references: predictions of the reference models.
    """
    found: dict[str, Rows] = {"survival": [], "dynamic_auroc": [], "kaplan_meier": []}
    part = cohort.parts[TEST]
    training_rows = np.concatenate([cohort.parts[fold].rows for fold in cohort.folds])
    for task, one in contrasts.items():
        if cohort.tasks[task].problem_class != "survival":
            continue
        y, train = cohort.observed(task, TEST), cohort.labels[task][training_rows]
        seen, training = np.flatnonzero(~np.isnan(y)), Outcome.of(train[~np.isnan(train)])
        tested, grid = Outcome.of(y[seen]), time_grid(train)
        usable = usable_times(grid, training, tested)
        models = {"multi": one.ensembles["multi"], "single": one.ensembles["single"]}
        models |= {
            model: folds[TEST].astype(np.float64)
            for (name, model), folds in references.items()
            if name == task and TEST in folds
        }
        models["kaplan_meier"] = np.tile(_marginal(training, grid), (len(part.rows), 1))
        draws = _draws(part.weights, part.unit[seen])
        size = shown_number(len(seen), len(y))
        events = shown_groups(part.unit[seen], tested.event, np.zeros(len(seen), dtype=int))[0][1]
        for model, prediction in models.items():
            if not len(usable) or not np.isfinite(prediction[seen]).all():
                continue
            mine = prediction[seen][:, [0, *(1 + usable)]]
            score = _scorer(training, tested, mine, grid[usable])
            whole, drawn = score(np.arange(len(seen))), [score(rows) for rows in draws]
            named = {"task": task, "model": model}
            for name in ("uno", "brier", "dynamic_auroc"):
                if model == "kaplan_meier" and name != "brier":
                    continue
                numbers = (
                    whole[name],
                    *percentile_interval(np.array([d[name] for d in drawn], dtype=np.float64)),
                )
                found["survival"].append(
                    named
                    | {"score": name, "n": size, "events": events}
                    | {key: _plain(v) for key, v in zip(("value", "low", "high"), numbers, strict=True)}
                )
            if model != "kaplan_meier":
                at = np.array([d["auroc"] for d in drawn], dtype=np.float64).reshape(len(drawn), -1)
                for i, (t, value) in enumerate(zip(grid[usable], np.atleast_1d(whole["auroc"]), strict=True)):
                    low, high = percentile_interval(at[:, i])
                    if np.isfinite([value, low, high]).all():
                        entry = {"time": float(t), "auroc": float(value), "low": low, "high": high}
                        found["dynamic_auroc"].append(named | entry)
        for model in ("multi", "single"):
            curves = kaplan_meier(tested, models[model][seen, 0], part.unit[seen])
            found["kaplan_meier"] += [{"task": task, "model": model} | row for row in curves]
    return found


def kaplan_meier(outcome: Outcome, risk: Floats, patient: npt.NDArray[np.intp]) -> Rows:
    """Kaplan-Meier curves by third of the predicted risk, with pointwise 95 % intervals (log-log).

    A step of the curve is a patient: it is told at times between which no patient, or at least :data:`LEAST`,
    have the event, and ends where fewer are at risk. Groups smaller than that are left out.

    Args:
        outcome: (n,).
        risk: (n,) predicted.
        patient: number of each sample's patient, (n,).
    """
    cuts = np.quantile(risk, [1 / 3, 2 / 3]) if len(risk) else np.zeros(2)
    group = np.searchsorted(cuts, risk, side="left")
    p = log_rank(outcome.time, outcome.event, group)
    numbers = shown_groups(patient, outcome.event, group)
    found: Rows = []
    for g, name in enumerate(_GROUPS):
        rows = np.flatnonzero(group == g)
        mine, people = outcome.take(rows), patient[rows]
        if patients_of(patient, group == g) < LEAST:
            continue
        # The curve ends, in round numbers, where fewer than that are at risk.
        step = round_step(float(mine.time.max()) / _TIMES) if mine.time.max() > 0 else 1.0
        at = np.arange(0, np.sort(mine.time)[-LEAST] / step + 1e-9) * step
        curve = Curve.of(mine.time, mine.event)
        band = curve.band()
        kept = at[shown_times(mine.time, mine.event, people, at)]
        for t, i in zip(kept, np.searchsorted(curve.time, kept, side="right"), strict=True):
            values = (1.0, 1.0, 1.0) if i == 0 else (curve.survival[i - 1], *band[:, i - 1])
            found.append(
                {"group": name, "time": float(t), "n": numbers[g][0], "events": numbers[g][1], "p": p}
                | {k: float(v) for k, v in zip(("survival", "low", "high"), values, strict=True)}
            )
    return found


def _scorer(
    training: Outcome, tested: Outcome, prediction: Floats, grid: Floats
) -> Callable[[npt.NDArray[Any]], Scores]:
    def score(rows: npt.NDArray[Any]) -> Scores:
        return scores(training, tested.take(rows), prediction[rows], grid)

    return score


def _draws(weights: Floats, unit: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Row numbers of every draw of the patients."""
    rows = np.arange(len(unit))
    return [np.repeat(rows, weights[unit, d].astype(np.intp)) for d in range(min(DRAWS, weights.shape[1]))]


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _marginal(training: Outcome, grid: Floats) -> Float64:
    """The prediction that is the training part's Kaplan-Meier curve for all: (1 + len(grid),)."""
    curve = Curve.of(training.time, training.event)
    # Behind its last time the curve goes on as it was.
    at = curve.at(np.minimum(grid, training.time.max(initial=0.0)))
    return np.concatenate([[0.0], at])
