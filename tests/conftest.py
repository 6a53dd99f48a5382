"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the project.

    Its README says what it holds; the project never contains it.
    """
    if not REAL_DATA.is_dir():
        pytest.skip("no real data: the folder ../shared/data does not exist beside the project")
    return REAL_DATA
