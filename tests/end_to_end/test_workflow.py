"""The workflow itself: it plans quickly, resolves its profiles and is clean by Snakemake's own rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from m3h_pipeline.jobs.running import Running
from m3h_pipeline.layout import Layout
from tests.end_to_end.conftest import ROOT, Run, snakemake


def test_the_snakefile_stays_short() -> None:
    assert len((ROOT / "workflow/Snakefile").read_text().splitlines()) <= 60


@pytest.mark.parametrize("study", ["config", "gse7390", "gse7390_txt"])
def test_a_study_plans_its_first_round(dry_run: Callable[..., Run], study: str) -> None:
    run = dry_run("--cores", "2", "--configfile", f"config/{study}.yaml")
    assert run.status == 0, run.output
    assert re.search(r"plan_round\s+1", run.output)


def test_the_slurm_profile_resolves_from_the_root(dry_run: Callable[..., Run]) -> None:
    run = dry_run("--profile", "slurm", "--executor", "dryrun")
    assert run.status == 0, run.output
    assert "slurm" in run.output.splitlines()[0]


def test_a_wrong_key_is_explained_without_a_traceback(dry_run: Callable[..., Run]) -> None:
    run = dry_run("--cores", "1", "--config", "search={beem: 2}")
    assert run.status != 0
    assert "unknown key `beem` in `search`; did you mean `beam`?" in run.output
    assert "Traceback" not in run.output


def test_command_line_values_reach_the_study(dry_run: Callable[..., Run]) -> None:
    run = dry_run("--cores", "1", "--config", "study=other")
    assert run.status == 0, run.output
    assert "results/other/split.parquet" in run.output


def test_a_second_run_on_the_same_results_is_told_at_once(tmp_path: Path, programs: Path) -> None:
    """Two working folders, one folder of results; Snakemake itself locks the working folder alone."""
    results = tmp_path / "shared"
    options = ["--cores", "1", "--config", f"results={results}", "--until", "simulate"]
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    first = Running(Layout(results / "default").running)
    first.begin()
    refused = snakemake(folders[1], *options, programs=programs)
    assert refused.status != 0
    assert "another run is writing these results" in refused.output
    assert "Traceback" not in refused.output
    assert "Building DAG" not in refused.output
    assert snakemake(folders[1], "--dry-run", *options, programs=programs).status == 0
    assert not (results / "default/input").exists()
    assert not (results / "default/logs/settings").exists()
    first.end()
    # Snakemake's own process leaves nothing behind that would stop the next.
    for folder in folders:
        assert snakemake(folder, *options, programs=programs).status == 0
