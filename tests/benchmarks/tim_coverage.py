"""How often the intervals of TIM hold the truth, and how wide they are, on predictions whose truth is known.

Every study has new patients, seeds and, where companions differ by chance, new chances. Labels and
predictions are made up, what comes after is the project's own code: scores, the bootstrap over patients,
estimates, intervals, flags. A task's prediction is separation times label plus the patient's own noise plus
the fit's, so that its AUROC is Φ(separation / √variance).

    python -m tests.benchmarks.tim_coverage --mode pairs --studies 200

With ``--scores`` as ``m3h replay`` has them: from scores alone, by folds and seeds.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from scipy import stats

from m3h_pipeline.coding import is_permuted
from m3h_pipeline.config import Tim
from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.inference.resampled import Cohort, Part, score_draws
from m3h_pipeline.search.scores import Choice, Scores
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.tasks.permuted import permuted_companions
from m3h_pipeline.tim.contrasts import Contrasts
from m3h_pipeline.tim.design import design_of
from m3h_pipeline.tim.estimate import _rows

FOLDS, REPLICATES = 3, 3
#: Deviation of a fit's separation (its luck), of its own noise from patient to patient, and what every
#: companion takes off the separation.
SEEDS, WITHIN, COST = 0.03, 0.3, 0.05


class Fits:
    """Scores of made-up fits, as ``search.scores.Scores`` has those of a study."""

    def __init__(self, keys: list[str], study: Cohort, separation: Callable[[str, str], float], seed: int):
        rng = np.random.default_rng(seed)
        self.replicates, self.folds = list(range(REPLICATES)), list(range(FOLDS))
        self._member = {(k, t): 0 for k in keys for t in combination_tasks(k) if not is_permuted(t)}
        self._member = {pair: number for number, pair in enumerate(self._member)}
        n = len(study.patient)
        own = {task: rng.normal(size=n) for task in study.tasks}
        shape = (len(self._member), 1, REPLICATES, FOLDS)
        self.value, self.fit = np.full(shape, np.nan), np.zeros(shape, np.int32)
        self.drawn = np.zeros((len(self._member), REPLICATES, study.draws))
        for (key, task), member in self._member.items():
            for r in range(REPLICATES):
                apart = separation(key, task) + SEEDS * rng.normal()
                for fold in range(FOLDS):
                    rows = study.parts[fold].rows
                    y = study.labels[task][rows]
                    said = apart * y + own[task][rows] + WITHIN * rng.normal(size=len(rows))
                    self.value[member, 0, r, fold] = metric("auroc", y, said)
                    self.drawn[member, r] += score_draws(study, task, fold, said.astype(np.float32)) / FOLDS
        self.combination_of = np.zeros(len(self._member), np.intp)

    def member(self, key: str, task: str) -> int:
        return self._member.get((key, task), 0)

    def choice(self, replicates: tuple[int, ...]) -> Choice:
        return Choice(np.zeros(1, np.intp), self.value.mean(axis=(1, 2, 3)))


def cohort(tasks: dict[str, Task], rows: int, prevalence: float, draws: int, seed: int) -> Cohort:
    """Patients of one sample each."""
    rng = np.random.default_rng(seed)
    weights = patient_counts(rows, draws, seed).T
    fold = rng.permutation(rows) % FOLDS
    parts = {}
    for number in range(FOLDS):
        here = np.flatnonzero(fold == number)
        parts[number] = Part(here, np.arange(len(here)), np.ascontiguousarray(weights[here]))
    labels = {task: (rng.random(rows) < prevalence).astype(np.float32) for task in tasks}
    return Cohort(tasks, labels, parts, np.arange(rows), {}, draws)


def auroc(separation: float) -> float:
    return float(stats.norm.cdf(separation / math.sqrt(2 + 2 * WITHIN**2 + SEEDS**2)))


def study(
    settings: Tim, n_tasks: int, rows: int, prevalence: float, chance: float, seed: int, scores: bool = False
) -> list[dict[str, Any]]:
    """The table of one study, each pair with its truth."""
    rng = np.random.default_rng([seed, 1])
    tasks = {f"t{i}": Task(f"t{i}", "binary", "auroc") for i in range(n_tasks)}
    permuted = permuted_companions(tasks, settings.controls, seed)
    design = design_of(tasks, permuted, settings, seed)
    known = cohort(tasks, rows, prevalence, settings.draws, seed)
    effect = {("t0", "t1"): 0.2, ("t1", "t2"): -0.2}
    lucky = {(t, o): chance * rng.normal() for t in tasks for o in [*tasks, *permuted]}

    def separation(key: str, task: str) -> float:
        others = [o for o in combination_tasks(key) if o != task]
        return 1 + sum(effect.get((task, o), 0.0) + lucky[task, o] - COST for o in others)

    fits = Fits(design.keys, known, separation, seed)
    contrasts = Contrasts.of(design, cast(Scores, fits), tuple(range(REPLICATES)))
    members = [fits.member(*slot) for slot in contrasts.slots]
    patients = None if scores else known
    every = _rows(contrasts, fits.drawn[members], {**tasks, **permuted}, set(permuted), patients, settings)
    table = [row for row in every if not row["control"]]

    largest = {"pairs": 0, "exact": n_tasks - 2, "sampled": min(settings.max_size, n_tasks) - 2}[
        settings.mode
    ]

    def expected(pair: tuple[str, str], companions: float) -> float:
        """The paper's formula, chances left out."""
        task, found = pair[0], []
        for size in range(largest + 1):
            for s in itertools.combinations([t for t in tasks if t not in pair], size):
                before = 1 + sum(effect.get((task, o), 0.0) - COST for o in s)
                found.append(auroc(before + companions - COST) - auroc(before))
        return float(np.mean(found))

    # Permuted companions stand beside sets of all other tasks, none of which is the companion.
    without = {task: expected((task, "permuted"), 0.0) for task in tasks}
    for row in table:
        pair = row["task"], row["companion"]
        row["truth"] = expected(pair, effect.get(pair, 0.0))
        row["excess_truth"] = row["truth"] - without[row["task"]]
        row["planted"] = pair in effect
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", default="pairs")
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--sets", type=int)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--chance", type=float, default=0.0)
    parser.add_argument("--controls", type=int, default=3)
    parser.add_argument("--prevalence", type=float, nargs="*", default=[0.02, 0.1, 0.3])
    parser.add_argument("--scores", action="store_true")
    options = parser.parse_args()
    settings = Tim(
        mode=options.mode, sets=options.sets, draws=200, replicates=REPLICATES, controls=options.controls
    )
    print(
        "| prevalence | quantity | coverage | half-width / 1.96 SD | flagged of null | flagged of planted |"
    )
    print("|---|---|---|---|---|---|")
    for prevalence in options.prevalence:
        tables = [
            study(settings, options.tasks, options.rows, prevalence, options.chance, seed, options.scores)
            for seed in range(options.studies)
        ]
        for name in ("", "excess_"):
            value = np.array([[row[name.strip("_") or "estimate"] for row in t] for t in tables])
            truth = np.array([[row[f"{name}truth"] for row in t] for t in tables])
            low, high = (
                np.array([[row[f"{name}{end}"] for row in t] for t in tables]) for end in ("low", "high")
            )
            held = ((low <= truth) & (truth <= high)).mean()
            width = np.median((high - low) / 2, axis=0) / (1.96 * (value - truth).std(axis=0, ddof=1))
            flags = np.array([[row["significant"] for row in t] for t in tables])
            planted = np.array([row["planted"] for row in tables[0]])
            print(
                f"| {prevalence:.0%} | {name.strip('_') or 'estimate'} | {held:.3f} | {width.mean():.2f} "
                f"| {flags[:, ~planted].mean():.4f} | {flags[:, planted].mean():.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
