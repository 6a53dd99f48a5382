"""TIM from random sets against the paper's formula by enumeration, and against shapiq."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.contracts import combination_key, combination_tasks
from m3h_pipeline.tim import sampled
from m3h_pipeline.tim.sampled import Sets, draw_sets, shares_of_sizes, sized_draws

TASKS = ["a", "b", "c", "d", "e", "f"]
MANY = [*TASKS, "g", "h", "i"]


def score(key: str, task: str) -> float:
    """A made-up score of a task within a set: any function, without structure."""
    return zlib.crc32(f"{key}|{task}".encode()) / 2**32


def enumerated(tasks: list[str], task: str, companion: str, largest: int) -> float:
    """The paper's formula, written down, of sets S of at most ``largest`` tasks."""
    rest = [name for name in tasks if name not in (task, companion)]
    sets = [s for size in range(largest + 1) for s in itertools.combinations(rest, size)]
    return float(
        np.mean(
            [
                score(combination_key([*s, task, companion]), task) - score(combination_key([*s, task]), task)
                for s in sets
            ]
        )
    )


def every_set(tasks: list[str], controls: tuple[str, ...], max_size: int) -> Sets:
    """All sets of up to a size, each drawn once; also with one permuted companion in the place of a task."""
    drawn = [s for size in range(2, max_size + 1) for s in itertools.combinations(tasks, size)]
    joined = [
        (*s, c) for size in range(1, max_size) for s in itertools.combinations(tasks, size) for c in controls
    ]
    keys = [combination_key(s) for s in [*drawn, *joined]]
    return Sets(tuple(tasks), controls, dict.fromkeys(keys, 1), shares_of_sizes(len(tasks), max_size))


def estimates(sets: Sets, task: str, scored: set[str] | None = None) -> dict[str, float]:
    keys = {key for key in sets.keys if task in combination_tasks(key)} if scored is None else scored
    found = sets.weights(task, keys)
    return {other: sum(w * score(key, task) for key, w in mine.items()) for other, mine in found.items()}


@pytest.fixture
def no_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sets are one part, whose regression knows the task alone: what is left are weights of residuals."""
    monkeypatch.setattr(sampled, "_PARTS", 1)


@pytest.mark.usefixtures("no_regression")
@pytest.mark.parametrize("max_size", [2, 3, 4, 6])
def test_of_all_sets_it_is_the_papers_formula(max_size: int) -> None:
    sets = every_set(TASKS, (), max_size)
    for task in TASKS:
        for other, found in estimates(sets, task).items():
            assert found == pytest.approx(enumerated(TASKS, task, other, max_size - 2), abs=1e-9)


@pytest.mark.usefixtures("no_regression")
def test_permuted_companions_are_measured_beside_the_studys_own_tasks() -> None:
    """Of all sets the mean of the permuted companions is the formula's, and no pair is touched by them."""
    controls = ("x~1", "y~1")
    sets = every_set(TASKS, controls, 4)
    for task in TASKS:
        found = estimates(sets, task)
        for other in TASKS:
            if other != task:
                assert found[other] == pytest.approx(enumerated(TASKS, task, other, 2), abs=1e-9)
        rest = [name for name in TASKS if name != task]
        truth = 0.0
        for size, share in enumerate(sets.shares):
            differences = [
                score(combination_key([*s, task, c]), task) - score(combination_key([*s, task]), task)
                for s in itertools.combinations(rest, size)
                for c in controls
            ]
            truth += share * float(np.mean(differences))
        assert np.mean([found[c] for c in controls]) == pytest.approx(truth, abs=1e-9)


def test_what_the_regression_can_know_needs_few_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of a line in the size and slopes, without shrinking: every estimate is right, sum by sum."""
    monkeypatch.setattr(sampled, "_SLOPES", 1e-7)
    monkeypatch.setattr(sampled, "_SIZES", 1e3)
    rng = np.random.default_rng(1)
    companions = [*MANY, "x~1", "y~1"]
    slope, level = dict(zip(companions, rng.normal(size=11), strict=True)), 0.7 - 0.1 * np.arange(5)
    sets = draw_sets(MANY, ["x~1", "y~1"], 90, 4, 2)
    for task in MANY:
        keys = {key for key in sets.keys if task in combination_tasks(key)}
        others = {key: [t for t in combination_tasks(key) if t != task] for key in keys}
        said = {key: level[len(mine)] + sum(slope[t] for t in mine) for key, mine in others.items()}
        general = sum(share * (level[s + 1] - level[s]) for s, share in enumerate(sets.shares))
        weights = sets.weights(task, keys)
        for other in MANY:
            if other != task:
                found = sum(weight * said[key] for key, weight in weights[other].items())
                assert found == pytest.approx(slope[other] + general, abs=1e-3)


@pytest.mark.parametrize(("controls", "max_size"), [([], 3), (["x~1", "y~1"], 4), ([], 9)])
def test_on_average_over_draws_it_is_nearly_right(controls: list[str], max_size: int) -> None:
    """Scores without any structure: the mean of many estimates is wrong by little of what one is."""
    found = []
    for seed in range(150):
        mine = estimates(draw_sets(MANY, controls, 40, max_size, seed), "a")
        found.append([mine[other] for other in MANY[1:]])
    truth = [enumerated(MANY, "a", other, max_size - 2) for other in MANY[1:]]
    error = np.array(found) - truth
    assert np.sqrt((error.mean(axis=0) ** 2).mean()) < 0.25 * np.sqrt((error**2).mean())
    assert np.sqrt((error**2).mean()) < 0.3


@pytest.mark.usefixtures("no_regression")
def test_of_all_sizes_it_is_shapiqs_banzhaf_value() -> None:
    shapiq = pytest.importorskip("shapiq", reason="the referee is no part of the project: pip install shapiq")
    sets = every_set(TASKS, (), len(TASKS))
    for task in TASKS:
        others = [name for name in TASKS if name != task]

        def game(coalitions: Any, task: str = task, others: list[str] = others) -> Any:
            keys = [[task, *itertools.compress(others, row)] for row in coalitions]
            return np.array([score(combination_key(key), task) for key in keys])

        values = shapiq.ExactComputer(game, n_players=len(others))("BV", order=1)
        for i, other in enumerate(others):
            assert estimates(sets, task)[other] == pytest.approx(values[(i,)], abs=1e-9)


def test_a_set_without_a_score_is_left_out() -> None:
    sets = draw_sets(TASKS, ["x~1"], 60, 4, 1)
    keys = {key for key in sets.keys if "a" in combination_tasks(key)}
    gone = sorted(key for key in keys if key != "a")[3]
    weights = sets.weights("a", keys - {gone})
    assert all(gone not in mine for mine in weights.values())
    assert sets.weights("a", keys - {"a"}) == {}


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(0, 3), st.integers(1, 40), st.integers(2, 9), st.integers(0, 999))
def test_weights_are_contrasts_and_know_adding_a_constant(
    n_tasks: int, n_controls: int, number: int, max_size: int, seed: int
) -> None:
    tasks, controls = [f"t{i}" for i in range(n_tasks)], [f"t{i}~1" for i in range(n_controls)]
    sets = draw_sets(tasks, controls, number, max_size, seed)
    assert sum(sets.drawn.values()) == number
    for key in sets.drawn:
        members = combination_tasks(key)
        assert 2 <= len(members) <= min(max_size, n_tasks)
        assert sum("~" in name for name in members) <= 1
    assert draw_sets(tasks[::-1], controls, number, max_size, seed) == sets
    for task in tasks:
        found = sets.weights(task, {key for key in sets.keys if task in combination_tasks(key)})
        mine = [combination_tasks(key) for key in sets.drawn if task in combination_tasks(key)]
        beside = {name for members in mine for name in members} - {task, *controls}
        assert set(found) == ({*beside, *controls} if mine else set())
        for weights in found.values():
            assert sum(weights.values()) == pytest.approx(0, abs=1e-6)


def test_every_pair_is_seen_about_equally_often() -> None:
    sets = draw_sets([f"t{i}" for i in range(12)], (), 120, 4, 0)
    pairs: Counter[tuple[str, str]] = Counter()
    for key, times in sets.drawn.items():
        for pair in itertools.combinations(combination_tasks(key), 2):
            pairs[pair] += times
    assert len(pairs) == 66
    assert min(pairs.values()) >= 0.6 * np.mean(list(pairs.values()))


def test_every_set_of_a_size_is_as_likely() -> None:
    """Of four tasks, in many draws of two sets: every pair and every triple as often as others."""
    drawn: Counter[str] = Counter()
    for seed in range(600):
        drawn.update(draw_sets(["a", "b", "c", "d"], (), 4, 3, seed).drawn)
    for size in (2, 3):
        counts = np.array([n for key, n in drawn.items() if len(combination_tasks(key)) == size])
        assert len(counts) == {2: 6, 3: 4}[size]
        assert np.abs(counts - counts.mean()).max() < 5 * np.sqrt(counts.mean())


def test_sizes_are_drawn_by_their_weight_in_an_estimate() -> None:
    assert sum(sized_draws(97, 10, shares_of_sizes(10, 10))) == 97
    assert sized_draws(50, 41, shares_of_sizes(41, 2)) == [50]
    few, many = sized_draws(1000, 10, shares_of_sizes(10, 10)), shares_of_sizes(10, 10)
    assert few[3] > 2 * few[1] > 0
    assert few[-1] == 0
    assert sum(many) == pytest.approx(1)


def test_the_jackknife_says_how_far_scores_are_from_the_regression() -> None:
    """Scores that a regression explains, and noise of a known size around them."""
    rng = np.random.default_rng(0)
    tasks = [f"t{i}" for i in range(8)]
    slopes = rng.normal(scale=0.05, size=8)
    ratio = []
    for seed in range(12):
        sets = draw_sets(tasks, (), 80, 4, seed)
        keys = [key for key in sets.keys if "t0" in combination_tasks(key)]
        plain = {k: sum(slopes[tasks.index(t)] for t in combination_tasks(k)) for k in keys}
        variance, number = sets.jackknife("t0", {k: v + rng.normal(scale=0.02) for k, v in plain.items()})
        assert number == len(keys) - 1
        ratio.append(variance / 0.02**2)
    assert np.mean(ratio) == pytest.approx(1, abs=0.15)
    assert np.isnan(sets.jackknife("t0", {"t0": 0.5, "t0+t1": 0.6})[0])
