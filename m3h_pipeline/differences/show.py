"""What two finished studies differ by, on the screen and, if asked, in a file that may be given away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from m3h_pipeline.differences.records import Change, changes
from m3h_pipeline.differences.scores import Row, compared, read_side, shown
from m3h_pipeline.disclosure import HIDDEN, is_small
from m3h_pipeline.disclosure.text import message, tsv
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, replacing
from m3h_pipeline.inference.intervals import Interval
from m3h_pipeline.layout import Layout
from m3h_pipeline.record import read_record

_TITLES = {
    "data": "data: inputs",
    "setting": "settings",
    "size": "sizes that follow from the shape of the study",
    "task": "task definitions",
    "code": "code of the stages",
    "version": "versions",
}


def compare_studies(a: Layout, b: Layout, screen: TextIO, out: Path | None = None) -> None:
    """Say what two studies differ by.

    Args:
        a, b: their results.
        screen: where it is said, with true numbers: it is the user's own.
        out: a table (TSV) that may be given away: no count in it from which a small one follows.

    Raises:
        InputError: one is not finished, a file is damaged or absent, or both are the same.
        ContractError: files do not fit each other.
    """
    if a.folder.resolve() == b.folder.resolve():
        raise InputError("this is one study, named twice", where=str(a.folder), hint="name two")
    if out is not None and out.exists():
        raise InputError("the file is there already, and is not overwritten", where=str(out))
    records = [read_record(layout) for layout in (a, b)]
    differing = changes(*records)
    draws = min(int(record["configuration"]["evaluation"]["draws"]) for record in records)
    seed = int(records[0]["seeds"]["study"])
    sides = read_side(a, draws, seed), read_side(b, draws, seed)
    rows = compared(*sides, draws, seed)
    counts = _counts(a, b)
    alone = [[task for task in one.said if task not in other.said] for one, other in (sides, sides[::-1])]
    screen.write(f"A: {a.folder.as_posix()}\nB: {b.folder.as_posix()}\n")
    _say_changes(differing, counts, screen)
    for name, tasks in zip("AB", alone, strict=True):
        if tasks:
            screen.write(message(f"learned in {name} alone: {', '.join(tasks)}\n"))
    _say_scores(rows, screen)
    if out is not None:
        with replacing(out) as temporary:
            temporary.write_text(tsv(_table(differing, counts, rows)), encoding="utf-8")
        screen.write(f"written: {out}\n")


def _counts(a: Layout, b: Layout) -> dict[str, tuple[int, int]]:
    """Samples and patients of both cohorts."""
    summaries = [read_json(layout.cohort.summary) for layout in (a, b)]
    return {
        key: (int(summaries[0][key]), int(summaries[1][key]))
        for key in ("rows", "patients")
        if all(key in summary for summary in summaries)
    }


def _say_changes(differing: Sequence[Change], counts: dict[str, tuple[int, int]], screen: TextIO) -> None:
    for key, (n, m) in counts.items():
        name = "samples" if key == "rows" else key
        screen.write(f"{name}: {n:,}" + ("\n" if n == m else f" -> {m:,}\n"))
    found: dict[str, list[Change]] = {}
    for change in differing:
        found.setdefault(change.section, []).append(change)
    for section, title in _TITLES.items():
        some = found.get(section, [])
        if not some:
            if section != "size":
                screen.write(f"{title}: the same\n")
            continue
        screen.write(f"{title}: {len(some)} differ\n")
        width = min(40, max(len(one.name) for one in some))
        for one in some:
            what = one.a if one.a == one.b else f"{one.a or '(none)'} -> {one.b or '(none)'}"
            screen.write(message(f"  {one.name:<{width}}  {what}") + "\n")


def _say_scores(rows: Sequence[Row], screen: TextIO) -> None:
    if not rows:
        screen.write("no task is learned in both\n")
        return
    width = max(4, *(len(row.task) for row in rows))
    screen.write("scores on the test part, 95 % intervals; difference: B less A\n")
    head = f"  {'task':<{width}}  {'model':<8}  {'A':<26}{'B':<26}{'difference':<28}\n"
    screen.write(head)
    for row in rows:
        texts = [_text(shown(one, row.metric)) for one in (row.a, row.b)]
        gap = _text((row.difference.estimate, row.difference.low, row.difference.high), signed=True)
        how = "paired" if row.paired else "NOT paired"
        p = f", p {row.difference.p:.3f}" if row.paired and math.isfinite(row.difference.p) else ""
        screen.write(
            message(f"  {row.task:<{width}}  {row.model:<8}  {texts[0]:<26}{texts[1]:<26}{gap:<28}{how}{p}")
            + "\n"
        )
    for why in dict.fromkeys(row.why for row in rows if row.why):
        some = ", ".join(dict.fromkeys(row.task for row in rows if row.why == why))
        screen.write(message(f"  {some}: {why}") + "\n")
    if not all(row.paired for row in rows):
        screen.write(
            "  not paired: each study's own evaluation, taken for independent; other patients may differ in "
            "what is hard to predict\n"
        )


def _text(values: tuple[float, float, float], *, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    if not math.isfinite(values[0]):
        return "undefined"
    value, low, high = (format(one, form) for one in values)
    return f"{value} ({low} to {high})" if math.isfinite(values[1]) else value


def _table(
    differing: Iterable[Change], counts: dict[str, tuple[int, int]], rows: Iterable[Row]
) -> Iterable[Sequence[object]]:
    yield ("section", "name", "metric", "A", "A_low", "A_high", "B", "B_low", "B_high",
           "difference", "low", "high", "p", "paired", "note")  # fmt: skip
    for key, (one, other) in counts.items():
        name = "samples" if key == "rows" else key
        # Of two cohorts that overlap, a small difference of their sizes would tell of a few patients.
        yield _line("data", name, one, HIDDEN if is_small(abs(one - other)) else other)
    for change in differing:
        yield _line(change.section, change.name, change.a, change.b)
    for row in rows:
        a, b = (shown(one, row.metric) for one in (row.a, row.b))
        yield (
            *("score", f"{row.task}, {row.model}", row.metric, *map(_number, a), *map(_number, b)),
            *map(_number, _ends(row.difference)),
            *("yes" if row.paired else "no", row.why),
        )


def _line(section: str, name: str, a: object, b: object) -> Sequence[object]:
    return (section, name, "", a, "", "", b, *[""] * 8)


def _ends(one: Interval) -> tuple[float, float, float, float]:
    return one.estimate, one.low, one.high, one.p


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
