"""Scores of two studies on the test part: paired where the patients are the same, else side by side.

Paired: both studies' stored predictions for the samples that are in the test part of both, under the same
draws of patients (:mod:`m3h_pipeline.inference.scored`). Otherwise the scores are those of each study's own
evaluation, and the interval of their difference takes them for independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.contracts import EVALUATION
from m3h_pipeline.disclosure import is_small
from m3h_pipeline.evaluation.arms import final_files, read_finals
from m3h_pipeline.files import read_samples, read_table
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.intervals import Interval, Quantity, bounded, pooled_intervals
from m3h_pipeline.inference.resampled import TEST, Cohort, Part, part_seeds
from m3h_pipeline.inference.scored import difference, score, scored
from m3h_pipeline.jobs.plans import pack_files
from m3h_pipeline.layout import Layout

#: Fewer patients in both test parts are no basis for a paired comparison.
LEAST_SHARED = 30
_MODELS = {"together": "multi", "alone": "single"}


@dataclass(frozen=True)
class Row:
    """A task's scores in two studies.

    Attributes:
        task: its id.
        model: ``together`` (the selected combination) or ``alone``.
        metric: of the task.
        a, b: the scores with their 95 % intervals.
        difference: ``b`` less ``a``.
        paired: whether it is paired by patient.
        why: why it is not, or on what part of the patients it is.
    """

    task: str
    model: str
    metric: str
    a: Interval
    b: Interval
    difference: Interval
    paired: bool
    why: str = ""


@dataclass(frozen=True)
class Side:
    """One study's models on its test part.

    Attributes:
        layout: of the study.
        cohort: labels of its tasks, and the test part.
        ids: of the samples of the test part.
        said: task -> arm -> predictions for the test part, (replicates, n, width).
        rows: task -> row of contracts.EVALUATION.
    """

    layout: Layout
    cohort: Cohort
    ids: npt.NDArray[np.object_]
    said: Mapping[str, Mapping[str, npt.NDArray[np.float32]]]
    rows: Mapping[str, Mapping[str, Any]]


def read_side(layout: Layout, draws: int, seed: int) -> Side:
    """Read what a finished study predicts for its test part.

    Raises:
        InputError: a file is absent, unreadable or damaged.
        ContractError: files do not fit each other.
    """
    scores, predictions = (pack_files(layout.final, kind) for kind in ("scores", "predictions"))
    files = replace(final_files(layout), scores=scores, predictions=predictions)
    finals = read_finals(files, draws, {"test": part_seeds(seed)["test"]})
    cohort = finals.cohort
    whole = {
        task: {arm: parts[TEST] for arm, parts in by_arm.items() if TEST in parts}
        for task, by_arm in finals.said.items()
    }
    ids = read_samples(layout.cohort.samples).column("sample_id").to_numpy(zero_copy_only=False)
    rows = {
        row["task"]: row for row in read_table(layout.evaluation.table("evaluation"), EVALUATION).to_pylist()
    }
    return Side(layout, cohort, ids[cohort.parts[TEST].rows], whole, rows)


def compared(a: Side, b: Side, draws: int, seed: int) -> list[Row]:
    """The rows of every task that both studies learned, by task."""
    tasks = [task for task in a.said if task in b.said]
    shared, at_a, at_b = np.intersect1d(a.ids, b.ids, return_indices=True)
    whole = len(shared) == len(a.ids) == len(b.ids)
    rows: list[Row] = []
    for model, arm in _MODELS.items():
        paired: list[tuple[str, Cohort, npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
        for task in tasks:
            why = _unpaired(a, b, task, arm, at_a, at_b)
            if why:
                rows.append(_side_by_side(a, b, task, model, arm, why))
                continue
            cohort = _on(a.cohort, at_a, draws, seed)
            paired.append((task, cohort, a.said[task][arm][:, at_a], b.said[task][arm][:, at_b]))
        said = "" if whole else _share(len(shared), len(a.ids), len(b.ids))
        rows += _paired(paired, model, said)
    order = {task: i for i, task in enumerate(tasks)}
    return sorted(rows, key=lambda row: (order[row.task], list(_MODELS).index(row.model)))


def _share(shared: int, a: int, b: int) -> str:
    """What part of the test parts is in both; a small rest is not told."""
    rest = [n - shared for n in (a, b)]
    number = "nearly all" if any(is_small(n) for n in rest) else f"{shared:,}"
    return f"on {number} samples that are in both test parts"


def _unpaired(a: Side, b: Side, task: str, arm: str, at_a: Any, at_b: Any) -> str:
    """Why a task cannot be compared patient by patient; empty: it can."""
    one, other = a.cohort.tasks[task], b.cohort.tasks[task]
    if (one.problem_class, one.metric, one.classes) != (other.problem_class, other.metric, other.classes):
        return "the task is of another class, metric or classes"
    if arm not in a.said[task] or arm not in b.said[task]:
        return "every replicate of one diverged"
    patients = len(np.unique(a.cohort.patient[a.cohort.parts[TEST].rows[at_a]]))
    if patients < LEAST_SHARED:
        return "other patients in the test part"
    labels = [side.cohort.observed(task, TEST)[at] for side, at in ((a, at_a), (b, at_b))]
    if not np.array_equal(labels[0], labels[1], equal_nan=True):
        return "other labels of the same patients"
    return ""


def _on(cohort: Cohort, at: npt.NDArray[np.intp], draws: int, seed: int) -> Cohort:
    """The cohort with some of its test part's samples as the test part."""
    rows = cohort.parts[TEST].rows[at]
    unit = np.unique(cohort.patient[rows], return_inverse=True)[1].reshape(-1)
    counts = patient_counts(int(unit.max()) + 1, draws, part_seeds(seed)["test"]).T
    return replace(cohort, parts={TEST: Part(rows, unit, np.ascontiguousarray(counts))}, draws=draws)


def _paired(
    found: Sequence[tuple[str, Cohort, npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    model: str,
    said: str,
) -> list[Row]:
    quantities: dict[str, list[Quantity]] = {"a": [], "b": [], "difference": []}
    for task, cohort, one, other in found:
        units = cohort.informative(task, [TEST])
        a, b = scored(cohort, task, {TEST: one}), scored(cohort, task, {TEST: other})
        quantities["a"].append(score(a, units))
        quantities["b"].append(score(b, units))
        same = one.shape == other.shape and np.array_equal(one, other)
        quantities["difference"].append(Quantity(0.0, 0.0, units) if same else difference(b, a, units))
    metrics = [cohort.tasks[task].metric for task, cohort, _, _ in found]
    ends = {name: pooled_intervals(some, metrics) for name, some in quantities.items()}
    return [
        Row(task, model, metrics[i], ends["a"][i], ends["b"][i], ends["difference"][i], True, said)
        for i, (task, _, _, _) in enumerate(found)
    ]


def _side_by_side(a: Side, b: Side, task: str, model: str, arm: str, why: str) -> Row:
    one, other = (_of_evaluation(side, task, arm) for side in (a, b))
    metric = a.cohort.tasks[task].metric
    if metric != b.cohort.tasks[task].metric:
        nothing = float("nan")
        apart = Interval(nothing, nothing, nothing, nothing, nothing, nothing)
    else:
        error = float(np.hypot(one.standard_error, other.standard_error))
        gap = other.estimate - one.estimate
        apart = Interval(gap, gap - 1.96 * error, gap + 1.96 * error, float("nan"), error, float("inf"))
    return Row(task, model, metric, one, other, apart, False, why)


def _of_evaluation(side: Side, task: str, arm: str) -> Interval:
    row = side.rows[task]
    low, high = row[f"{arm}_low"], row[f"{arm}_high"]
    return Interval(row[arm], low, high, float("nan"), (high - low) / (2 * 1.96), float("inf"))


def shown(interval: Interval, metric: str) -> tuple[float, float, float]:
    """A score and the ends of its interval within what the metric can be."""
    return interval.estimate, *bounded(interval, metric)
