"""The evaluation as a table for people: one line per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.disclosure import HIDDEN
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.evaluation.choice.candidates import by_simplicity
from m3h_pipeline.evaluation.choice.choose import CHOSEN, Choice
from m3h_pipeline.evaluation.optimism import search_luck
from m3h_pipeline.files import replacing

Row = Mapping[str, Any]
_VERSUS = "versus_reference"
_NAN = float("nan")
#: In contracts.COMPARISON the other models are references.
_NETWORKS = ("multi", "single")

#: Columns, with those of the references, on the test part, after the first ones.
_HEADER = (
    "task",
    "title",
    "department",
    "control",
    "metric",
    "use",
    "chosen - best reference, validation (95 % interval)",
    "chosen - best reference, test (95 % interval)",
    "learned with",
    "single (95 % interval)",
    "multi (95 % interval)",
    "difference (95 % interval)",
    "relative difference, % (95 % interval)",
    "p",
    "q",
    "verdict",
    "detectable difference",
    "best reference, validation",
    "multi - best reference (95 % interval)",
    "p, reference",
    "q, reference",
    "verdict, reference",
    "detectable difference, reference",
)
_LATE_HEADER = (
    "validation, selected",
    "validation, BBC-CV",
    "validation, corrected (95 % interval)",
    "validation, alone",
    "validation, best of as many alone",
    "test samples",
    "test patients",
    "note",
)


def write_summary(
    evaluation: Sequence[Row],
    comparison: Sequence[Row],
    optimism: Sequence[Row],
    choice: Sequence[Choice],
    chosen: Sequence[Row],
    notes: Mapping[str, str],
    out: Path,
) -> None:
    """Write the summary, tab-separated, in the order of ``evaluation``; every reference has a column.

    Args:
        evaluation: rows of contracts.EVALUATION.
        comparison: rows of contracts.COMPARISON.
        optimism: rows of contracts.OPTIMISM.
        choice: of every task.
        chosen: rows of contracts.CHOICE; out of fold the difference of the rule is told.
        notes: task -> what its reader must know.
        out: the file.

    Raises:
        InputError: it cannot be written.
    """
    test, refitted = (
        {(r["task"], r["model"]): r["value"] for r in comparison if r["part"] == part}
        for part in ("test", "validation")
    )
    fresh = {r["task"]: r for r in comparison if (r["model"], r["part"]) == ("multi", "validation")}
    luck = search_luck(optimism)
    search = {r["task"]: r for r in optimism}
    rule = {(r["task"], r["part"]): r for r in chosen if r["candidate"] == CHOSEN}
    said = {one.task: one for one in choice}
    references = by_simplicity(sorted({model for _, model in test} - set(_NETWORKS)))
    beside = [f"test, {_name(model)}" for model in references]
    lines: list[Sequence[object]] = [[*_HEADER, *beside, *_LATE_HEADER]]
    for row in evaluation:
        task = row["task"]
        others = [t for t in combination_tasks(row["combination"]) if t != task]
        lines.append(
            [
                task,
                row["title"],
                row["department"],
                row["control"],
                row["metric"],
                said[task].words if task in said else "",
                *(_versus(rule.get((task, part))) for part in ("validation", "test")),
                ", ".join(others) or "alone",
                _interval(row, "single"),
                _interval(row, "multi"),
                _interval(row, "difference", sign="+"),
                _interval(row, "relative", digits=1, factor=100.0, sign="+"),
                probability(row["p"]),
                probability(row["q"]),
                row["verdict"],
                _number(row["detectable"]),
                _name(said[task].reference or "") if task in said else "",
                _interval(row, "versus_reference", sign="+"),
                probability(row["reference_p"]),
                probability(row["reference_q"]),
                row["reference_verdict"],
                _number(row["reference_detectable"]),
                *(_number(test.get((task, model))) for model in references),
                _number(search[task]["selected"] if task in search else None),
                _number(search[task]["corrected"] if task in search else None),
                # Of seeds that nobody chose by, less what choosing by these patients is worth.
                _interval(lowered(fresh.get(task, {}), luck.get(task)), "value"),
                _number(refitted.get((task, "single"))),
                _number(search[task]["equal_budget"] if task in search else None),
                *(HIDDEN if row[name] is None else f"{row[name]:,}" for name in ("n_samples", "n_patients")),
                notes.get(task, ""),
            ]
        )
    with replacing(out) as temporary:
        temporary.write_text(tsv(lines), encoding="utf-8")


def said_choices(choice: Sequence[Choice], rows: Sequence[Row]) -> list[str]:
    """What to use for each task, and what it is worth out of fold: the closing words of an evaluation.

    Args:
        choice: of every task.
        rows: of contracts.CHOICE.
    """
    rule = {r["task"]: r for r in rows if r["candidate"] == CHOSEN and r["part"] == "validation"}
    lines = []
    for one in choice:
        row = rule.get(one.task, {})
        value, versus = _number(row.get("value")), _number(row.get("versus_reference"), sign="+")
        worth = f": {row['metric']} {value} out of fold" if value else ""
        beside = f", {versus} to the best reference" if versus else ""
        control = f" ({row['control']})" if row.get("control") else ""
        lines.append(f"{one.task}{control}: {one.words}{worth}{beside}")
    return lines


def probability(p: float) -> str:
    """A p-value for people.

    Examples:
        >>> probability(0.0312), probability(2e-7), probability(float("nan")), probability(1.0)
        ('0.031', '<0.001', '', '1.000')
    """
    if p != p:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def lowered(row: Row, luck: float | None) -> dict[str, float]:
    """A score and its interval less the luck of the search's patients; NaN where one of them is not known.

    The interval counts patients and seeds. What selection does to the patients' part is to shift it: a winner
    does not spread more widely than one that nobody chose.

    Examples:
        >>> lowered({"value": 0.75, "low": 0.5, "high": None}, 0.25)
        {'value': 0.5, 'value_low': 0.25, 'value_high': nan}
    """
    taken = _NAN if luck is None else luck
    found = {
        name: row.get(key) for name, key in (("value", "value"), ("value_low", "low"), ("value_high", "high"))
    }
    return {name: _NAN if one is None else one - taken for name, one in found.items()}


def _name(reference: str) -> str:
    return reference.replace("_", " ")


def _number(value: float | None, digits: int = 3, sign: str = "-") -> str:
    if value is None or value != value:
        return ""
    text = f"{value:{sign}.{digits}f}"
    # A negative zero after rounding is a zero.
    return text if float(text) else f"{0:.{digits}f}"


def _versus(row: Row | None) -> str:
    """A difference to the best reference; nothing where there is no reference."""
    if row is None or row.get("versus_reference") is None:
        return ""
    return _interval(
        {key: _NAN if number is None else number for key, number in row.items()}, _VERSUS, sign="+"
    )


def _interval(row: Row, name: str, digits: int = 3, factor: float = 1.0, sign: str = "-") -> str:
    value, low, high = (row[key] * factor for key in (name, f"{name}_low", f"{name}_high"))
    if value != value:
        return ""
    text = _number(value, digits, sign)
    if low != low:
        return text
    return f"{text} ({_number(low, digits, sign)} to {_number(high, digits, sign)})"
