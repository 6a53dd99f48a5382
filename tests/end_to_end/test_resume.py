"""A training job that is killed goes on from the store, and ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.injections import STUDY, half_written, stored_keys, training_processes
from tests.slurm.studies import command, differences, snakemake, with_project, write_study

pytestmark = pytest.mark.study
ROUND = "results/killed/search/round_1"
TARGET = f"{ROUND}/scores.parquet"


@pytest.mark.skipif(sys.platform != "linux", reason="the test finds its processes in /proc")
def test_a_killed_training_job_resumes(tmp_path: Path, programs: Path) -> None:
    # Stacks of half a second each, one after another in one job.
    study = write_study(tmp_path / "study.yaml", STUDY, training={"epochs": 80}, tim={"replicates": 2})
    configured = ("--cores", "2", "--configfile", str(study))
    quick = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    folder, undisturbed = tmp_path / "killed", tmp_path / "whole"
    results = folder / "results/killed"
    planned = snakemake(folder, quick, f"{ROUND}/plan.json", *configured)
    assert planned.status == 0, planned.output
    shutil.copytree(folder, undisturbed, symlinks=True)
    whole = snakemake(undisturbed, quick, TARGET, *configured)
    assert whole.status == 0, whole.output
    with subprocess.Popen(
        command(TARGET, *configured), cwd=folder, env=with_project(os.environ), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not stored_keys(results) and time.monotonic() < deadline:
            time.sleep(0.05)
        (training,) = training_processes(folder)
        training.send_signal(signal.SIGKILL)
        assert process.wait(60) != 0
    kept = stored_keys(results)
    assert kept
    assert half_written(results) == []
    assert not (results / "search/round_1/packs/0000.scores.parquet").exists()
    again = snakemake(folder, quick, TARGET, *configured)
    assert again.status == 0, again.output
    keys = stored_keys(results)
    assert kept.keys() < keys.keys()
    assert set(keys.values()) == {1}
    assert differences(undisturbed / "results/killed", results) == []
