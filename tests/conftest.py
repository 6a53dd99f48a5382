"""What all tests share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.forked import forked_programs

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with whole studies go first: what is short fills the workers' last minutes."""
    studies = {item.path for item in items if item.get_closest_marker("study")}
    items.sort(key=lambda item: item.path not in studies)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the project.

    Its README says what it holds; the project never contains it.
    """
    if not REAL_DATA.is_dir():
        pytest.skip("no real data: the folder ../shared/data does not exist beside the project")
    return REAL_DATA


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``m3h`` and ``snakemake`` for the front of ``PATH``, which start at once."""
    with forked_programs(tmp_path_factory.mktemp("programs")) as folder:
        yield folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """``made_once(name, make)``: a folder that ``make`` has filled, one for all workers.

    Nobody may change what is in it.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared / f"{name}-shared", shared / f"{name}-done"
        with _locked(shared / f"{name}-lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
