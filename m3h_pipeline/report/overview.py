"""The table of outcomes: one row each, sortable, filtered by department; a row leads to its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from m3h_pipeline.evaluation.claims import BETTER, NOTHING, OPEN, UNTESTED, WORSE
from m3h_pipeline.report.answer import use
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.wording import between, fixed, kind_name, listed, metric_name, signed

#: Verdict -> the word of the table, and a sign beside it: nothing is told by colour alone.
VERDICTS = {
    BETTER: ("gains", "▲"),
    WORSE: ("loses", "▼"),
    OPEN: ("not settled", "○"),
    UNTESTED: ("not tested", "–"),
    NOTHING: ("no comparison", "–"),
}
#: Width of the picture of an interval, and what stays free at its ends, in pixels.
_WIDTH, _MARGIN = 150, 6


@dataclass(frozen=True)
class Cell:
    """A cell: what is shown, and by what it is sorted (empty: by what is shown)."""

    text: str
    value: float | str = ""


def overview(gathered: Gathered) -> dict[str, Any]:
    """What ``outcomes.html.j2`` shows."""
    rows = gathered.rows("evaluation")
    scales = _scales(rows)
    departments = sorted({row["department"] for row in rows if row["department"]})
    return {
        "departments": departments,
        "rows": [_row(gathered, row, scales) for row in rows],
        "scales": ", ".join(f"{metric_name(metric)} ±{most:.3f}" for metric, most in scales.items()),
    }


def _scales(rows: Sequence[Row]) -> dict[str, float]:
    """Metric -> the end of an interval that lies furthest from 0: one scale for all would be that of R²."""
    found: dict[str, float] = {}
    for row in rows:
        for end in ("low", "high"):
            value = abs(row[f"difference_{end}"])
            if _told(row) and isfinite(value):
                found[row["metric"]] = max(found.get(row["metric"], 0.0), value)
    return found


def head(gathered: Gathered, task: str) -> dict[str, Any]:
    """What stands above the page of an outcome."""
    described, row = gathered.tasks[task], gathered.row("evaluation", task)
    found: dict[str, Any] = {
        "title": gathered.title(task),
        "department": described.department,
        "kind": kind_name(described.problem_class),
        "control": described.control,
        "facts": [],
        "use": use(gathered, task).removeprefix("use "),
    }
    if row is None:
        return found | {"words": "No comparison was made.", "verdict": "", "word": ""}
    word, sign = VERDICTS[row["verdict"]]
    return found | {"words": _sentence(gathered, row), "verdict": row["verdict"], "word": f"{sign} {word}"}


def _sentence(gathered: Gathered, row: Row) -> str:
    """What is said of an outcome above its page."""
    others = [gathered.title(one) for one in row["combination"].split("+") if one != row["task"]]
    metric = metric_name(row["metric"])
    if row["metric"] == "silhouette":
        return "Phenotypes are described, not tested: nothing says which clusters are right."
    if not others:
        said = f"It learns alone: no companion helped out of fold. {metric} {fixed(row['single'])}."
    else:
        said = (
            f"Learned with {listed(others)}: {metric} {fixed(row['multi'])} instead of "
            f"{fixed(row['single'])} alone, a difference of {signed(row['difference'])} "
            f"({between(row, 'difference')}); {_settled(row)}."
        )
    if row["reference"] and row["versus_reference"] == row["versus_reference"]:
        reference = row["reference"].replace("_", " ")
        said += (
            f" Against the strongest reference ({reference}): {signed(row['versus_reference'])} "
            f"({between(row, 'versus_reference')}), {row['reference_verdict']}."
        )
    return said


def _settled(row: Row) -> str:
    if row["verdict"] == OPEN:
        found = row["detectable"]
        return "the data do not settle it" + (f" (detectable: {found:.3f})" if found == found else "")
    return {BETTER: "a gain", WORSE: "a loss"}.get(row["verdict"], str(row["verdict"]))


def _told(row: Row) -> bool:
    return bool(row["metric"] != "silhouette" and row["verdict"] not in {UNTESTED, NOTHING})


def _row(gathered: Gathered, row: Row, scales: Mapping[str, float]) -> dict[str, Any]:
    task = row["task"]
    # Of phenotypes one number in all places: by the distances of the inputs, where models can be compared.
    scores = {one["model"]: one["silhouette"] for one in gathered.rows("phenotype_scores", task)}
    scores = {"single": row["single"], "multi": row["multi"]} | scores
    share, shown = _prevalence(gathered, task)
    reference, slope = _reference(gathered, row), _slope(gathered, task)
    word, sign = VERDICTS[row["verdict"]]
    order = list(VERDICTS).index(row["verdict"])
    return {
        "task": task,
        "title": gathered.title(task),
        "control": row["control"],
        "department": row["department"],
        "kind": f"{kind_name(row['problem_class'])}, {metric_name(row['metric'])}",
        "verdict": row["verdict"],
        "cells": {
            "prevalence": Cell(shown, share),
            **{name: Cell(fixed(scores[name]), _value(scores[name])) for name in ("single", "multi")},
            "reference": reference,
            "slope": slope,
            "verdict": Cell(f"{sign} {word}", -order),
            "use": Cell(use(gathered, task)),
        },
        "difference": Cell(
            signed(row["difference"]) if _told(row) else "", _value(row["difference"]) if _told(row) else ""
        ),
        "interval": between(row, "difference") if _told(row) else "",
        "bar": _bar(row, scales.get(row["metric"]) or 1.0) if _told(row) else None,
    }


def _value(value: float) -> float | str:
    return round(value, 6) if value == value else ""


def _bar(row: Row, most: float) -> dict[str, float] | None:
    """Places of an interval in its picture; None: there is no interval."""
    places = {
        name: round(_WIDTH / 2 + row[key] / most * (_WIDTH / 2 - _MARGIN), 1)
        for name, key in (("low", "difference_low"), ("at", "difference"), ("high", "difference_high"))
        if isfinite(row[key])
    }
    return places if len(places) == 3 else None


def _prevalence(gathered: Gathered, task: str) -> tuple[float | str, str]:
    described = gathered.tasks[task]
    if described.problem_class == "multiclass":
        return "", f"{len(described.classes)} classes"
    for row in gathered.texts["prevalence"]:
        if row["task"] == task and row["part"] == "all" and row["class"] in {"positive", "event", "events"}:
            try:
                share = float(row["share"])
            except ValueError:
                return "", "not shown"
            return share, f"{100 * share:.1f} %"
    return "", ""


def _reference(gathered: Gathered, row: Row) -> Cell:
    if not row["reference"]:
        return Cell("")
    for one in gathered.rows("comparison", row["task"]):
        if one["model"] == row["reference"] and one["part"] == "test" and one["value"] is not None:
            return Cell(f"{fixed(one['value'])} {row['reference'].replace('_', ' ')}", one["value"])
    return Cell("")


def _slope(gathered: Gathered, task: str) -> Cell:
    """Calibration slope of what is to be used, recalibrated where it is."""
    rows = [row for row in gathered.rows("calibration_slopes", task) if row["chosen"]]
    for state in ("after", "before"):
        for row in rows:
            if row["state"] == state and row["slope"] is not None:
                return Cell(fixed(row["slope"], 2), row["slope"])
    return Cell("")
