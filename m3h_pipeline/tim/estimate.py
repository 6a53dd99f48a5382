"""The verb ``tim``: how much learning another task too changes the score of a task, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_array

from m3h_pipeline.config import Tim
from m3h_pipeline.contracts import TIM
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import write_table
from m3h_pipeline.inference.bootstrap import bootstrap_variance
from m3h_pipeline.inference.intervals import (
    UNDEFINED,
    Interval,
    benjamini_hochberg,
    fold_component,
    paired_interval,
)
from m3h_pipeline.inference.metrics import CHANCE, Float64, can_be_resampled
from m3h_pipeline.inference.resampled import Cohort, Index, load_cohort, mean_draws
from m3h_pipeline.search.scores import read_scores
from m3h_pipeline.tasks.assessed import PERMUTED_LABELS, Task, read_tasks
from m3h_pipeline.tasks.permuted import permuted_companions
from m3h_pipeline.tim.contrasts import Contrasts, less_permuted
from m3h_pipeline.tim.design import design_of, estimand
from m3h_pipeline.tim.sampled import Sets
from m3h_pipeline.tim.uncertainty import Spread, between_sets, inflated, inflation, luck, spread


def compute_tim(
    tasks: Path,
    scores: Sequence[Path],
    predictions: Sequence[Path],
    labels: Path,
    split: Path,
    samples: Path,
    out: Path,
    settings: Tim,
    seed: int,
) -> None:
    """Write TIM(task, companion) of every ordered pair.

    The estimate is made of scores of the same replicates and folds, each combination at its own best setting:
    their differences, or of random sets a regression (:mod:`m3h_pipeline.tim.contexts`,
    :mod:`m3h_pipeline.tim.sampled`). The
    excess is the estimate less the mean of the task's permuted companions: what a companion does beyond what
    sharing costs whoever the companion is. The 95 % intervals and p-values are those of a t distribution
    whose variance counts patients and seeds (see :mod:`m3h_pipeline.tim.uncertainty`); q is
    Benjamini-Hochberg over all ordered pairs. A pair is significant if q of its excess (without permuted
    companions, of its estimate) is at most ``settings.fdr``, but for an improvement to a score that may be
    chance: its 95 % interval beside the companion must lie above an R² of 0, an AUROC of 0.5; and none where
    nothing says what seeds do, with one replicate and fewer than two permuted companions. A pair without
    any defined difference (its fits diverged) has NaN and is not significant. Permuted companions have rows
    of their own, which no q counts. The schema's metadata (``tim``, JSON) says what the numbers are.

    Args:
        tasks: ``labels/tasks.json``.
        scores: scores of the search and of TIM's own fits (contracts.SCORES).
        predictions: their predictions (contracts.PREDICTIONS).
        labels: folder of the labels.
        split: table of contracts.SPLIT.
        samples: ``cohort/samples.parquet``.
        out: table of contracts.TIM, sorted by task and companion.
        settings: mode, permuted companions, draws, false discovery rate.
        seed: of the study: of the draws, permuted labels and random sets.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: fits or predictions are missing, or files do not fit each other.
        ConfigError: the exact mode is asked for too many tasks.
    """
    known = read_tasks(tasks)
    permuted = permuted_companions(known, settings.controls, seed)
    table = read_scores(scores)
    design = design_of(known, permuted, settings, seed)
    replicates = table.common(*design.keys) if design.pairs else ()
    if design.pairs and not replicates:
        raise ContractError(
            "no replicate was trained with every combination TIM needs",
            hint="run `m3h plan-tim` and train its packs first",
        )
    contrasts = Contrasts.of(design, table, replicates)
    everyone = known | permuted
    sources = {task for _, task in contrasts.slots}
    resampled = {n: t for n, t in everyone.items() if n in sources and can_be_resampled(t.metric)}
    cohort = load_cohort(resampled, labels, split, samples, settings.draws, train=seed, permuted=seed)
    (found,) = mean_draws(predictions, contrasts.wanted(table, set(resampled)), [cohort])
    drawn = contrasts.drawn(found, settings.draws)
    write_table(tim_table(contrasts, drawn, everyone, list(permuted), cohort, settings), out, TIM)


def tim_table(
    contrasts: Contrasts,
    drawn: Float64,
    tasks: Mapping[str, Task],
    permuted: list[str],
    cohort: Cohort | None,
    settings: Tim,
) -> pa.Table:
    """The table of contracts.TIM, with what its numbers are in its metadata.

    Args:
        contrasts: which scores.
        drawn: the same under resampled patients, (slots, replicates, draws).
        tasks: id -> task or permuted companion.
        permuted: the permuted companions.
        cohort: whose patients were drawn; None: there are scores alone, and folds stand for patients.
        settings: mode, draws, false discovery rate.
    """
    rows = _rows(contrasts, drawn, tasks, set(permuted), cohort, settings) if contrasts.pairs else []
    metadata = _described(settings, contrasts.value.shape[1:], permuted, cohort is not None)
    metadata["estimand"] = estimand(contrasts.design, settings, len(tasks) - len(permuted))
    return pa.Table.from_pylist(rows, schema=TIM.with_metadata({"tim": json.dumps(metadata, sort_keys=True)}))


def _described(settings: Tim, shape: tuple[int, ...], permuted: list[str], resampled: bool) -> dict[str, Any]:
    replicates, folds = shape
    counted = ["patients" if resampled else "folds"]
    counted += ["seeds"] * (replicates > 1) + ["sets"] * (settings.mode == "sampled")
    variance = " and ".join(counted) + ("" if replicates > 1 else " only: one replicate")
    if not resampled:
        if min(replicates, folds) < 2:
            variance = "not known with one replicate or one fold"
        variance += "; patients are not resampled: from scores alone"
    return {
        "mode": settings.mode,
        "replicates": replicates,
        "folds": folds,
        "draws": settings.draws if resampled else 0,
        "fdr": settings.fdr,
        "level": 0.95,
        "permuted companions": permuted,
        "flags": "excess: the estimate less the mean of the permuted companions"
        if permuted
        else "estimate: the general cost of sharing is in it",
        "variance": variance,
    }


def _rows(
    contrasts: Contrasts,
    drawn: Float64,
    tasks: Mapping[str, Task],
    permuted: set[str],
    cohort: Cohort | None,
    settings: Tim,
) -> list[dict[str, Any]]:
    """The rows of the table; ``drawn``: scores under resampled patients, (slots, replicates, draws)."""
    of = Uncertainty(contrasts, drawn, tasks, cohort)
    pairs = contrasts.pairs
    real = np.array([task not in permuted and companion not in permuted for task, companion in pairs])
    factors = of.inflation(permuted)
    excess_matrix = less_permuted(contrasts.matrix, pairs, permuted)
    estimates = [paired_interval(value, parts) for value, parts in of.contrast(contrasts.matrix)]
    excesses = [
        paired_interval(value, inflated(parts, factors[tasks[task].metric]))
        for (value, parts), (task, _) in zip(of.contrast(excess_matrix), pairs, strict=True)
    ]
    flagged = excesses if permuted else estimates
    q, excess_q = _rates(estimates, real), _rates(excesses, real)
    decisive = excess_q if permuted else q
    seeds = contrasts.value.shape[1] > 1

    def counted(metric: str) -> bool:
        """Whether intervals know of seeds: by replicates, or by how much permuted companions differ."""
        return seeds or bool(np.isfinite(factors[metric][1]))

    above = [
        level.low > CHANCE.get(tasks[task].metric, -np.inf)
        for level, (task, _) in zip(of.levels(), pairs, strict=True)
    ]
    reasons = {name: PERMUTED_LABELS if name in permuted else task.control for name, task in tasks.items()}
    return [
        {
            "task": task,
            "companion": companion,
            "estimate": estimates[row].estimate,
            "low": estimates[row].low,
            "high": estimates[row].high,
            "p": estimates[row].p,
            "q": float(q[row]),
            "excess": excesses[row].estimate,
            "excess_low": excesses[row].low,
            "excess_high": excesses[row].high,
            "excess_p": excesses[row].p,
            "excess_q": float(excess_q[row]),
            "significant": bool(
                decisive[row] <= settings.fdr
                and (flagged[row].estimate < 0 or above[row])
                and counted(tasks[task].metric)
            ),
            "control": not bool(real[row]),
            "task_control": reasons[task],
            "companion_control": reasons[companion],
            "n_differences": contrasts.count(row),
            "mode": settings.mode,
        }
        for row, (task, companion) in enumerate(pairs)
    ]


def _rates(intervals: Sequence[Interval], real: npt.NDArray[np.bool_]) -> Float64:
    """False discovery rates over the pairs of the study's tasks."""
    return benjamini_hochberg(np.where(real, [interval.p for interval in intervals], np.nan))


class Uncertainty:
    """Estimates and their variances from the scores of a study.

    Args:
        contrasts: which scores.
        drawn: the same under resampled patients, (slots, replicates, draws).
        tasks: id -> task.
        cohort: whose patients were drawn; None: there are scores alone.
    """

    def __init__(
        self, contrasts: Contrasts, drawn: Float64, tasks: Mapping[str, Task], cohort: Cohort | None
    ) -> None:
        self._contrasts, self._tasks = contrasts, tasks
        self._by_replicate = contrasts.by_replicate()
        self._drawn = drawn.mean(axis=1)
        self._units = (
            {task: cohort.informative(task, cohort.folds) for task in cohort.tasks} if cohort else {}
        )
        self._slots = {task: contrasts.of_task(task) for task in {task for _, task in contrasts.slots}}
        self._luck = {
            task: luck(self._by_replicate[slots], drawn[slots] if task in self._units else None)
            for task, slots in self._slots.items()
        }

        self._sets = {}
        if isinstance(design := contrasts.design, Sets):
            for task, slots in self._slots.items():
                scores = {contrasts.slots[s][0]: float(self._by_replicate[s].mean()) for s in slots}
                self._sets[task] = design.jackknife(task, scores)

    def contrast(self, matrix: csr_array) -> list[tuple[float, list[tuple[float, float]]]]:
        """Each row's value, and its variances from patients and seeds with their degrees of freedom."""
        found: list[tuple[float, list[tuple[float, float]]]] = []
        for row, (task, _) in enumerate(self._contrasts.pairs):
            slots, weights = _entries(matrix, row)
            if not len(slots):
                found.append((float("nan"), []))
                continue
            value = float(weights @ self._by_replicate[slots].mean(axis=1))
            parts = [self._patients(task, slots, weights), self._luck[task].of(weights)]
            if task in self._sets:
                drawn = np.array([self._contrasts.slots[slot][0] != task for slot in slots])
                parts.append(between_sets(*self._sets[task], self._luck[task], weights[drawn]))
            found.append((value, parts))
        return found

    def levels(self) -> list[Interval]:
        """Each pair's score of the task beside the companion."""
        matrix, found = self._contrasts.with_companion(), []
        for row, (task, _) in enumerate(self._contrasts.pairs):
            slots, weights = _entries(matrix, row)
            if not len(slots):
                found.append(UNDEFINED)
                continue
            scores = self._by_replicate[slots]
            parts = [self._patients(task, slots, weights)]
            if (replicates := scores.shape[1]) > 1:
                pooled = self._by_replicate[self._slots[task]].var(axis=1, ddof=1).mean()
                parts.append((float(pooled) / replicates, replicates - 1.0))
            found.append(paired_interval(float(weights @ scores.mean(axis=1)), parts))
        return found

    def inflation(self, permuted: set[str]) -> dict[str, tuple[float, float]]:
        """Of each metric, by how much permuted companions differ beyond patients (or folds) and seeds."""
        rows: dict[str, list[int]] = {}
        for row, (task, companion) in enumerate(self._contrasts.pairs):
            if companion in permuted and len(_entries(self._contrasts.matrix, row)[0]):
                rows.setdefault(task, []).append(row)
        spreads: dict[str, list[Spread]] = {task.metric: [] for task in self._tasks.values()}
        for task, mine in rows.items():
            if len(mine) > 1:
                slots = self._slots[task]
                weights = self._contrasts.matrix[mine, :][:, slots].toarray()
                drawn = weights @ self._drawn[slots] if task in self._units else None
                folds = weights @ self._contrasts.value[slots].mean(axis=1)
                means = weights @ self._by_replicate[slots].mean(axis=1)
                one = spread(means, drawn, weights, self._luck[task], folds)
                spreads[self._tasks[task].metric].append(one)
        return {metric: inflation(mine) for metric, mine in spreads.items()}

    def _patients(self, task: str, slots: Index, weights: Float64) -> tuple[float, float]:
        if task in self._units:
            units = self._units[task]
            return bootstrap_variance(weights @ self._drawn[slots], units), float(max(1, units - 1))
        # A seed's luck that all folds share is between no folds: one replicate would look surer than it is.
        if self._contrasts.value.shape[1] < 2:
            return float("nan"), 1.0
        return fold_component(weights @ self._contrasts.value[slots].mean(axis=1))


def _entries(matrix: csr_array, row: int) -> tuple[Index, Float64]:
    """Slots with a weight, and their weights."""
    here = slice(matrix.indptr[row], matrix.indptr[row + 1])
    slots, weights = matrix.indices[here], matrix.data[here]
    return slots[weights != 0], weights[weights != 0]
