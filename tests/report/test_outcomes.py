"""The pages of outcomes: their blocks, numbers that are those of the tables, advice by its rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.report.blocks import Block
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.advice import advice_blocks
from m3h_pipeline.report.outcomes.binary import event_rate, slider
from m3h_pipeline.report.outcomes.pages import BLOCKS, outcome_page
from m3h_pipeline.report.overview import overview
from tests.figures.fakes import description
from tests.figures.fakes import of_class as of_kind
from tests.report import fakes

#: Problem class -> charts and tables that its page must have.
WANTED = {
    "binary": [
        *("ROC curve", "Precision and recall", "Choose a threshold", "Decision curve"),
        *("Observed against predicted risk", "How the risks lie", "Calibration slope and intercept"),
    ],
    "multiclass": ["Observed (rows) and predicted class (columns)"],
    "regression": ["Observed values by predicted value"],
    "survival": ["AUROC over time", "Further scores"],
    "clustering": ["Map of the latents (t-SNE)", "Size of each cluster", "Outcomes by cluster"],
}


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    return fakes.gathered(tmp_path_factory.mktemp("study"), description(8) | of_kind(1, "survival"))


def of_class(gathered: Gathered, kind: str) -> str:
    return next(name for name, task in gathered.learned.items() if task.problem_class == kind)


def titles(blocks: Any) -> list[str]:
    return [str(block.get("title", "")) for block in blocks]


def changed(gathered: Gathered, table: str, task: str, **values: Any) -> Gathered:
    """The same with other values in a task's rows of a table."""
    rows = tuple(row | values if row.get("task") == task else row for row in gathered.tables[table])
    return replace(gathered, tables={**gathered.tables, table: rows})


def test_the_table_and_the_page_tell_the_same_silhouette(gathered: Gathered) -> None:
    """That of the inputs: a space that a model made itself is no common ground."""
    task = of_class(gathered, "clustering")
    rows = {row["task"]: row["cells"] for row in overview(gathered)["rows"]}
    for score in gathered.rows("phenotype_scores", task):
        assert rows[task][score["model"]].text == f"{score['silhouette']:.3f}"
    other = of_class(gathered, "binary")
    row = gathered.row("evaluation", other)
    assert row is not None
    assert rows[other]["multi"].text == f"{row['multi']:.3f}"


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_every_class_has_what_its_readers_ask_for(gathered: Gathered, kind: str) -> None:
    blocks = outcome_page(gathered, of_class(gathered, kind)).blocks
    assert [title for title in WANTED[kind] if title not in titles(blocks)] == []
    assert [b["text"] for b in blocks if b["kind"] == "heading"][-1] == "What to try when it fails"
    for block in blocks:
        if block["kind"] == "chart":
            assert block["caption"]
            assert block["alt"]
    # Numbers as JSON, none undefined.
    json.dumps(list(blocks), allow_nan=False)


@pytest.mark.parametrize("kind", sorted(BLOCKS))
def test_a_page_without_rows_still_stands(gathered: Gathered, kind: str) -> None:
    """What tells of few is left out of the tables, and a page says so instead of failing."""
    task = of_class(gathered, kind)
    empty = replace(gathered, tables=dict.fromkeys(gathered.tables, ()))
    page = outcome_page(empty, task)
    assert any(block["kind"] == "heading" for block in page.blocks)
    assert not any(block["kind"] == "chart" for block in page.blocks)


def test_the_slider_has_the_numbers_of_the_table(gathered: Gathered) -> None:
    task = of_class(gathered, "binary")
    use = chosen(gathered, task)
    rows = [row for row in gathered.rows("operating_points", task) if row["candidate"] == use]
    (block,) = [b for b in outcome_page(gathered, task).blocks if b["kind"] == "threshold"]
    spec = block["spec"]
    assert spec["at"] == sorted(spec["at"])
    assert len({len(v) for v in spec.values() if isinstance(v, list)}) == 1
    by_threshold = {round(row["at"], 4): row for row in rows}
    for at, found, alerts in zip(spec["at"], spec["sensitivity"], spec["alerts"], strict=True):
        assert found == pytest.approx(by_threshold[at]["sensitivity"], abs=5e-4)
        assert alerts == pytest.approx(by_threshold[at]["alerts_per_100"], abs=0.05)
    assert slider([], 0.1)["at"] == []


def test_the_event_rate_is_that_of_alerting_everybody(gathered: Gathered) -> None:
    task = of_class(gathered, "binary")
    row = next(iter(gathered.rows("performance", task)))
    rate, at = 0.13, 0.2
    everybody = {
        **row,
        "candidate": "treat_all",
        "measure": "net_benefit",
        "at": at,
        "value": rate - (1 - rate) * at / (1 - at),
    }
    mine = replace(gathered, tables={**gathered.tables, "performance": (everybody,)})
    assert event_rate(mine, task) == pytest.approx(rate)


def test_bars_of_risks_add_up_to_all(gathered: Gathered) -> None:
    task = of_class(gathered, "binary")
    blocks = outcome_page(gathered, task).blocks
    spec = next(b for b in blocks if b.get("title") == "How the risks lie")["spec"]
    whole = sum(sum(one["y"]) for one in spec["series"])
    assert whole == pytest.approx(100, abs=1.5)


def using(gathered: Gathered, task: str, candidate: str) -> Gathered:
    """The same with another candidate chosen."""
    rows = tuple(
        row | {"chosen": row["candidate"] in (candidate, "chosen")} if row["task"] == task else row
        for row in gathered.tables["choice"]
    )
    return replace(gathered, tables={**gathered.tables, "choice": rows})


def said(blocks: list[Block]) -> str:
    return " ".join(blocks[-1]["items"])


def test_advice_follows_the_numbers(gathered: Gathered) -> None:
    task = of_class(gathered, "binary")
    few = changed(gathered, "calibration_slopes", task, events=40)
    assert "40 test samples have the event" in said(advice_blocks(few, task))
    many = changed(gathered, "calibration_slopes", task, events=4000)
    assert "have the event" not in said(advice_blocks(many, task))
    steep = changed(many, "calibration_slopes", task, slope=0.5, slope_low=0.4, slope_high=0.6)
    assert "too far apart" in said(advice_blocks(steep, task))
    flat = changed(many, "choice", task, value=0.52, low=0.48, high=0.56)
    assert "may be chance" in said(advice_blocks(flat, task))
    worse = using(
        changed(many, "evaluation", task, reference="linear", reference_verdict="worse"), task, "linear"
    )
    assert "Use the linear model: it is better" in said(advice_blocks(worse, task))
    control = replace(gathered.tasks[task], control="permuted labels")
    permuted = replace(gathered, tasks={**gathered.tasks, task: control})
    assert "Nothing can be learned here" in said(advice_blocks(permuted, task))
    phenotype = of_class(gathered, "clustering")
    unsteady = changed(gathered, "phenotype_scores", phenotype, stability=0.2, rank=1.1)
    assert "Seeds agree little" in said(advice_blocks(unsteady, phenotype))
    assert "all but 1.1 directions" in said(advice_blocks(unsteady, phenotype))


def test_advice_claims_no_more_than_its_numbers(gathered: Gathered) -> None:
    task = of_class(gathered, "binary")
    # The choice is made out of fold: a look at the test part does not turn it round.
    network = using(gathered, task, "together")
    worse = changed(network, "evaluation", task, reference="linear", reference_verdict="worse")
    assert "The choice stands" in said(advice_blocks(worse, task))
    assert "Use the linear model" not in said(advice_blocks(worse, task))
    blend = using(worse, task, "blend")
    assert "linear" not in said(advice_blocks(blend, task))
    # A difference that is not settled may be large.
    unsettled = {"reference": "linear", "reference_verdict": "not significant", "versus_reference_high": 0.31}
    text = said(advice_blocks(changed(network, "evaluation", task, **unsettled), task))
    assert "loses at most 0.310" in text
    # A value below the other's interval is chance where the intervals meet.
    rows = tuple(
        row
        | (
            {"value": 0.7, "low": 0.66, "high": 0.74}
            if row["part"] == "test"
            else {"value": 0.75, "low": 0.72}
        )
        if row["task"] == task
        else row
        for row in network.tables["choice"]
    )
    meeting = replace(network, tables={**network.tables, "choice": rows})
    assert "lucky" not in said(advice_blocks(meeting, task))
    apart = changed(meeting, "choice", task, high=0.71)
    assert "lucky" in said(advice_blocks(apart, task))
    # Without a calibration nobody knows how many events there are.
    unknown = replace(network, tables={**network.tables, "calibration_slopes": ()})
    assert "have the event" not in said(advice_blocks(unknown, task))


def test_of_many_subgroups_it_is_said_what_chance_does(gathered: Gathered) -> None:
    task = of_class(gathered, "binary")
    network = using(gathered, task, "together")
    base = next(row for row in network.rows("subgroups", task) if row["candidate"] == "together")
    base |= {"measure": gathered.tasks[task].metric, "state": "before"}
    rows = tuple(
        base | {"subgroup": f"ward {i}", "gap": gap, "gap_low": gap - 0.05, "gap_high": gap + 0.05}
        for i in range(400)
        for gap in [-0.06 - i / 1e5 if i % 40 == 0 else 0.01]
    )
    many = replace(network, tables={**network.tables, "subgroups": rows})
    text = said(advice_blocks(many, task))
    assert "Of 400 groups looked at, about 10 would be so by chance alone." in text
    assert "and 4 more than for all others" in text
    blocks = outcome_page(many, task).blocks
    (gaps,) = [b for b in blocks if b.get("title") == "Each group less all others"]
    assert len(gaps["spec"]["rows"]) <= 40
    assert "20 of 400" in gaps["caption"]
    (table,) = [b for b in blocks if b.get("title") == "All 400 groups"]
    assert len(table["rows"]) == 400


def test_curves_of_a_network_are_called_what_they_are(gathered: Gathered) -> None:
    """One that learned alone is no multitask network, and what was chosen may be another model."""
    for kind, title in (
        ("survival", "Kaplan-Meier curves ({})"),
        ("multiclass", "ROC curve of each class ({})"),
        ("regression", "{}: numbers of samples"),
    ):
        task = of_class(gathered, kind)
        linear = using(gathered, task, "linear")
        for combination, name in ((task, "Single-task"), (f"sepsis+{task}", "Multitask")):
            mine = changed(linear, "selection", task, combination=combination)
            (block,) = [b for b in outcome_page(mine, task).blocks if b.get("title") == title.format(name)]
            assert "not of what was chosen: the linear model" in block["caption"]
        (block,) = [
            b
            for b in outcome_page(using(gathered, task, "together"), task).blocks
            if b.get("title") == title.format("Multitask")
        ]
        assert "not of what was chosen" not in block["caption"]


def test_no_companion_is_said_to_help_a_silhouette(gathered: Gathered) -> None:
    task = of_class(gathered, "clustering")
    blocks = outcome_page(changed(gathered, "tim", task, significant=True, control=False), task).blocks
    assert "Which companions help, which harm" not in titles(blocks)
    assert not any("Flagged" in str(b.get("caption")) for b in blocks)


def test_nothing_is_advised_where_nothing_is_wrong(gathered: Gathered) -> None:
    task = of_class(gathered, "binary")
    nothing = replace(gathered, tables=dict.fromkeys(gathered.tables, ()))
    labelled = replace(
        nothing,
        tables={
            **nothing.tables,
            "calibration_slopes": (
                {"task": task, "candidate": "together", "state": "before", "events": 500}
                | {"slope": 1.0, "slope_low": 0.9, "slope_high": 1.1},
            ),
        },
    )
    assert "Nothing on this page calls for a change" in said(advice_blocks(labelled, task))


def test_the_interval_of_the_bundle_is_on_the_page_of_a_value(gathered: Gathered, tmp_path: Path) -> None:
    task = of_class(gathered, "regression")
    known = {"coverage": 0.9, "half_width": 4.34, "patients": 1254, "test_coverage": 0.9042}
    blocks = outcome_page(replace(gathered, intervals={task: known}), task).blocks
    text = " ".join(str(block.get("text", "")) for block in blocks)
    assert "± 4.34" in text
    assert "90.4 % were" in text


def performance_row(task: str, **values: Any) -> dict[str, Any]:
    row = {"task": task, "candidate": "together", "chosen": True, "state": "after", "class_name": None}
    return row | {"rule": None, "at": None, "low": None, "high": None} | values


def with_performance(gathered: Gathered, task: str, rows: list[dict[str, Any]]) -> Gathered:
    """The same with rows of the chosen candidate, which is the multitask network."""
    choice = changed(gathered, "choice", task, chosen=False).rows("choice")
    chosen_rows = tuple(
        row | {"chosen": row["candidate"] == "together"} if row["task"] == task else row for row in choice
    )
    return replace(gathered, tables={**gathered.tables, "choice": chosen_rows, "performance": tuple(rows)})


def test_horizons_show_observed_against_predicted_risk(gathered: Gathered) -> None:
    task = of_class(gathered, "survival")
    rows = [
        performance_row(task, measure=measure, rule="horizon", at=at, value=value, low=value / 2, high=value)
        for at, risk in ((2.0, 0.1), (5.0, 0.3))
        for measure, value in (
            *(("observed_risk", risk), ("predicted_risk", risk + 0.05)),
            *(("observed_to_expected", 0.9), ("slope", 1.1)),
        )
    ]
    blocks = outcome_page(with_performance(gathered, task, rows), task).blocks
    (block,) = [b for b in blocks if b.get("title") == "Observed against predicted risk at the horizons"]
    (line,) = block["spec"]["series"]
    assert line["x"] == [0.15, 0.35]
    assert line["y"] == [0.1, 0.3]
    assert line["low"] == [0.05, 0.15]
    (table,) = [b for b in blocks if b.get("title") == "At the horizons"]
    assert [row[0] for row in table["rows"]] == ["2", "5"]


def test_errors_by_size_of_the_value(gathered: Gathered) -> None:
    task = of_class(gathered, "regression")
    sizes = {None: 2.0, "lowest fourth": 3.0, "second fourth": 1.0}
    rows = [performance_row(task, measure="mae", class_name=name, value=v) for name, v in sizes.items()]
    blocks = outcome_page(with_performance(gathered, task, rows), task).blocks
    (block,) = [b for b in blocks if b.get("title") == "Error by size of the observed value"]
    assert block["spec"]["categories"] == ["lowest fourth", "second fourth"]
    assert block["spec"]["series"][0]["y"] == [3, 1]
    assert any("Mean absolute error 2.00" in str(b.get("text", "")) for b in blocks)


def test_classes_have_their_rates_by_title(gathered: Gathered) -> None:
    task = of_class(gathered, "multiclass")
    first = gathered.tasks[task].classes[0]
    rows = [
        performance_row(task, state="before", measure="auroc", class_name=first, value=0.8),
        performance_row(task, state="before", measure="accuracy", value=0.6, low=0.5, high=0.7),
    ]
    blocks = outcome_page(with_performance(gathered, task, rows), task).blocks
    (table,) = [b for b in blocks if b.get("title") == "By class"]
    assert table["rows"] == [[first, "0.80"]]
    assert any("60 (50 to 70) % of the test samples" in str(b.get("text", "")) for b in blocks)


def test_a_cluster_that_no_other_seed_finds_is_said_to_be_one(gathered: Gathered) -> None:
    task = of_class(gathered, "clustering")
    rows = gathered.rows("phenotype_profiles", task)
    unsteady = tuple(r | {"value": 0.3} if (r["what"], r["cluster"]) == ("stability", 4) else r for r in rows)
    mine = replace(gathered, tables={**gathered.tables, "phenotype_profiles": unsteady})
    text = " ".join(str(b.get("text", "")) for b in outcome_page(mine, task).blocks)
    assert "Cluster 4 is not found again" in text
