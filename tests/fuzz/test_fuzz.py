"""A few seconds of what ``make fuzz`` does for half an hour."""

from __future__ import annotations

from tests.fuzz.__main__ import run


def test_damaged_inputs_end_in_a_sentence() -> None:
    counts, failures = run(seed=0, seconds=0, least=150)
    assert not failures, next(iter(failures.values()))
    assert sum(counts.values()) >= 150
    assert sum(n for name, n in counts.items() if name.endswith("refused")) > 40
