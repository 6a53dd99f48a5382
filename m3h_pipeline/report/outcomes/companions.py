"""Companions of an outcome and why: what the search looked at, why it ended, attention, task interaction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from m3h_pipeline.evaluation.claims import OWN_SPACES
from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, chart, heading, table, words
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.said import Row, companions, interval, metric, number
from m3h_pipeline.report.wording import listed

#: Why a search ends (contracts.SEARCH_REPORT) -> what that means, given what larger combinations gained.
STOPPED: Final = {
    "no gain": "no combination of {size} tasks was better",
    "within the error": "the best combination of {size} tasks gained {gain}, within the error ({error})",
    "too small": "the best combination of {size} tasks gained {gain}, less than the study asks for",
    "largest size": "combinations of {size} tasks are the largest that the study looks at",
    "nothing scored": "no combination of {size} tasks has a score",
}
#: Combinations, and companions, that are shown.
_MOST: Final = 12
_HELPFUL: Final = 6
_HARMFUL: Final = 3


def companion_blocks(gathered: Gathered, task: str) -> list[Block]:
    """What an outcome is learned with, and why."""
    return [heading("Learned with, and why"), *_search(gathered, task), *_mattered(gathered, task)]


def _search(gathered: Gathered, task: str) -> Iterator[Block]:
    found, report = gathered.row("selection", task), gathered.row("search", task)
    if found is None:
        return
    with_ = companions(gathered, found["combination"], task)
    name = metric(found["metric"])
    said = (
        f"Selected: learned with {listed(with_)}. Out of fold its {name} is {number(found['score'])}, "
        f"alone {number(found['single_score'])}."
        if with_
        else f"Selected: learned alone ({name} out of fold {number(found['single_score'])})."
    )
    if report is not None:
        reason = STOPPED.get(report["stopped"] or "", "")
        looked = f" The search looked at {report['combinations']:,} combinations in {report['fits']:,} fits"
        left = (
            f", of which it left {report['left']:,} before they were trained whole" if report["left"] else ""
        )
        said += f"{looked}{left}."
        if reason:
            numbers = {
                "size": report["last_size"],
                "gain": number(report["last_gain"]),
                "error": number(report["last_error"]),
            }
            said += f" It ended because {reason.format(**numbers)}."
    if with_:
        said += (
            " Whoever wins among many has been lucky, too: whether the gain is there is asked on the test "
            "part, with other seeds and other patients."
        )
    yield words(said)
    yield from _trajectory(gathered, task, name)


def _trajectory(gathered: Gathered, task: str, name: str) -> Iterator[Block]:
    rows = sorted(gathered.rows("trajectory", task), key=lambda row: (row["size"], row["combination"]))
    compared = [row for row in rows if row["compared"] is not None]
    if len({row["size"] for row in compared}) > 1:
        best: dict[int, float] = {}
        for row in compared:
            best[row["size"]] = max(best.get(row["size"], -math.inf), row["compared"])
        low = {size: min(r["compared"] for r in compared if r["size"] == size) for size in best}
        kept = [row for row in compared if row["kept"]]
        sizes = sorted(best)
        spec = charts.lines(
            charts.axis("tasks learned together", min(sizes), max(sizes), whole=True),
            charts.axis(f"{name}, out of fold"),
            [
                charts.series(
                    "best and worst looked at to the end",
                    sizes,
                    [best[size] for size in sizes],
                    [low[size] for size in sizes],
                    [best[size] for size in sizes],
                    look="multi",
                    dots=False,
                ),
                charts.series(
                    "kept and expanded",
                    [row["size"] for row in kept],
                    [row["compared"] for row in kept],
                    dots=True,
                    line=False,
                ),
            ],
        )
        last = f"{number(best[sizes[-1]])} with {sizes[-1]}"
        yield chart(
            "From one task to many",
            spec,
            "Scores of equal standing: by the seeds and folds that all combinations shown here were "
            "trained with.",
            f"Best {name} by number of tasks: {number(best[sizes[0]])} alone, {last}.",
        )
    weighed = _attention(gathered, task)
    if weighed is not None:
        yield weighed
    ranked = sorted(
        (row for row in rows if row["score"] is not None), key=lambda row: (-row["score"], row["combination"])
    )[:_MOST]
    if ranked:
        cells = [
            [
                listed(companions(gathered, row["combination"], task)) or "alone",
                str(row["size"]),
                number(row["score"]),
                number(row["compared"]),
                "left early" if row["left"] else "kept" if row["kept"] else "",
            ]
            for row in ranked
        ]
        header = ["learned with", "tasks", "score", "score of equal standing", "in the search"]
        yield table(f"The best {len(cells)} of {len(rows)} combinations", header, cells, folded=True)


def own_at_start(size: int, own_weight: str) -> float:
    """A task's own weight among ``size`` tasks before anything is learned, by ``model.attention.own_weight``.

    Examples:
        >>> [round(own_at_start(size, "published"), 2) for size in (2, 3, 13)]
        [0.73, 0.58, 0.18]
        >>> [round(own_at_start(13, weight), 2) for weight in ("constant", "whole")]
        [0.73, 1.0]
    """
    if own_weight == "whole":
        return 1.0
    return math.e / (math.e + (size - 1 if own_weight == "published" else 1))


def _attention(gathered: Gathered, task: str) -> Block | None:
    """Attention within the selected combination, beside what it is before anything is learned."""
    rows = [row for row in gathered.rows("attention", task) if math.isfinite(row["weight"])]
    if len(rows) < 2:
        return None
    rows.sort(key=lambda row: (row["companion"] != task, -row["weight"], row["companion"]))
    own = own_at_start(len(rows), gathered.study.model.attention.own_weight)
    before = [own if row["companion"] == task else (1 - own) / (len(rows) - 1) for row in rows]
    names = ["itself" if row["companion"] == task else gathered.title(row["companion"]) for row in rows]
    spec = charts.bars(
        names,
        charts.axis("attention weight", 0, 1),
        [
            {"name": "on the test part", "look": "multi", "y": [row["weight"] for row in rows]},
            {"name": "before anything is learned", "look": "single", "y": before},
        ],
        lying=True,
    )
    moved = max((abs(r["weight"] - b) for r, b in zip(rows, before, strict=True)), default=0.0)
    return chart(
        "Attention, beside what it is from the start",
        spec,
        "How much the prediction takes from each task's embedding. Attention starts with a preference "
        f"for the task itself; learning moved it by {number(moved, 2)} at most. It tells where a network "
        "looks, not what helps.",
        f"Attention weights of {listed(names)}.",
    )


def _mattered(gathered: Gathered, task: str) -> Iterator[Block]:
    """The companions that help and harm most, less what permuted companions do."""
    if gathered.tasks[task].metric in OWN_SPACES:
        yield words(
            "What companions do to a silhouette is no help or harm, and is not shown: each is of the space "
            "that its own model made, the scores above too.",
            note=True,
        )
        return
    rows = [row for row in gathered.rows("tim", task) if not row["control"]]
    excess = any(row["excess"] == row["excess"] for row in rows)
    name = "excess" if excess else "estimate"
    known = sorted(
        (row for row in rows if row[name] == row[name]), key=lambda row: (-row[name], row["companion"])
    )
    measure = metric(gathered.tasks[task].metric)
    selected = set((gathered.row("selection", task) or {"combination": ""})["combination"].split("+"))
    ends = known[:_HELPFUL] + (known[-_HARMFUL:] if len(known) > _HELPFUL + _HARMFUL else known[_HELPFUL:])
    shown = [row for row in known if row in ends or row["companion"] in selected]
    if not shown:
        return
    spec = charts.intervals(
        charts.axis(f"change of {measure}"),
        [gathered.title(row["companion"]) for row in shown],
        [
            {
                "name": "beyond permuted companions" if excess else "change",
                "look": "multi",
                "value": [row[name] for row in shown],
                "low": [row[f"{name}_low" if excess else "low"] for row in shown],
                "high": [row[f"{name}_high" if excess else "high"] for row in shown],
            }
        ],
        zero=0.0,
    )
    flagged = [row for row in shown if row["significant"]]
    said = (
        "Flagged at the study's false discovery rate: "
        f"{listed([gathered.title(r['companion']) for r in flagged])}."
        if flagged
        else "None is flagged at the study's false discovery rate."
    )
    beyond = (
        "How much learning one companion too changes the score, less what companions with shuffled labels "
        "do: sharing costs something whoever the companion is."
        if excess
        else "How much learning one companion too changes the score."
    )
    first = shown[0]
    yield chart(
        "Which companions help, which harm",
        spec,
        f"{beyond} {said}",
        f"Most helpful: {gathered.title(first['companion'])}, {_change(first, name)}.",
    )


def _change(row: Row, name: str) -> str:
    ends = {"value": row[name]} | (
        {"low": row["excess_low"], "high": row["excess_high"]}
        if name == "excess"
        else {"low": row["low"], "high": row["high"]}
    )
    return interval(ends, sign=True)
