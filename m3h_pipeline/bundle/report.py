"""The page of an external validation: one HTML file that needs no other."""

from __future__ import annotations

import html
from collections.abc import Sequence

from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.disclosure.text import plain

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:.5em 0 2em}th,td{padding:.25em .6em;text-align:left;"
    "border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:tabular-nums}h2{font-size:1.1em}"
)


def page(bundle: Bundle, who: str, table: Sequence[Sequence[str]]) -> str:
    """The report as HTML.

    Args:
        bundle: what was evaluated.
        who: how many samples of how many patients.
        table: header and rows of the numbers, as they are written.
    """
    header, rows = list(table[0]), [dict(zip(table[0], row, strict=True)) for row in table[1:]]
    assert header
    study = bundle.description.study
    what = (
        "Scores are of the models as they predict; Brier score, calibration and coverage of the calibrated "
        "predictions. Intervals are of 95 %, over patients. <em>Study</em> is what the bundle scored on the "
        "test part of its own study. Numbers of fewer than 11 patients are not shown."
    )
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{_safe(study)}: external validation</title><style>{_STYLE}</style>",
        f"<h1>{_safe(study)}: external validation</h1>",
        f"<p>{_safe(who)}. {what}</p>",
    ]
    for name in dict.fromkeys(row["task"] for row in rows):
        task = bundle.tasks[name]
        unit = f", {_safe(task.unit)}" if task.unit else ""
        parts.append(
            f"<h2>{_safe(task.title)} <small>({_safe(name)}, {task.problem_class}{unit})</small></h2>"
        )
        parts.append(
            "<table><tr><th>measure<th>group<th>here<th>95 % interval<th>patients<th>study<th>its interval"
        )
        for row in (row for row in rows if row["task"] == name):
            if row["remark"]:
                parts.append(f"<tr><td>{_safe(row['measure'])}<td colspan=6>{_safe(row['remark'])}")
                continue
            cells = [
                _safe(row["measure"]),
                _safe(row["group"] or "all"),
                *(row["value"], _between(row["low"], row["high"]), row["patients"]),
                *(row["study"], _between(row["study_low"], row["study_high"])),
            ]
            parts.append(
                "<tr>" + "".join(f"<td{' class=n' if i > 1 else ''}>{cell}" for i, cell in enumerate(cells))
            )
        parts.append("</table>")
    return "\n".join([*parts, "</html>", ""])


def _between(low: str, high: str) -> str:
    return f"{low} to {high}" if low and high else ""


def _safe(text: str) -> str:
    return html.escape(plain(text))
