"""What is claimed of a table of measured scores: 27 tasks in the shape of MTG-Net's, by simulation.

``python -m tests.benchmarks.replayed [--studies 10]`` writes a table of docs/claims.md: a minute of a core.
MTG-Net (Song et al., NeurIPS 2022) published scores of combinations of 27 clinical tasks; of its summary only
what matters here is taken: a pair changes a task's score by -0.001 in the median, and seeds by 0.008. The
search is the project's own on measured scores (:mod:`m3h_pipeline.search.measured`), nothing is trained;
intervals and verdicts of the selected are its own, too, with the test part's errors as they are simulated.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from m3h_pipeline.config import Search
from m3h_pipeline.evaluation.claims import BETTER, DECIDED, Compared, claims
from m3h_pipeline.inference.intervals import Interval, Quantity, pooled_intervals
from m3h_pipeline.inference.metrics import Float64
from m3h_pipeline.search.measured import searched
from tests.conftest import ROOT
from tests.search.simulated import Simulated

PAGE = ROOT / "docs/claims.md"
_HEAD, _END = "<!-- simulated: python -m tests.benchmarks.replayed -->\n", "<!-- end of replayed -->\n"
TASKS, MEDIAN, SPREAD = 27, -0.001, 0.002
#: Deviations of a score by its seed, half of whose variance persists, and of a test score by its patients.
SEEDS, PATIENTS, EVENTS = 0.008, 0.006, 150
FINAL, RATE = 5, 0.05
#: Tasks that have a companion which helps, and by how much.
KINDS = {"no companion helps": (0, 0.0), "9 tasks have one that gives 0.03": (9, 0.03)}


@dataclass(frozen=True)
class Way:
    """What one way of reporting says of a study.

    Attributes:
        claimed: numbers of the tasks called better.
        reported: their mean gain as reported; 0 without any.
        true: their mean true gain.
        right: how many of them truly gain.
        worse: how many tasks are called worse.
    """

    claimed: int
    reported: float
    true: float
    right: int
    worse: int = 0


def study(number: int, helped: int, gain: float) -> tuple[Way, Way]:
    """One study: the best pair by its test score, and the selected by what may be claimed of it."""
    rng = np.random.default_rng([number, helped])
    gains = MEDIAN + SPREAD * rng.normal(size=(TASKS, TASKS))
    for task in range(helped):
        gains[task, rng.choice(np.delete(np.arange(TASKS), task))] += gain
    np.fill_diagonal(gains, 0.0)
    made = Simulated(gains, seeds=SEEDS, seed=number)
    return _by_test(gains, rng), _ours(made, rng)


def _way(reported: Float64, true: Float64, worse: int = 0) -> Way:
    told, gained = (float(values.mean()) if len(values) else 0.0 for values in (reported, true))
    return Way(len(true), told, gained, int((true > 0).sum()), worse)


def _by_test(gains: Float64, rng: np.random.Generator) -> Way:
    """Of every task the best of all pairs, each learned once, by its score on the test part."""
    error = np.hypot(SEEDS, PATIENTS)
    scores = gains + error * rng.normal(size=gains.shape)
    alone = np.diag(scores).copy()
    np.fill_diagonal(scores, -np.inf)
    best = scores.argmax(axis=1)
    gained = scores.max(axis=1) - alone
    return _way(gained[gained > 0], gains[np.arange(TASKS), best][gained > 0])


def _ours(made: Simulated, rng: np.random.Generator) -> Way:
    """Selected out of fold; fits of new seeds on the test part, and what may be claimed of them."""
    search = Search()
    progress, _ = searched(made.tasks, partial(made.measure, search=search), search)
    selected = [state.best for state in progress.states]
    true = np.array(
        [made.truth(t, key) - made.truth(t, t) for t, key in zip(made.tasks, selected, strict=True)]
    )
    alone = np.array([key == task for task, key in zip(made.tasks, selected, strict=True)])
    # Two models' seeds count; patients change both alike but for what is the models' own.
    by_seed = true[:, None] + 2**0.5 * SEEDS * rng.normal(size=(TASKS, FINAL))
    value = by_seed.mean(axis=1) + PATIENTS * rng.normal(size=TASKS)
    patients = PATIENTS**2 * rng.chisquare(EVENTS - 1, TASKS) / (EVENTS - 1)
    seeds = by_seed.var(axis=1, ddof=1) / FINAL
    found = pooled_intervals(
        [
            Quantity(float(value[i]), float(patients[i]), EVENTS, float(seeds[i]), FINAL - 1.0)
            for i in np.flatnonzero(~alone)
        ],
        ["auroc"] * int((~alone).sum()),
    )
    sure = Interval(0.75, 0.7, 0.8, 0.0, 0.025, EVENTS)
    verdicts = [one.verdict for one in claims([Compared(each, sure, sure, "auroc") for each in found], RATE)]
    called = np.flatnonzero(~alone)[[verdict == BETTER for verdict in verdicts]]
    worse = sum(verdict in DECIDED for verdict in verdicts) - len(called)
    return _way(value[called], true[called], worse)


def lines(found: Mapping[str, Sequence[tuple[Way, Way]]]) -> list[str]:
    """The table, as lines of Markdown."""
    rows = [
        "| 27 tasks | | called better | of these truly | gain, as told | true gain | called worse |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, studies in found.items():
        for which, said in enumerate(("best pair by its test score", "selected, and claimed by the rules")):
            ways = [study[which] for study in studies]
            claimed, right, worse = (
                float(np.mean([getattr(one, name) for one in ways])) for name in ("claimed", "right", "worse")
            )
            told, true = (
                sum(getattr(one, name) * one.claimed for one in ways) / max(sum(o.claimed for o in ways), 1)
                for name in ("reported", "true")
            )
            rows.append(
                f"| {kind} | {said} | {claimed:.1f} | {right:.1f} | {told:+.4f} | {true:+.4f} | {worse:.1f} |"
            )
    return rows


def main() -> None:
    """Simulate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10, help="of each kind")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    found = {
        kind: [study(number, *planted) for number in range(options.studies)]
        for kind, planted in KINDS.items()
    }
    text = options.page.read_text(encoding="utf-8")
    start, end = text.index(_HEAD) + len(_HEAD), text.index(_END)
    body = "\n".join(["", *lines(found), "", ""])
    options.page.write_text(text[:start] + body + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
