"""Settings by halving: how many are trained where, which one is left, and what happens when it fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.training.spec import Entry, FitSpec, Outcome, chosen, next_fits, run_through, standing

GRID = ((16, 0.1), (16, 0.2), (32, 0.1), (32, 0.2))
ENTRY = Entry(("a", "b"), (0, 1, 2), (0, 1, 2, 3, 4), GRID, halving=True)
Score = Callable[[FitSpec, str], float | None]


def trained(entry: Entry, score: Score) -> dict[FitSpec, Outcome]:
    """Train until nothing more is asked for; no fit is asked for twice."""
    done: dict[FitSpec, Outcome] = {}
    while specs := next_fits(entry, done):
        assert not done.keys() & set(specs)
        assert len(set(specs)) == len(specs)
        for spec in specs:
            values = {task: score(spec, task) for task in spec.combination}
            known = {task: value for task, value in values.items() if value is not None}
            done[spec] = known if len(known) == len(values) else None
    return done


def settings_in(done: dict[FitSpec, Outcome], replicate: int, fold: int) -> set[tuple[int, float]]:
    return {(s.batch_size, s.learning_rate) for s in done if (s.replicate, s.fold) == (replicate, fold)}


def test_half_of_the_settings_are_left_from_fold_to_fold() -> None:
    """The best of each fold is planned: the later folds, where others are better, are not asked."""
    order = {setting: number for number, setting in enumerate(GRID)}
    done = trained(ENTRY, lambda s, _: order[s.batch_size, s.learning_rate] + 10.0 * s.fold)
    assert [len(settings_in(done, 0, fold)) for fold in range(5)] == [4, 2, 1, 1, 1]
    assert settings_in(done, 0, 1) == set(GRID[2:])
    for replicate in (1, 2):
        assert all(settings_in(done, replicate, fold) == {GRID[3]} for fold in range(5))
    assert len(done) == ENTRY.fits == 19
    assert chosen(ENTRY, done) == GRID[3]


def test_the_published_rounds_take_a_third() -> None:
    """41 tasks alone and 820 pairs, 5 folds, 4 settings, 3 replicates: 51,660 fits, or 16,359."""
    exhaustive = Entry(ENTRY.combination, ENTRY.replicates, ENTRY.folds, GRID)
    assert (861 * exhaustive.fits, 861 * ENTRY.fits) == (51_660, 16_359)


def test_without_halving_everything_is_asked_for_at_once() -> None:
    entry = Entry(("a",), (0, 1), (0, 1, 2), GRID)
    assert len(next_fits(entry, {})) == entry.fits == 24
    assert len(trained(entry, lambda *_: None)) == 24


@given(st.integers(1, 9), st.integers(1, 3), st.integers(2, 5), st.integers(0, 10_000))
def test_the_one_that_is_left_is_trained_everywhere_and_was_never_worse_than_who_went(
    settings: int, replicates: int, folds: int, seed: int
) -> None:
    entry = Entry(
        ("a", "b"),
        tuple(range(replicates)),
        tuple(range(folds)),
        tuple((8 * (i + 1), 0.1) for i in range(settings)),
        halving=settings > 1,
    )
    value = np.random.default_rng(seed).normal(size=(settings, replicates, folds, 2))
    position = {setting: number for number, setting in enumerate(entry.settings)}

    def score(spec: FitSpec, task: str) -> float:
        at = position[spec.batch_size, spec.learning_rate]
        return float(value[at, spec.replicate, spec.fold, "ab".index(task)])

    done = trained(entry, score)
    assert len(done) == entry.fits
    assert set(run_through(entry, done)) == set(done)
    survivor = chosen(entry, done)
    assert survivor is not None
    best = position[survivor]
    for fold in range(1, folds):
        left = settings_in(done, 0, fold - 1) - settings_in(done, 0, fold)
        for setting in left:
            means = value[:, 0, :fold].mean(axis=1).sum(axis=1)
            assert means[position[setting]] <= means[best]
        assert len(settings_in(done, 0, fold)) == standing(settings, fold)
    assert all(
        settings_in(done, replicate, fold) >= {survivor}
        for replicate in range(replicates)
        for fold in range(folds)
    )


@pytest.mark.parametrize("where", [(0, 0), (0, 1), (0, 4), (2, 3)], ids=str)
@pytest.mark.parametrize("failure", ["diverged", "undefined"])
def test_a_setting_that_fails_makes_room_for_the_next_best(where: tuple[int, int], failure: str) -> None:
    order = {setting: float(number) for number, setting in enumerate(GRID)}

    def score(spec: FitSpec, task: str) -> float | None:
        best = (spec.batch_size, spec.learning_rate) == GRID[3]
        if best and (spec.replicate, spec.fold) == where and task == "a":
            # Undefined where the next best has a score: it is asked in the same fold of the same replicate.
            return None if failure == "diverged" or where != (0, 0) else math.nan
        return order[spec.batch_size, spec.learning_rate]

    done = trained(ENTRY, score)
    assert chosen(ENTRY, done) == GRID[2]
    assert all(settings_in(done, r, f) >= {GRID[2]} for r in range(3) for f in range(5))


def test_where_all_settings_fail_there_is_none() -> None:
    done = trained(ENTRY, lambda *_: None)
    assert set(done) <= {ENTRY.spec(setting, 0, 0) for setting in GRID}
    assert chosen(ENTRY, done) is None


def test_a_fold_that_nobody_can_score_leaves_nobody_out() -> None:
    done = trained(ENTRY, lambda s, _: math.nan if s.fold == 0 else s.learning_rate)
    assert [len(settings_in(done, 0, fold)) for fold in range(5)] == [4, 4, 2, 1, 1]


def test_fits_that_nobody_knows_are_left_out() -> None:
    known: dict[FitSpec, Any] = {ENTRY.spec(GRID[0], 0, 0): {"a": 0.5, "b": 0.5}}
    assert run_through(ENTRY, known) == list(known)
