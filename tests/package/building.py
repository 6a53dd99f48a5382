"""A wheel of the project as it stands here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from m3h_pipeline.shipped import FOLDERS
from tests.conftest import ROOT

_BUILT_FROM = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


def built_wheel(folder: Path) -> Path:
    """Build the wheel from a copy, so that nothing is left beside the project; without network."""
    copy = folder / "project"
    copy.mkdir()
    for name in _BUILT_FROM:
        shutil.copy(ROOT / name, copy / name)
    for name in ("m3h_pipeline", *FOLDERS):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "."],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (wheel,) = copy.glob("*.whl")
    return wheel
