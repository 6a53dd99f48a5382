"""What to use for each task: the candidate with the best score out of fold, and what that choice is worth.

The test part plays no role in the choice. A choice flatters what it chose: beside the chosen candidate's own
score out of fold stands that of the rule, ``chosen``, in which each fold is predicted by what the other folds
choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m3h_pipeline.contracts import OPTIMISM, combination_tasks
from m3h_pipeline.evaluation.arms import ArmPredictions, Chosen, Finals
from m3h_pipeline.evaluation.choice.calibrated import calibration_rows
from m3h_pipeline.evaluation.choice.candidates import (
    ALONE,
    BLEND,
    TOGETHER,
    Candidates,
    by_simplicity,
    jackknifed,
)
from m3h_pipeline.evaluation.optimism import search_luck
from m3h_pipeline.evaluation.validation import References, read_references
from m3h_pipeline.files import read_table
from m3h_pipeline.inference.intervals import Interval, Quantity, bounded, pooled_intervals
from m3h_pipeline.inference.metrics import Floats
from m3h_pipeline.inference.resampled import TEST, Cohort
from m3h_pipeline.inference.scored import Scored, difference, score
from m3h_pipeline.layout import EvaluationFiles

#: The rule itself: each fold predicted by what the others choose; on the test part the chosen candidate.
CHOSEN = "chosen"
_NAMES: dict[str, dict[str, str]] = {
    "linear": {
        "regression": "ridge regression",
        "survival": "Cox regression",
        "binary": "logistic regression",
        "multiclass": "logistic regression",
    },
    "clinical": dict.fromkeys(("binary", "multiclass", "regression", "survival"), "the clinical model"),
    "realmlp": dict.fromkeys(("binary", "multiclass", "regression"), "RealMLP"),
    "tabm": dict.fromkeys(("binary", "multiclass", "regression"), "TabM"),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """The choice of a task.

    Attributes:
        task: its id.
        candidate: that was chosen; None: none has a score out of fold.
        reference: the best reference by its score out of fold; None: there is none.
        words: what to do.
        members: of the blend, the network and the reference, with their weights; empty where there is none.
    """

    task: str
    candidate: str | None
    reference: str | None
    words: str
    members: dict[str, float]


def task_candidates(
    chosen: Chosen,
    predictions: ArmPredictions,
    references: References,
    cohort: Cohort,
    blend: bool,
    luck: float = 0.0,
    settled: References | None = None,
) -> Candidates:
    """The candidates of a supervised task: those that predict every fold.

    Args:
        chosen: what the search selected.
        predictions: of both networks, by replicate.
        references: of the reference models.
        cohort: labels, parts and drawn patients.
        blend: whether a blend is a candidate.
        luck: of the selected combination's score out of fold.
        settled: of the references with their settings of the whole training part; None: ``references``.
    """
    task, kind = chosen.task, cohort.tasks[chosen.task].problem_class
    found, final = (
        {
            model: {number: values[None] for number, values in parts.items()}
            for (name, model), parts in predicted.items()
            if name == task
        }
        for predicted in (references, settled or {})
    )
    # A selected combination of the task alone is no other candidate.
    arms = {ALONE: "single"} | ({TOGETHER: "multi"} if chosen.combination != task else {})
    for name, arm in arms.items():
        parts = predictions[task][arm]
        found[name] = {number: jackknifed(values, kind) for number, values in parts.items()}
    complete = {name: parts for name, parts in found.items() if set(cohort.folds) <= set(parts)}
    ordered = {name: complete[name] for name in by_simplicity(list(complete))}
    return Candidates(cohort, task, ordered, final, blend, luck)


def final_candidates(
    finals: Finals, baselines: Sequence[Path], evaluation: Path, blend: bool
) -> dict[str, Candidates]:
    """The candidates of every supervised task, as the evaluation chose among them.

    Args:
        finals: the networks.
        baselines: BASELINE_PREDICTIONS, any number of files.
        evaluation: folder of the evaluation, whose optimism is read.
        blend: whether a blend can be chosen.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: a file does not follow its contract, or files do not fit each other.
    """
    cohort = finals.cohort
    plain, settled = (read_references(baselines, cohort, final) for final in (False, True))
    luck = search_luck(read_table(EvaluationFiles(evaluation).table("optimism"), OPTIMISM).to_pylist())
    return {
        one.task: task_candidates(one, finals.said, plain, cohort, blend, luck.get(one.task, 0.0), settled)
        for one in finals.chosen
        if cohort.tasks[one.task].problem_class != "clustering"
    }


def choices(
    chosen: Sequence[Chosen],
    predictions: ArmPredictions,
    references: References,
    cohort: Cohort,
    blend: bool,
    luck: Mapping[str, float] | None = None,
    settled: References | None = None,
) -> tuple[list[Choice], list[Row], list[Row]]:
    """The choice of every supervised task, and rows of contracts.CHOICE and CALIBRATION_SLOPES.

    Args:
        chosen: the selection.
        predictions: of both networks, by replicate.
        references: of the reference models.
        cohort: labels, parts and drawn patients.
        blend: whether a blend of a network and a reference is a candidate.
        luck: task -> what the search's luck adds to its selected combination's score out of fold; None: 0.
        settled: of the references with their settings of the whole training part; None: ``references``.
    """
    made: list[Choice] = []
    found: list[tuple[Row, dict[str, Quantity]]] = []
    slopes: list[Row] = []
    for one in chosen:
        if cohort.tasks[one.task].problem_class == "clustering":
            continue
        lucky = (luck or {}).get(one.task, 0.0)
        candidates = task_candidates(one, predictions, references, cohort, blend, lucky, settled)
        choice = _choice(one, candidates)
        made.append(choice)
        names = [*candidates.parts, *([BLEND] if choice.members else [])]
        found += _task_rows(candidates, choice, names)
        slopes += calibration_rows(candidates, names, choice.candidate)
    return made, _rows(found), slopes


def words(
    candidate: str | None, combination: str, task: str, problem_class: str, members: Sequence[str]
) -> str:
    """A choice for people.

    Args:
        candidate: that was chosen.
        combination: that the search selected.
        task: whose choice it is.
        problem_class: of the task.
        members: of a blend, the network first.

    Examples:
        >>> words("linear", "aki+death", "death", "survival", [])
        'use Cox regression'
        >>> words("together", "aki+death", "death", "survival", [])
        'learn with aki'
        >>> words("blend", "aki+death", "death", "binary", ["together", "linear"])
        'blend of the network that learns with aki and logistic regression'
    """
    others = ", ".join(other for other in combination_tasks(combination) if other != task)
    if candidate is None:
        return "no choice: no score out of fold"
    if candidate == ALONE:
        return "learn alone"
    if candidate == TOGETHER:
        return f"learn with {others}"
    if candidate == BLEND:
        network = "learns alone" if members[0] == ALONE else f"learns with {others}"
        return f"blend of the network that {network} and {_reference(members[1], problem_class)}"
    return f"use {_reference(candidate, problem_class)}"


def _reference(name: str, problem_class: str) -> str:
    return _NAMES.get(name, {}).get(problem_class, name.replace("_", " "))


def _choice(one: Chosen, candidates: Candidates) -> Choice:
    folds = candidates.cohort.folds
    name = candidates.choose(folds)
    blend = candidates.blend_of(folds) if candidates.blend else None
    members = dict(zip(blend[0], blend[1].weights.tolist(), strict=True)) if blend else {}
    kind = candidates.cohort.tasks[one.task].problem_class
    said = words(name, one.combination, one.task, kind, list(members))
    return Choice(one.task, name, candidates.best_of(candidates.references, folds), said, members)


def _task_rows(
    candidates: Candidates, choice: Choice, names: Sequence[str]
) -> list[tuple[Row, dict[str, Quantity]]]:
    """Rows of a task without their numbers, and the quantities behind these."""
    cohort, folds = candidates.cohort, candidates.cohort.folds
    found = []
    for part, numbers in (("validation", folds), ("test", [TEST])):
        scored: dict[str, Scored] = {}
        for name in names:
            parts = candidates.crossed(name, folds)
            if part == "test":
                whole = candidates.predictions(name, TEST, folds)
                parts = {} if whole is None else {TEST: whole}
            if (one := candidates.scored(parts)) is not None:
                scored[name] = one
        rule: Scored | None = scored.get(choice.candidate or "")
        rival: Scored | None = scored.get(choice.reference or "")
        rivals: dict[str, Scored | None] = dict.fromkeys(scored, rival)
        if part == "validation":
            rule, rival = _crossed_choice(candidates, folds)
        if rule is not None:
            scored[CHOSEN] = rule
            rivals[CHOSEN] = rival
        units = cohort.informative(candidates.task, numbers)
        for name, one in scored.items():
            quantities = {"value": score(one, units)}
            for versus, other in (("reference", rivals[name]), ("alone", scored.get(ALONE))):
                if other is not None:
                    quantities[f"versus_{versus}"] = (
                        Quantity(0.0, 0.0, units) if other is one else difference(one, other, units)
                    )
            row = {
                "task": candidates.task,
                "candidate": name,
                "part": part,
                "metric": cohort.tasks[candidates.task].metric,
                "chosen": name in (choice.candidate, CHOSEN),
                "reference": choice.reference,
            }
            found.append((row, quantities))
    return found


def _crossed_choice(candidates: Candidates, folds: Sequence[int]) -> tuple[Scored | None, Scored | None]:
    """The rule, and the best reference, when each fold is predicted by what the other folds choose."""
    found: list[dict[int, Floats]] = [{}, {}]
    for fold in folds:
        others = [other for other in folds if other != fold]
        names = (candidates.choose(others), candidates.best_of(candidates.references, others))
        for parts, name in zip(found, names, strict=True):
            predicted = None if name is None else candidates.predictions(name, fold, others)
            if predicted is not None:
                parts[fold] = predicted
    rule, rival = (candidates.scored(parts) if len(parts) == len(folds) else None for parts in found)
    return rule, rival


def _rows(found: Sequence[tuple[Row, Mapping[str, Quantity]]]) -> list[Row]:
    """Intervals; one candidate's quantities of all tasks lend each other their variance between seeds."""
    for what in ("value", "versus_reference", "versus_alone"):
        for place in {(row["candidate"], row["part"]) for row, _ in found}:
            mine = [(r, q[what]) for r, q in found if (r["candidate"], r["part"]) == place and what in q]
            scores = pooled_intervals([q for _, q in mine], [row["metric"] for row, _ in mine])
            for (row, _), interval in zip(mine, scores, strict=True):
                row |= _numbers(what, interval, row["metric"])
    return [row for row, _ in found]


def _numbers(what: str, interval: Interval, metric: str) -> Row:
    ends = bounded(interval, metric) if what == "value" else (interval.low, interval.high)
    low, high = ("low", "high") if what == "value" else (f"{what}_low", f"{what}_high")
    numbers = {what: interval.estimate, low: ends[0], high: ends[1]}
    return {key: float(number) if np.isfinite(number) else None for key, number in numbers.items()}
