"""Races against naive reimplementations: who goes, what is trained, and what a race must not change."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import Race, Search, Tim, Training
from m3h_pipeline.contracts import TRAJECTORY, combination_key
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_json, read_table
from m3h_pipeline.search.greedy import Wanted
from m3h_pipeline.search.paired import paired_error
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.search.race import instalments, survivors
from m3h_pipeline.search.scores import Scores, read_scores, scores_of
from tests.search.simulated import Simulated, planted
from tests.search.studies import fits_of, run_search, write_tasks
from tests.search.test_greedy import luck, noise, selection_of

TASKS = ["a", "b", "c", "d", "e"]
EVERYTHING = Search(race=Race(z=1e9), combinations_per_job=99)


@given(st.integers(2, 12))
def test_instalments_are_every_fold_once(folds: int) -> None:
    found = instalments(range(folds), Race())
    assert [fold for some in found for fold in some] == list(range(folds))
    assert len(found[0]) == 2
    assert {len(some) for some in found[1:]} <= {1}
    assert instalments(range(folds), None) == [tuple(range(folds))]


def simulated_triples(seed: int, replicates: int, folds: int) -> tuple[Simulated, Scores, list[str]]:
    sim = Simulated(planted(7, 0.01, 2, seed), folds=folds, replicates=replicates, seed=seed)
    triples = [combination_key(("t00", a, b)) for a in sim.tasks[1:4] for b in sim.tasks[4:]]
    search = Search(replicates=replicates)
    return sim, scores_of(sim.measure(Wanted(3, tuple(triples)), search), []), triples


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    replicates=st.integers(1, 3),
    folds=st.integers(2, 5),
    beam=st.integers(1, 10),
    z=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)
def test_who_falls_behind_goes(seed: int, replicates: int, folds: int, beam: int, z: float) -> None:
    sim, scores, triples = simulated_triples(seed, replicates, 5)
    seen, used = tuple(range(folds)), tuple(range(replicates))
    found = survivors(scores, "t00", triples, used, seen, beam, Race(z=z))
    # Naively: one setting, the first member.
    value = {key: sim.values(key)[0, 0][:replicates, :folds] for key in triples}
    ranked = sorted(triples, key=lambda key: -float(value[key].mean()))
    if len(ranked) <= beam:
        assert found == triples
        return
    last = value[ranked[beam - 1]]
    errors = [float(paired_error(last - value[key], 5)) for key in triples if key != ranked[beam - 1]]
    error = float(np.sqrt(np.mean(np.square(errors))))
    expected = {key for key in triples if not (last - value[key]).mean() > z * error}
    assert set(found) == expected
    assert set(ranked[:beam]) <= expected
    if z == 0:
        assert expected == set(ranked[:beam])


def test_two_folds_that_agree_by_luck_send_nobody_home(tmp_path: Path) -> None:
    """What is as far behind in both folds has no error of its own; the others say how large errors are."""
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    level = {"a+b+c": (0.70, 0.70), "a+b+d": (0.69, 0.69), "a+b+e": (0.66, 0.72), "a+c+d": (0.62, 0.68)}

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
        return level.get("+".join(combination), (0.1 * len(combination),) * 2)[min(fold, 1)]

    everything = Search(race=Race(z=1e9), standard_errors=0.0, max_size=3)
    _, paths = run_search(tmp_path, tasks, score, everything, Tim(replicates=1), folds=3)
    scores = read_scores(paths)
    found = survivors(scores, "a", sorted(level), (0,), (0, 1), 1, Race(z=1.0))
    assert "a+b+d" in found
    assert "a+b+e" in found
    assert "a+c+d" not in found


def test_one_without_a_score_goes_and_one_that_was_left_does_not_come_back(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float | None:
        if combination == ("a", "b", "c"):
            return None
        return 0.5 + 0.1 * min(len(combination), 3) + 0.01 * noise(combination, task)

    plans, _ = run_search(tmp_path, tasks, score, Search(beam=1), folds=4)
    rounds = [fits_of(plan) for plan in plans]
    triples = [{fit[0] for fit in fits} for fits in rounds if fits and len(fits[0][0]) == 3]
    assert len(triples) == 3
    assert ("a", "b", "c") in triples[0] or all(("a", "b", "c") not in some for some in triples)
    assert all(("a", "b", "c") not in some for some in triples[1:])
    assert triples[0] > triples[1] >= triples[2]


def by_search(folder: Path, search: Search, seed: int, folds: int, replicates: int) -> dict[str, Any]:
    """A search through the files: its rounds' fits, selection and trajectory."""
    folder.mkdir()
    tasks = write_tasks(folder / "tasks.json", TASKS)

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
        errors = luck(seed, combination, task, replicate, fold) + luck(seed, combination, task, replicate)
        return 0.5 + 0.02 * len(combination) + 0.02 * luck(seed, combination, task) + 0.01 * errors

    own = search.model_copy(update={"replicates": replicates})
    plans, scores = run_search(folder, tasks, score, own, Tim(replicates=2), folds=folds)
    selection = selection_of(folder, tasks, scores, own)
    looked = read_table(folder / "trajectory.parquet", TRAJECTORY).to_pylist()
    report = read_table(folder / "report.parquet").to_pylist()
    return {
        "fits": [fit for plan in plans for fit in fits_of(plan)],
        "selection": selection,
        "looked": looked,
        "report": report,
    }


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), folds=st.integers(2, 5), replicates=st.integers(1, 2))
def test_a_race_in_which_nobody_goes_is_the_exhaustive_search(
    tmp_path_factory: pytest.TempPathFactory, seed: int, folds: int, replicates: int
) -> None:
    folder = tmp_path_factory.mktemp("race")
    raced = by_search(folder / "raced", EVERYTHING, seed, folds, replicates)
    whole = by_search(folder / "whole", EVERYTHING.model_copy(update={"race": None}), seed, folds, replicates)
    assert raced["selection"] == whole["selection"]
    assert raced["looked"] == whole["looked"]
    assert raced["report"] == whole["report"]
    assert sorted(raced["fits"]) == sorted(whole["fits"])


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), z=st.sampled_from([0.0, 0.5, 1.0]))
def test_what_a_race_trains_keeps_and_says(
    tmp_path_factory: pytest.TempPathFactory, seed: int, z: float
) -> None:
    found = by_search(tmp_path_factory.mktemp("race") / "x", Search(race=Race(z=z)), seed, 4, 1)
    fits = found["fits"]
    # No fit twice, and a combination goes on from fold to fold without a gap.
    assert len(set(fits)) == len(fits)
    folds = defaultdict(set)
    for combination, _, fold, _ in fits:
        folds[combination_key(combination)].add(fold)
    assert all(some == set(range(len(some))) and len(some) >= 2 for some in folds.values())
    # Whoever is kept was trained whole; whoever was left was not, and has no score.
    for row in found["looked"]:
        assert row["left"] == (len(folds[row["combination"]]) < 4)
        assert (row["score"] is None) == row["left"]
        assert not (row["left"] and row["kept"])
    every = {row["combination"] for row in found["looked"]}
    total, *tasks = found["report"]
    left = [key for key in every if len(folds[key]) < 4]
    assert total["task"] is None
    assert (total["combinations"], total["left"], total["fits"]) == (len(every), len(left), len(fits))
    assert total["saved"] == sum(4 - len(folds[key]) for key in left)
    for row in tasks:
        own = [one for one in found["looked"] if one["task"] == row["task"]]
        assert row["combinations"] == len(own)
        assert row["last_size"] == max(one["size"] for one in own)
        assert row["combination"] == found["selection"][row["task"]]["combination"]


def test_a_fit_stays_while_any_members_search_wants_it(tmp_path: Path) -> None:
    """`a+b+c` is the worst triple of a and the best of c: it is trained whole, and a may rank it."""
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b", "c", "d"])

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
        value = 0.5 + 0.1 * len(combination) + 0.001 * noise(combination, task)
        value += 0.01 * (combination in {("a", "b"), ("b", "c")})
        if combination == ("a", "b", "c"):
            value += {"a": -0.05, "b": 0.0, "c": 0.05}[task]
        return value

    search = Search(beam=1, max_size=3)
    _, scores = run_search(tmp_path, tasks, score, search, folds=4)
    selection_of(tmp_path, tasks, scores, search)
    looked = {
        (row["task"], row["combination"]): row
        for row in read_table(tmp_path / "trajectory.parquet", TRAJECTORY).to_pylist()
    }
    assert looked["c", "a+b+c"]["kept"]
    assert not looked["a", "a+b+c"]["kept"]
    assert not looked["a", "a+b+c"]["left"]
    assert looked["c", "b+c+d"]["left"]


def test_a_task_that_the_first_folds_cannot_score_keeps_everybody(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
        if task == "a" and fold < 3:
            return float("nan")
        return 0.5 + 0.1 * len(combination) + 0.01 * luck(combination, task, fold)

    search = Search(beam=1, max_size=3)
    plans, scores = run_search(tmp_path, tasks, score, search, folds=5)
    asked = [{fit[0] for fit in fits_of(plan) if "a" in fit[0]} for plan in plans[2:-1]]
    assert [len(some) > 1 for some in asked] == [True, True, True, True]
    wanted_by_a = {
        tuple(row["combination"].split("+"))
        for row in _looked(tmp_path, tasks, scores, search)
        if row["task"] == "a" and row["size"] == 3
    }
    # One fold with a score has no error: nobody goes.
    assert wanted_by_a <= asked[-1]


def _looked(folder: Path, tasks: Path, scores: list[Path], search: Search) -> list[dict[str, Any]]:
    selection_of(folder, tasks, scores, search)
    rows: list[dict[str, Any]] = read_table(folder / "trajectory.parquet", TRAJECTORY).to_pylist()
    return rows


def test_a_plan_follows_from_the_scores_of_earlier_rounds_alone(tmp_path: Path) -> None:
    """Planned again, as after a kill, it is the same to the byte; planned too early it is refused."""
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
        return 0.5 + 0.1 * len(combination) + 0.05 * luck(combination, task, fold)

    training = Training(batch_sizes=[32, 64], learning_rates=[1e-3])
    search = Search(max_size=4)
    plans, scores = run_search(tmp_path, tasks, score, search, training=training, folds=3)
    assert len(plans) > 5
    for number, plan in enumerate(plans, 1):
        again = tmp_path / "again.json"
        plan_round(number, tasks, scores[: number - 1], again, search, Tim(replicates=1), training, 3)
        assert again.read_bytes() == plan.read_bytes()
        assert read_json(plan)["stage"] == f"round_{number}"
    with pytest.raises(ContractError, match="in folds 2"):
        plan_round(5, tasks, scores[:3], tmp_path / "p.json", search, Tim(replicates=1), training, 3)
