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


def snakemake(folder: Path, *arguments: str, programs: Path | None = None) -> Run:
    """Call Snakemake in ``folder``, which sees the project through links.

    Args:
        folder: where the results go.
        arguments: of Snakemake.
        programs: the fixture of this name, for programs that start at once; None: those that are installed.
    """
    linked(folder)
    done = subprocess.run(
        ["snakemake", *arguments],
        cwd=folder,
        env=environment(programs),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Run(folder, done.stdout, done.returncode)


def linked(folder: Path) -> None:
    """Let a folder see the project."""
    for name in ("config", "resources", "workflow", "slurm"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)


def environment(programs: Path | None) -> dict[str, str]:
    """What programs need to find each other and this copy of the package."""
    folders = [str(folder) for folder in (programs, Path(sys.executable).parent) if folder]
    return {
        **os.environ,
        "PATH": os.pathsep.join([*folders, os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }


@pytest.fixture(scope="session")
def default_study(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The default study, run once for all tests."""
    run = snakemake(tmp_path_factory.mktemp("default"), "--cores", "all")
    assert run.status == 0, run.output[-6000:]
    return run


@pytest.fixture(scope="session")
def dry_run(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Callable[..., Run]:
    """Dry runs in one empty folder."""
    folder = tmp_path_factory.mktemp("dry")
    return lambda *arguments: snakemake(folder, "--dry-run", *arguments, programs=programs)
