"""The answer in words is right: on studies of known truth, and where nothing is to be found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path

import pytest

from m3h_pipeline.report.answer import NAMED, Answer, answer
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.stage import report_of
from tests.figures.fakes import description
from tests.report import fakes
from tests.report.truths import study

#: Studies of known truth, and studies in which there is nothing.
KNOWN, NULL = range(10), range(100, 120)


def named(gathered: Gathered, sentences: Iterable[str]) -> set[str]:
    """The tasks that sentences begin with."""
    titles = {task.title: name for name, task in gathered.tasks.items()}
    return {titles[text.partition(":")[0]] for text in sentences}


def numbers(said: Answer) -> tuple[int, int]:
    """How many gain, and of how many, as the sentence says it."""
    found = re.match(r"(None|\d+) of (\d+) tested outcome", said.sentence)
    assert found, said.sentence
    return (0 if found[1] == "None" else int(found[1])), int(found[2])


@pytest.mark.parametrize("seed", KNOWN)
def test_the_answer_is_the_truth(seed: int) -> None:
    gathered, truth = study(seed)
    said = answer(gathered)
    gains, losses = named(gathered, said.gains), named(gathered, said.losses)
    assert truth.gain <= gains
    assert truth.lose <= losses
    assert not gains & (truth.lose | truth.alone)
    assert not losses & (truth.gain | truth.alone)
    tested = truth.gain | truth.lose | truth.nothing
    assert named(gathered, said.unsettled) == tested - gains - losses
    assert numbers(said) == (len(gains), len(tested))
    assert said.figures[0][0] == f"{len(gains)} of {len(tested)}"
    assert {gathered.tasks[name].title for name in truth.alone} == set(said.alone)
    assert named(gathered, said.simpler) == truth.simpler
    assert said.figures[2][0] == f"{len(truth.simpler)} of {len(gathered.tasks)}"
    for lines, pairs in ((said.helpful, truth.helpful), (said.harmful, truth.harmful)):
        expected = [f"{gathered.title(one)} for {gathered.title(other)}" for one, other in pairs[:NAMED]]
        assert [line.partition(":")[0] for line in lines] == expected


def test_over_all_of_them_few_claims_are_false() -> None:
    """The rate of false discoveries is 5 %: of some 100 claims, hardly more than ten are none."""
    claimed = false = 0
    for seed in KNOWN:
        gathered, truth = study(seed)
        said = answer(gathered)
        found = named(gathered, [*said.gains, *said.losses])
        claimed, false = claimed + len(found), false + len(found & truth.nothing)
    assert claimed > 50
    assert false <= 0.1 * claimed


def test_where_nothing_is_to_be_found_nothing_is_said_to_be() -> None:
    """Of twenty null studies one may claim something, at a rate of 5 %; four would be too many (p < 0.02)."""
    claiming = 0
    for seed in NULL:
        gathered, _ = study(seed, null=True)
        said = answer(gathered)
        claiming += bool(said.gains or said.losses)
        if not said.gains and not said.losses:
            assert said.sentence.startswith("None of ")
            assert said.sentence.endswith("The data settle it for none of them.")
        assert not said.helpful
        assert not said.harmful
        assert any("No single companion" in text for text in said.open)
    assert claiming <= 3


def test_the_largest_gain_is_told_with_its_interval() -> None:
    gathered, truth = study(1)
    assert truth.gain
    best = max(gathered.rows("evaluation"), key=lambda row: row["difference"])
    value, what, more = answer(gathered).figures[1]
    assert value == f"+{best['difference']:.3f}"
    assert best["title"] in what
    assert f"+{best['difference_low']:.3f} to +{best['difference_high']:.3f}" in more


def test_a_control_is_no_outcome_and_what_is_claimed_of_it_is_called_false() -> None:
    gathered, truth = study(2)
    victim = min(truth.gain)
    rows = gathered.tables["evaluation"]
    for row in rows:
        if row["task"] == victim:
            row["control"] = "permuted labels"
    said = answer(gathered)
    assert victim not in named(gathered, said.gains)
    assert any("false discovery" in text and gathered.title(victim) in text for text in said.open)


def test_other_looks_at_the_test_part_are_said() -> None:
    gathered, _ = study(3)
    gathered.said["evaluation"]["looks"] = 3  # type: ignore[index]  # a dictionary here
    assert any("3 sets of models" in text for text in answer(gathered).asked)


def test_nothing_tested_is_no_answer() -> None:
    gathered, _ = study(4)
    alone = [
        {**row, "verdict": "not tested", "combination": row["task"]} for row in gathered.rows("evaluation")
    ]
    gathered.tables["evaluation"] = tuple(alone)  # type: ignore[index]  # a dictionary here
    assert answer(gathered).sentence.startswith("Nothing can be said")


def test_the_first_screen_says_it(tmp_path: Path) -> None:
    found = fakes.gathered(tmp_path, description(8))
    first = report_of(found).partition('<section class="chapter" id="outcomes"')[0]
    assert f'<h1 id="answer-title" data-answer>{answer(found).sentence}</h1>' in unescape(first)
    assert first.count('class="value">') == 3
