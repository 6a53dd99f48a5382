"""How far a study is, said of results in every state: none, some, whole, damaged, many."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.config import Study
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.files import write_json, write_table
from m3h_pipeline.jobs.running import Running
from m3h_pipeline.layout import Layout, StageFiles
from m3h_pipeline.report.gather import TABLES
from m3h_pipeline.status.named import Named, named
from m3h_pipeline.status.remains import remains
from m3h_pipeline.status.show import show_status
from m3h_pipeline.status.state import Part, Reader

FITS = 6


def plan(files: StageFiles, packs: int) -> None:
    entry = {"combination": ["a"], "replicates": [0], "folds": [0, 1, 2], "settings": [[64, 0.1], [64, 0.2]]}
    write_json({"stage": "x", "packs": {f"{i:04d}": [entry] for i in range(packs)}}, files.plan)


def trained(layout: Layout, files: StageFiles, pack: str, diverged: int = 0, log: str = "") -> None:
    rows = [
        {
            "fit_key": f"{pack}.{i}",
            "combination": "a",
            "task": "a",
            "replicate": 0,
            "fold": 0,
            "batch_size": 64,
            "learning_rate": 0.1,
            "metric": "auroc",
            "value": None,
            "n_scored": 5,
            "epochs": 1,
            "status": "diverged" if i < diverged else "ok",
            "seconds": 1.0,
        }
        for i in range(FITS)
    ]
    write_table(pa.Table.from_pylist(rows, SCORES), files.of_pack(pack, "scores"), SCORES)
    job = f"{files.folder.relative_to(layout.folder)}/pack_{pack}"
    write(layout.log(job), log)
    write(layout.benchmark(job), "s\th:m:s\n12.0\t0:00:12\n")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A round that is finished, and one of which two of four packs are."""
    layout = Layout(tmp_path / "results/x")
    plan(layout.round(1), 1)
    trained(layout, layout.round(1), "0000", log="6 of 6 fits in 2 s\n")
    plan(layout.round(2), 4)
    trained(layout, layout.round(2), "0000", diverged=2, log="6 of 6 fits in 2 s\n2 of 6 fits diverged\n")
    trained(layout, layout.round(2), "0001")
    write(
        layout.log("search/round_2/pack_0002"),
        "2 of 6 fits in 5 s, 1 s to go\n4 of 6 fits in 9 s, 1 s to go\n",
    )
    return layout


def shown(layout: Layout, **options: Any) -> str:
    screen = io.StringIO()
    show_status(Named(layout, None), screen, **options)
    return screen.getvalue()


def test_fits_are_counted(layout: Layout) -> None:
    text = shown(layout)
    assert "not running; run it again to go on" in text
    rows = {line[:24].strip(): line[24:].split() for line in text.splitlines()}
    assert rows["round 1"] == ["1", "of", "1", "6", "of", "6", "0", "0"]
    # 6 + 6 + 4 of the log of the pack that is at work; one pack was in the store.
    assert rows["round 2"] == ["2", "of", "4", "16", "of", "24", "6", "2", "1", "begun"]
    assert rows["final fits"] == ["not", "planned"]
    assert "to train: 8 fits\n" in text
    # Two packs of 6 fits took 12 seconds each; the one from the store says nothing.
    assert "about 16 s of jobs, one after the other, by what this study's jobs took" in text


def test_a_run_at_work_is_seen(layout: Layout) -> None:
    run = Running(layout.running)
    run.begin()
    try:
        assert "running (process " in shown(layout)
    finally:
        run.end()
    assert "running" not in shown(layout).splitlines()[0].replace("not running", "")


def test_a_study_that_has_not_begun(tmp_path: Path) -> None:
    text = shown(Layout(tmp_path / "results/none"))
    assert text.splitlines()[0].endswith("results/none: not begun")
    assert "to train: not known yet; `m3h check` forecasts it" in text
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "damage",
    [
        {"search/round_2/packs/0000.scores.parquet": b"PAR1"},
        {"search/round_2/plan.json": b'{"packs": [1]}'},
        {"search/round_2/plan.json": b"\xff"},
        {"labels/tasks.json": b"[]"},
        {"cohort/samples.parquet": b""},
        {"logs/running.json": b"{"},
        {"benchmarks/search/round_2/pack_0000.tsv": b"s\n"},
        {"logs/search/round_2/pack_0002.log": b"\xff\x00, of fits in"},
    ],
)
def test_damaged_results_are_named_and_the_rest_is_said(layout: Layout, damage: Mapping[str, bytes]) -> None:
    (name, content) = next(iter(damage.items()))
    path = layout.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    text = shown(layout)
    assert "round 1" in text
    # What is no table of results is not needed.
    if not name.startswith("logs"):
        assert f"damaged: {name}" in text


def test_it_is_said_again_until_the_study_is_finished(layout: Layout) -> None:
    waited = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        trained(layout, layout.round(2), f"000{len(waited) + 1}")
        if len(waited) == 2:
            write_json({}, layout.record)

    text = shown(layout, every=3.0, pause=pause)
    assert waited == [3.0, 3.0]
    assert [line.split()[5] for line in text.splitlines() if line.startswith("  round 2")] == [
        "16",
        "18",
        "24",
    ]
    assert "was finished, but files are missing now" in text


def test_a_large_study_is_looked_at_quickly(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results/x")
    plan(layout.round(1), 150)
    for i in range(150):
        trained(layout, layout.round(1), f"{i:04d}")
    reader = Reader(layout, None)
    first = time.perf_counter()
    assert reader.read().stages[0].done == 150 * FITS
    again = time.perf_counter()
    assert reader.read().stages[0].done == 150 * FITS
    # Nothing that has not changed is read again.
    assert time.perf_counter() - again < again - first < 10


def test_what_is_not_planned_is_forecast(tmp_path: Path) -> None:
    study = Study.model_validate(
        {
            "study": "x",
            "results": str(tmp_path),
            "source": {"kind": "synthetic"},
            "modalities": {"tabular": {"sources": ["demographics"]}},
            "compute": {"device": "cpu"},
            "search": {"max_size": 2},
            "split": {"folds": 3},
        }
    )
    layout = Layout(tmp_path / "x")
    task: dict[str, Any] = {
        "title": "T",
        "department": "D",
        "problem_class": "binary",
        "metric": "auroc",
        "status": "ok",
    }
    task |= {"unit": "", "classes": [], "note": "", "permuted": False, "reason": ""}
    write_json({"tasks": {name: {"id": name, **task} for name in ("a", "b", "c")}}, layout.labels.tasks)
    counts = {"rows": 900, "sources": {"demographics": {"features": 6, "missing": 0.0}}}
    write_json({**counts, "patients": 900}, layout.cohort.summary)
    plan(layout.round(1), 1)
    left = remains(Reader(layout, study).read(), layout, study)
    assert left.fits == FITS
    assert left.expected > 0
    assert not left.measured
    assert left.seconds is not None
    trained(layout, layout.round(1), "0000", log="6 of 6 fits in 2 s\n")
    again = remains(Reader(layout, study).read(), layout, study)
    assert again.fits == 0
    assert again.measured
    # What is not planned takes as many times what was forecast as what is finished did.
    write(layout.benchmark("search/round_1/pack_0000"), "s\th:m:s\n24.0\t0:00:24\n")
    slower = remains(Reader(layout, study).read(), layout, study)
    assert again.seconds is not None
    assert slower.seconds == pytest.approx(2 * again.seconds)


def test_the_study_that_is_meant_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = {"study": "x", "source": {"kind": "synthetic"}, "modalities": {"t": {"sources": ["ts_lab"]}}}
    write(Path("config/x.yaml"), json.dumps(study))
    for word in ("config/x.yaml", "x"):
        assert named(word).layout.folder == Path("results/x")
        assert named(word).study is not None
    Path("results/x/cohort").mkdir(parents=True)
    assert named("results/x").configfile == Path("config/x.yaml")
    assert named(None).layout.folder == Path("results/x")
    write(Path("config/x.yaml"), "source: {")
    assert "no valid YAML" in named("x").doubt


def test_a_study_that_there_is_not_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 2
    assert "say which study: there is no config/config.yaml" in capsys.readouterr().err
    Path("results/my_study/cohort").mkdir(parents=True)
    assert main(["status", "my_stdy"]) == 2
    said = capsys.readouterr().err
    assert "there is no study `my_stdy`" in said
    assert "did you mean `my_study`?" in said
    assert main(["status", "config/absent.yaml"]) == 2
    assert "absent.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_watching_takes_a_second_or_more(
    seconds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/x/search").mkdir(parents=True)
    assert main(["status", "x", f"--watch={seconds}"]) == 2
    assert "is no number of seconds" in capsys.readouterr().err


def test_the_evaluation_is_whole_when_the_report_has_all_its_tables(layout: Layout) -> None:
    wanted = [path for path, _ in TABLES.values() if path.parent == Path("evaluation")]
    assert len(wanted) > 15
    for path in layout.tables():
        write(path, "")

    def evaluated() -> Part:
        parts = list(Reader(layout, None)._after({}))
        return next(part for part in parts if part.name == "evaluation")

    assert evaluated().finished
    for path in wanted:
        (layout.folder / path).unlink()
        assert not evaluated().finished, path.name
        write(layout.folder / path, "")
