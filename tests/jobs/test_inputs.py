"""What a study is made from is what is in its files."""

from __future__ import annotations

import os
from pathlib import Path

from m3h_pipeline.jobs.inputs import Inputs
from tests.jobs.studies import study


def _inputs(folder: Path) -> Inputs:
    for name, text in (("table.csv", "a"), ("other.csv", "b"), ("sets.gmt", "c")):
        (folder / name).write_text(text)
    one = study(
        data=str(folder),
        source={
            "kind": "table",
            "files": [{"path": name, "id": "x"} for name in ("table.csv", "other.csv", "absent.csv")],
            "blocks": {"block": {"pattern": ".*"}},
        },
        modalities={"all": {"sources": ["block"], "encoder": "transcriptome"}},
        gene_pairs={"tasks": ["sepsis"], "gene_sets": "sets.gmt"},
    )
    return Inputs(one, folder / "logs/inputs.json")


def test_every_file_that_is_read_is_known_by_its_content(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path)
    assert {name: entry["bytes"] for name, entry in inputs.hashes().items()} == {
        "table.csv": 1,
        "other.csv": 1,
        "sets.gmt": 1,
    }


def test_a_digest_is_of_the_files_asked_for_and_blind_to_times(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path)
    table, sets = [str(tmp_path / "table.csv")], [str(tmp_path / "sets.gmt")]
    before = inputs.content_of(table), inputs.content_of(sets), inputs.content_of([])
    assert len(set(before)) == 3
    os.utime(tmp_path / "table.csv", ns=(1, 1))
    assert (inputs.content_of(table), inputs.content_of(sets), inputs.content_of([])) == before
    (tmp_path / "table.csv").write_text("z")
    assert inputs.content_of(table) != before[0]
    assert (inputs.content_of(sets), inputs.content_of([])) == before[1:]


def test_a_synthetic_study_has_none(tmp_path: Path) -> None:
    inputs = Inputs(study(), tmp_path / "inputs.json")
    assert inputs.hashes() == {}
    assert not (tmp_path / "inputs.json").exists()
