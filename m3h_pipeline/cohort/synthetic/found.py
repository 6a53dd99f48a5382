"""What was planted in a synthetic cohort, beside what a study of it found: task by task, and in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.files import replacing

Row = Mapping[str, Any]
_HEADER = ("task", "planted", "related tasks", "learned with", "of these related", "verdict", "as planted")
#: Verdicts that claim something: of a control each is false.
_CLAIMS = ("better", "worse")


def planted_lines(truth: Mapping[str, Any], rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The table, its header first, then all tasks together, then each task in the order of ``rows``.

    A task of a planted group is found where it learns with another of its group; of a control nothing is to
    be claimed; of a task whose factor is its own nothing is expected. Two tasks whose factors hide each other
    (``conflicts``) are named where they learn together.

    Args:
        truth: of ``truth.json``.
        rows: of contracts.EVALUATION: of each task ``task``, ``combination``, ``control``, ``verdict`` and
            ``reference_verdict``.
    """
    controls = {row["task"] for row in rows if row["control"]}
    related: dict[str, set[str]] = {}
    for group in truth["groups"]:
        # Permuted labels are noise, whatever group the task was planted in.
        members = {task for task in group if task not in controls} & {row["task"] for row in rows}
        related |= {task: members - {task} for task in members}
    hidden = {frozenset(pair) for pair in truth["conflicts"]}
    lines: list[tuple[str, ...]] = []
    found = grouped = called = 0
    for row in rows:
        task = row["task"]
        others = [other for other in combination_tasks(row["combination"]) if other != task]
        mine = related.get(task, set())
        own = [other for other in others if other in mine]
        against = [other for other in others if frozenset((task, other)) in hidden]
        if row["control"]:
            claimed = {row["verdict"], row["reference_verdict"]} & set(_CLAIMS)
            what, right = row["control"], "no" if claimed else "yes"
            called += right == "no"
        elif mine:
            what, right = "group", "yes" if own else "no"
            grouped, found = grouped + 1, found + bool(own)
        else:
            what, right = "a factor of its own", ""
        conflict = f"; in conflict with {', '.join(against)}" if against else ""
        lines.append(
            (
                task,
                what + conflict,
                ", ".join(sorted(mine)),
                ", ".join(others) or "alone",
                ", ".join(own),
                row["verdict"],
                right,
            )
        )
    said = f"{found} of {grouped} in groups found theirs; {called} of {len(controls)} controls claimed"
    return [_HEADER, ("all", "", "", "", "", "", said), *lines]


def write_planted(truth: Mapping[str, Any], rows: Sequence[Row], out: Path) -> str:
    """Write the table (TSV), and return what it says of all tasks.

    Raises:
        InputError: it cannot be written.
    """
    lines = planted_lines(truth, rows)
    with replacing(out) as temporary:
        temporary.write_text(tsv(lines), encoding="utf-8")
    return lines[1][-1]
