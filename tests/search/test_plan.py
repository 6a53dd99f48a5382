"""Plans: packs of what can be stacked, joined scores, and planning at the published size."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import Search, Tim, Training
from m3h_pipeline.contracts import SCORES, combination_key
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import read_json, read_table, write_table
from m3h_pipeline.search.combinations import Entry, pack, signature
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.search.scores import merge_scores, read_scores
from m3h_pipeline.tasks.assessed import Task
from tests.search.studies import ONE_SETTING, fits_of, run_search, write_scores, write_tasks

KINDS = {
    **{f"b{i}": Task(f"b{i}", "binary", "auroc") for i in range(9)},
    "m3": Task("m3", "multiclass", "macro_auroc", classes=tuple("abc")),
    "m8": Task("m8", "multiclass", "macro_auroc", classes=tuple("abcdefgh")),
    "r": Task("r", "regression", "r2"),
    "k": Task("k", "clustering", "silhouette"),
}

combinations = st.sets(
    st.sets(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4).map(lambda s: tuple(sorted(s))),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(combinations, st.integers(1, 9), st.randoms(use_true_random=False))
def test_packs_hold_every_entry_once_and_signatures_stay_together(
    wanted: set[tuple[str, ...]], per_job: int, shuffle: random.Random
) -> None:
    entries = [Entry(combination, (0,)) for combination in sorted(wanted)]
    packs = pack(entries, KINDS, per_job)
    assert sorted(e.combination for p in packs for e in p) == sorted(wanted)
    assert all(0 < len(p) <= per_job for p in packs)
    counts = Counter(signature(e.combination, KINDS) for e in entries)
    for p in packs:
        for shape, n in Counter(signature(e.combination, KINDS) for e in p).items():
            # A pack holds either a full load of a signature or all that is left of it.
            assert n in (per_job, counts[shape] % per_job)
    shuffle.shuffle(entries)
    assert pack(entries, KINDS, per_job) == packs


def test_a_signature_tells_classes_and_their_numbers_apart() -> None:
    assert signature(("m3",), KINDS) != signature(("m8",), KINDS)
    assert signature(("b1", "r"), KINDS) == signature(("r", "b2"), KINDS)
    assert signature(("b1", "b2"), KINDS) != signature(("b1", "b2", "b3"), KINDS)


def test_entries_of_other_replicates_fill_packs_of_their_own() -> None:
    """They are other stacks."""
    entries = [Entry((f"b{i}",), (0, 1) if i % 2 else (0,)) for i in range(8)]
    for members in pack(entries, KINDS, 2):
        assert len({entry.replicates for entry in members}) == 1


def test_rare_signatures_share_a_job() -> None:
    """Eight signatures of one combination each are one job, not eight."""
    wanted = [("b0",), ("m3",), ("m8",), ("r",), ("k",), ("b0", "r"), ("b0", "k"), ("b0", "m3")]
    assert len(pack([Entry(c, (0,)) for c in wanted], KINDS, 8)) == 1


def test_one_combination_per_job(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b", "c"])
    search = Search(combinations_per_job=1)
    plans, _ = run_search(tmp_path, tasks, lambda *_: 0.5, search)
    packs = json.loads(plans[1].read_text())["packs"]
    assert sorted(packs) == ["0000", "0001", "0002"]
    assert all(len(entries) == 1 for entries in packs.values())


def test_a_plan_has_the_documented_form(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", ["b", "a"])
    training = Training(batch_sizes=[512, 256, 256], learning_rates=[1e-3, 5e-4])
    plan_round(1, tasks, [], tmp_path / "plan.json", Search(), Tim(replicates=2), training, 3)
    rest = {
        "replicates": [0, 1],
        "folds": [0, 1, 2],
        "settings": [[256, 5e-4], [256, 1e-3], [512, 5e-4], [512, 1e-3]],
        "halving": True,
    }
    assert read_json(tmp_path / "plan.json") == {
        "stage": "round_1",
        "packs": {"0000": [{"combination": ["a"], **rest}, {"combination": ["b"], **rest}]},
    }


def test_dropped_tasks_are_not_planned(tmp_path: Path) -> None:
    plan_round(
        *(1, write_tasks(tmp_path / "tasks.json", ["a"]), [], tmp_path / "plan.json"),
        *(Search(), Tim(), ONE_SETTING, 2),
    )
    packs = json.loads((tmp_path / "plan.json").read_text())["packs"]
    assert [entry["combination"] for pack in packs.values() for entry in pack] == [["a"]]


def test_merging_keeps_each_fit_and_task_once(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    plans, scores = run_search(tmp_path, tasks, lambda *_: 0.5, Search())
    merge_scores([*scores, scores[0]], tmp_path / "merged.parquet")
    merged = read_table(tmp_path / "merged.parquet", SCORES)
    expected = {(fit, task) for plan in plans for fit in fits_of(plan) for task in fit[0]}
    assert len(merged) == len(expected)
    merge_scores([scores[1], scores[0]], tmp_path / "other.parquet")
    assert read_table(tmp_path / "other.parquet").equals(merged)


def test_merging_nothing_gives_an_empty_table(tmp_path: Path) -> None:
    merge_scores([], tmp_path / "merged.parquet")
    assert len(read_table(tmp_path / "merged.parquet", SCORES)) == 0


def test_scores_of_different_runs_are_not_mixed(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    plans, scores = run_search(tmp_path, tasks, lambda *_: 0.5, Search())
    table = read_table(write_scores(plans[0], tmp_path / "again.parquet", lambda *_: 0.6))
    keys = pa.array([f"other {key}" for key in table.column("fit_key").to_pylist()])
    write_table(table.set_column(0, SCORES.field(0), keys), tmp_path / "again.parquet", SCORES)
    with pytest.raises(InputError, match="claim the same place"):
        read_scores([*scores, tmp_path / "again.parquet"])


def test_missing_and_malformed_scores_are_explained(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", ["a", "b"])
    with pytest.raises(InputError, match="does not exist"):
        plan_round(2, tasks, [tmp_path / "no.parquet"], tmp_path / "p.json", Search(), Tim(), ONE_SETTING, 2)
    with pytest.raises(ContractError, match="wants scores of 2 combinations of 1 tasks, such as `a`"):
        plan_round(2, tasks, [], tmp_path / "p.json", Search(), Tim(), ONE_SETTING, 2)
    write_table(pa.table({"x": [1]}), tmp_path / "bad.parquet")
    with pytest.raises(ContractError, match="missing"):
        merge_scores([tmp_path / "bad.parquet"], tmp_path / "merged.parquet")
    assert not list(tmp_path.glob("p.json")) + list(tmp_path.glob("merged*"))


def _random_scores(plan: Path, out: Path, seed: int) -> None:
    """Scores of every fit of a large plan, written column by column."""
    fits = fits_of(plan)
    sizes = np.array([len(fit[0]) for fit in fits])
    n = int(sizes.sum())
    of = np.repeat(np.arange(len(fits)), sizes)
    keys = np.array([combination_key(fit[0]) for fit in fits])
    columns = {
        "fit_key": np.array([f"{plan.stem}{i}" for i in range(len(fits))])[of],
        "combination": keys[of],
        "task": np.array([task for fit in fits for task in fit[0]]),
        "replicate": np.array([fit[1] for fit in fits], np.int16)[of],
        "fold": np.array([fit[2] for fit in fits], np.int16)[of],
        "batch_size": np.array([fit[3][0] for fit in fits], np.int32)[of],
        "learning_rate": np.array([fit[3][1] for fit in fits])[of],
        "metric": np.full(n, "auroc"),
        "value": 0.7 + 0.01 * np.random.default_rng(seed).normal(size=n),
        "n_scored": np.full(n, 100, np.int32),
        "epochs": np.full(n, 15, np.int32),
        "status": np.full(n, "ok"),
        "seconds": np.ones(n),
    }
    arrays = [pa.array(columns[field.name], field.type) for field in SCORES]
    write_table(pa.Table.from_arrays(arrays, schema=SCORES), out, SCORES)


def test_the_published_size_is_planned_in_seconds(tmp_path: Path) -> None:
    """41 tasks: 820 pairs, then thousands of triples, from about 100,000 rows of scores."""
    names = [f"task{i:02d}" for i in range(41)]
    kinds = {names[0]: "multiclass", names[1]: "regression", names[2]: "clustering"}
    tasks = write_tasks(tmp_path / "tasks.json", names, kinds)
    scores: list[Path] = []
    counts = []
    search = Search(standard_errors=0.0)
    for number in (1, 2, 3):
        plan = tmp_path / f"plan_{number}.json"
        started = time.process_time()
        plan_round(number, tasks, scores, plan, search, Tim(), Training(), 5)
        assert time.process_time() - started < 2
        packs = json.loads(plan.read_text())["packs"]
        counts.append(sum(map(len, packs.values())))
        assert len(packs) <= -(-counts[-1] // 64) + 4  # nearly as few jobs as there could be
        if number < 3:
            scores.append(tmp_path / f"scores_{number}.parquet")
            _random_scores(plan, scores[-1], number)
    assert counts[:2] == [41, 820]
    assert 3000 < counts[2] <= 41 * 3 * 39
