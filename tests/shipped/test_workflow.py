"""``m3h run``: the call of Snakemake, its options, its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m3h_pipeline import shipped
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.shipped import workflow
from tests.conftest import ROOT
from tests.end_to_end.conftest import environment


def m3h(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from m3h_pipeline.cli import main; sys.exit(main())", *words],
        cwd=folder,
        env=environment(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def options(*given: str) -> list[str]:
    """What is passed to Snakemake behind its Snakefile."""
    words = workflow.command(None, given)
    assert words[1:5] == ["-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile")]
    return words[5:]


@pytest.mark.parametrize(
    "given",
    [
        ["--cores", "2"],
        ["-c2"],
        ["--cores=2"],
        ["-j", "4", "-n"],
        ["--jobs=3"],
        ["--profile", "mine"],
        ["-ehtcondor"],
    ],
)
def test_who_says_how_many_cores_has_them(given: list[str]) -> None:
    assert options(*given) == given


def test_all_cores_else() -> None:
    assert options("-n", "--config", "seed=1") == ["--cores", "all", "-n", "--config", "seed=1"]
    # `--configfiles` begins as `--config` does, `--jobname` as `--jobs` does not.
    assert options("--jobname", "x")[:2] == ["--cores", "all"]


def test_a_profile_that_ships_goes_by_its_name(tmp_path: Path) -> None:
    folder = str(ROOT / "workflow/profiles/slurm")
    assert options("--profile", "slurm", "-n") == ["--profile", folder, "-n"]
    assert options("--profile=slurm") == [f"--profile={folder}"]
    assert options("--profile", "other", "slurm") == ["--profile", "other", "slurm"]
    (tmp_path / "slurm").mkdir()
    # A folder with a site's settings alone is no profile.
    (tmp_path / "slurm/site.yaml").touch()
    assert options("--profile", "slurm") == ["--profile", folder]
    (tmp_path / "slurm/config.yaml").touch()
    assert options("--profile", "slurm") == ["--profile", "slurm"]


def test_targets_are_no_configurations(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    words = workflow.command("mine.yaml", ["-c1", "results/x/split.parquet"])
    assert words[3:6] == ["--configfile", "mine.yaml", "--snakefile"]
    assert words[-2:] == ["-c1", "results/x/split.parquet"]


def test_a_configuration_that_is_absent() -> None:
    with pytest.raises(InputError, match="no such configuration"):
        workflow.command("mine.yaml")


def test_conda_needs_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert options("--sdm", "conda", "-c1") == ["--sdm", "conda", "-c1"]
    monkeypatch.setattr(workflow, "shipped", lambda name: tmp_path / shipped.INSIDE / name)
    for given in (["--sdm", "conda"], ["--use-conda"]):
        with pytest.raises(ConfigError, match="clone"):
            workflow.command(None, given)
    assert workflow.command(None, ["--sdm", "apptainer"])


def test_jobs_find_the_programs_of_this_installation() -> None:
    found = workflow.environment({"PATH": "/elsewhere", "X": "1"})
    assert found["X"] == "1"
    assert found["PATH"].split(os.pathsep)[1:] == ["/elsewhere"]
    assert (Path(found["PATH"].split(os.pathsep)[0]) / "snakemake").exists()


def test_a_study_runs_in_an_empty_folder(tmp_path: Path) -> None:
    done = m3h(tmp_path, "run", "config/config.yaml", "--dry-run", "-c1", "--config", "study=mine")
    assert done.returncode == 0, done.stdout
    assert "results/mine/labels/heart_failure.parquet" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_exit_status_is_snakemake_s(tmp_path: Path) -> None:
    assert m3h(tmp_path, "run", "-n", "no/such/target").returncode == 1
    done = m3h(tmp_path, "run", "none.yaml")
    assert done.returncode == 2
    assert "m3h run: there is no such configuration" in done.stdout
    assert m3h(tmp_path, "run", "--help").stdout.startswith("usage: m3h run [CONFIG]")
