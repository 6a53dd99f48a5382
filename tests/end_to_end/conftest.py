"""Run whole studies in a folder of their own, as a user does from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """A finished Snakemake call and the folder it ran in."""

    folder: Path
    output: str
    status: int


def snakemake(folder: Path, *arguments: str) -> Run:
    """Call Snakemake in ``folder``, which sees the project through links."""
    for name in ("config", "resources", "workflow", "slurm"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Run(folder, done.stdout, done.returncode)


@pytest.fixture(scope="session")
def default_study(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The default study, run once for all tests."""
    run = snakemake(tmp_path_factory.mktemp("default"), "--cores", "all")
    assert run.status == 0, run.output[-6000:]
    return run


@pytest.fixture(scope="session")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Dry runs in one empty folder."""
    folder = tmp_path_factory.mktemp("dry")
    return lambda *arguments: snakemake(folder, "--dry-run", *arguments)
