"""Scores out of fold: the mean over folds, as the search ranks, and how uncertain it is over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m3h_pipeline.contracts import BASELINE_PREDICTIONS
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.arms import Chosen, Setting
from m3h_pipeline.files import read_table
from m3h_pipeline.inference.bootstrap import bootstrap_variance
from m3h_pipeline.inference.intervals import Interval, paired_interval, pooled_intervals
from m3h_pipeline.inference.metrics import Float64, Floats
from m3h_pipeline.inference.predictions import FitTask
from m3h_pipeline.inference.resampled import TEST, Cohort, Wanted, mean_draws
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
    chosen: Sequence[Chosen], scores: Scores, paths: Sequence[Path], cohort: Cohort
) -> dict[str, dict[str, Interval]]:
    """Out-of-fold scores of both arms of every task: task -> arm -> score with its interval.

    The scores are the selection's own; their variance counts patients and, of several, replicates.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: fits or predictions are missing.
    """
    found: dict[tuple[str, str], OutOfFold] = {}
    wanted: dict[FitTask, Wanted] = {}
    for one in chosen:
        shared = scores.common(one.combination, one.task)
        for arm, combination, setting in (
            ("single", one.task, one.single_setting),
            ("multi", one.combination, one.setting),
        ):
            fits = out_of_fold(scores, combination, one.task, setting, shared)
            found[one.task, arm] = fits
            for key, fold in fits.keys.items():
                wanted.setdefault((key, one.task), Wanted(fold, [])).slots.append((one.task, arm))
    (draws,) = mean_draws(paths, wanted, [cohort])
    result: dict[str, dict[str, Interval]] = {}
    for one in chosen:
        units = cohort.informative(one.task, cohort.folds)
        for arm, value in (("single", one.single_score), ("multi", one.score)):
            components = [(bootstrap_variance(draws.mean((one.task, arm)), units), max(units - 1.0, 1.0))]
            by_replicate = found[one.task, arm].by_replicate
            if (n := int(np.isfinite(by_replicate).sum())) > 1:
                components.append((float(np.nanvar(by_replicate, ddof=1)) / n, n - 1.0))
            result.setdefault(one.task, {})[arm] = paired_interval(value, components)
    return result


def read_references(paths: Sequence[Path], cohort: Cohort) -> References:
    """Predictions of the references: (task, model) -> fold (or the test part) -> (n, width).

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: predictions do not fit the parts.
    """
    predictions: References = {}
    for path in paths:
        for row in read_table(path, BASELINE_PREDICTIONS).to_pylist():
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
