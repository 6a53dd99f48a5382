"""What every outcome's page shows: scores of the candidates, subgroups, what the model leans on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from m3h_pipeline.evaluation.claims import NOTHING, UNTESTED
from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, chart, heading, on_screen, table, words
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.said import (
    Row,
    excludes,
    filled,
    interval,
    look,
    metric,
    model,
    number,
    one,
)

_PARTS: Final = (("test", "test part", "multi"), ("validation", "out of fold", "single"))
#: So many subgroups have room in a chart; the share of intervals of no gap that are without 0.
_ROOM: Final = 40
_OUTSIDE: Final = 0.05
_STEADY: Final = {"slope": 1.0, "intercept": 0.0, "observed_to_expected": 1.0}

_EVENTS: Final = "the risks are too far apart, with an intercept above 0 too low"
#: Problem class -> what a slope below 1 and an intercept above 0 say.
_SLOPES: Final = {
    "binary": _EVENTS,
    "survival": _EVENTS,
    "multiclass": "the probabilities are too far apart",
    "regression": "the predictions are too far apart, with an intercept above 0 too small",
}


def score_blocks(gathered: Gathered, task: str) -> list[Block]:
    """Every candidate's score with its interval, and the two comparisons."""
    return [
        heading("How good, beside what else there is"),
        *_scores(gathered, task),
        # What the sentence above the page says, too.
        *on_screen(_compared(gathered, task)),
    ]


def _scores(gathered: Gathered, task: str) -> Iterator[Block]:
    rows = [row for row in gathered.rows("choice", task) if row["candidate"] != "chosen"]
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    if not names:
        return
    use = chosen(gathered, task)
    drawn = []
    for part, title, colour in _PARTS:
        of = [one(rows, candidate=name, part=part) for name in names]
        numbers = {key: [row and row[key] for row in of] for key in ("value", "low", "high")}
        drawn.append({"name": title, "look": colour, **numbers})
    measure = metric(rows[0]["metric"])
    labels = [f"{model(name)}{' (chosen)' if name == use else ''}" for name in names]
    best = one(rows, candidate=use, part="test")
    yield chart(
        "Scores of every candidate",
        charts.intervals(charts.axis(measure), labels, drawn),
        "95 % intervals count patients and seeds. What to use is chosen by the scores out of fold; the "
        "test part has no say.",
        f"Chosen: {model(use) if use else 'none'}, {measure} on the test part {interval(best)}.",
    )


def _compared(gathered: Gathered, task: str) -> Iterator[Block]:
    row = gathered.row("evaluation", task)
    if row is None or row["metric"] == "silhouette":
        return
    cells = []
    if row["verdict"] not in (UNTESTED, NOTHING):
        cells.append(
            [
                "together less alone",
                interval(row, "difference", sign=True),
                number(row["q"]),
                row["verdict"],
                number(row["detectable"]),
            ]
        )
    if row["reference"] and row["reference_verdict"] not in (UNTESTED, NOTHING):
        cells.append(
            [
                f"network less {model(row['reference'])}",
                interval(row, "versus_reference", sign=True),
                number(row["reference_q"]),
                row["reference_verdict"],
                number(row["reference_detectable"]),
            ]
        )
    if cells:
        header = [
            "comparison",
            f"difference of {metric(row['metric'])}",
            "q",
            "verdict",
            "detectable",
        ]
        yield table(
            "Differences on the test part",
            header,
            cells,
            "Detectable: the true difference that such a test finds four times in five, before the "
            "correction for all outcomes. Not significant is no proof of no effect.",
        )


def subgroup_blocks(gathered: Gathered, task: str) -> list[Block]:
    """Score and calibration by subgroup, with what sets each apart from all others."""
    use = chosen(gathered, task)
    rows = [row for row in gathered.rows("subgroups", task) if row["candidate"] == use]
    if not rows:
        return [
            heading("Subgroups"),
            words("No subgroup is shown: none has enough patients of every class, or the study names none."),
        ]
    return [heading("Subgroups"), *_gaps(gathered, task, rows)]


def _gaps(gathered: Gathered, task: str, rows: Sequence[Row]) -> Iterator[Block]:
    name = gathered.tasks[task].metric
    scores = [row for row in rows if row["measure"] == name and row["value"] is not None]
    if scores:
        shown = _extreme(scores)
        numbers = {key: [row[key] for row in shown] for key in ("value", "low", "high")}
        yield chart(
            "Score by subgroup",
            charts.intervals(
                charts.axis(metric(name)),
                [row["subgroup"] for row in shown],
                [
                    {"name": model(str(shown[0]["candidate"])), "look": look(str(shown[0]["candidate"]))}
                    | numbers
                ],
            ),
            "The chosen model on the test part; groups of few patients, and what would tell of them, are "
            f"left out.{_left_out(shown, scores)}",
            "; ".join(f"{row['subgroup']} {interval(row)}" for row in shown),
        )
        gaps = [row for row in shown if row["gap"] is not None]
        asked = sum(row["gap"] is not None for row in scores)
        if gaps:
            numbers = {key: [r[c] for r in gaps] for key, c in _gap_columns()}
            yield chart(
                "Each group less all others",
                charts.intervals(
                    charts.axis(f"gap of {metric(name)}"),
                    [row["subgroup"] for row in gaps],
                    [{"name": "gap", "look": look(str(gaps[0]["candidate"]))} | numbers],
                    zero=0.0,
                ),
                f"{_by_chance(asked)} No correction is made: a gap that matters is one that was asked for "
                f"beforehand.{_left_out(shown, scores)}",
                "; ".join(f"{row['subgroup']} {interval(row, 'gap', sign=True)}" for row in gaps),
            )
        if len(shown) < len(scores):
            yield table(
                f"All {len(scores)} groups",
                ["subgroup", metric(name), "less all others"],
                [[row["subgroup"], interval(row), interval(row, "gap", sign=True)] for row in scores],
                search=True,
                folded=True,
                name=f"subgroups-table-{task}",
            )
    calibrated = [row for row in rows if row["measure"] in _STEADY]
    state = "after" if any(row["state"] == "after" for row in calibrated) else "before"
    cells = [
        [
            row["subgroup"],
            metric(row["measure"]),
            interval(row, digits=2),
            interval(row, "gap", digits=2, sign=True) + (" *" if excludes(row, "gap", 0.0) else ""),
        ]
        for row in calibrated
        if row["state"] == state and row["value"] is not None
    ]
    if cells:
        yield table(
            f"Calibration by subgroup, {'recalibrated' if state == 'after' else 'as the model predicts'}",
            ["subgroup", "measure", "in the group", "less all others"],
            cells,
            "A slope of 1, an intercept of 0 and a ratio of 1 are right. *: the interval of the gap is "
            "without 0.",
            folded=True,
        )


def _extreme(scores: Sequence[Row]) -> list[Row]:
    """Rows that a chart has room for, in their order: of many those whose gaps are the largest."""
    if len(scores) <= _ROOM:
        return list(scores)
    ranked = sorted(scores, key=lambda row: (-abs(row["gap"] or 0.0), row["subgroup"]))
    kept = {row["subgroup"] for row in ranked[:_ROOM]}
    return [row for row in scores if row["subgroup"] in kept]


def _left_out(shown: Sequence[Row], scores: Sequence[Row]) -> str:
    if len(shown) == len(scores):
        return ""
    return f" The {len(shown)} of {len(scores)} groups with the largest gaps; the table has all."


def _by_chance(asked: int) -> str:
    if asked < 1 / _OUTSIDE:
        return "Of twenty gaps without any difference one is expected to have an interval without 0."
    return (
        f"Were there no difference, about {round(asked * _OUTSIDE)} of {asked} intervals would be without 0."
    )


def _gap_columns() -> tuple[tuple[str, str], ...]:
    return (("value", "gap"), ("low", "gap_low"), ("high", "gap_high"))


def slope_table(gathered: Gathered, task: str) -> Iterator[Block]:
    """Slopes and intercepts of the candidates, as they predict and recalibrated."""
    slopes, use, cells = gathered.rows("calibration_slopes", task), chosen(gathered, task), []
    for name in dict.fromkeys(row["candidate"] for row in slopes):
        before, after = (one(slopes, candidate=name, state=state) for state in ("before", "after"))
        cells.append(
            [f"{model(name)}{' (chosen)' if name == use else ''}"]
            + [interval(row, what, 2) for row in (before, after) for what in ("slope", "intercept")]
        )
    if cells:
        yield table(
            "Calibration slope and intercept",
            *filled(["model", "slope", "intercept", "slope, recalibrated", "intercept, recalibrated"], cells),
            "A slope of 1 and an intercept of 0 are right; with a slope below 1 "
            f"{_SLOPES[gathered.tasks[task].problem_class]}. Recalibration learns from predictions out of "
            "fold.",
        )


def reliance_blocks(gathered: Gathered, task: str) -> list[Block]:
    """What the selected model leans on: sources, then features."""
    rows = gathered.rows("reliance", task)
    sources = [row for row in rows if row["what"] == "source"]
    features = [row for row in rows if row["what"] == "feature"]
    if not sources:
        return []
    row = gathered.row("evaluation", task)
    measure = metric(row["metric"]) if row else "score"
    blocks: list[Block] = [heading("What the network leans on")]
    blocks.append(
        chart(
            "What each source is worth",
            charts.intervals(
                charts.axis(f"{measure} lost without it"),
                [row["name"] for row in sources],
                [{"name": "lost"} | {key: [r[key] for r in sources] for key in ("value", "low", "high")}],
                zero=0.0,
            ),
            "The selected network on the test part, the source missing from every sample. What two "
            "sources share counts for neither.",
            f"Most: {sources[0]['name']}, {interval(sources[0])} of {measure} lost.",
        )
    )
    if features:
        unit = _unit(gathered, task)
        blocks.append(
            chart(
                "Features that move a prediction most",
                charts.bars(
                    [f"{row['name']} ({row['source']})" for row in features],
                    charts.axis(unit),
                    [
                        {"name": "mean movement", "look": "single", "y": [row["value"] for row in features]},
                        {
                            "name": "mean direction",
                            "look": "multi",
                            "y": [row["direction"] for row in features],
                        },
                    ],
                    lying=True,
                ),
                "By a standard deviation of the feature, all else equal. It says what the network does, "
                "not what would happen to a patient whose value changes.",
                f"Most: {features[0]['name']}, {number(features[0]['value'], 2)} {unit}.",
            )
        )
    return blocks


def _unit(gathered: Gathered, task: str) -> str:
    found = gathered.tasks[task]
    if found.problem_class == "regression":
        return f"change, {found.unit}" if found.unit else "change of the value"
    if found.problem_class == "survival":
        return "change of the log hazard"
    return "change of the log odds" + (", likeliest class" if found.problem_class == "multiclass" else "")
