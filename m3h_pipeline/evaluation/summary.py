"""The evaluation as a table for people: one line per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.disclosure import HIDDEN
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.files import replacing

Row = Mapping[str, Any]

_HEADER = (
    "task",
    "title",
    "department",
    "metric",
    "learned with",
    "single (95 % interval)",
    "multi (95 % interval)",
    "difference (95 % interval)",
    "relative difference, % (95 % interval)",
    "p",
    "q",
    "linear",
    "gradient boosting",
    "validation, selected",
    "validation, corrected for the search",
    "test samples",
    "test patients",
    "note",
)


def write_summary(
    evaluation: Sequence[Row],
    comparison: Sequence[Row],
    optimism: Sequence[Row],
    notes: Mapping[str, str],
    out: Path,
) -> None:
    """Write the summary, tab-separated, in the order of ``evaluation``.

    Args:
        evaluation: rows of contracts.EVALUATION.
        comparison: rows of contracts.COMPARISON.
        optimism: rows of contracts.OPTIMISM.
        notes: task -> what its reader must know.
        out: the file.

    Raises:
        InputError: it cannot be written.
    """
    test = {(r["task"], r["model"]): r["value"] for r in comparison if r["part"] == "test"}
    search = {r["task"]: r for r in optimism}
    lines: list[Sequence[object]] = [_HEADER]
    for row in evaluation:
        task = row["task"]
        others = [t for t in combination_tasks(row["combination"]) if t != task]
        lines.append(
            [
                task,
                row["title"],
                row["department"],
                row["metric"],
                ", ".join(others) or "alone",
                _interval(row, "single"),
                _interval(row, "multi"),
                _interval(row, "difference", sign="+"),
                _interval(row, "relative", digits=1, factor=100.0, sign="+"),
                probability(row["p"]),
                probability(row["q"]),
                _number(test.get((task, "linear"))),
                _number(test.get((task, "gradient_boosting"))),
                _number(search[task]["selected"] if task in search else None),
                _number(search[task]["corrected"] if task in search else None),
                *(HIDDEN if row[name] is None else f"{row[name]:,}" for name in ("n_samples", "n_patients")),
                notes.get(task, ""),
            ]
        )
    with replacing(out) as temporary:
        temporary.write_text(tsv(lines), encoding="utf-8")


def probability(p: float) -> str:
    """A p-value for people.

    Examples:
        >>> probability(0.0312), probability(2e-7), probability(float("nan")), probability(1.0)
        ('0.031', '<0.001', '', '1.000')
    """
    if p != p:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None, digits: int = 3, sign: str = "-") -> str:
    if value is None or value != value:
        return ""
    text = f"{value:{sign}.{digits}f}"
    # A negative zero after rounding is a zero.
    return text if float(text) else f"{0:.{digits}f}"


def _interval(row: Row, name: str, digits: int = 3, factor: float = 1.0, sign: str = "-") -> str:
    value, low, high = (row[key] * factor for key in (name, f"{name}_low", f"{name}_high"))
    if value != value:
        return ""
    text = _number(value, digits, sign)
    if low != low:
        return text
    return f"{text} ({_number(low, digits, sign)} to {_number(high, digits, sign)})"
