"""What a study may say in a paragraph, made from the verdicts and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from m3h_pipeline.disclosure.text import plain
from m3h_pipeline.evaluation.claims import BETTER, DECIDED, NOTHING, OPEN, UNTESTED, WORSE

Row = Mapping[str, Any]


def headline(rows: Sequence[Row], looks: int = 1) -> str:
    """A paragraph on rows of contracts.EVALUATION.

    Controls are in no count: what is claimed of one is a sentence of its own.

    Args:
        rows: of all tasks.
        looks: with how many sets of models the test part was opened so far.

    Examples:
        >>> row = {"title": "Sepsis", "metric": "auroc", "control": "", "verdict": "better",
        ...        "difference": 0.0213, "detectable": 0.015, "reference": None,
        ...        "reference_verdict": "not tested", "versus_reference": float("nan")}
        >>> print(headline([row]))
        Together is better than alone for 1 of 1 tested tasks (Sepsis +0.021), worse for none.
    """
    supervised = [row for row in rows if row["metric"] != "silhouette"]
    asked = [row for row in supervised if not row["control"]]
    parts = _together(asked) + _reference(asked) if asked or not supervised else []
    if len(supervised) < len(rows):
        parts.append("Phenotypes are described, not tested: each silhouette is of its model's own space.")
    parts += _controls(supervised)
    if looks > 1:
        parts.append(f"The test part was opened with {looks} sets of models: this is what the last shows.")
    return " ".join(parts)


def _together(rows: Sequence[Row]) -> list[str]:
    tested = [row for row in rows if row["verdict"] in (*DECIDED, OPEN)]
    parts = []
    if tested:
        better, worse, unsettled = (_of(tested, "verdict", verdict) for verdict in (BETTER, WORSE, OPEN))
        parts.append(
            f"Together is better than alone for {len(better)} of {len(tested)} tested tasks"
            f"{_named(better, 'difference')}, worse for {_count(worse, 'difference')}."
        )
        sizes = [row["detectable"] for row in unsettled if row["detectable"] == row["detectable"]]
        if sizes:
            least, most = (f"{size:.3f}" for size in (min(sizes), max(sizes)))
            span = least if least == most else f"{least} to {most}"
            parts.append(
                f"For {len(unsettled)} the data do not settle it: with a power of 80 % they show differences "
                f"of {span} or more."
            )
    else:
        parts.append("Nothing was tested: no task learns with others.")
    if alone := _of(rows, "verdict", UNTESTED):
        parts.append(f"{len(alone)} learn{'s' if len(alone) == 1 else ''} alone.")
    if nothing := _of(rows, "verdict", NOTHING):
        parts.append(f"No comparison is defined for {len(nothing)}.")
    return parts


def _reference(rows: Sequence[Row]) -> list[str]:
    tested = [row for row in rows if row["reference_verdict"] in (*DECIDED, OPEN)]
    if not tested:
        return []
    better, worse = (_of(tested, "reference_verdict", verdict) for verdict in (BETTER, WORSE))
    said = f"Against the strongest reference the network is better for {len(better)} of {len(tested)} tasks"
    return [f"{said}{_named(better, 'versus_reference')}, worse for {_count(worse, 'versus_reference')}."]


def _controls(rows: Sequence[Row]) -> list[str]:
    controls = [row for row in rows if row["control"]]
    if not controls:
        return []
    called = claimed(controls)
    if not called:
        return [f"Of {_list(controls)}, where nothing is to be found, nothing is claimed."]
    return [f"Nothing is to be found for {_list(called)}: what is claimed of it is a false discovery."]


def claimed(rows: Iterable[Row]) -> list[Row]:
    """Rows of contracts.EVALUATION of which a gain or a loss is claimed; of a control: a false discovery."""
    return [row for row in rows if {row["verdict"], row["reference_verdict"]} & set(DECIDED)]


def _of(rows: Iterable[Row], column: str, verdict: str) -> list[Row]:
    return [row for row in rows if row[column] == verdict]


def _named(rows: Sequence[Row], column: str) -> str:
    """The tasks, the largest difference first, with their differences."""
    ordered = sorted(rows, key=lambda row: -abs(row[column]))
    said = ", ".join(f"{plain(row['title'])} {row[column]:+.3f}" for row in ordered)
    return f" ({said})" if rows else ""


def _count(rows: Sequence[Row], column: str) -> str:
    return f"{len(rows)}{_named(rows, column)}" if rows else "none"


def _list(rows: Sequence[Row]) -> str:
    return ", ".join(f"{plain(row['title'])} ({row['control']})" for row in rows)
