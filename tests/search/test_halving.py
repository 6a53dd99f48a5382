"""Settings by halving in the search: who chooses, who scores, and what later plans ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.config import Race, Search, Tim, Training
from m3h_pipeline.files import read_table
from m3h_pipeline.search.measured import searched
from m3h_pipeline.search.scores import read_scores
from m3h_pipeline.tim.plan import plan_tim
from tests.search.simulated import Simulated, planted
from tests.search.studies import fits_of, run_search, write_scores, write_tasks
from tests.search.test_greedy import luck, selection_of

TASKS = ["a", "b", "c", "d"]
GRID = Training(batch_sizes=[32, 64], learning_rates=[1e-3, 1e-2])


def score(
    combination: tuple[str, ...], task: str, replicate: int, fold: int, setting: tuple[int, float]
) -> float:
    """Larger is better; the first replicate flatters every score by 0.2."""
    flattery = 0.2 if replicate == 0 else 0.0
    return (
        0.5 + 0.02 * len(combination) + 0.001 * luck(combination, task, replicate, fold, setting) + flattery
    )


def test_the_replicate_that_chose_does_not_score(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    search = Search(max_size=2)
    plans, scores = run_search(tmp_path, tasks, score, search, Tim(replicates=3), GRID, folds=5)
    assert len(fits_of(plans[1], score)) == 6 * 19
    table = read_scores(scores)
    assert table.common("a", "a+b") == (1, 2)
    assert table.score("a+b", "a") < 0.6
    rows = selection_of(tmp_path, tasks, scores, search)
    assert rows["a"]["score"] < 0.6
    # Every setting that was chosen is one that all replicates were trained at.
    for key in table.combinations:
        setting = table.setting(key)
        assert setting is not None
        assert set(table.trained(key)) == {0, 1, 2}


def test_alone_it_scores_what_it_chose(tmp_path: Path) -> None:
    """Triples have the first replicate only: they are compared with pairs by that one."""
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    search = Search(race=None, standard_errors=0.0)
    _, scores = run_search(tmp_path, tasks, score, search, Tim(replicates=3), GRID, folds=5)
    table = read_scores(scores)
    assert table.common("a+b", "a+b+c") == (0,)
    assert table.scoring((0,)) == (0,)
    rows = selection_of(tmp_path, tasks, scores, search)
    assert rows["a"]["combination"] == "a+b+c+d"
    assert rows["a"]["score"] - rows["a"]["single_score"] == pytest.approx(0.06, abs=0.004)


def test_one_setting_is_no_choice(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    one = Training(batch_sizes=[32], learning_rates=[1e-3])
    plans, scores = run_search(tmp_path, tasks, score, Search(), Tim(replicates=3), one, folds=5)
    assert not any("halving" in entry for entry in entries(plans[1]))
    assert read_scores(scores).common("a", "a+b") == (0, 1, 2)


def test_the_first_instalment_of_a_race_chooses(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    search = Search(standard_errors=0.0, race=Race(z=9.0))
    plans, scores = run_search(tmp_path, tasks, score, search, Tim(replicates=3), GRID, folds=4)
    first, second, third = (entries(plans[number]) for number in (2, 3, 4))
    assert all(
        entry["halving"] and entry["folds"] == [0, 1] and len(entry["settings"]) == 4 for entry in first
    )
    assert all(len(entry["settings"]) == 1 and "halving" not in entry for entry in (*second, *third))
    assert [entry["folds"] for entry in (second[0], third[0])] == [[2], [3]]
    table = read_scores(scores)
    for entry in third:
        assert table.setting("+".join(entry["combination"])) == tuple(entry["settings"][0])
    # 4 and 2 fits of the first two folds, then one each.
    assert {table.fits("+".join(entry["combination"])) for entry in third} == {8}
    selection_of(tmp_path, tasks, scores, search)
    report = read_table(tmp_path / "report.parquet").to_pylist()[0]
    assert report["fits"] == len({fit for plan in plans for fit in fits_of(plan, score)})


def test_what_a_race_saves_counts_the_one_setting_that_was_left(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", [*TASKS, "e", "f"])
    search = Search(standard_errors=0.0, race=Race(z=0.0), beam=1, max_size=3)
    _, scores = run_search(tmp_path, tasks, score, search, Tim(replicates=1), GRID, folds=4)
    table = read_scores(scores)
    selection_of(tmp_path, tasks, scores, search)
    rows = {row["task"]: row for row in read_table(tmp_path / "report.parquet").to_pylist()}
    looked = read_table(tmp_path / "trajectory.parquet").to_pylist()
    left = [
        one["combination"] for one in looked if one["task"] == "a" and not table.trained(one["combination"])
    ]
    assert left
    assert rows["a"]["saved"] == sum(4 - table.folds_of(key) for key in left)


def test_tim_trains_the_other_replicates_at_what_the_search_chose(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    search, tim = Search(max_size=2, replicates=1), Tim(mode="exact", replicates=3)
    _, scores = run_search(tmp_path, tasks, score, search, tim, GRID, folds=5)
    plan_tim(tasks, scores, tmp_path / "tim.json", search, tim, GRID, 5, 0)
    table = read_scores(scores)
    by_key = {"+".join(entry["combination"]): entry for entry in entries(tmp_path / "tim.json")}
    assert by_key["a+b"]["replicates"] == [1, 2]
    assert by_key["a+b"]["settings"] == [list(table.setting("a+b") or ())]
    assert by_key["a+b+c"]["halving"] is True
    write_scores(tmp_path / "tim.json", tmp_path / "tim.parquet", score)
    both = read_scores([*scores, tmp_path / "tim.parquet"])
    assert both.common(*both.combinations[:4]) == (1, 2)


def test_a_replay_of_everything_asks_for_what_a_study_would_train() -> None:
    study = Simulated(planted(8, 0.02, 3, 1), settings=(0.0, 0.002, 0.004, 0.006))
    whole = Search(max_size=2, halving=False)
    searched(study.tasks, lambda wanted: study.measure(wanted, whole), whole)
    halved = Simulated(study.gains, settings=study.settings)
    search = Search(max_size=2)
    searched(halved.tasks, lambda wanted: halved.measure(wanted, search), search)
    assert (study.fits, halved.fits) == (36 * 60, 36 * 19)


def entries(plan: Path) -> list[dict[str, Any]]:
    return [entry for pack in json.loads(plan.read_text())["packs"].values() for entry in pack]
