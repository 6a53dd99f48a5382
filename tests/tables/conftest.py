"""Tables of a few rows here too."""

from __future__ import annotations

from tests.cohort.conftest import no_value_is_rare

__all__ = ["no_value_is_rare"]
