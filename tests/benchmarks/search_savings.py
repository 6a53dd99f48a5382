"""What the search's rules save and lose, on simulated studies of 41 tasks: the numbers of docs/search.md.

``python -m tests.benchmarks.search_savings [WORD ...]`` prints a row of its table for every search of the
scenarios whose name holds one of the words; all of them take a few minutes. Nothing is trained: scores come
from :mod:`tests.search.simulated`, as many as the published study would have had trained (5 folds, 4
settings, 3 seeds for tasks alone and pairs, one for more).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from m3h_pipeline.config import Race, Search
from m3h_pipeline.search.measured import searched
from tests.search.simulated import Float64, Simulated, planted

TASKS = 41
#: True losses of the four settings to the best of them.
SETTINGS = (0.0, 0.002, 0.004, 0.006)
#: A candidate that is no worse than the one it is held against leaves with a probability of at most 5 % over
#: all four looks that five folds allow (a union bound; the boundary of Robbins' mixture, for any number of
#: looks, is 2.8 to 2.9 there).
ANYTIME = float(stats.norm.isf(0.05 / 4))
#: Without a race by one standard error first: what races are measured by. `halving` is the default, raced.
SEARCHES = {
    "whole": Search(race=None, halving=False),
    "published": Search(race=None, standard_errors=0.0, halving=False),
    "z 0.5": Search(race=Race(z=0.5), halving=False),
    "z 1": Search(halving=False),
    "anytime": Search(race=Race(z=ANYTIME), halving=False),
    "halving": Search(),
}


@dataclass(frozen=True)
class Scenario:
    """A kind of study: companions that help each task, their mean gain, and what errors there are."""

    name: str
    number: int
    helpers: int = 0
    gain: float = 0.0
    cost: float = 0.0
    crowding: float = 0.001
    patients: float = 0.006
    persists: float = 0.5
    searches: tuple[str, ...] = tuple(SEARCHES)

    def study(self) -> Simulated:
        """The study; its errors are the same whichever search asks."""
        none: Float64 = np.zeros((TASKS, TASKS))
        gains = planted(TASKS, self.gain, self.helpers, self.number, self.cost) if self.helpers else none
        return Simulated(
            gains,
            crowding=self.crowding,
            patients=self.patients,
            persists=self.persists,
            settings=SETTINGS,
            seed=self.number,
        )


#: ``z`` was chosen on the first two kinds and looked at again on the others.
SCENARIOS = (
    *(Scenario("nothing helps", number) for number in (1, 2)),
    *(Scenario("6 companions help by 0.006", number, 6, 0.006, 0.002) for number in (1, 2)),
    Scenario("2 help by 0.012", 3, 2, 0.012, 0.002, searches=("whole", "z 1", "halving")),
    Scenario("12 help by 0.003", 4, 12, 0.003, 0.001, 0.0005, searches=("whole", "z 1", "halving")),
    Scenario(
        "twice the patients' errors", 5, 6, 0.006, 0.002, patients=0.012, searches=("whole", "z 1", "halving")
    ),
    Scenario("luck persists whole", 6, 6, 0.006, 0.002, persists=1.0, searches=("whole", "z 1", "halving")),
)


def rows(scenario: Scenario) -> None:
    """Print a row for every search of a scenario."""
    whole: Float64 | None = None
    for name in scenario.searches:
        study, search = scenario.study(), SEARCHES[name]
        progress, _ = searched(study.tasks, partial(study.measure, search=search), search)
        assert progress.wanted is None
        truth = np.array([study.truth(one.task, one.best) for one in progress.states])
        whole = truth if whole is None else whole
        alone = np.mean([one.best == one.task for one in progress.states])
        print(
            f"| {scenario.name} | {name} | {study.fits:,} | {100 * alone:.0f} % | {truth.mean() - 0.75:+.4f} "
            f"| {(whole - truth).mean():+.4f} | {(whole - truth).max():.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    print("| | search | fits | tasks that stay alone | true gain | loss to `whole`, mean | largest |")
    print("|---|---|---|---|---|---|---|")
    for one in SCENARIOS:
        if not sys.argv[1:] or any(word in one.name for word in sys.argv[1:]):
            rows(one)
