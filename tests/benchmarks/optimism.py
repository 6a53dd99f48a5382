"""How much of a search's optimism is taken off again: simulated tables of scores.

``python -m tests.benchmarks.optimism [--studies 400]`` writes a table of docs/claims.md: three minutes of a
core. Nothing is trained. A task looks at itself alone and at 40 pairs, none of which is better than another.
A score is 0.75 plus the mean of what patients add, each of them something else for each combination, in every
seed the same, plus a seed's luck, a share of whose variance is the same in all folds. Search, selection,
BBC-CV and its correction are the project's own code.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from m3h_pipeline.config import Search
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.evaluation.optimism import LeastGain, Looked, SharedReplicates, corrected, search_luck
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.metrics import Float64
from m3h_pipeline.search.budget import equal_budget
from m3h_pipeline.search.greedy import advance, start
from m3h_pipeline.search.scores import Scores, scores_of
from tests.conftest import ROOT

PAGE = ROOT / "docs/claims.md"
_HEAD, _END = "<!-- simulated: python -m tests.benchmarks.optimism -->\n", "<!-- end of optimism -->\n"
TASK, COMPANIONS = "a", 40
FOLDS, REPLICATES, UNUSED = 5, 3, 2
#: Patients of a fold, and draws of them.
PATIENTS, DRAWS = 100, 100
LEVEL = 0.75
RULES = {"any gain (published)": Search(standard_errors=0.0), "one standard error": Search()}


@dataclass(frozen=True)
class Scenario:
    """Deviations of a fold's score by its patients, of a score by its seed, and what of this persists."""

    name: str
    patients: float = 0.006
    seeds: float = 0.008
    persists: float = 0.0


SCENARIOS = (
    Scenario("seeds change nothing", seeds=0.0),
    Scenario("seeds 0.008, each fit by itself"),
    Scenario("seeds 0.008, luck persists from fold to fold", persists=1.0),
    Scenario("seeds 0.008, half persists, ten times the patients", patients=0.006 / 10**0.5, persists=0.5),
)


@dataclass(frozen=True)
class Found:
    """What a study says of what it selected, less its true score; NaN: the task stays alone.

    Attributes:
        selected: by the scores that it was selected by.
        bbc: as BBC-CV corrects these.
        refitted: by folds refitted with seeds that nobody chose by.
        both: the latter less what BBC-CV takes off.
        budget: as ``selected``, of the best of as many fits of the task alone.
        told: what the study says of that, from the fits that it has.
        holds: whether the interval of ``both`` holds the true score.
        naive: whether that of ``selected`` does.
    """

    selected: float
    bbc: float
    refitted: float
    both: float
    budget: float
    told: float
    holds: float
    naive: float


def study(scenario: Scenario, search: Search, seed: int) -> Found:
    """One study of one task."""
    rng = np.random.default_rng(seed)
    keys = [TASK, *(f"{TASK}+b{i:02d}" for i in range(COMPANIONS))]
    spread = scenario.patients * PATIENTS**0.5
    own = spread * rng.normal(size=(len(keys), FOLDS, PATIENTS))
    lasting, passing = (scenario.seeds * share**0.5 for share in (scenario.persists, 1 - scenario.persists))

    def luck(replicates: int) -> Float64:
        shape = (len(keys), replicates)
        passed = passing * rng.normal(size=(*shape, FOLDS))
        return np.asarray(lasting * rng.normal(size=shape)[..., None] + passed)

    seeds = luck(REPLICATES)
    scores = table(keys, LEVEL + own.mean(axis=2)[:, None] + seeds)
    (state,) = start([TASK], scores)
    advance(state, 2, [key[-3:] if "+" in key else key for key in keys], scores, search)
    chosen = keys.index(state.best)
    nobody = luck(UNUSED)[chosen].mean()
    refitted = float(own[chosen].mean() + nobody)
    # Of the same patients as the task alone, with as many seeds.
    budget = float(own[0].mean() + np.max(luck(REPLICATES).mean(axis=(1, 2))))
    told = equal_budget(scores, TASK, state.best, [one.combination for one in state.looked]) - LEVEL
    looked = [Looked(one.size, one.combination, one.score) for one in state.looked]
    looked.sort(key=lambda one: (one.size, -one.score, one.combination))
    order = [keys.index(one.combination) for one in looked]
    counts = patient_counts(FOLDS * PATIENTS, DRAWS, seed).reshape(DRAWS, FOLDS, PATIENTS)
    drawn = [
        np.einsum("kfp,dfp->kfd", own, weights) / weights.sum(axis=2).T
        for weights in (counts, (counts == 0).astype(np.float32))
    ]
    inside, outside = (LEVEL + seeds.mean(axis=(1, 2))[:, None] + one.mean(axis=1) for one in drawn)
    shared = SharedReplicates.of(looked, scores)
    least = LeastGain.of(TASK, looked, scores, search)
    bbc = corrected(looked, state.best, inside[order][None], outside[order][None], shared.common, least)
    selected = scores.score(state.best, TASK)
    taken = search_luck([{"task": TASK, "selected": selected, "corrected": bbc["corrected"]}])[TASK]
    # By patients as the study knows them, and by seeds, whose variance many tasks tell together.
    by_patients = own[chosen].var(ddof=1) / own[chosen].size
    by_seeds = lasting**2 + passing**2 / FOLDS
    holds, naive = (
        abs(found) <= 1.96 * (by_patients + by_seeds / replicates) ** 0.5
        for found, replicates in ((refitted - taken, UNUSED), (selected - LEVEL, REPLICATES))
    )
    return Found(
        selected - LEVEL,
        bbc["corrected"] - LEVEL,
        refitted,
        refitted - taken,
        budget,
        told,
        float(holds),
        float(naive),
    )


def table(keys: Sequence[str], value: Float64) -> Scores:
    """Scores, (combinations, replicates, folds), as the search reads them."""
    at = np.indices(value.shape).reshape(3, -1)
    n = value.size
    columns = {
        "fit_key": pa.array([str(i) for i in range(n)]),
        "combination": pa.array(list(keys)).take(pa.array(at[0])),
        "task": pa.repeat(TASK, n),
        "replicate": pa.array(at[1], pa.int16()),
        "fold": pa.array(at[2], pa.int16()),
        "batch_size": pa.array(np.zeros(n, np.int32)),
        "learning_rate": pa.array(np.zeros(n)),
        "metric": pa.repeat("auroc", n),
        "value": pa.array(value.reshape(-1)),
        "n_scored": pa.array(np.zeros(n, np.int32)),
        "epochs": pa.array(np.zeros(n, np.int32)),
        "status": pa.repeat("ok", n),
        "seconds": pa.array(np.zeros(n)),
    }
    return scores_of(pa.table({field.name: columns[field.name] for field in SCORES}, schema=SCORES), [])


def lines(found: Mapping[tuple[str, str], Sequence[Found]]) -> list[str]:
    """The table, as lines of Markdown."""
    rows = [
        "| | companions for | true optimism | off by BBC-CV | unused seeds | both | hold | 41 alone | told |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (scenario, rule), studies in found.items():
        cells = [scenario, rule]
        mean = {
            name: float(np.mean([getattr(one, name) for one in studies])) for name in Found.__annotations__
        }
        removed = [
            f"{round(100 * (1 - mean[name] / mean['selected']))} %" for name in ("bbc", "refitted", "both")
        ]
        held = f"{mean['naive']:.2f}, {mean['holds']:.2f}"
        cells += [
            f"{mean['selected']:+.4f}",
            *removed,
            held,
            f"{mean['budget']:+.4f}",
            f"{mean['told']:+.4f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Simulate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400, help="of each line")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    found = {
        (scenario.name, rule): [study(scenario, search, seed) for seed in range(options.studies)]
        for scenario in SCENARIOS
        for rule, search in RULES.items()
    }
    text = options.page.read_text(encoding="utf-8")
    start_, end = text.index(_HEAD) + len(_HEAD), text.index(_END)
    body = "\n".join(["", *lines(found), "", ""])
    options.page.write_text(text[:start_] + body + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
