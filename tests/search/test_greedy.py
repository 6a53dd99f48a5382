"""The greedy search against a brute-force reference, from planning to selection, through the files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import Search, Tim, Training
from m3h_pipeline.contracts import SEARCH_REPORT, SELECTION, TRAJECTORY, combination_key
from m3h_pipeline.errors import ContractError, TaskError
from m3h_pipeline.files import read_json, read_table, write_json
from m3h_pipeline.search.selection import select
from tests.search.studies import fits_of, run_search, write_scores, write_tasks

TASKS = ["a", "b", "c", "d", "e"]


def noise(*key: Any) -> float:
    """A number in [0, 1) that depends on its key only."""
    return zlib.crc32(repr(key).encode()) / 2**32


def luck(*key: Any) -> float:
    """A standard normal number that depends on its key only; those of like keys have nothing in common."""
    return float(np.random.default_rng(zlib.crc32(repr(key).encode())).normal())


def selection_of(folder: Path, tasks: Path, scores: list[Path], search: Search) -> dict[str, dict[str, Any]]:
    out, trajectory, report, summary = (
        folder / name for name in ("selection.parquet", "trajectory.parquet", "report.parquet", "s.tsv")
    )
    select(tasks, scores, out, trajectory, report, summary, search)
    rows = {row["task"]: row for row in read_table(out, SELECTION).to_pylist()}
    shown = pd.read_csv(summary, sep="\t", index_col="task")
    assert list(shown.index) == list(rows)
    for name, row in rows.items():
        others = sorted(set(row["combination"].split("+")) - {name})
        assert shown.loc[name, "learned with"] == (", ".join(others) or "alone")
        assert abs(shown.loc[name, "validation, selected"] - row["score"]) < 1e-4
        assert abs(shown.loc[name, "validation, alone"] - row["single_score"]) < 1e-4
    return rows


def greedy(
    values: dict[tuple[frozenset[str], str], float], tasks: list[str], task: str, search: Search
) -> tuple[frozenset[str], list[set[frozenset[str]]]]:
    """The published search, written down naively: best combination, and the combinations of each round."""
    beam = [frozenset({task})]
    best, rounds = beam[0], [{beam[0]}]
    while len(beam[0]) < (search.max_size or len(tasks)):
        found = {members | {other} for members in beam for other in tasks if other not in members}
        if not found:
            break
        rounds.append(found)
        ranked = sorted(found, key=lambda members: (-values[members, task], combination_key(members)))
        if values[ranked[0], task] - values[best, task] <= search.min_improvement:
            break
        best, beam = ranked[0], ranked[: search.beam]
    return best, rounds


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    n_tasks=st.integers(1, 6),
    beam=st.integers(1, 4),
    max_size=st.sampled_from([None, 1, 2, 3, 4]),
    min_improvement=st.sampled_from([0.0, 0.05, 0.3]),
    levels=st.sampled_from([4, 1000]),
)
def test_the_search_is_the_published_one(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    n_tasks: int,
    beam: int,
    max_size: int | None,
    min_improvement: float,
    levels: int,
) -> None:
    """Few levels make many ties."""
    folder = tmp_path_factory.mktemp("search")
    names = [f"t{i}" for i in range(n_tasks)]
    search = Search(
        beam=beam, max_size=max_size, min_improvement=min_improvement, race=None, combinations_per_job=7
    )
    values: dict[tuple[frozenset[str], str], float] = {}

    def score(combination: tuple[str, ...], task: str, *_: Any) -> float:
        value = round(levels * noise(seed, combination, task)) / levels + 0.1 * len(combination)
        values[frozenset(combination), task] = value
        return value

    tasks = write_tasks(folder / "tasks.json", names)
    plans, scores = run_search(folder, tasks, score, search)
    chosen = selection_of(folder, tasks, scores, search)
    expected: list[set[str]] = [set() for _ in range(n_tasks + 1)]
    for task in names:
        best, rounds = greedy(values, names, task, search)
        assert chosen[task]["combination"] == combination_key(best)
        assert chosen[task]["score"] == pytest.approx(values[best, task])
        assert chosen[task]["single_score"] == pytest.approx(values[frozenset({task}), task])
        for number, found in enumerate(rounds):
            expected[number] |= {combination_key(members) for members in found}
    planned = [{combination_key(fit[0]) for fit in fits_of(plan)} for plan in plans]
    # Each round trains exactly what some source task asks for, each combination once.
    assert planned == [*filter(None, expected), set()]
    for plan in plans:
        assert len(set(fits_of(plan))) == len(fits_of(plan))


def test_round_2_is_every_pair(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    plans, _ = run_search(tmp_path, tasks, lambda *_: 0.5, Search())
    assert {fit[0] for fit in fits_of(plans[0])} == {(task,) for task in TASKS}
    pairs = {(i, j) for n, i in enumerate(TASKS) for j in TASKS[n + 1 :]}
    assert {fit[0] for fit in fits_of(plans[1])} == pairs


def test_no_improvement_selects_the_task_alone(tmp_path: Path) -> None:
    """Equal is no improvement: every combination scores as the single task does."""
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    plans, scores = run_search(tmp_path, tasks, lambda *_: 0.7, Search())
    assert len(plans) == 3
    for task, row in selection_of(tmp_path, tasks, scores, Search()).items():
        assert row["combination"] == task
        assert row["size"] == 1
        assert row["score"] == row["single_score"] == 0.7
    _, *report = read_table(tmp_path / "report.parquet", SEARCH_REPORT).to_pylist()
    assert {row["stopped"] for row in report} == {"no gain"}


def test_controls_are_marked_in_the_selection(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    described = read_json(tasks)
    reasons = {"b": "planted noise", "d": "permuted labels"}
    for task, reason in reasons.items():
        described["tasks"][task]["control"] = reason
    write_json(described, tasks)
    _, scores = run_search(tmp_path, tasks, lambda *_: 0.7, Search())
    found = selection_of(tmp_path, tasks, scores, Search())
    assert {task: row["control"] for task, row in found.items()} == dict.fromkeys(TASKS, "") | reasons


def test_a_search_that_stopped_does_not_start_again(tmp_path: Path) -> None:
    """Task a stops after the pairs although a triple trained for others would be much better for it."""

    def score(combination: tuple[str, ...], task: str, *_: Any) -> float:
        if task == "a":
            return {1: 0.8, 2: 0.5}.get(len(combination), 0.99)
        return 0.5 + 0.05 * len(combination)

    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    _, scores = run_search(tmp_path, tasks, score, Search())
    chosen = selection_of(tmp_path, tasks, scores, Search())
    assert chosen["a"]["combination"] == "a"
    assert chosen["b"]["size"] == len(TASKS)
    looked = read_table(tmp_path / "trajectory.parquet", TRAJECTORY).to_pylist()
    assert max(row["size"] for row in looked if row["task"] == "a") == 2


def test_a_gain_must_exceed_its_standard_error(tmp_path: Path) -> None:
    """The pair gains 0.02 over folds that differ by 0.01 (deviation): its error is that times root 0.45."""
    folds = np.array([-1.0, 1.0, 0.0, 1.0, -1.0]) * 0.01
    error = 0.01 * (9 / 20) ** 0.5
    assert error == pytest.approx(folds.std(ddof=1) * (1 / 5 + 1 / 4) ** 0.5)

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
        return 0.5 + float(gain + folds[fold]) * (len(combination) > 1)

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    for gain, least, expected, stopped in (
        (0.9 * error, 0.0, "a", "within the error"),
        (1.1 * error, 0.0, "a+b", "largest size"),
        (1.1 * error, 1.2 * error, "a", "too small"),
        (-0.1 * error, 0.0, "a", "no gain"),
    ):
        search = Search(min_improvement=least)
        _, scores = run_search(tmp_path, tasks, score, search, folds=5)
        assert selection_of(tmp_path, tasks, scores, search)["a"]["combination"] == expected
        row = read_table(tmp_path / "report.parquet", SEARCH_REPORT).to_pylist()[1]
        assert row["stopped"] == stopped
        assert row["last_gain"] == pytest.approx(gain)
        assert row["last_error"] == pytest.approx(error)
        # As published any gain will do.
        published = Search(standard_errors=0.0)
        assert selection_of(tmp_path, tasks, scores, published)["a"]["size"] == 1 + (gain > 0)


def test_the_trajectory_shows_scores_of_equal_standing(tmp_path: Path) -> None:
    """Pairs have three seeds, the triple one: `compared` is by that one, in all sizes."""

    def score(combination: tuple[str, ...], task: str, replicate: int, *_: Any) -> float:
        return 0.5 + 0.1 * len(combination) + 0.03 * replicate * (task < "c")

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b", "c"])
    _, scores = run_search(tmp_path, tasks, score, Search(), Tim(replicates=3))
    selection_of(tmp_path, tasks, scores, Search())
    for row in read_table(tmp_path / "trajectory.parquet", TRAJECTORY).to_pylist():
        extra = 0.03 if row["task"] < "c" and row["size"] < 3 else 0.0
        assert row["compared"] == pytest.approx(0.5 + 0.1 * row["size"])
        assert row["score"] == pytest.approx(row["compared"] + extra)


def test_the_trajectory_says_what_was_looked_at_and_kept(tmp_path: Path) -> None:
    search = Search(beam=2, max_size=3)
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    _, scores = run_search(tmp_path, tasks, lambda c, t, *_: noise(c, t) + len(c), search)
    selection_of(tmp_path, tasks, scores, search)
    looked = [row for row in read_table(tmp_path / "trajectory.parquet").to_pylist() if row["task"] == "c"]
    for number in (1, 2, 3):
        rows = [row for row in looked if row["size"] == number]
        assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
        assert [row["kept"] for row in rows] == [i < (1 if number == 1 else 2) for i in range(len(rows))]
        assert all("c" in row["combination"].split("+") for row in rows)


def test_the_order_of_tasks_plays_no_part(tmp_path: Path) -> None:
    """Relisting the tasks (and so their order in every file) changes no byte of a plan."""
    texts = []
    for order in (TASKS, TASKS[::-1]):
        folder = tmp_path / order[0]
        folder.mkdir()
        tasks = folder / "tasks.json"
        described = write_tasks(tasks, order)
        content = read_json(described)["tasks"]
        listed = {task: content[task] for task in [*order, "dropped"]}
        write_json({"tasks": listed}, tasks, sort_keys=False)
        plans, _ = run_search(folder, tasks, lambda c, t, *_: round(noise(c, t), 1) + len(c), Search())
        texts.append([plan.read_text() for plan in plans])
    assert texts[0] == texts[1]


def test_sizes_are_compared_by_the_replicates_they_share(tmp_path: Path) -> None:
    """Pairs have three seeds, triples one. Seed 0 is a lucky one for everybody: a triple that is worse than
    the best pair on seed 0, yet better than that pair's mean over its seeds, is no improvement.
    """

    def score(combination: tuple[str, ...], task: str, replicate: int, *_: Any) -> float:
        return [0.5, 0.6, 0.55][len(combination) - 1] + (0.2 if replicate == 0 else 0.0)

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b", "c"])
    search, tim = Search(replicates=1), Tim(replicates=3)
    plans, scores = run_search(tmp_path, tasks, score, search, tim)
    assert [sorted({fit[1] for fit in fits_of(plan)}) for plan in plans] == [[0, 1, 2], [0, 1, 2], [0], []]
    chosen = selection_of(tmp_path, tasks, scores, search)
    assert [row["size"] for row in chosen.values()] == [2, 2, 2]
    assert chosen["a"]["score"] == pytest.approx(0.6 + 0.2 / 3)
    assert chosen["a"]["single_score"] == pytest.approx(0.5 + 0.2 / 3)


def test_selected_and_alone_are_compared_on_the_same_replicates(
    tmp_path: Path,
) -> None:
    """As above, but triples win: by their one seed, on which the setting and the score of both arms follow.

    The task alone would take the other learning rate if all of its seeds had a say.
    """

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, setting: Any) -> float:
        slow = setting[1] == 1e-3
        luck = 0.2 if slow == (replicate == 0) else 0.0
        return [0.5, 0.6, 0.62][len(combination) - 1] + luck

    training = Training(batch_sizes=[64], learning_rates=[1e-3, 1e-2])
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b", "c"])
    search, tim = Search(replicates=1), Tim(replicates=3)
    _, scores = run_search(tmp_path, tasks, score, search, tim, training)
    for row in selection_of(tmp_path, tasks, scores, search).values():
        assert row["combination"] == "a+b+c"
        assert (row["learning_rate"], row["single_learning_rate"]) == (1e-3, 1e-3)
        assert row["score"] == pytest.approx(0.82)
        assert row["single_score"] == pytest.approx(0.7)


def test_pairs_are_ranked_by_all_their_replicates(tmp_path: Path) -> None:
    def score(combination: tuple[str, ...], task: str, replicate: int, *_: Any) -> float:
        if combination == ("a", "b"):
            return 0.9 if replicate == 0 else 0.3
        return 0.5 + 0.1 * (len(combination) == 2)

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b", "c"])
    _, scores = run_search(tmp_path, tasks, score, Search(max_size=2), Tim(replicates=3))
    chosen = selection_of(tmp_path, tasks, scores, Search(max_size=2))
    assert chosen["a"]["combination"] == "a+c"


def test_only_pairs_mode_trains_the_replicates_of_tim(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    plans, _ = run_search(tmp_path, tasks, lambda *_: 0.5, Search(replicates=2), Tim(replicates=1))
    assert {fit[1] for fit in fits_of(plans[0])} == {0, 1}
    plans, _ = run_search(tmp_path, tasks, lambda *_: 0.5, Search(replicates=2), Tim(mode="exact"))
    assert {fit[1] for fit in fits_of(plans[0])} == {0, 1}


@pytest.mark.parametrize("search", [Search(), Search(halving=False)])
def test_a_diverged_setting_is_not_chosen(tmp_path: Path, search: Search) -> None:
    """The better setting diverges in one fold of the pair a+b: the pair is scored at the other one."""
    training = Training(batch_sizes=[64], learning_rates=[1e-3, 1e-2])

    def score(
        combination: tuple[str, ...], task: str, replicate: int, fold: int, setting: tuple[int, float]
    ) -> float | None:
        if combination == ("a", "b") and setting[1] == 1e-2 and fold == 1:
            return None
        return 0.4 + 0.2 * len(combination) + (0.1 if setting[1] == 1e-2 else 0.0)

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    _, scores = run_search(tmp_path, tasks, score, search, training=training)
    row = selection_of(tmp_path, tasks, scores, Search())["a"]
    assert (row["combination"], row["learning_rate"], row["score"]) == ("a+b", 1e-3, pytest.approx(0.8))
    assert (row["single_learning_rate"], row["single_score"]) == (1e-2, pytest.approx(0.7))


def test_a_combination_that_diverges_everywhere_is_never_chosen(tmp_path: Path) -> None:
    def score(combination: tuple[str, ...], *_: Any) -> float | None:
        return None if combination == ("a", "b") else 0.5 + 0.1 * len(combination)

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b", "c"])
    _, scores = run_search(tmp_path, tasks, score, Search(max_size=2))
    chosen = selection_of(tmp_path, tasks, scores, Search(max_size=2))
    assert chosen["a"]["combination"] == "a+c"
    looked = read_table(tmp_path / "trajectory.parquet").to_pylist()
    assert [row["score"] for row in looked if row["combination"] == "a+b"] == [None, None]
    assert not any(row["kept"] for row in looked if row["combination"] == "a+b")


def test_a_task_that_diverges_alone_is_refused_before_pairs_are_trained(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    with pytest.raises(TaskError, match=r"diverged.*: b\n") as caught:
        run_search(tmp_path, tasks, lambda c, *_: None if c == ("b",) else 0.5, Search())
    assert "learning_rates" in str(caught.value)
    assert not (tmp_path / "plan_2.json").exists()


def test_a_fold_without_positives_is_left_out_for_everybody(tmp_path: Path) -> None:
    """Fold 0 of task a is undefined in every model; the rest decides, and b's scores are untouched."""

    def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
        if task == "a" and fold == 0:
            return float("nan")
        return 0.5 + 0.1 * len(combination)

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    _, scores = run_search(tmp_path, tasks, score, Search(), folds=3)
    chosen = selection_of(tmp_path, tasks, scores, Search())
    assert chosen["a"]["score"] == pytest.approx(0.7)
    assert chosen["a"]["combination"] == "a+b"


@pytest.mark.parametrize("search", [Search(), Search(halving=False)])
def test_a_score_missing_where_others_have_one_bars_the_setting(tmp_path: Path, search: Search) -> None:
    """A clustering that collapsed in one fold of one setting has no score there: no mean of fewer folds."""
    training = Training(batch_sizes=[64], learning_rates=[1e-3, 1e-2])

    def score(
        combination: tuple[str, ...], task: str, replicate: int, fold: int, setting: tuple[int, float]
    ) -> float:
        if setting[1] == 1e-2:
            return float("nan") if fold == 0 and task == "a" and len(combination) == 2 else 0.9
        return 0.4

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"], {"a": "clustering"})
    _, scores = run_search(tmp_path, tasks, score, search, training=training)
    looked = read_looked(tmp_path, tasks, scores)
    assert looked["a", "a+b"] == looked["b", "a+b"] == pytest.approx(0.4)
    assert looked["a", "a"] == pytest.approx(0.9)


@pytest.mark.parametrize("search", [Search(), Search(halving=False)])
def test_a_fit_that_diverged_bars_its_setting_also_in_a_fold_that_nobody_can_score(
    tmp_path: Path, search: Search
) -> None:
    training = Training(batch_sizes=[64], learning_rates=[1e-3, 1e-2])

    def score(
        combination: tuple[str, ...], task: str, replicate: int, fold: int, setting: tuple[int, float]
    ) -> float | None:
        if fold == 0:
            return None if setting[1] == 1e-2 and combination == ("a",) else float("nan")
        return 0.9 if setting[1] == 1e-2 else 0.4

    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    _, scores = run_search(tmp_path, tasks, score, search, training=training)
    looked = read_looked(tmp_path, tasks, scores)
    assert looked["a", "a"] == pytest.approx(0.4)
    assert looked["b", "b"] == pytest.approx(0.9)


def read_looked(folder: Path, tasks: Path, scores: list[Path]) -> dict[tuple[str, str], float]:
    selection_of(folder, tasks, scores, Search())
    rows = read_table(folder / "trajectory.parquet", TRAJECTORY).to_pylist()
    return {(row["task"], row["combination"]): row["score"] for row in rows}


def test_selecting_from_incomplete_rounds_is_refused(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    _, scores = run_search(tmp_path, tasks, lambda c, t, *_: 0.1 * len(c), Search())
    with pytest.raises(ContractError, match="the search has not ended: it wants scores of"):
        selection_of(tmp_path, tasks, scores[:2], Search())
    assert not (tmp_path / "selection.parquet").exists()


def test_the_test_part_plays_no_part(tmp_path: Path) -> None:
    """Scores of fold -1 (final fits) that stray into the inputs change nothing."""
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    _, scores = run_search(tmp_path, tasks, lambda c, t, *_: noise(c, t), Search())
    before = selection_of(tmp_path, tasks, scores, Search())
    plan = tmp_path / "final.json"
    entry = {"combination": ["a", "b"], "replicates": [0], "folds": [-1], "settings": [[64, 1e-3]]}
    write_json({"stage": "final", "packs": {"0000": [entry]}}, plan)
    stray = write_scores(plan, tmp_path / "final.parquet", lambda *_: 1.0)
    assert selection_of(tmp_path, tasks, [*scores, stray], Search()) == before


def test_settings_are_chosen_by_the_average_over_members_folds_and_replicates(tmp_path: Path) -> None:
    """Against a direct computation on random numbers with four settings."""
    training = Training(batch_sizes=[32, 64], learning_rates=[1e-3, 1e-2])
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    search = Search(replicates=2, halving=False)
    _, scores = run_search(tmp_path, tasks, noise, search, Tim(replicates=2), training, folds=3)
    rows = read_looked(tmp_path, tasks, scores)
    options = [(b, r) for b in (32, 64) for r in (1e-3, 1e-2)]
    for members in (("a",), ("b",), ("a", "b")):
        means = {
            (s, t): np.mean([noise(members, t, r, f, s) for r in range(2) for f in range(3)])
            for s in options
            for t in members
        }
        best = max(options, key=lambda s: sum(means[s, t] for t in members))
        for t in members:
            assert rows[t, combination_key(members)] == pytest.approx(means[best, t])
