"""The wheel: what it carries, and that it is found there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from m3h_pipeline.shipped import FOLDERS, INSIDE
from tests.conftest import ROOT
from tests.package.building import built_wheel

WITHIN = f"m3h_pipeline/{INSIDE}/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_carries_every_file_of_the_shipped_folders_and_no_other(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a clone: what belongs to the project is not known")
    carried = {
        name.removeprefix(WITHIN) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(WITHIN)
    }
    assert carried == set(tracked)


def test_it_carries_every_module_and_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "m3h_pipeline").rglob("*.py")}
    assert modules <= names
    assert {"m3h_pipeline/py.typed", "m3h_pipeline/cohort/synthetic/icd_codes.tsv"} <= names
    assets = (ROOT / "m3h_pipeline/report/assets").iterdir()
    assert {str(path.relative_to(ROOT)) for path in assets} <= names
    assert not [name for name in names if name.split("/")[0] in {"tests", "docs", "config", "workflow"}]


def test_what_it_carries_is_found_and_digests_are_the_clone_s(wheel: Path, tmp_path: Path) -> None:
    """The package unpacked from the wheel, in a folder of its own, beside the installed dependencies."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    asked = (
        "from m3h_pipeline import shipped\nfrom m3h_pipeline.digest import code_digest\n"
        "from m3h_pipeline.config import load_study\nfrom m3h_pipeline.tasks.definitions import tasks_of\n"
        "from m3h_pipeline.search.rates import MEASURED\n"
        "print(shipped.root(), code_digest('m3h_pipeline.training.pack'), len(tasks_of(load_study("
        "'config/config.yaml').tasks)), MEASURED)"
    )

    def answers(folder: Path, cwd: Path) -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        return subprocess.run(
            [sys.executable, "-c", asked],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    (tmp_path / "empty").mkdir()
    inside, here = answers(tmp_path / "site", tmp_path / "empty"), answers(ROOT, ROOT)
    assert inside[0] == str(tmp_path / "site/m3h_pipeline" / INSIDE)
    assert here[0] == str(ROOT)
    assert inside[1:3] == here[1:3]
    assert inside[3] == f"{inside[0]}/docs/gpu"
