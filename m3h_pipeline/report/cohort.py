"""The cohort: flow, Table 1 by part, what is missing, what was set aside, and which codes make which label.

All of it comes from files that can be given away or that hide small counts themselves:
``cohort/summary.json`` (``cohort/summary.py``), ``labels/values.tsv``, ``labels/prevalence.tsv``,
and tables of the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from m3h_pipeline.disclosure import small_count
from m3h_pipeline.figures.text import class_title
from m3h_pipeline.report.blocks import Block, Chapter, heading, on_screen, points, table, words
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.wording import percent, signed

#: What was not taken over from the source's files -> in words.
_IGNORED = {
    "malformed": "malformed lines set aside, listed by number and reason in the study's quarantine",
    "duplicates": "repeated samples dropped",
    "duplicates_that_differ": "of these, not identical to the one kept",
    "without_key": "rows without id or patient set aside",
    "rows": "rows that belong to no sample",
    "blank_lines": "blank lines",
}
_WHAT = {"subgroup": "Subgroup", "source": "Source", "feature": "Feature", "outcome": "Outcome"}


def cohort(gathered: Gathered) -> Chapter:
    """The chapter."""
    blocks = [
        heading("Flow"),
        _flow(gathered),
        *_set_aside(gathered),
        heading("Who is in which part (Table 1)"),
        *_table_one(gathered),
        heading("What is missing"),
        *_missing(gathered),
        heading("Outcomes by part"),
        *_prevalence(gathered),
        heading("Which codes and values make which label"),
        *_audit(gathered),
    ]
    return Chapter("cohort", "Cohort", blocks)


def _count(value: Any) -> str:
    """A count as it may be shown; of what was hidden, the mark that stands in its place."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else small_count(int(value))


def _flow(gathered: Gathered) -> Block:
    rows = [[row["step"], _count(row["samples"]), _count(row["patients"])] for row in gathered.rows("flow")]
    caption = "Patients are split, not samples: nobody is in two parts. Folds divide the training part."
    return table("", ["Step", "Samples", "Patients"], rows, caption, name="flow-table")


def _set_aside(gathered: Gathered) -> Iterator[Block]:
    ignored = gathered.summary.get("ignored", {})
    said = [f"{_count(ignored[key])} {text}" for key, text in _IGNORED.items() if ignored.get(key)]
    if blocks := ignored.get("blocks"):
        said.append("unknown blocks of columns ignored: " + ", ".join(f"{name}*" for name in blocks))
    if said:
        yield words("What the source delivered and the cohort does not have:")
        yield points(said)
    dropped = [(task.title, task.reason) for task in gathered.tasks.values() if not task.learned]
    if dropped:
        yield table(
            "Outcomes that could not be evaluated", ["Outcome", "Why"], [list(row) for row in dropped]
        )


def _table_one(gathered: Gathered) -> Iterator[Block]:
    rows = [row for row in gathered.rows("participants") if row["group"] is None]
    header = ["What", "Kind", "Training part", "Test part", "Standardised difference"]
    caption = (
        "Shares in percent; of numbers, means (standard deviations). The standardised difference is the "
        "test part less the training part over the pooled deviation; in brackets the same in standard "
        "deviations of chance: with many rows a few lie beyond 2. What belongs to few patients is left out."
    )
    short = [_person(gathered, row) for row in rows if row["what"] in {"subgroup", "outcome"}]
    yield table("", header, short, caption, name="participants-table")
    rest = [_person(gathered, row) for row in rows if row["what"] not in {"subgroup", "outcome"}]
    if rest:
        yield table("Sources and features", header, rest, search=True, folded=True, name="features-table")
    groups = [row for row in gathered.rows("participants") if row["group"] is not None]
    if groups:
        shown = [[_name(gathered, row), row["group"], *_numbers(row)] for row in groups]
        names = ["Outcome", "Subgroup", "Training part", "Test part", "Standardised difference"]
        yield table("Outcomes in subgroups", names, shown, search=True, folded=True, name="groups-table")


def _name(gathered: Gathered, row: Row) -> str:
    if row["what"] == "outcome":
        return gathered.title(row["name"]) + (f": {class_title(row['level'])}" if row["level"] else "")
    return f"{row['name']}: {row['level']}" if row["level"] else str(row["name"])


def _person(gathered: Gathered, row: Row) -> list[str]:
    return [_name(gathered, row), _WHAT.get(row["what"], str(row["what"])), *_numbers(row)]


def _numbers(row: Row) -> list[str]:
    parts = [_number(row, part) for part in ("train", "test")]
    if row["standardised"] is None:
        return [*parts, ""]
    chance = f" ({signed(row['deviations'], 1)})" if row["deviations"] is not None else ""
    return [*parts, f"{signed(row['standardised'], 2)}{chance}"]


def _number(row: Row, part: str) -> str:
    value, deviation = row[part], row[f"{part}_sd"]
    if value is None:
        return "not shown"
    if row["measure"] == "share":
        return percent(value)
    shown = f"{value:.3g}".replace("-", "−")
    return shown + (f" ({deviation:.3g})" if deviation is not None else "")


def _missing(gathered: Gathered) -> Iterator[Block]:
    rows = []
    for name, found in gathered.summary.get("sources", {}).items():
        missing = found.get("missing")
        share = "not shown" if missing is None else percent(missing)
        rows.append([name, f"{found.get('features', '')}", share, _count(found.get("samples_without"))])
    header = ["Source", "Features", "Values missing", "Samples without it"]
    caption = (
        "A source that is missing for many samples is absent for a reason, as a test that was not ordered: "
        "missing is not normal. How scores fall where a source is missing stands on the outcomes' pages."
    )
    yield table("", header, rows, caption, name="missing-table")


def _prevalence(gathered: Gathered) -> Iterator[Block]:
    rows = [row for row in gathered.texts["prevalence"] if not row["fold"]]
    shown = [
        [
            gathered.title(row["task"]),
            row["part"],
            class_title(row["class"]),
            _share(row["share"]),
            row["n"],
            row["observed"],
            row["patients"],
        ]
        for row in rows
    ]
    header = ["Outcome", "Part", "Class", "Share", "Samples", "Of observed", "Patients"]
    yield table(
        f"{len(shown)} rows", header, shown, search=True, folded=len(shown) > 20, name="prevalence-table"
    )


def _share(text: str) -> str:
    try:
        return percent(float(text))
    except ValueError:
        return text or "not shown"


def _status(status: str) -> str:
    """What became of a value; a class by its title."""
    word, _, name = status.partition(" ")
    return f"class {class_title(name)}" if word == "class" and name else status


def _audit(gathered: Gathered) -> Iterator[Block]:
    rows = gathered.texts["values"]
    yield words(
        "Every code or value that a label looked at: counted, or excluded and why. Search for a code, a "
        "title or an outcome. Values of few patients are left out. Not printed: labels/audit.tsv has it."
    )
    shown = [
        [
            gathered.title(row["task"]),
            row["group"],
            f"ICD-{row['version']}" if row["version"] else "",
            row["code"],
            row["title"],
            _status(row["status"]),
            row["by"],
        ]
        for row in rows
    ]
    header = ["Outcome", "Group", "Version", "Code", "Title or value", "Status", "By"]
    # Columns that no outcome of the study fills are left out.
    kept = [j for j in range(len(header)) if not j or any(row[j] for row in shown)]
    header, shown = [header[j] for j in kept], [[row[j] for j in kept] for row in shown]
    yield from on_screen([table("", header, shown, search=True, name="audit-table")])
