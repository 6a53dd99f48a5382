"""The screen of a run: a line of the whole study, its answer at the end, nothing where it is to be quiet."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline import cli
from m3h_pipeline.config import Study
from m3h_pipeline.layout import Layout
from m3h_pipeline.progress import ELSEWHERE, Progress
from m3h_pipeline.status import remains as left
from m3h_pipeline.status.remains import Remains
from m3h_pipeline.status.screen import Screen, progress
from m3h_pipeline.status.state import Pack, Stage, State
from tests.jobs.studies import study
from tests.status.test_status import layout, write

__all__ = ["layout"]

HEADLINE = "Together is better than alone for 2 of 9 tested tasks, worse for none. " * 3


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ELSEWHERE, "")


@pytest.fixture
def one() -> Study:
    return study()


def _finish(layout: Layout) -> None:
    write(layout.evaluation.headline, HEADLINE)
    write(layout.report, "<html>")
    write(layout.record, "{}")
    write(layout.benchmark("ingest"), "s\tmax_rss\n60.5\t1234.5\n")


def _run(layout: Layout, one: Study, finished: bool = True, quiet: bool = False) -> str:
    said = io.StringIO()
    screen = Screen(layout, one, said, quiet)
    screen.begin()
    if finished:
        _finish(layout)
    screen.end(finished)
    return said.getvalue()


def test_the_last_screen_has_the_answer_where_all_is_and_what_it_took(layout: Layout, one: Study) -> None:
    said = _run(layout, one)
    lines = said.splitlines()
    assert HEADLINE.strip() in " ".join(lines)
    assert all(len(line) <= 100 or "/" in line for line in lines)
    assert len(lines) < 24, "one screen"
    assert layout.report.as_posix() in said
    assert f"m3h predict {layout.bundle.folder.as_posix()} FILE --out predictions.csv" in said
    # Of the jobs of this run; those that ran before are not of it.
    assert lines[-1].endswith("1 jobs that took 1 min 00 s together, at most 1.2 GB in one of them")


def test_it_names_every_file_that_a_prediction_needs(layout: Layout) -> None:
    """Features stand beside the outcomes as often as not; codes of diagnoses are outcomes alone."""
    source: dict[str, Any] = {
        "kind": "table",
        "files": [
            {"path": "a/outcomes.csv", "id": "stay"},
            {"path": "a/codes.csv", "id": "stay"},
            {"path": "a/first labs.csv", "id": "stay"},
        ],
        "blocks": {"person": {"columns": ["age"], "file": 0}, "labs": {"pattern": ".+", "file": 2}},
        "columns": ["died"],
    }
    tables = study(source=source, modalities={"all": {"sources": ["person", "labs"]}})
    asked = "outcomes.csv 'first labs.csv' --out predictions.csv"
    assert f"m3h predict {layout.bundle.folder.as_posix()} {asked}" in _run(layout, tables)
    # Whose columns may stand in any file takes all of them.
    source["blocks"] = {"person": {"columns": ["age"]}}
    tables = study(source=source, modalities={"all": {"sources": ["person"]}})
    assert "outcomes.csv codes.csv 'first labs.csv' --out" in _run(layout, tables)


def test_a_run_that_makes_a_part_of_the_study_has_no_answer(layout: Layout, one: Study) -> None:
    _finish(layout)
    said = io.StringIO()
    screen = Screen(layout, one, said)
    screen.begin()
    screen.end(finished=True)
    assert said.getvalue() == ""


def test_it_is_quiet_where_snakemake_is_and_says_how_to_go_on(layout: Layout, one: Study) -> None:
    assert _run(layout, one, quiet=True) == ""
    said = _run(layout, one, finished=False)
    assert "not finished" in said
    assert said.count("\n") == 1


def test_one_line_tells_of_the_whole_study_and_is_not_said_twice(layout: Layout, one: Study) -> None:
    said = io.StringIO()
    screen = Screen(layout, one, said, every=0.01)
    screen.begin()
    for _ in range(500):
        if said.getvalue():
            break
        time.sleep(0.01)
    time.sleep(0.2)
    screen.end(finished=True)
    (line,) = said.getvalue().splitlines()
    assert line.startswith(f"{layout.folder.as_posix()}, after 0 s: 22 of ")
    assert line.endswith("; round 2")


def test_what_is_wrong_with_the_results_stops_no_run(tmp_path: Path, one: Study) -> None:
    broken = Layout(tmp_path / "results/x")
    write(broken.round(1).plan, "no JSON")
    screen = Screen(broken, one, io.StringIO(), every=0.01)
    screen.begin()
    time.sleep(0.1)
    screen.end(finished=False)


@pytest.mark.parametrize(
    ("remaining", "said"),
    [
        (Remains(10, 0, None, 0, False), "10 of 20 fits (50 % of the training); round 1"),
        (
            Remains(10, 20, 600.0, 2, True),
            "10 of at most 40 fits (25 % of the training), about 5 min 00 s of it to go; round 1",
        ),
    ],
)
def test_what_the_line_says(remaining: Remains, said: str) -> None:
    stage = Stage("round 1", "search/round_1", [Pack(20, 10, state="begun")])
    assert progress(State([], 0, [stage], False, False), remaining) == said


def test_a_search_that_has_ended_leaves_no_rounds_to_expect(
    layout: Layout, one: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left, "_forecast", lambda *_: {"triples, at most": (858, 10.0), "round 9": (1, 1.0)})
    for searched, expected in ((False, 859), (True, 0)):
        state = State(
            [], 0, [Stage("round 1", "search/round_1", [Pack(20, 20, state="done")])], searched, False
        )
        assert left.remains(state, layout, one).expected == expected


def test_progress_of_jobs_goes_to_their_logs_alone_while_a_run_tells_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "job.log"
    for elsewhere, shown in (("", True), ("1", False)):
        monkeypatch.setenv(ELSEWHERE, elsewhere)
        messages = cli._messages(log, quiet=False)
        try:
            with Progress("fits", 2) as counted:
                counted.advance(2)
            sys.stderr.write("2 of 2 fits diverged\n")
        finally:
            messages.restore()
        screen = capsys.readouterr().err
        assert ("2 of 2 fits in" in screen) == shown
        assert "2 of 2 fits diverged" in screen
        assert "2 of 2 fits in" in log.read_text()


def test_the_workflow_tells_it() -> None:
    rules = (Path(__file__).parents[2] / "workflow/rules/screen.smk").read_text()
    assert all(f"{when}:" in rules for when in ("onstart", "onsuccess", "onerror"))
