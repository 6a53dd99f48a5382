"""The answer in words is right: on studies of known truth, and where nothing is to be found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from html import unescape
from pathlib import Path
from statistics import median

import pytest

from m3h_pipeline.evaluation.claims import NOTHING, UNTESTED
from m3h_pipeline.report.answer import NAMED, Answer, answer, use
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.interaction import interaction
from m3h_pipeline.report.overview import overview
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


def with_rows(gathered: Gathered, table: str, rows: Iterable[Row]) -> Gathered:
    """The same with other rows in a table."""
    return replace(gathered, tables={**gathered.tables, table: tuple(rows)})


def test_models_that_cannot_be_compared_are_not_said_to_be_without_companions() -> None:
    """As with one seed: companions were selected, and nothing is claimed of them."""
    gathered, _ = study(5)
    rows = [
        row if row["verdict"] == UNTESTED else {**row, "verdict": NOTHING, "detectable": float("nan")}
        for row in gathered.rows("evaluation")
    ]
    gathered.said["evaluation"]["replicates"] = dict.fromkeys(gathered.tasks, 1)  # type: ignore[index]
    said = answer(with_rows(gathered, "evaluation", rows))
    assert "no comparison is defined for the" in said.sentence
    text = " ".join([said.sentence, *map(" ".join, said.figures), *said.otherwise.values()])
    assert "no outcome was selected a companion" not in text
    assert "outcome that was tested is settled" not in text
    assert [value for value, _, _ in said.figures[:2]] == ["–", "–"]
    assert any("with one seed an interval cannot count seeds" in one for one in said.open)
    assert any("over patients;" in one for one in said.asked)


def test_phenotypes_alone_are_no_comparison() -> None:
    gathered, _ = study(6)
    phenotypes = {
        name: replace(task, problem_class="clustering", metric="silhouette")
        for name, task in gathered.tasks.items()
    }
    rows = [{**row, "metric": "silhouette", "verdict": UNTESTED} for row in gathered.rows("evaluation")]
    said = answer(replace(with_rows(gathered, "evaluation", rows), tasks=phenotypes))
    assert said.sentence == (
        "Nothing can be said of learning outcomes together: there is no outcome whose models can be compared."
    )
    assert said.otherwise["alone"] == "No outcome can be compared."
    assert said.otherwise["helpful"] == "Not measured."
    assert any("described, not tested" in one for one in said.open)


def test_without_references_no_model_is_said_to_be_the_simplest() -> None:
    gathered, _ = study(7)
    choice = [row for row in gathered.rows("choice") if row["candidate"] != "linear"]
    rows = [
        {**row, "reference": None, "reference_verdict": UNTESTED, "versus_reference": float("nan")}
        for row in gathered.rows("evaluation")
    ]
    said = answer(with_rows(with_rows(gathered, "choice", choice), "evaluation", rows))
    assert "no other kind of model" in said.figures[2][2]
    assert any(one.startswith("No reference was learned") for one in said.open)
    nothing = answer(with_rows(gathered, "choice", []))
    assert nothing.figures[2][0] == "–"
    assert nothing.otherwise["simpler"] == "No choice was made."


def test_the_references_have_a_word() -> None:
    gathered, _ = study(8)
    rows = gathered.rows("evaluation")
    verdicts = ["better", "worse", "worse", *["not significant"] * (len(rows) - 3)]
    told = [{**row, "reference_verdict": one} for row, one in zip(rows, verdicts, strict=True)]
    (said,) = [one for one in answer(with_rows(gathered, "evaluation", told)).open if "Against" in one]
    assert f"better for 1 of {len(rows)} outcomes ({rows[0]['title']}), worse for 2 (" in said
    assert said.endswith(f"for {len(rows) - 3} it is not settled.")


def test_a_gain_that_is_not_to_be_used_is_said_in_the_first_sentence() -> None:
    gathered, truth = study(1)
    gains = named(gathered, answer(gathered).gains)
    both = gains & truth.simpler
    assert both
    assert f"For {len(both)} of those that gain a simpler model should be used" in answer(gathered).sentence
    none = with_rows(gathered, "choice", [r for r in gathered.rows("choice") if r["task"] not in both])
    assert "simpler" not in answer(none).sentence


def test_numbers_of_two_metrics_are_not_mixed() -> None:
    """A difference of R² is no larger than one of AUROC, and there is no median of both."""
    gathered, truth = study(1)
    value = next(name for name in truth.gain)
    huge = {"metric": "r2", "difference": 7.5, "difference_low": 6.0, "difference_high": 9.0}
    rows = [{**row, **huge} if row["task"] == value else row for row in gathered.rows("evaluation")]
    mixed = with_rows(gathered, "evaluation", rows)
    size, what, more = answer(mixed).figures[1]
    others = [r["difference"] for r in rows if r["verdict"] == "better" and r["metric"] == "auroc"]
    assert what.startswith("AUROC: the largest gain")
    assert size == f"+{max(others):.3f}"
    assert f"median of {len(others)} gains +{median(others):.3f}" in more
    # Nor is the picture of one drawn on the scale of the other.
    table = overview(mixed)
    assert table["scales"].endswith("R² ±9.000")
    bars = {row["task"]: row["bar"] for row in table["rows"] if row["bar"]}
    ends = [max(abs(bar[end] - 75) for end in ("low", "high")) for task, bar in bars.items() if task != value]
    assert max(ends) > 60


def test_one_outcome_with_a_huge_change_does_not_pale_all_others() -> None:
    gathered, _ = study(9)
    value = next(iter(gathered.tasks))
    tasks = {**gathered.tasks, value: replace(gathered.tasks[value], metric="r2", problem_class="regression")}
    rows = [
        {**row, "estimate": -3e5, "low": -4e5, "high": -2e5} if row["task"] == value else row
        for row in gathered.rows("tim")
    ]
    blocks = interaction(replace(with_rows(gathered, "tim", rows), tasks=tasks)).blocks
    (heatmap,) = [block for block in blocks if block.get("title") == "All pairs"]
    assert heatmap["spec"]["limit"] < 1
    assert "colours for AUROC" in heatmap["caption"]


def test_one_tested_outcome_reads_as_a_sentence() -> None:
    gathered, _ = study(101, null=True)
    first, *others = gathered.rows("evaluation")
    rows = [{**first, "verdict": "not significant"}, *({**row, "verdict": UNTESTED} for row in others)]
    sentence = answer(with_rows(gathered, "evaluation", rows)).sentence
    assert sentence.startswith(f"The one tested outcome, {first['title']}, is shown neither to gain")


def test_a_control_that_is_predicted_is_told() -> None:
    gathered, truth = study(2)
    victim = min(truth.nothing)
    rows = [
        {**row, "control": "permuted labels"} if row["task"] == victim else row
        for row in gathered.rows("evaluation")
    ]
    leaking = with_rows(gathered, "evaluation", rows)
    assert any("predicted better than chance" in one for one in answer(leaking).open)
    ends = {f"{arm}_low": 0.45 for arm in ("single", "multi")}
    fair = [{**row, **ends} if row["task"] == victim else row for row in rows]
    assert not any(
        "better than chance" in one for one in answer(with_rows(gathered, "evaluation", fair)).open
    )


def test_no_model_of_a_control_is_to_be_used() -> None:
    gathered, truth = study(2)
    victim = min(truth.simpler)
    assert use(gathered, victim)
    tasks = {**gathered.tasks, victim: replace(gathered.tasks[victim], control="planted noise")}
    assert use(replace(gathered, tasks=tasks), victim) == ""


def test_a_second_look_takes_back_that_nobody_has_looked() -> None:
    gathered, _ = study(3)
    assert any("whom no choice has seen" in one for one in answer(gathered).asked)
    gathered.said["evaluation"]["looks"] = 2  # type: ignore[index]  # a dictionary here
    assert not any("whom no choice has seen" in one for one in answer(gathered).asked)


def test_the_first_screen_says_it(tmp_path: Path) -> None:
    found = fakes.gathered(tmp_path, description(8))
    first = report_of(found).partition('<section class="chapter" id="outcomes"')[0]
    assert f'<h1 id="answer-title" data-answer>{answer(found).sentence}</h1>' in unescape(first)
    assert first.count('class="value">') == 3
