"""Tables of a few rows, in which every value is one of few patients."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_value_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep categories and groups of few patients: for tests of something else, in tables of few rows."""
    monkeypatch.setattr("m3h_pipeline.cohort.rare.LEAST", 1)
