"""The summary of an ingestion as it is kept: what the report embeds tells of no few patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from m3h_pipeline.disclosure import FEW, is_small
from m3h_pipeline.disclosure.suppression import Sum, hidden, written

#: Counts of something else than people and their records.
_THINGS: Final = frozenset({"features", "genes", "rare_values", "blocks"})


def shown_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary with counts of 1 to 10 as "<11", and those that would tell them as "hidden".

    A share of missing values that is one of few cells is null. Numbers that may be shown stay numbers.

    Examples:
        >>> full = {"rows": 31, "sources": {"x": {"features": 2, "missing": 0.5, "samples_without": 27}}}
        >>> full["subgroups"] = {"sex": {"f": 20, "m": 11}, "ward": {"a": 27, "b": 4}}
        >>> for key, value in shown_summary(full).items():
        ...     print(key, value)
        rows 31
        sources {'x': {'features': 2, 'missing': 0.5, 'samples_without': 'hidden'}}
        subgroups {'sex': {'f': 20, 'm': 11}, 'ward': {'a': 'hidden', 'b': '<11'}}
    """
    found: dict[str, Any] = _few(summary)
    rows = int(summary["rows"])
    for name, source in summary.get("sources", {}).items():
        cells = rows * source["features"]
        missing = round(source["missing"] * cells)
        kept = found["sources"][name]
        kept["missing"] = None if is_small(missing) or is_small(cells - missing) else source["missing"]
        for key in ("samples_without", "zero_throughout"):
            if key in source:
                kept[key] = _part(source[key], rows)
    for name, groups in summary.get("subgroups", {}).items():
        found["subgroups"][name] = _parts(groups, rows)
    for name, column in summary.get("columns", {}).items():
        found["columns"][name] = {**found["columns"][name], "missing": _part(column["missing"], rows)}
    for file, kept in zip(summary.get("files", ()), found.get("files", ()), strict=True):
        if "samples_without" in file:
            kept["samples_without"] = _part(file["samples_without"], rows)
    return found


def _few(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: entry if key in _THINGS else _few(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_few(entry) for entry in value]
    return FEW if isinstance(value, int) and not isinstance(value, bool) and is_small(value) else value


def _part(n: int, whole: int) -> int | str:
    return _parts({"": n, "the rest": whole - n}, whole)[""]


def _parts(parts: Mapping[str, int], whole: int) -> dict[str, int | str]:
    """Parts of a whole that is known."""
    counts = [whole, *parts.values()]
    masked = hidden(counts, [Sum(0, range(1, len(counts)))], known=[0])
    texts = written(counts, masked)
    return {
        name: text if dark else n
        for (name, n), dark, text in zip(parts.items(), masked[1:], texts[1:], strict=True)
    }
