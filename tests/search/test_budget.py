"""The control of equal budget: what as many fits of the task alone would have made of the luck of seeds."""

from __future__ import annotations

import numpy as np
import pytest

from m3h_pipeline.search.budget import deviation_by_seed, equal_budget, expected_largest
from m3h_pipeline.search.scores import Scores
from tests.benchmarks.optimism import TASK, table

KEYS = [TASK, *(f"{TASK}+b{i:02d}" for i in range(20))]
SEEDS, PATIENTS = 0.008, 0.006


def made(replicates: int, rng: np.random.Generator) -> Scores:
    """Equal combinations: what patients add to each is the same in every seed, a seed's luck in all folds."""
    patients = PATIENTS * rng.normal(size=(len(KEYS), 1, 5))
    return table(KEYS, 0.75 + patients + SEEDS * rng.normal(size=(len(KEYS), replicates, 1)))


@pytest.mark.parametrize("n", [1, 2, 10, 100])
def test_the_expected_largest_is_that_of_draws(n: int) -> None:
    drawn = np.random.default_rng(n).normal(size=(20_000, n)).max(axis=1)
    assert expected_largest(n) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / len(drawn) ** 0.5)


def test_a_deviation_is_that_of_seeds_whatever_patients_do() -> None:
    rng = np.random.default_rng(0)
    found = [deviation_by_seed(made(3, rng), TASK, KEYS) for _ in range(30)]
    assert np.mean(np.square(found)) == pytest.approx(SEEDS**2, rel=0.1)


@pytest.mark.parametrize("replicates", [2, 4])
def test_as_many_fits_of_the_task_alone_are_as_lucky(replicates: int) -> None:
    """The estimate from a search, against the best of as many fits that are made."""
    rng = np.random.default_rng(replicates)
    gaps = []
    for _ in range(200):
        scores = made(replicates, rng)
        base = scores.score(TASK, TASK)
        more = SEEDS * rng.normal(size=(len(KEYS), replicates)).mean(axis=1)
        gaps.append(equal_budget(scores, TASK, KEYS[1], KEYS) - base - more.max())
    assert np.mean(gaps) == pytest.approx(0.0, abs=4 * np.std(gaps) / len(gaps) ** 0.5)


def test_one_fit_has_no_luck_and_one_seed_tells_nothing() -> None:
    rng = np.random.default_rng(1)
    assert equal_budget(made(2, rng), TASK, TASK, [TASK]) == pytest.approx(0.75, abs=0.03)
    assert np.isnan(equal_budget(made(1, rng), TASK, KEYS[1], KEYS))


def test_what_a_combination_of_two_is_worth_is_no_luck() -> None:
    rng = np.random.default_rng(2)
    value = 0.75 + np.arange(len(KEYS))[:, None, None] * 0.01 + np.zeros((len(KEYS), 3, 5))
    scores = table(KEYS, value)
    assert deviation_by_seed(scores, TASK, KEYS) == pytest.approx(0.0, abs=1e-12)
    assert equal_budget(scores, TASK, KEYS[int(rng.integers(1, 20))], KEYS) == pytest.approx(0.75)
