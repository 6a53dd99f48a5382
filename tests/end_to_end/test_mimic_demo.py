"""The study on the open MIMIC-IV demo: raw tables to figures, on real data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.contracts import EVALUATION
from m3h_pipeline.figures.registry import figures_of
from m3h_pipeline.files import read_features, read_json, read_samples, read_table
from tests.end_to_end.conftest import Run, snakemake

CONFIG = ("--configfile", "config/mimic_demo.yaml")


@pytest.mark.study
@pytest.mark.real_data
def test_the_whole_study_ends(real_data: Path, tmp_path: Path, programs: Path) -> None:
    call = ("--cores", "all", *CONFIG, "--config", f"data={real_data}")
    run = snakemake(tmp_path, *call, programs=programs)
    assert run.status == 0, run.output[-6000:]
    results = tmp_path / "results/mimic_demo"
    assert read_samples(results / "cohort/samples.parquet").num_rows == 74
    assert read_features(results / "cohort/features/ts_lab.parquet")[0].shape == (74, 242)
    tasks = read_json(results / "labels/tasks.json")["tasks"]
    learned = {name for name, task in tasks.items() if task["status"] == "ok"}
    assert len(tasks) == 40
    assert {"sepsis", "heart_failure", "length_of_stay", "phenotype"} <= learned
    found = read_table(results / "evaluation/evaluation.parquet", EVALUATION).to_pandas()
    assert set(found.task) == learned
    assert np.isfinite(found.multi).all()
    for figure in figures_of(task["problem_class"] for task in tasks.values()):
        assert (results / f"figures/{figure}.svg").stat().st_size > 0
    made = snakemake(tmp_path, *call, "--report", "snakemake-report.html", programs=programs)
    assert made.status == 0, made.output[-6000:]
    assert "prove the path, not the medicine" in (tmp_path / "snakemake-report.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.real_data
def test_another_interval_is_one_option(real_data: Path, dry_run: Callable[..., Run]) -> None:
    told = set()
    for option in ("source={samples: every, hours: 24}", "source={samples: every, hours: 12}"):
        run = dry_run("--printshellcmds", *CONFIG, "--config", f"data={real_data}", option)
        assert run.status == 0, run.output
        # The file that tells `ingest` is called by its content.
        told |= set(re.findall(r"logs/settings/ingest\.\w+\.json", run.output))
    assert len(told) == 2


@pytest.mark.real_data
def test_notes_are_embedded_before_the_cohort_is_made(
    real_data: Path, tmp_path: Path, dry_run: Callable[..., Run]
) -> None:
    (tmp_path / "model").mkdir()
    for name in ("model/config.json", "model/model.safetensors", "notes.csv"):
        (tmp_path / name).touch()
    notes = f"{{kind: language, model: {tmp_path}/model, notes: {tmp_path}/notes.csv}}"
    run = dry_run(
        *CONFIG,
        "--config",
        f"data={real_data}",
        f"source={{embeddings: {{note_radiology: {notes}}}}}",
        "modalities={language: {sources: [note_radiology]}}",
    )
    assert run.status == 0, run.output
    assert "results/mimic_demo/cohort/embeddings/note_radiology.parquet" in run.output
    assert "rule embed:" in run.output
