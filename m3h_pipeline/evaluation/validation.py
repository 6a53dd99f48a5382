"""Scores out of fold: the mean over folds, and how uncertain it is over patients and seeds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m3h_pipeline.contracts import BASELINE_PREDICTIONS
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.arms import ArmPredictions, Setting
from m3h_pipeline.files import read_table
from m3h_pipeline.inference.intervals import Interval, pooled_intervals
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.inference.resampled import TEST, Cohort
from m3h_pipeline.inference.scored import score, scored
from m3h_pipeline.search.scores import Scores

#: (task, model) -> fold (or the test part) -> predictions, (n, width).
References = dict[tuple[str, str], dict[int, Floats]]


@dataclass(frozen=True)
class OutOfFold:
    """The out-of-fold fits of a task at a combination.

    Attributes:
        keys: fit key -> fold.
        by_replicate: mean score over folds of each replicate.
    """

    keys: dict[str, int]
    by_replicate: Float64


def out_of_fold(
    scores: Scores, combination: str, task: str, setting: Setting, replicates: Sequence[int]
) -> OutOfFold:
    """Find the out-of-fold fits of a task at a combination and setting.

    Raises:
        ContractError: they were not trained.
    """
    member = scores.member(combination, task)
    if setting not in scores.settings or not replicates:
        raise ContractError(f"combination `{combination}` was not trained at the setting that was selected")
    at = scores.settings.index(setting)
    chosen = [scores.replicates.index(r) for r in replicates]
    fits, values = scores.fit[member, at][chosen], scores.value[member, at][chosen]
    if (fits < 0).all():
        raise ContractError(f"combination `{combination}` was not trained at the setting that was selected")
    keys = {
        scores.fit_keys[int(row)].as_py(): scores.folds[fold]
        for one in fits
        for fold, row in enumerate(one)
        if row >= 0
    }
    defined = np.isfinite(values)
    totals = np.where(defined, values, 0.0).sum(axis=1)
    means = np.divide(
        totals, defined.sum(axis=1), out=np.full(len(values), np.nan), where=defined.any(axis=1)
    )
    return OutOfFold(keys, means)


def network_scores(
    predictions: ArmPredictions, cohort: Cohort, alone: Collection[str] = ()
) -> dict[str, dict[str, dict[str, Interval]]]:
    """Scores out of fold of every task's two arms: task -> arm -> ``validation`` -> score with its interval.

    They are those of the final fits, whose seeds nobody chose by; the variance counts patients and seeds.

    Args:
        predictions: of the final fits.
        cohort: labels, parts and drawn patients.
        alone: tasks whose arms are one model, which has one interval (``contrast.intervals``).
    """
    found: dict[str, dict[str, dict[str, Interval]]] = {}
    for arm in ("single", "multi"):
        crossed = {
            task: {number: values for number, values in of_arm[arm].items() if number != TEST}
            for task, of_arm in predictions.items()
        }
        known = {task: parts for task, parts in crossed.items() if parts}
        quantities = [
            score(scored(cohort, task, parts), cohort.informative(task, parts))
            for task, parts in known.items()
        ]
        scores = pooled_intervals(quantities, [cohort.tasks[task].metric for task in known])
        for task, interval in zip(known, scores, strict=True):
            found.setdefault(task, {})[arm] = {"validation": interval}
    for task in set(alone) & set(found):
        found[task]["multi"] = found[task]["single"]
    return found


def read_references(paths: Sequence[Path], cohort: Cohort, settled: bool = False) -> References:
    """Predictions of the references: (task, model) -> fold (or the test part) -> (n, width).

    Args:
        paths: tables of contracts.BASELINE_PREDICTIONS.
        cohort: labels and parts.
        settled: of each fold those with the setting of the whole training part, from which maps of that
            model's predictions are learned; else with the setting that the other folds chose.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: predictions do not fit the parts.
    """
    predictions: References = {}
    for path in paths:
        rows = read_table(path, BASELINE_PREDICTIONS).to_pylist()
        for row in sorted(rows, key=lambda row: str(row["purpose"]), reverse=True):
            if row["purpose"] == "map" and not settled:
                continue
            part = cohort.parts.get(row["fold"])
            values = np.asarray(row["prediction"], dtype=np.float32)
            right = row["task"] not in cohort.tasks or row["width"] == cohort.tasks[row["task"]].width
            if part is None or not right or len(values) != len(part.rows) * row["width"]:
                raise ContractError(
                    f"the predictions of `{row['model']}` for task `{row['task']}` do not fit fold "
                    f"{row['fold']}",
                    where=str(path),
                    hint="the split has changed since: fit the references again",
                )
            predictions.setdefault((row["task"], row["model"]), {})[row["fold"]] = values.reshape(
                len(part.rows), row["width"]
            )
    return {place: folds for place, folds in predictions.items() if place[0] in cohort.tasks}


def reference_scores(references: References, cohort: Cohort) -> dict[str, dict[str, dict[str, Interval]]]:
    """Scores of the references: task -> model -> part (``validation``, ``test``) -> score with its interval.

    Args:
        references: of :func:`read_references`.
        cohort: labels, parts and drawn patients.
    """
    found: dict[str, dict[str, dict[str, Interval]]] = {}
    for (task, model), folds in references.items():
        parts = {
            "validation": {fold: p for fold, p in folds.items() if fold != TEST},
            "test": {fold: p for fold, p in folds.items() if fold == TEST},
        }
        found.setdefault(task, {})[model] = {
            name: fold_mean(cohort, task, part) for name, part in parts.items() if part
        }
    return found


def fold_mean(cohort: Cohort, task: str, predictions: Mapping[int, Floats]) -> Interval:
    """Mean score of one model over parts where it is defined, with its interval over patients."""
    one = scored(cohort, task, {number: prediction[None] for number, prediction in predictions.items()})
    quantity = score(one, cohort.informative(task, predictions))
    return pooled_intervals([quantity], [cohort.tasks[task].metric])[0]
