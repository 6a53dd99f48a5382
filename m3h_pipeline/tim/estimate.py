"""The verb ``tim``: how much learning another task too changes the score of a task, and how sure that is."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
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
from m3h_pipeline.inference.intervals import benjamini_hochberg, fold_component, paired_interval
from m3h_pipeline.inference.metrics import CHANCE, Float64, can_be_resampled
from m3h_pipeline.inference.resampled import Cohort, Wanted, load_cohort, mean_draws
from m3h_pipeline.search.scores import Scores, read_scores
from m3h_pipeline.tasks.assessed import Task, read_tasks
from m3h_pipeline.tim.contexts import Context, contexts, needed, weights
from m3h_pipeline.tim.uncertainty import Component, context_component, seed_component

Pair = tuple[str, str]


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

    The estimate is the mean over contexts (see :mod:`m3h_pipeline.tim.contexts`), replicates and folds of the
    difference between two fits of the same replicate and fold, each combination at its own best setting. The
    95 % interval and the p-value are those of a t distribution whose variance counts patients and seeds (see
    :mod:`m3h_pipeline.tim.uncertainty`); q is Benjamini-Hochberg over all ordered pairs. A pair is
    significant if q is at most ``settings.fdr``, but for an improvement that stays below chance (a mean R²
    with the companion of 0 or less, an AUROC of 0.5 or less): overfitting less is no help in learning the
    task. A pair without any defined difference (its fits diverged) has NaN and is not significant. The
    schema's metadata (``tim``, JSON) says what the numbers are.

    Args:
        tasks: ``labels/tasks.json``.
        scores: scores of the search and of TIM's own fits (contracts.SCORES).
        predictions: their predictions (contracts.PREDICTIONS).
        labels: folder of the labels.
        split: table of contracts.SPLIT.
        samples: ``cohort/samples.parquet``.
        out: table of contracts.TIM, sorted by task and companion.
        settings: mode, draws, false discovery rate.
        seed: of the draws and the random chains.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: fits or predictions are missing, or files do not fit each other.
        ConfigError: the exact mode is asked for too many tasks.
    """
    known = read_tasks(tasks)
    table = read_scores(scores)
    every = contexts(known, settings, seed)
    replicates = table.common(*needed(every)) if every else ()
    if every and not replicates:
        raise ContractError(
            "no replicate was trained with every combination TIM needs",
            hint="run `m3h plan-tim` and train its packs first",
        )
    differences = Differences.of(every, table, replicates)
    resampled = {name: task for name, task in known.items() if can_be_resampled(task.metric)}
    cohort = load_cohort(resampled, labels, split, samples, settings.draws, train=seed)
    (drawn,) = mean_draws(predictions, differences.wanted(table, set(resampled)), [cohort])
    slots = range(len(differences.slots))
    draws = np.array([drawn.mean(slot) for slot in slots]).reshape(-1, settings.draws)
    rows = _rows(differences, known, draws, cohort, settings)
    metadata = {"tim": json.dumps(_described(settings, replicates, cohort.folds), sort_keys=True)}
    write_table(pa.Table.from_pylist(rows, schema=TIM.with_metadata(metadata)), out, TIM)


def _described(settings: Tim, replicates: Collection[int], folds: Collection[int]) -> dict[str, Any]:
    counted = ["patients"] + ["seeds"] * (len(replicates) > 1) + ["contexts"] * (settings.mode == "sampled")
    return {
        "mode": settings.mode,
        "replicates": len(replicates),
        "folds": len(folds),
        "draws": settings.draws,
        "fdr": settings.fdr,
        "level": 0.95,
        "variance": " and ".join(counted) + ("" if len(replicates) > 1 else " only: one replicate"),
    }


@dataclass
class Differences:
    """The defined differences of all pairs, and the scores they are made of.

    A slot is a task within a combination at the combination's setting.

    Attributes:
        pairs: (task, companion), sorted.
        contexts: of each pair, its defined contexts.
        slots: (combination, task).
        value: score of each slot by replicate and fold, NaN = undefined; (slots, replicates, folds).
        fits: number of each score's fit; same shape.
        matrix: weight of each slot in each pair's estimate; (pairs, slots).
    """

    pairs: list[Pair]
    contexts: list[list[Context]]
    slots: list[Pair]
    value: Float64
    fits: npt.NDArray[np.int32]
    matrix: csr_array

    @classmethod
    def of(cls, every: dict[Pair, list[Context]], table: Scores, replicates: tuple[int, ...]) -> Differences:
        """Gather the differences whose two combinations both have a score."""
        choice = table.choice(replicates)
        chosen = [table.replicates.index(r) for r in replicates]
        numbers: dict[Pair, int] = {}
        members: list[int] = []
        data: list[float] = []
        rows: list[int] = []
        columns: list[int] = []
        kept: list[list[Context]] = []
        for row, ((task, _), found) in enumerate(every.items()):
            usable = [
                c
                for c in found
                if np.isfinite(choice.score[table.member(c.without, task)])
                and np.isfinite(choice.score[table.member(c.with_companion, task)])
            ]
            kept.append(usable)
            for context, weight in zip(usable, weights(usable), strict=True):
                for key, sign in ((context.with_companion, 1.0), (context.without, -1.0)):
                    slot = numbers.setdefault((key, task), len(numbers))
                    if slot == len(members):
                        members.append(table.member(key, task))
                    data.append(sign * weight)
                    rows.append(row)
                    columns.append(slot)
        member = np.array(members, dtype=np.intp)
        setting = choice.setting[table.combination_of[member]]
        return cls(
            pairs=list(every),
            contexts=kept,
            slots=list(numbers),
            value=table.value[member, setting][:, chosen],
            fits=table.fit[member, setting][:, chosen],
            matrix=csr_array((data, (rows, columns)), shape=(len(every), len(numbers))),
        )

    def wanted(self, table: Scores, tasks: set[str]) -> dict[tuple[str, str], Wanted]:
        """The predictions behind the slots of the given tasks; folds without a score are not needed."""
        keys = table.fit_keys
        return {
            (keys[int(self.fits[slot, r, k])].as_py(), task): Wanted(fold, [slot])
            for slot, (_, task) in enumerate(self.slots)
            if task in tasks
            for r in range(self.fits.shape[1])
            for k, fold in enumerate(table.folds)
            if np.isfinite(self.value[slot, r, k])
        }

    def count(self, row: int) -> int:
        """Number of a pair's differences: contexts times replicates times folds with a score."""
        slots = self.matrix[[row], :].indices
        return len(self.contexts[row]) * int(np.isfinite(self.value[slots[0]]).sum()) if len(slots) else 0

    def by_fold(self) -> Float64:
        """Each pair's difference by fold, mean over replicates; (pairs, folds)."""
        return np.asarray(self.matrix @ self.value.mean(axis=1))

    def by_replicate(self) -> Float64:
        """Each pair's difference by replicate, mean over the folds that have a score; (pairs, replicates)."""
        count = np.isfinite(self.value).sum(axis=2)
        total = np.nan_to_num(self.value).sum(axis=2)
        return np.asarray(self.matrix @ np.divide(total, count, out=np.zeros(total.shape), where=count > 0))

    def score_with_companion(self) -> Float64:
        """Each pair's mean score with the companion; (pairs,)."""
        if not self.slots:
            return np.zeros(len(self.pairs))
        return np.asarray(self.matrix.maximum(0) @ np.nanmean(self.value, axis=(1, 2)))

    def context_values(self) -> list[list[tuple[int, int, float, float]]]:
        """Of each pair its contexts: size, number of sets of that size, weight, difference."""
        mean = np.nanmean(self.value, axis=(1, 2)) if len(self.slots) else np.zeros(0)
        score = dict(zip(self.slots, mean.tolist(), strict=True))
        return [
            [
                (c.size, c.share, w, score[c.with_companion, task] - score[c.without, task])
                for c, w in zip(found, weights(found), strict=True)
            ]
            for (task, _), found in zip(self.pairs, self.contexts, strict=True)
        ]


def _rows(
    differences: Differences,
    tasks: dict[str, Task],
    draws: Float64,
    cohort: Cohort,
    settings: Tim,
) -> list[dict[str, Any]]:
    pairs = differences.pairs
    if not pairs:
        return []
    by_replicate = differences.by_replicate()
    estimate = by_replicate.mean(axis=1)
    names = sorted(tasks)
    metrics = sorted({task.metric for task in tasks.values()})
    source = np.array([names.index(task) for task, _ in pairs], dtype=np.intp)
    metric = np.array([metrics.index(tasks[task].metric) for task, _ in pairs], dtype=np.intp)
    components: list[Component] = [_patients(differences, draws, cohort)]
    components.append(seed_component(by_replicate, components[0][0], source, metric))
    if settings.mode == "sampled":
        reach = range(max(2, min(settings.max_size, len(names))) - 1)
        total_share = sum(math.comb(len(names) - 2, size) for size in reach)
        components.append(context_component(differences.context_values(), metric, total_share))
    intervals = []
    for row, found in enumerate(differences.contexts):
        value = float(estimate[row]) if found else float("nan")
        parts = [(float(variance[row]), float(df[row])) for variance, df in components]
        intervals.append(paired_interval(value, parts))
    q = benjamini_hochberg(np.array([interval.p for interval in intervals]))
    above = differences.score_with_companion() > [
        CHANCE.get(tasks[task].metric, -np.inf) for task, _ in pairs
    ]
    return [
        {
            "task": task,
            "companion": companion,
            "estimate": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "p": interval.p,
            "q": float(q[row]),
            "significant": bool(q[row] <= settings.fdr and (interval.estimate < 0 or above[row])),
            "n_differences": differences.count(row),
            "mode": settings.mode,
        }
        for row, ((task, companion), interval) in enumerate(zip(pairs, intervals, strict=True))
    ]


def _patients(differences: Differences, draws: Float64, cohort: Cohort) -> Component:
    """Variance from patients of each pair's estimate, and its degrees of freedom."""
    units = {task: cohort.informative(task, cohort.folds) for task in cohort.tasks}
    resampled = np.asarray(differences.matrix @ draws)
    by_fold = differences.by_fold()
    variance, df = np.full(len(resampled), np.nan), np.ones(len(resampled))
    for row, (task, _) in enumerate(differences.pairs):
        if task in units:
            variance[row] = bootstrap_variance(resampled[row], units[task])
            df[row] = max(1, units[task] - 1)
        else:
            variance[row], df[row] = fold_component(by_fold[row])
    return variance, df
