"""Tables of a few rows, in which every value is one of few patients."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_value_is_rare(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of rare values is tested in ``test_rare.py`` and on whole studies."""
    if request.path.name != "test_rare.py":
        monkeypatch.setattr("m3h_pipeline.cohort.rare.LEAST", 1)
