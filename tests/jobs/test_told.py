"""What jobs are told lies in files: named by their content, written when jobs run, noticed when damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.cli import main
from m3h_pipeline.jobs.settings import JobSettings
from m3h_pipeline.jobs.told import Told, damaged
from tests.jobs.studies import study, tasks

STUDY = study()
SETTINGS = JobSettings(STUDY, tasks(STUDY))


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_a_dry_run_writes_nothing_and_names_the_same_files(tmp_path: Path) -> None:
    dry = Told(tmp_path / "settings", SETTINGS, lambda: False)
    names = [dry.settings("train"), dry.settings("label", "diabetes"), dry.files("tim.scores", ["a", "b"])]
    assert not (tmp_path / "settings").exists()
    told = Told(tmp_path / "settings", SETTINGS, lambda: True)
    assert names == [
        told.settings("train"),
        told.settings("label", "diabetes"),
        told.files("tim.scores", ["a", "b"]),
    ]
    assert Path(names[0]).read_text() == SETTINGS.train()
    assert Path(names[1]).read_text() == SETTINGS.label("diabetes")
    assert Path(names[2]).read_text() == "a\nb\n"


def test_another_value_is_another_file_and_the_same_value_the_same(tmp_path: Path) -> None:
    def name(**changes: Any) -> str:
        one = study(**changes)
        return Told(tmp_path, JobSettings(one, tasks(one)), lambda: False).settings("train")

    assert name() == name(figures__quantiles=7) != name(training__epochs=7)


def test_files_that_are_not_known_yet_are_not_listed(tmp_path: Path) -> None:
    Told(tmp_path, SETTINGS, lambda: True).files("tim.scores", ["a", "<TBD>"])
    assert _files(tmp_path) == {}


def test_what_was_damaged_is_written_again_and_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(Told(tmp_path, SETTINGS, lambda: True).settings("simulate"))
    before = path.read_bytes()
    for bit in range(0, 8 * len(before), 97):
        spoilt = bytearray(before)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        with pytest.raises(SystemExit):
            main(["simulate", "--settings", f"@{path}", "--output", str(tmp_path / "out")])
        assert path.name in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    Told(tmp_path, SETTINGS, lambda: True).settings("simulate")
    assert path.read_bytes() == before


@given(st.text(), st.text())
def test_a_file_says_what_its_name_says(text: str, other: str) -> None:
    told = Told(Path(), SETTINGS, lambda: False)
    path = Path(told.file("name", "json", json.dumps(text)))
    assert not damaged(path, json.dumps(text))
    assert damaged(path, json.dumps(other)) == (text != other)


def test_thousands_of_packs_and_columns_reach_a_verb(tmp_path: Path) -> None:
    """A command line holds 128 kB in one argument; the files that it names hold what they must."""
    packs = [tmp_path / f"{number:04d}.scores.parquet" for number in range(5000)]
    told = Told(tmp_path / "told", SETTINGS, lambda: True)
    name = told.files("merge_scores.scores", packs)
    assert Path(name).stat().st_size > 131_072
    arguments = ["merge-scores", "--scores", f"@{name}", "--output", str(tmp_path / "out.parquet")]
    assert main(arguments) == 2
    assert not (tmp_path / "out.parquet").exists()


def test_lists_and_paths_can_be_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text(f"{tmp_path}/first.parquet\n{tmp_path}/second.parquet\n")
    output = ["--output", str(tmp_path / "out.parquet")]
    assert main(["merge-scores", "--scores", f"@{tmp_path}/list.txt", "third", *output]) == 2
    assert "first.parquet" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["merge-scores", "--scores", f"@{tmp_path}/none.txt", *output])
    assert "cannot read" in capsys.readouterr().err
