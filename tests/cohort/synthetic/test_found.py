"""What was planted beside what was found: by hand, and of the structures that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.cohort.synthetic.found import planted_lines, write_planted
from m3h_pipeline.cohort.synthetic.structure import planted_noise, structure_of
from m3h_pipeline.config import HaimSource, SyntheticSource
from m3h_pipeline.contracts import combination_key

TRUTH = {"groups": [["a", "b", "c"], ["x", "y"]], "conflicts": [["a", "x"]], "noise": ["gout"]}


def row(
    task: str,
    *others: str,
    verdict: str = "not significant",
    control: str = "",
    reference: str = "not tested",
) -> dict[str, Any]:
    return {
        "task": task,
        "combination": combination_key([task, *others]),
        "verdict": verdict,
        "reference_verdict": reference,
        "control": control,
    }


def table(*rows: dict[str, Any]) -> dict[str, dict[str, str]]:
    header, *lines = planted_lines(TRUTH, rows)
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def test_groups_are_found_by_their_companions_and_controls_by_silence() -> None:
    found = table(
        row("a", "b", "x", verdict="better"),
        row("b", "x"),
        row("c", control="permuted labels", verdict="worse"),
        row("x", verdict="not tested"),
        row("gout", "a", control="planted noise"),
        row("lonely", "gout"),
    )
    assert found["a"]["related tasks"] == "b"  # c is permuted: no relative any more
    assert found["a"]["of these related"] == "b"
    assert found["a"]["as planted"] == "yes"
    assert found["a"]["planted"] == "group; in conflict with x"
    assert (found["b"]["of these related"], found["b"]["as planted"]) == ("", "no")
    assert (found["c"]["planted"], found["c"]["as planted"]) == ("permuted labels", "no")
    assert found["gout"]["as planted"] == "yes"
    assert (found["lonely"]["planted"], found["lonely"]["as planted"]) == ("a factor of its own", "")
    # Of the group of x only x itself was learned.
    assert (found["x"]["learned with"], found["x"]["planted"]) == ("alone", "a factor of its own")
    assert found["all"]["as planted"] == "1 of 2 in groups found theirs; 1 of 2 controls claimed"


@pytest.mark.parametrize("reference", ["better", "worse"])
def test_a_claim_against_the_reference_is_a_claim_too(reference: str) -> None:
    found = table(row("gout", control="planted noise", reference=reference), row("a", "b"))
    assert found["gout"]["as planted"] == "no"
    assert found["all"]["as planted"].endswith("1 of 1 controls claimed")


@pytest.mark.parametrize("which", ["default", "all"])
def test_the_structures_that_ship_have_a_whole_page(which: Any, tmp_path: Path) -> None:
    truth = structure_of(which, 1.0).truth()
    assert planted_noise(SyntheticSource(tasks=which)) == truth["noise"]
    tasks = [task for group in truth["groups"] for task in group]
    groups = [(task, set(group) - {task}) for group in truth["groups"] for task in group]
    rows = [row(task, *others) for task, others in groups]
    rows += [row(task, control="planted noise") for task in truth["noise"]]
    said = write_planted(truth, rows, tmp_path / "planted.tsv")
    found, controls = len(tasks), len(truth["noise"])
    assert said == f"{found} of {found} in groups found theirs; 0 of {controls} controls claimed"
    lines = [line.split("\t") for line in (tmp_path / "planted.tsv").read_text().splitlines()]
    assert len(lines) == len(rows) + 2
    assert {len(line) for line in lines} == {7}


def test_only_a_synthetic_cohort_plants_noise() -> None:
    assert planted_noise(HaimSource(table="t.csv", key_ids="k.csv")) == []
