"""What studies claim where nothing is to be found, and what they find where something is: simulated studies.

``python -m tests.benchmarks.claims [--studies 520] [--power 20]`` writes the tables of docs/claims.md: seven
minutes of a core. Predictions are simulated, and all behind them is the evaluation's own: ensembles,
bootstrap over patients, jackknife over seeds, pooled variances, verdicts (``contrast``, ``evaluation_rows``).

A fit says of a patient d times the outcome plus noise, so that its AUROC is Φ(d / √2); the noise is the
patient's own but for a small part. A seed's luck is a change of d worth ``SEEDS`` of AUROC (a standard
deviation); a share of its variance belongs to the combination and the replicate, whatever the fold, and goes
along to the test part, the rest to the single fit. In the global null all combinations have the same d.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from m3h_pipeline.evaluation.arms import Chosen
from m3h_pipeline.evaluation.claims import BETTER, DECIDED
from m3h_pipeline.evaluation.contrast import contrast
from m3h_pipeline.evaluation.tested import evaluation_rows
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.resampled import TEST, Cohort, Part
from m3h_pipeline.tasks.assessed import Task
from tests.conftest import ROOT

PAGE = ROOT / "docs/claims.md"
_HEAD, _END = "<!-- simulated: python -m tests.benchmarks.claims -->\n", "<!-- end -->\n"
#: Deviation of a score between seeds, and the share of its variance that persists from part to part.
SEEDS, PERSISTS = 0.008, 0.5
#: Share of a prediction's noise that is the fit's own.
OWN = 0.02
TASKS, FOLDS, SEARCHED, FINAL = 13, 5, 3, 5
AUROC = 0.75
RATE = 0.05
#: How the final fits are chosen and made.
WAYS = {
    "ours": "chosen out of fold, final fits of seeds that the search never saw",
    "seeds": "chosen out of fold, final fits of the search's seeds",
    "test": "chosen by the score on the test part",
}
GAINS = (0.01, 0.02, 0.03, 0.05)
PREVALENCES = (0.02, 0.1, 0.3)
SIZES = (1000, 7000)
#: Test patients of the global null.
NULL = 1000

Floats = npt.NDArray[np.float64]


def separation(auroc: float) -> float:
    """The distance of the classes, in deviations, that gives an AUROC."""
    return float(np.sqrt(2) * stats.norm.ppf(auroc))


def per_auroc(auroc: float) -> float:
    """What a change of AUROC of 1 is of this distance."""
    return float(np.sqrt(2) / stats.norm.pdf(stats.norm.ppf(auroc)))


@dataclass
class Patients:
    """A test part: outcomes of every task, and the noise that all fits share.

    Args:
        prevalence: of each task.
        n: patients, one sample each.
        draws: of the bootstrap.
        rng: of everything.
    """

    prevalence: Sequence[float]
    n: int
    draws: int
    rng: np.random.Generator
    y: Floats = field(init=False)
    common: Floats = field(init=False)
    cohort: Cohort = field(init=False)

    def __post_init__(self) -> None:
        tasks = len(self.prevalence)
        self.y = np.array([self._outcome(rate) for rate in self.prevalence])
        self.common = self.rng.normal(size=(tasks, self.n))
        names = [f"task_{i:02d}" for i in range(tasks)]
        weights = patient_counts(self.n, self.draws, int(self.rng.integers(2**32))).T
        rows = np.arange(self.n)
        self.cohort = Cohort(
            {name: Task(name, "binary", "auroc", title=name) for name in names},
            {name: y.astype(np.float32) for name, y in zip(names, self.y, strict=True)},
            {TEST: Part(rows, rows, np.ascontiguousarray(weights))},
            rows,
            draws=self.draws,
        )

    def _outcome(self, rate: float) -> Floats:
        y = np.zeros(self.n)
        y[self.rng.permutation(self.n)[: round(rate * self.n)]] = 1
        return y

    def predictions(self, task: int, d: Floats) -> Floats:
        """What fits with distances ``d`` say, (fits,) -> (fits, n, 1)."""
        own = self.rng.normal(size=(len(d), self.n))
        noise = np.sqrt(1 - OWN) * self.common[task] + np.sqrt(OWN) * own
        return np.asarray((d[:, None] * self.y[task] + noise)[:, :, None])


def rows_of(patients: Patients, arms: Mapping[int, tuple[Floats, Floats, bool]]) -> list[dict[str, Any]]:
    """Rows of contracts.EVALUATION; ``arms``: task -> what single and multi predict, whether they are one."""
    chosen, contrasts = [], {}
    for i, (single, multi, alone) in arms.items():
        name = f"task_{i:02d}"
        # A combination's other members are of no matter here.
        key = name if alone else f"{name}+zzz"
        chosen.append(Chosen(name, key, (0, 0.0), 0.0, (0, 0.0), 0.0))
        contrasts[name] = contrast(patients.cohort, name, TEST, single, multi, alone)
    return evaluation_rows(chosen, contrasts, {}, patients.cohort, RATE)


def null_study(number: int, way: str, n: int = NULL, draws: int = 120) -> tuple[int, int, int, float]:
    """One study of the global null, in one of :data:`WAYS`.

    Returns:
        Tasks better, worse, tested, and the sum of the differences of those that were tested.
    """
    rng = np.random.default_rng([number, 19])
    patients = Patients(rng.uniform(0.05, 0.4, TASKS).tolist(), n, draws, rng)
    unit, middle = per_auroc(AUROC), separation(AUROC)
    lasting, passing = (SEEDS * np.sqrt(share) * unit for share in (PERSISTS, 1 - PERSISTS))
    arms: dict[int, tuple[Floats, Floats, bool]] = {}
    for task in range(TASKS):
        # Candidate 0 learns alone, the others with one more task; replicates beyond the search's are new.
        luck = lasting * rng.normal(size=(TASKS, SEARCHED + FINAL))
        passed = passing * rng.normal(size=(TASKS, SEARCHED, FOLDS))
        final = middle + luck + passing * rng.normal(size=luck.shape)
        final = final[:, :FINAL] if way == "seeds" else final[:, SEARCHED:]
        if way == "test":
            every = [patients.predictions(task, d) for d in final]
            best = int(np.argmax([auroc(patients.y[task], one.mean(axis=0)[:, 0]) for one in every]))
            single, multi = every[0], every[best]
        else:
            best = int(np.argmax((luck[:, :SEARCHED, None] + passed).mean(axis=(1, 2))))
            single, multi = (patients.predictions(task, final[one]) for one in (0, best))
        arms[task] = single, multi, best == 0
    rows = rows_of(patients, arms)
    verdicts = [row["verdict"] for row in rows]
    tested = [row["difference"] for row in rows if np.isfinite(row["q"])]
    better = verdicts.count(BETTER)
    return better, sum(one in DECIDED for one in verdicts) - better, len(tested), float(sum(tested))


def auroc(y: Floats, values: Floats) -> float:
    """The AUROC by ranks, without ties: thousands are needed to choose by."""
    ranks = np.empty(len(y))
    ranks[np.argsort(values)] = np.arange(1, len(y) + 1)
    positive = y.sum()
    return float((ranks[y == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(y) - positive)))


def power_study(number: int, prevalence: float, n: int, draws: int = 120) -> list[tuple[float, bool, float]]:
    """One study with gains of every size, and two tasks without: (gain, whether it is called, detectable)."""
    gains = (*GAINS, 0.0, 0.0)
    rng = np.random.default_rng([number, int(1000 * prevalence), n])
    patients = Patients([prevalence] * len(gains), n, draws, rng)
    unit = per_auroc(AUROC)

    def arm(task: int, gain: float) -> Floats:
        d = separation(AUROC + gain) + SEEDS * unit * rng.normal(size=FINAL)
        return patients.predictions(task, d)

    rows = rows_of(patients, {i: (arm(i, 0.0), arm(i, gain), False) for i, gain in enumerate(gains)})
    return [
        (gain, row["verdict"] == BETTER, float(row["detectable"]))
        for gain, row in zip(gains, rows, strict=True)
    ]


def coverage_study(number: int, n: int, draws: int = 120) -> list[tuple[float, float, float, float]]:
    """One study of the global null with tasks of all prevalences: (prevalence, difference, low, high)."""
    prevalence = np.resize(PREVALENCES, TASKS)
    rng = np.random.default_rng([number, n, 2])
    patients = Patients(prevalence.tolist(), n, draws, rng)
    luck = SEEDS * per_auroc(AUROC) * rng.normal(size=(TASKS, 2, FINAL))
    arms: dict[int, tuple[Floats, Floats, bool]] = {}
    for task in range(TASKS):
        one, other = (patients.predictions(task, separation(AUROC) + each) for each in luck[task])
        arms[task] = one, other, False
    rows = rows_of(patients, arms)
    names = ("difference", "difference_low", "difference_high")
    return [(rate, *(row[name] for name in names)) for rate, row in zip(prevalence, rows, strict=True)]


def coverage_table(
    found: Mapping[int, Sequence[Sequence[tuple[float, float, float, float]]]],
) -> list[str]:
    """The table of intervals, as lines of Markdown."""
    lines = ["| prevalence | test patients | intervals that hold 0 | half-width |", "|---|---|---|---|"]
    for n, studies in found.items():
        cells = np.array([one for study in studies for one in study])
        for prevalence in PREVALENCES:
            value, low, high = cells[np.isclose(cells[:, 0], prevalence), 1:].T
            width = (high - low).mean() / 2 / (1.96 * np.sqrt((value**2).mean()))
            covered = ((low <= 0) & (high >= 0)).mean()
            lines.append(f"| {100 * prevalence:.0f} % | {n:,} | {covered:.3f} | {width:.2f} |")
    return lines


def null_table(found: Mapping[str, Sequence[Sequence[float]]]) -> list[str]:
    """The table of the global null, as lines of Markdown."""
    lines = [
        "| final fits | studies | declare a gain | gain or loss | tasks tested | mean difference |",
        "|---|---|---|---|---|---|",
    ]
    for way, said in WAYS.items():
        better, worse, tested, total = np.array(found[way], dtype=np.float64).T
        each = total / np.maximum(tested, 1)
        error = each[tested > 0].std(ddof=1) / np.sqrt((tested > 0).sum())
        shares = [f"{100 * (some > 0).mean():.1f} %" for some in (better, better + worse)]
        lines.append(
            f"| {said} | {len(better)} | {' | '.join(shares)} "
            f"| {tested.mean():.1f} of {TASKS} | {total.sum() / tested.sum():+.4f} ± {1.96 * error:.4f} |"
        )
    return lines


def power_table(
    found: Mapping[tuple[float, int], Sequence[Sequence[tuple[float, bool, float]]]],
) -> list[str]:
    """The table of what is found, as lines of Markdown."""
    heads = " | ".join(f"+{gain:.2f}" for gain in GAINS)
    lines = [
        f"| prevalence | test patients | {heads} | called without a gain | detectable |",
        f"|---|---|{'---|' * len(GAINS)}---|---|",
    ]
    for (prevalence, n), studies in found.items():
        cells = [one for study in studies for one in study]
        called = {gain: np.mean([hit for g, hit, _ in cells if g == gain]) for gain in (*GAINS, 0.0)}
        shares = " | ".join(f"{100 * called[gain]:.0f} %" for gain in GAINS)
        least = float(np.median([d for _, _, d in cells]))
        lines.append(
            f"| {100 * prevalence:.0f} % | {n:,} | {shares} | {100 * called[0.0]:.1f} % | {least:.3f} |"
        )
    return lines


def main() -> None:
    """Simulate, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=520, help="of the global null")
    parser.add_argument("--power", type=int, default=20, help="studies per cell of the second table")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        null = {
            way: list(pool.map(partial(null_study, way=way), range(number), chunksize=10))
            for way, number in zip(WAYS, (options.studies, *[options.studies // 5] * 2), strict=True)
        }
        power = {
            (prevalence, n): list(
                pool.map(partial(power_study, prevalence=prevalence, n=n), range(options.power), chunksize=5)
            )
            for n in SIZES
            for prevalence in PREVALENCES
        }
        held = {
            n: list(pool.map(partial(coverage_study, n=n), range(2 * options.power), chunksize=5))
            for n in SIZES
        }
    said = (
        f"Studies of {TASKS} tasks in which no combination is better than another. Seeds "
        f"move an AUROC by {SEEDS} (a standard deviation), of whose variance {100 * PERSISTS:.0f} % persists "
        f"from the folds to the test part; {NULL:,} test patients, prevalences of 5 to 40 %, an AUROC of "
        f"{AUROC}; the best of {TASKS} candidates by {FOLDS} folds and {SEARCHED} replicates, {FINAL} final "
        "replicates. ± is a 95 % interval."
    )
    found = (
        "The share of true gains that are called better, among six tasks of which two have none "
        f"({options.power} studies a line; {FINAL} replicates, seeds as above), and the median detectable "
        "difference that such a study prints:"
    )
    width = (
        f"Intervals of the difference in studies of {TASKS} tasks of all prevalences, in which nothing helps "
        f"({2 * options.power} studies a size, seeds as above); the half-width is over 1.96 times the true "
        "standard deviation:"
    )
    lines = [said, "", *null_table(null), "", found, "", *power_table(power), "", width, ""]
    lines += [*coverage_table(held), ""]
    text = "\n".join(lines)
    page = options.page.read_text(encoding="utf-8")
    start, end = page.index(_HEAD) + len(_HEAD), page.index(_END, page.index(_HEAD))
    options.page.write_text(page[:start] + "\n" + text + "\n" + page[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
