"""The table of the default study with other seeds: counts of what was planted, found and claimed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.seeds import lines, said

TRUTH = {
    "groups": [["a", "b", "c"], ["d", "e"]],
    "interactions": {"a": {"shape": "product"}, "c": {"shape": "product"}, "z": {"shape": "product"}},
}


def row(task: str, combination: str, verdict: str, **more: Any) -> dict[str, Any]:
    usual = {"control": "", "difference": 0.0, "reference_verdict": "not significant"}
    return usual | {"task": task, "combination": combination, "verdict": verdict} | more


ROWS = [
    row("a", "a+b", "better", difference=0.02),
    row("b", "b", "not tested"),
    # Of its group, but its labels are permuted: nothing is to be found.
    row("c", "a+c", "better", control="permuted labels"),
    row("d", "d+n", "better", difference=0.01),
    row("n", "d+n", "not significant", control="planted noise", reference_verdict="worse"),
    row("own", "b+own", "worse"),
]
SCORES = [
    {"task": task, "model": model, "part": "test", "value": value}
    for task, model, value in (
        ("a", "multi", 0.8),
        ("a", "linear", 0.8),
        ("c", "multi", 0.4),
        ("c", "linear", 0.5),
    )
]


def test_counts_are_those_of_the_tables() -> None:
    found = said(TRUTH, ROWS, SCORES)
    # `d` has no other task of its group in the study.
    assert found["groups"] == (1, 2)
    assert found["gain"] == pytest.approx(0.01)
    assert found["better"] == (2, 3)
    assert found["worse"] == ["own"]
    assert found["controls"] == ["c", "n"]
    assert found["beyond"] == (1, 1)
    line = lines([{"seed": 7} | found])[-1]
    assert line == "| 7 | 1 of 2 | +0.0100 | 3 (2) | own | c, n | 1 of 1 |"
