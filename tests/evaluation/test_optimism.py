"""The optimism of the search: the selection's rule, the winner's curse, none where nothing was chosen."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import Search
from m3h_pipeline.contracts import SCORES, TRAJECTORY
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.optimism import LeastGain, Looked, SharedReplicates, corrected, winning
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.search.greedy import ended, replay
from m3h_pipeline.search.scores import read_scores
from tests.benchmarks import optimism as simulated
from tests.evaluation.studies import Floats, Study, noisy, predictor, study

Float64 = npt.NDArray[np.float64]


def least(gain: float, error: float = 0.0) -> LeastGain:
    """A least gain, and the same standard error of every gain."""
    return LeastGain(lambda new, old: error, Search(min_improvement=gain))


def one_set(scores: Float64) -> tuple[Float64, npt.NDArray[np.intp]]:
    """Scores of combinations that all have the same replicates."""
    return scores[None], np.zeros((len(scores), len(scores)), dtype=np.intp)


def test_the_rule_takes_the_best_of_a_round_if_it_improves_and_else_ends() -> None:
    sizes = np.array([1, 2, 2, 3])
    #            better    no gain   dies in 2, however good 3 is   undefined
    scores = np.array(
        [
            [0.5, 0.5, 0.5, 0.5],
            [0.6, 0.4, 0.5, np.nan],
            [0.7, 0.5, 0.4, 0.6],
            [0.9, 0.9, 0.9, 0.55],
        ]
    )
    inside, common = one_set(scores)
    assert winning(sizes, inside, common, least(0.0)).tolist() == [3, 0, 0, 2]
    assert winning(sizes, inside, common, least(0.25)).tolist() == [0, 0, 0, 0]
    assert winning(sizes, inside, common, least(0.0, 0.15)).tolist() == [3, 0, 0, 0]
    assert winning(sizes, inside, common, least(0.0, 0.25)).tolist() == [0, 0, 0, 0]


def test_sizes_are_compared_by_the_replicates_that_both_have() -> None:
    """The task alone and the pairs have two seeds (set 1), the triple one (set 0)."""
    sizes = np.array([1, 2, 2, 3])
    common = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]])
    both = np.array([[0.5], [0.6], [0.7], [np.nan]])
    first = np.array([[0.9], [0.1], [0.8], [0.75]])
    # Of the pairs the second is best by both seeds, and better than the task alone; by the seed that the
    # triple has, it is better than the triple.
    assert winning(sizes, np.stack([first, both]), common, least(0.0)).tolist() == [2]
    first[3] = 0.85
    assert winning(sizes, np.stack([first, both]), common, least(0.0)).tolist() == [3]
    both[2] = 0.5
    both[1] = 0.4
    assert winning(sizes, np.stack([first, both]), common, least(0.0)).tolist() == [0]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    threshold=st.sampled_from([0.0, 0.05]),
    errors=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_without_a_bootstrap_the_rule_is_the_searchs(seed: int, threshold: float, errors: float) -> None:
    """On the scores themselves the winner is what the search selected, whatever replicates there are."""
    rng = np.random.default_rng(seed)
    names, columns = ["a", "b", "c", "d"], SCORES.names
    rows = [
        ("k", key, task, r, f, 256, 1e-3, "auroc", float(rng.normal()), 10, 1, "ok", 0.0)
        for size in range(1, 5)
        for key in map("+".join, combinations(names, size))
        for task in key.split("+")
        for r in range(2 if size < 3 else 1)
        for f in range(2)
    ]
    with TemporaryDirectory() as folder:
        table = [{**dict(zip(columns, row, strict=True)), "fit_key": f"{row[1:5]}"} for row in rows]
        write_table(pa.Table.from_pylist(table, schema=SCORES), Path(folder) / "s.parquet", SCORES)
        scores = read_scores([Path(folder) / "s.parquet"])
    search = Search(beam=2, min_improvement=threshold, standard_errors=errors, race=None)
    for path in ended(replay(names, scores, search)):
        looked = [Looked(one.size, one.combination, one.score) for one in path.looked]
        shared = SharedReplicates.of(looked, scores)
        inside = np.array(
            [
                [scores.score(one.combination, path.task, tuple(sorted(replicates))) for one in looked]
                for replicates in shared.sets
            ]
        )[:, :, None]
        sizes = np.array([one.size for one in looked])
        needed = LeastGain.of(path.task, looked, scores, search)
        winner = winning(sizes, inside, shared.common, needed)[0]
        assert looked[winner].combination == path.best


def test_the_winner_is_scored_on_what_its_draw_left_out() -> None:
    looked = [Looked(1, "a", 0.5), Looked(2, "a+b", 0.6)]
    inside, common = one_set(np.array([[0.5, 0.5, 0.5, 0.5], [0.6, 0.6, 0.6, 0.4]]))
    outside = np.array([[[0.1, 0.1, 0.1, 0.3], [0.7, 0.8, np.nan, 0.1]]])
    found = corrected(looked, "a+b", inside, outside, common, least(0.0))
    assert found["corrected"] == pytest.approx((0.7 + 0.8 + 0.3) / 3)
    assert found["chosen"] == pytest.approx(2 / 3)


def equal_study(folder: Path, companions: int, quality: float, seed: int) -> tuple[Study, dict[str, Any]]:
    """A task whose combinations are all equally good: the best of them is best by luck alone."""
    one = study(folder, 500, seed=seed)
    for i in range(companions):
        name = f"other{i:02d}"
        one.tasks[name] = replace(one.tasks["ill"], id=name, title=name)
        one.labels[name] = one.labels["ill"]
    for name in ("days", "grade", "kind", "relapse"):
        del one.tasks[name]
    pairs = [f"ill+other{i:02d}" for i in range(companions)]

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Floats:
        if task != "ill":
            return np.asarray(0.5 + 0.1 * (rows[:, None] % 2))
        return noisy(one, "ill", quality, (seed, key, replicate, fold), rows, shared=0.2)

    one.selected = dict.fromkeys(one.tasks, "") | {name: name for name in one.tasks}
    one.looked = {"ill": ["ill", *pairs]}
    one.write(predict, replicates=2, search_replicates={1: 2, 2: 2})
    scores = {
        row["combination"]: row["score"] for row in read_table(one.path("trajectory.parquet")).to_pylist()
    }
    best = max(pairs, key=lambda key: scores[key])
    one.selected["ill"] = best if scores[best] > scores["ill"] else "ill"
    one.write(predict, replicates=2, search_replicates={1: 2, 2: 2})
    return one, scores


def test_the_curse_of_the_winner_is_taken_off(tmp_path: Path) -> None:
    """Eight equal combinations: the best looks better than they are; the corrected score does not."""
    gaps = []
    for seed in range(3):
        one, scores = equal_study(tmp_path / str(seed), 8, 0.3, seed)
        found = {row["task"]: row for row in one.evaluate(draws=100)["optimism"]}["ill"]
        truth = float(np.mean([value for key, value in scores.items() if key.startswith("ill")]))
        assert found["n_combinations"] == 9
        assert found["selected"] > truth
        assert found["low"] < truth < found["high"]
        assert found["chosen"] < 0.9
        gaps.append((found["selected"] - truth, found["corrected"] - truth))
    selected, after = np.mean(gaps, axis=0)
    assert selected > 0.01
    assert abs(after) < selected / 2


def test_nothing_chosen_nothing_corrected(tmp_path: Path) -> None:
    one = study(tmp_path)
    one.selected = {name: name for name in one.tasks}
    one.write(predictor(one))
    for row in one.evaluate(draws=60)["optimism"]:
        assert row["n_combinations"] == row["chosen"] == 1
        assert row["corrected"] == pytest.approx(row["selected"], abs=0.02)
        assert row["low"] < row["selected"] < row["high"]


def test_a_clear_winner_wins_again_and_a_threshold_stops_it(tmp_path: Path) -> None:
    one = study(tmp_path).without("relapse")
    one.write(predictor(one, multi=1.0, single=0.4))
    found = {row["task"]: row for row in one.evaluate()["optimism"]}
    assert found["days"]["chosen"] == 1
    assert found["days"]["corrected"] == pytest.approx(found["days"]["selected"], abs=0.03)
    stopped = {row["task"]: row for row in one.evaluate(search=Search(min_improvement=2.0))["optimism"]}
    assert stopped["days"]["chosen"] == 0


def test_combinations_with_more_replicates_are_paired_by_those_all_have(tmp_path: Path) -> None:
    """Two seeds for tasks alone and pairs, one beyond; the second seed of the pair is not as good.

    Over both seeds the pair is better than the task alone; the triple lies between the pair's seeds. Over the
    seed that both have the pair is better than the triple: there the search ends.
    """
    one = study(tmp_path, selected={"days": "days+ill"}).without("relapse")
    one.looked = {"days": ["days", "days+ill", "days+grade+ill"]}

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Floats:
        quality = {"days": 0.3, "days+ill": 0.9 - 0.4 * replicate, "days+grade+ill": 0.8}.get(key, 0.5)
        return noisy(one, task, quality, fold, rows)

    one.write(predict, search_replicates={1: 2, 2: 2, 3: 1})
    found = {row["task"]: row for row in one.evaluate()["optimism"]}
    assert found["days"]["n_combinations"] == 3
    assert found["days"]["chosen"] == 1


def test_a_trajectory_of_another_run_is_refused(tmp_path: Path) -> None:
    one = study(tmp_path, 300)
    one.write(predictor(one))
    table = read_table(one.path("trajectory.parquet"), TRAJECTORY)
    kept = table.filter(pc.not_equal(table.column("combination"), "days+ill"))
    write_table(kept, one.path("trajectory.parquet"), TRAJECTORY)
    with pytest.raises(ContractError, match=r"selected `days\+ill`, which its search did not look at"):
        one.evaluate(draws=20)


@pytest.mark.parametrize("scenario", simulated.SCENARIOS, ids=lambda one: one.name)
def test_unused_seeds_and_bbc_cv_take_off_what_neither_sees_alone(scenario: simulated.Scenario) -> None:
    studies = [simulated.study(scenario, Search(standard_errors=0.0), seed) for seed in range(40)]
    removed = {
        name: 1
        - np.mean([getattr(one, name) for one in studies]) / np.mean([one.selected for one in studies])
        for name in ("bbc", "refitted", "both")
    }
    assert 0.8 < removed["both"] < 1.25
    if scenario.seeds:
        assert removed["bbc"] < 0.8
    if scenario.patients > 0.004:
        assert removed["refitted"] < 0.9
