"""A race in the workflow: trained by instalments, then nothing to do, and gone on with from the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.contracts import SEARCH_REPORT
from m3h_pipeline.files import read_table
from m3h_pipeline.layout import Layout
from tests.end_to_end.small_study import RESULTS, STUDY, Project, copy_project, write_inputs, write_study

pytestmark = pytest.mark.study
TARGET = (RESULTS / "selection.parquet").as_posix()


def entries(plan: Path) -> list[dict[str, Any]]:
    return [entry for pack in json.loads(plan.read_text())["packs"].values() for entry in pack]


def test_a_race_is_trained_by_instalments_and_resumed(tmp_path: Path, programs: Path) -> None:
    search = {**STUDY["search"], "max_size": 3, "beam": 1, "race": {"z": 0.0}}
    training = {**STUDY["training"], "learning_rates": [1e-3]}
    split = {**STUDY["split"], "folds": 4}
    write_study(tmp_path, {**STUDY, "search": search, "training": training, "split": split})
    copy_project(tmp_path)
    write_inputs(tmp_path)
    project, layout = Project(tmp_path, programs), Layout(tmp_path / RESULTS)
    whole = project.snakemake(TARGET)
    assert whole.status == 0, whole.output
    # Triples: two folds, then one after the other of what has not fallen behind, then nothing.
    rounds = [entries(layout.round(number).plan) for number in range(1, 7)]
    assert [{tuple(entry["folds"]) for entry in some} for some in rounds] == [
        {(0, 1, 2, 3)},
        {(0, 1, 2, 3)},
        {(0, 1)},
        {(2,)},
        {(3,)},
        set(),
    ]
    first, second, third = ({tuple(entry["combination"]) for entry in some} for some in rounds[2:5])
    assert first > second >= third
    asked = sum(len(entry["folds"]) * len(entry["replicates"]) for some in rounds for entry in some)
    assert len(whole.fits) == asked
    (total, *_) = read_table(layout.search_report, SEARCH_REPORT).to_pylist()
    assert total["fits"] == asked
    assert total["saved"] == 4 * len(first) - sum(len(e["folds"]) for some in rounds[2:5] for e in some)
    nothing = project.snakemake("--dry-run", TARGET)
    assert "Nothing to be done" in nothing.output, nothing.output
    # Killed in the middle of the race: the plans come out the same, and no fit is trained again.
    kept = {path: path.read_bytes() for path in (layout.selection, layout.search_report, layout.trajectory)}
    for path in (*kept, *(layout.round(number).folder for number in (4, 5, 6))):
        (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    again = project.snakemake(TARGET)
    assert again.status == 0, again.output
    assert again.fits == []
    assert {path: path.read_bytes() for path in kept} == kept
    assert [entries(layout.round(number).plan) for number in range(1, 7)] == rounds
    # Another z plans and trains what it wants more, and nothing else.
    project.configure("search.race.z", 1e9)
    more = project.snakemake(TARGET)
    assert more.status == 0, more.output
    assert {fit.combination for fit in more.fits} <= {"+".join(sorted(c)) for c in first}
    assert len(more.fits) == total["saved"]
    assert not {
        job for job in more.jobs if job.startswith(("label", "split", "plan_round(1", "plan_round(2"))
    }
