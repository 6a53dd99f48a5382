"""The plan of the final fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from m3h_pipeline.config import Evaluation, Search, Tim
from m3h_pipeline.contracts import SELECTION
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.evaluation.final import plan_final
from m3h_pipeline.files import write_json, write_table

CLASSES = {"a": "binary", "b": "binary", "c": "regression", "d": "clustering"}


def row(task: str, combination: str, setting: tuple[int, float], single: tuple[int, float]) -> dict[str, Any]:
    return {
        "task": task,
        "problem_class": CLASSES[task],
        "metric": "auroc",
        "combination": combination,
        "size": len(combination.split("+")),
        "batch_size": setting[0],
        "learning_rate": setting[1],
        "score": 0.8,
        "control": "",
        "single_batch_size": single[0],
        "single_learning_rate": single[1],
        "single_score": 0.7,
    }


def plan(folder: Path, rows: list[dict[str, Any]], per_job: int = 64, searched: int = 1) -> dict[str, Any]:
    replicates = 3
    write_table(pa.Table.from_pylist(rows, schema=SELECTION), folder / "selection.parquet", SELECTION)
    tasks = {t: {"problem_class": c, "metric": "any", "status": "ok"} for t, c in CLASSES.items()}
    write_json({"tasks": tasks}, folder / "tasks.json")
    plan_final(
        folder / "selection.parquet",
        folder / "tasks.json",
        folder / "plan.json",
        Evaluation(replicates=replicates),
        Search(replicates=searched),
        Tim(replicates=2),
        4,
        per_job,
    )
    found: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return found


def entries(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for pack in found["packs"].values() for entry in pack]


def test_both_arms_get_the_same_budget_and_shared_fits_are_planned_once(tmp_path: Path) -> None:
    fast, slow = (256, 1e-3), (512, 5e-4)
    rows = [row("a", "a+b", fast, slow), row("b", "a+b", fast, fast), row("c", "c", slow, slow)]
    found = plan(tmp_path, rows)
    assert found["stage"] == "final"
    by_combination = {"+".join(e["combination"]): e for e in entries(found)}
    assert sorted(by_combination) == ["a", "a+b", "b", "c"]
    assert by_combination["a+b"]["settings"] == [[256, 1e-3]]
    assert by_combination["a"]["settings"] == [[512, 5e-4]]
    # TIM has trained two replicates, and four folds with them.
    assert all(e["replicates"] == [2, 3, 4] for e in by_combination.values())
    assert all(e["folds"] == [0, 1, 2, 3, -1] for e in by_combination.values())
    searched = entries(plan(tmp_path, rows, searched=5))
    assert all(e["replicates"] == [5, 6, 7] for e in searched)


def test_one_combination_with_two_settings_is_one_entry(tmp_path: Path) -> None:
    rows = [
        row("a", "a+b", (256, 1e-3), (256, 1e-3)),
        row("b", "a+b", (512, 1e-3), (256, 1e-3)),
        # The selected combination is the task itself, chosen with another setting than its control.
        row("c", "c", (512, 5e-4), (256, 5e-4)),
    ]
    by_combination = {"+".join(e["combination"]): e["settings"] for e in entries(plan(tmp_path, rows))}
    assert by_combination["a+b"] == [[256, 1e-3], [512, 1e-3]]
    assert by_combination["c"] == [[256, 5e-4], [512, 5e-4]]


def test_packs_hold_neighbours_of_one_signature_and_do_not_depend_on_the_order_of_rows(
    tmp_path: Path,
) -> None:
    s = (256, 1e-3)
    rows = [
        row("a", "a+d", s, s),
        row("b", "a+b", s, s),
        row("c", "a+c", s, s),
        row("d", "b+d", s, s),
    ]
    found = plan(tmp_path, rows, per_job=2)
    assert found == plan(tmp_path, rows[::-1], per_job=2)
    signatures = [sorted(CLASSES[t] for t in e["combination"]) for e in entries(found)]
    runs = [s for i, s in enumerate(signatures) if i == 0 or s != signatures[i - 1]]
    assert len(runs) == len({tuple(s) for s in signatures})
    assert max(map(len, found["packs"].values())) == 2
    assert list(found["packs"]) == [f"{i:04d}" for i in range(len(found["packs"]))]


def test_bad_input_is_named_and_leaves_no_plan(tmp_path: Path) -> None:
    s = (256, 1e-3)
    with pytest.raises(ContractError, match="no task was selected"):
        plan(tmp_path, [])
    with pytest.raises(ContractError, match="task `z` of combination `a\\+z` is unknown"):
        plan(tmp_path, [row("a", "a+z", s, s)])
    sections = (Evaluation(), Search(), Tim(), 3, 1)
    selection, tasks, out = (tmp_path / n for n in ("selection.parquet", "tasks.json", "plan.json"))
    with pytest.raises(InputError, match="does not exist"):
        plan_final(tmp_path / "none", tasks, out, *sections)
    write_json({}, tasks)
    with pytest.raises(ContractError, match="does not describe tasks"):
        plan_final(selection, tasks, out, *sections)
    assert not out.exists()
