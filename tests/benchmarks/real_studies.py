"""What finished studies of real data say, on one page: what to use for each task, and what it is worth.

    python -m tests.benchmarks.real_studies RESULTS_FOLDER... --document docs/results.md

Reads ``evaluation/`` of each folder and nothing of patients; every sentence is made from the numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from m3h_pipeline.contracts import (
    CALIBRATION_SLOPES,
    CHOICE,
    COMPARISON,
    EVALUATION,
    OPTIMISM,
    combination_tasks,
)
from m3h_pipeline.errors import M3HError
from m3h_pipeline.evaluation.optimism import search_luck
from m3h_pipeline.evaluation.summary import lowered
from m3h_pipeline.files import read_table, replacing
from m3h_pipeline.layout import Layout

#: Not below the best reference: by at most this much of AUROC and concordance, of R².
MARGIN = {"r2": 0.01}
_MARGIN = 0.005
#: No task is to be below by more.
_WORST = 0.02
#: Slopes of tasks with so many events in the test part are held against this range.
EVENTS = 100
RANGE = (0.85, 1.15)
PARTS = {"validation": "out of fold", "test": "on the test part"}
Row = dict[str, Any]


@dataclass(frozen=True)
class StudyTables:
    """What the page needs of a study.

    Attributes:
        name: of the study, that of its folder.
        titles: task -> its title.
        rows: (task, candidate, part) -> row of contracts.CHOICE.
        words: task -> what to use.
        slopes: rows of contracts.CALIBRATION_SLOPES.
        gains: rows of contracts.EVALUATION of the supervised tasks.
        luck: task -> (selected by the search, the same of unused seeds less the patients' luck, the best of
            as many fits of the task alone), out of fold.
        headline: what the study says itself.
    """

    name: str
    titles: dict[str, str]
    rows: dict[tuple[str, str, str], Row]
    words: dict[str, str]
    slopes: list[Row]
    gains: list[Row] = field(default_factory=list)
    luck: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    headline: str = ""

    @property
    def tasks(self) -> list[str]:
        """The supervised tasks that have a choice, by title."""
        return sorted(
            {task for task, _, _ in self.rows}, key=lambda task: str(self.titles.get(task, task)).casefold()
        )


def read_study(folder: Path) -> StudyTables:
    """The tables of a finished study.

    Raises:
        M3HError: a table is absent, damaged, or of another version.
    """
    files = Layout(folder).evaluation
    evaluation = read_table(files.table("evaluation"), EVALUATION).to_pylist()
    choice = read_table(files.table("choice"), CHOICE).to_pylist()
    optimism = read_table(files.table("optimism"), OPTIMISM).to_pylist()
    comparison = read_table(files.table("comparison"), COMPARISON).to_pylist()
    fresh = {r["task"]: r for r in comparison if (r["model"], r["part"]) == ("multi", "validation")}
    patients = search_luck(optimism)
    luck: dict[str, tuple[float | None, ...]] = {}
    for row in optimism:
        task = row["task"]
        corrected = lowered(fresh.get(task, {}), patients.get(task))["value"]
        known = (None if np.isnan(one) else one for one in (corrected, row["equal_budget"]))
        luck[task] = (row["selected"], *known)
    said = json.loads((pq.read_schema(files.table("choice")).metadata or {})[b"choice"])
    return StudyTables(
        folder.resolve().name,
        {row["task"]: str(row["title"] or row["task"]) for row in evaluation},
        {(row["task"], row["candidate"], row["part"]): row for row in choice},
        dict(said["words"]),
        read_table(files.table("calibration_slopes"), CALIBRATION_SLOPES).to_pylist(),
        [row for row in evaluation if any(row["task"] == one["task"] for one in choice)],
        luck,
        files.headline.read_text(encoding="utf-8").strip(),
    )


def number(value: float | None, sign: str = "-") -> str:
    """Three digits; a dash where there is no number.

    Examples:
        >>> number(0.81234), number(-0.0001, "+"), number(None)
        ('0.812', '0.000', '-')
    """
    if value is None:
        return "-"
    text = f"{value:{sign}.3f}"
    return text if float(text) else "0.000"


def interval(row: Mapping[str, Any] | None, name: str, sign: str = "-") -> str:
    """A number with its interval."""
    if row is None or row.get(name) is None:
        return "-"
    if row.get(f"{name}_low") is None:
        return number(row[name], sign)
    low, high = (number(row[f"{name}_{end}"], sign) for end in ("low", "high"))
    return f"{number(row[name], sign)} ({low} to {high})"


def table_line(cells: Iterable[str]) -> str:
    """A line of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def study_table(study: StudyTables) -> list[str]:
    """The lines of a study's table; scores are out of fold / on the test part."""

    def both(task: str, candidate: str | None) -> str:
        rows = [study.rows.get((task, candidate or "", part)) for part in PARTS]
        return " / ".join(number(row["value"] if row else None) for row in rows) if any(rows) else "-"

    head = (
        *("task", "metric", "alone", "together", "use", "chosen", "best reference"),
        *("difference out of fold", "difference on the test part"),
    )
    lines = [table_line(head), "|" + "---|" * len(head)]
    for task in study.tasks:
        rule = {part: study.rows.get((task, "chosen", part)) for part in PARTS}
        some = next((row for row in study.rows.values() if row["task"] == task), None)
        reference = some["reference"] if some else None
        named = f"{reference.replace('_', ' ')} {both(task, reference)}" if reference else "-"
        cells = [
            study.titles.get(task, task),
            some["metric"].replace("_", " ") if some else "-",
            both(task, "alone"),
            both(task, "together"),
            study.words.get(task, "-"),
            both(task, "chosen"),
            named,
            *(interval(rule[part], "versus_reference", "+") for part in PARTS),
        ]
        lines.append(table_line(cells))
    return lines


def gains_table(study: StudyTables) -> list[str]:
    """The lines of a study's table of gains: both networks on the test part, and the luck out of fold."""
    head = (
        *("task", "learned with", "alone", "together", "difference", "q", "verdict", "detectable"),
        *("out of fold: selected", "corrected", "best of as many alone"),
    )
    lines = [table_line(head), "|" + "---|" * len(head)]
    for row in study.gains:
        task = row["task"]
        others = [t for t in combination_tasks(row["combination"]) if t != task]
        selected, corrected, alone = study.luck.get(task, (None, None, None))
        tested = row["q"] == row["q"]
        cells = [
            study.titles.get(task, task),
            ", ".join(study.titles.get(t, t) for t in others) or "alone",
            number(row["single"]),
            number(row["multi"]) if others else "-",
            interval(row, "difference", "+") if tested else "-",
            f"{row['q']:.3f}" if tested else "-",
            row["verdict"],
            number(row["detectable"]) if tested else "-",
            number(selected),
            number(corrected),
            number(alone if others else None),
        ]
        lines.append(table_line(cells))
    return lines


def counted(studies: Sequence[StudyTables], part: str) -> list[str]:
    """How the chosen models stand to the best references on a part, in sentences."""
    found = [
        (study, task, row)
        for study in studies
        for task in study.tasks
        if (row := study.rows.get((task, "chosen", part))) and row["versus_reference"] is not None
    ]
    if not found:
        return [f"No task of these studies has a reference to be held against {PARTS[part]}."]
    differences = [row["versus_reference"] for _, _, row in found]
    margins = [MARGIN.get(row["metric"], _MARGIN) for _, _, row in found]
    close = sum(d >= -m for d, m in zip(differences, margins, strict=True))
    above = sum(d > 0 for d in differences)
    level = sum(d == 0 for d in differences)
    study, task, row = min(found, key=lambda one: one[2]["versus_reference"])
    far = [one for one in found if one[2]["versus_reference"] < -_WORST]
    total = len(found)
    first = (
        f"- {PARTS[part].capitalize()}: the chosen model is not below the best reference by more than "
        f"{_MARGIN} ({MARGIN['r2']} of R²) on {close} of {total} tasks ({100 * close / total:.0f} %), "
        f"above it on {above} ({100 * above / total:.0f} %), level with it on {level}."
    )
    worst = (
        f"  The worst is {study.titles.get(task, task)} of {study.name}: "
        f"{interval(row, 'versus_reference', '+')}, whose choice is: {study.words.get(task, '-')}."
    )
    lines = [first, worst]
    if far:
        names = "; ".join(
            f"{s.titles.get(t, t)} of {s.name} ({number(r['versus_reference'], '+')})" for s, t, r in far
        )
        lines.append(f"  Below by more than {_WORST}: {names}.")
    else:
        lines.append(f"  No task is below by more than {_WORST}.")
    return lines


def calibration_lines(studies: Sequence[StudyTables]) -> list[str]:
    """Slopes of the chosen models of tasks with enough events in the test part, in a table and a sentence."""
    rows = [
        (study, row)
        for study in studies
        for row in study.slopes
        if row["chosen"] and (row["events"] or 0) >= EVENTS and row["slope"] is not None
    ]
    if not rows:
        return [f"No task has {EVENTS} events or more in its test part."]
    after = [one for one in rows if one[1]["state"] == "after"]
    before = [one for one in rows if one[1]["state"] == "before"]
    within = {
        state: sum(RANGE[0] <= row["slope"] <= RANGE[1] for _, row in some)
        for state, some in (("before", before), ("after", after))
    }
    out = [(s, r) for s, r in after if not RANGE[0] <= r["slope"] <= RANGE[1]]
    said = (
        f"Of {len(after)} binary and survival tasks with {EVENTS} events or more in the test part the slope "
        f"of the chosen model lies within {RANGE[0]} to {RANGE[1]} on {within['before']} as it "
        f"predicts and on {within['after']} recalibrated out of fold."
    )
    lines = [said]
    if out:
        names = "; ".join(
            f"{s.titles.get(r['task'], r['task'])} of {s.name}, {interval(r, 'slope')}" for s, r in out
        )
        lines.append(f"Outside: {names}.")
    lines += [
        "",
        "| study | task | events | slope | recalibrated | intercept | recalibrated | by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    by_task = {(s.name, r["task"], r["state"]): r for s, r in rows}
    for study, row in after:
        old = by_task.get((study.name, row["task"], "before"), {})
        cells = [
            study.name,
            study.titles.get(row["task"], row["task"]),
            f"{row['events']:,}",
            interval(old, "slope"),
            interval(row, "slope"),
            interval(old, "intercept", "+"),
            interval(row, "intercept", "+"),
            row["method"],
        ]
        lines.append(table_line(cells))
    return lines


def page(studies: Sequence[StudyTables]) -> str:
    """The page as Markdown."""
    names = ", ".join(study.name for study in studies)
    tasks = sum(len(study.tasks) for study in studies)
    made = (
        f"Made by `python -m tests.benchmarks.real_studies` from {len(studies)} finished studies ({names}; "
        f"{tasks} supervised tasks); no line of it is written by hand. What is chosen for each task, and "
        "how, is in [choice.md](choice.md)."
    )
    read = (
        "Scores are out of fold / on the test part. Out of fold `chosen` is the rule itself, each fold "
        "predicted by what the other folds choose, and its difference is to the reference that they choose. "
        "The best reference is the best out of fold. Intervals are 95 %, paired by patient and by seed."
    )
    gained = (
        "The second table of a study is of learning together alone: the final models on the test part, what "
        "they would have shown with a power of 80 % (*detectable*), and how much of the score out of fold "
        "by which the combination was selected is luck: *corrected* is that of unused seeds less the luck of "
        "the patients, *best of as many alone* what the luck of seeds would have made of as many fits of the "
        "task alone. The rules are in [claims.md](claims.md)."
    )
    lines = ["# Results on real data", "", made, "", read, "", gained]
    for study in studies:
        lines += ["", f"## {study.name}", "", *study_table(study)]
        if study.gains:
            lines += ["", f"What it says itself: {study.headline}", "", *gains_table(study)]
    lines += ["", "## All studies together", ""]
    for part in PARTS:
        lines += counted(studies, part)
    lines += ["", "## Calibration", "", *calibration_lines(studies)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="RESULTS_FOLDER")
    parser.add_argument("--document", type=Path, help="file to write; without it the page is printed")
    options = parser.parse_args(arguments)
    try:
        text = page([read_study(folder) for folder in options.folders])
    except M3HError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.document is None:
        sys.stdout.write(text)
    else:
        with replacing(options.document) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
