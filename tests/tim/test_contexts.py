"""TIM's contexts against the paper's formula by enumeration; the fits that TIM plans."""

from __future__ import annotations

import itertools
import math
import zlib
from pathlib import Path

import pytest

from m3h_pipeline.config import Search, Tim
from m3h_pipeline.contracts import combination_key
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.files import read_json
from m3h_pipeline.tasks.assessed import read_tasks
from m3h_pipeline.tasks.permuted import permuted_companions
from m3h_pipeline.tim.contexts import Context, Contexts, contexts, needed, weights
from m3h_pipeline.tim.design import design_of, estimand
from m3h_pipeline.tim.plan import plan_tim
from tests.search.studies import ONE_SETTING, fits_of, run_search, write_tasks


def score(key: str, task: str) -> float:
    """A made-up score of a task within a combination."""
    return zlib.crc32(f"{key}|{task}".encode()) / 2**32


def tim(found: Contexts, task: str, companion: str) -> float:
    mine = found[task, companion]
    return sum(
        w * (score(c.with_companion, task) - score(c.without, task))
        for c, w in zip(mine, weights(mine), strict=True)
    )


def enumerated(tasks: list[str], task: str, companion: str, largest: int | None = None) -> float:
    """The paper's formula, written down: uniform over sets S without both; S of at most ``largest`` tasks."""
    rest = [name for name in tasks if name not in (task, companion)]
    sets = [
        s
        for size in range(len(rest) + 1)
        for s in itertools.combinations(rest, size)
        if largest is None or size <= largest
    ]
    total = sum(
        score(combination_key([*s, task, companion]), task) - score(combination_key([*s, task]), task)
        for s in sets
    )
    if largest is None:
        assert len(sets) == 2 ** (len(tasks) - 2)
    return total / len(sets)


@pytest.mark.parametrize("n_tasks", [2, 3, 5, 6])
def test_exact_is_the_papers_formula(n_tasks: int) -> None:
    tasks = [f"t{i}" for i in range(n_tasks)]
    found = contexts(tasks, Tim(mode="exact"))
    assert len(found) == n_tasks * (n_tasks - 1)
    for task, companion in found:
        assert tim(found, task, companion) == pytest.approx(enumerated(tasks, task, companion), abs=1e-12)
    assert len(needed(found)) == 2**n_tasks - 1


def test_pairs_compare_with_the_task_alone() -> None:
    found = contexts(["b", "a", "c"], Tim(mode="pairs"))
    assert tim(found, "c", "a") == score("a+c", "c") - score("c", "c")
    assert len(needed(found)) == 6


def test_exact_of_many_tasks_is_refused_with_the_numbers() -> None:
    tasks = [f"t{i}" for i in range(41)]
    with pytest.raises(ConfigError, match=r"41 tasks means training 2,199,023,255,551 combinations"):
        contexts(tasks, Tim(mode="exact"))
    assert len(needed(contexts(tasks[:8], Tim(mode="exact")))) == 255


def _planned(tmp_path: Path, search: Search, tim: Tim, names: list[str]) -> tuple[set[str], Path]:
    tasks = write_tasks(tmp_path / "tasks.json", names)
    _, scores = run_search(tmp_path, tasks, lambda *_: 0.5, search, tim)
    out = tmp_path / "tim.json"
    plan_tim(tasks, scores, out, search, tim, ONE_SETTING, 2, seed=3)
    return {combination_key(fit[0]) for fit in fits_of(out)}, out


def test_pairs_need_nothing_beyond_the_search(tmp_path: Path) -> None:
    planned, out = _planned(tmp_path, Search(), Tim(controls=0), ["a", "b", "c"])
    assert planned == set()
    assert read_json(out) == {"stage": "tim", "packs": {}}


def test_permuted_companions_join_every_task_and_are_joined(tmp_path: Path) -> None:
    """Three of them, each alone and with every task: no task of the search has their names."""
    names = ["a", "b", "c", "d"]
    planned, out = _planned(tmp_path, Search(), Tim(replicates=2), names)
    permuted = {key for key in planned if "+" not in key}
    assert len(permuted) == 3
    assert {key.partition("~")[0] for key in permuted} <= set(names)
    assert planned == permuted | {combination_key([a, c]) for a in names for c in permuted}
    assert {fit[1] for fit in fits_of(out)} == {0, 1}


def test_in_the_exact_mode_each_set_is_joined_by_one_permuted_companion() -> None:
    tasks, controls = ["a", "b", "c", "d", "e"], ["a~1", "c~1"]
    found = contexts(tasks, Tim(mode="exact"), controls)
    assert len(needed(found)) == 2 * (2**5 - 1) - 1  # the set of all tasks has none
    for task in tasks:
        beside = [c for control in controls for c in found[task, control]]
        sets = [frozenset(c.without.split("+")) - {task} for c in beside]
        assert len(sets) == len(set(sets)) == 2**4 - 1
        assert all(c.share == math.comb(3, c.size) for c in beside)
    assert not any(task in controls for task, _ in found)


def test_a_search_of_single_tasks_leaves_the_pairs_to_tim(tmp_path: Path) -> None:
    planned, out = _planned(tmp_path, Search(max_size=1), Tim(controls=0), ["a", "b", "c"])
    assert planned == {"a+b", "a+c", "b+c"}
    assert {fit[1] for fit in fits_of(out)} == {0, 1, 2}


def test_exact_adds_sets_and_missing_replicates(tmp_path: Path) -> None:
    """The search trained tasks and pairs with one seed: TIM adds the second, and larger sets with both."""
    planned, out = _planned(
        tmp_path, Search(), Tim(mode="exact", controls=0, replicates=2), ["a", "b", "c", "d"]
    )
    assert len(planned) == 15
    for combination, replicate, _, _ in fits_of(out):
        assert replicate == 1 or len(combination) > 2
    assert {(len(f[0]), f[1]) for f in fits_of(out)} == {(1, 1), (2, 1), (3, 0), (3, 1), (4, 0), (4, 1)}


def test_sampled_plans_every_task_alone_and_its_sets(tmp_path: Path) -> None:
    settings_ = Tim(mode="sampled", sets=12, max_size=4, replicates=1)
    names = [f"t{i}" for i in range(6)]
    planned, out = _planned(tmp_path, Search(max_size=1), settings_, names)
    known = read_tasks(tmp_path / "tasks.json")
    permuted = permuted_companions(known, 3, 3)
    assert planned == set(design_of(names, permuted, settings_, 3).keys) - set(names)
    assert 0 < sum("~" in key for key in planned) < len(planned)
    assert {len(fit[0]) for fit in fits_of(out)} == {2, 3, 4}


def test_the_sampled_mode_has_ten_sets_a_task() -> None:
    names = [f"t{i}" for i in range(12)]
    design = design_of(names, (), Tim(mode="sampled"), 0)
    assert 100 < len(design.keys) <= 12 + 120
    said = estimand(design, Tim(mode="sampled"), 12)
    assert said == (
        "the mean over all sets of at most 2 other tasks, each with the same weight "
        "(1.8% have 0, 17.9% have 1, 80.4% have 2), from 120 random sets"
    )


def test_one_task_has_no_companions(tmp_path: Path) -> None:
    assert _planned(tmp_path, Search(), Tim(controls=0), ["a"])[0] == set()


def test_a_size_weighs_by_how_many_sets_it_has_however_many_were_seen() -> None:
    """Of five tasks: the empty set, and two of the three sets of one task."""
    found = [Context("i", "i+j", 0, 1), Context("i+k", "i+j+k", 1, 3), Context("i+l", "i+j+l", 1, 3)]
    assert weights(found) == pytest.approx([1 / 4, 3 / 8, 3 / 8])
    assert weights(found[:2]) == pytest.approx([1 / 4, 3 / 4])
