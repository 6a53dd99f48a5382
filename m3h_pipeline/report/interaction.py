"""Task interaction: a heatmap of all pairs, the network of what survives, and both directions of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, Chapter, chart, heading, table, words
from m3h_pipeline.report.facts import comparable, effect, surviving
from m3h_pipeline.report.gather import Gathered, Row
from m3h_pipeline.report.wording import counted, metric_name, signed

_MEASURES = ("change", "from", "to", "less permuted companions", "q", "differences", "")
_SURVIVES = "survives the correction"
#: So many arrows a reader can follow; the table has them all.
_ARROWS = 60
#: So much of the cells lies within the strongest colour.
_WITHIN = 98.0


def interaction(gathered: Gathered) -> Chapter:
    """The chapter."""
    rows = comparable(gathered)
    if not rows:
        return Chapter("interaction", "Interaction", [words("Task interaction was not measured.")])
    found = surviving(gathered)
    blocks = [
        words(
            "How much the score of an outcome (row) changes where a companion (column) is learned with it. "
            "Blue helps, red harms. The first number is the change itself; sharing costs something whoever "
            "the companion is, and so the change less that of companions whose labels were shuffled "
            f"decides what survives. Of {counted(sum(not row['control'] for row in rows), 'pair')}, "
            f"{len(found)} {'survives' if len(found) == 1 else 'survive'} the correction for all that were "
            "looked at."
        ),
        _heatmap(gathered, rows),
        heading("What survives"),
        *_network(gathered, found),
        *_directions(gathered, rows, found),
    ]
    return Chapter("interaction", "Interaction", blocks)


def _name(gathered: Gathered, task: str) -> str:
    """A title, with a dagger where nothing is to be found."""
    marked = "~" in task or (task in gathered.tasks and gathered.tasks[task].control)
    # Before the title: the end of a long one is cut off.
    return ("† " if marked else "") + gathered.title(task)


def _heatmap(gathered: Gathered, rows: Sequence[Row]) -> Block:
    named = {row["task"] for row in rows} | {row["companion"] for row in rows}
    tasks = [task for task in gathered.learned if task in named]
    controls = sorted(named - set(tasks))
    by_department = sorted(
        tasks, key=lambda task: (gathered.tasks[task].department, gathered.tasks[task].title)
    )
    names = [*by_department, *controls]
    place = {task: i for i, task in enumerate(names)}
    scored = {row["task"] for row in rows}
    lines = [task for task in names if task in scored]
    cells = [
        (
            *(place[row["companion"]], lines.index(row["task"])),
            *(row["estimate"], row["low"], row["high"], _number(row["excess"]), _number(row["q"])),
            *(row["n_differences"], _SURVIVES if row["significant"] and not row["control"] else ""),
        )
        for row in rows
    ]
    shown = [_name(gathered, task) for task in names]
    limit, metric = _strongest(gathered, rows)
    spec = charts.heatmap(shown, [_name(gathered, task) for task in lines], cells, _MEASURES, limit)
    clustered = [names[i] for i in _clustered(rows, by_department, place, limit)] + controls
    spec["orders"] = [
        {
            "name": name,
            "columns": [place[task] for task in order],
            "rows": [lines.index(task) for task in order if task in scored],
        }
        for name, order in (("by department", names), ("clustered", clustered))
    ]
    known = [row for row in rows if np.isfinite(row["estimate"])] or rows
    best = max(known, key=lambda row: row["estimate"])
    least = min(known, key=lambda row: row["estimate"])
    alt = (
        f"Heatmap of {len(names)} by {len(names)} outcomes. The largest change is {_said(gathered, best)}, "
        f"the smallest {_said(gathered, least)}. The numbers stand in the table below."
    )
    caption = (
        "Point at a cell for the change, its 95 % interval, the number of differences it is the mean of, "
        "and the change less that of permuted companions. A dot marks what survives. † control: shuffled "
        "labels or noise; its row and its column should be empty of colour but for the cost of sharing. "
        f"Changes are in the outcome's own metric, colours for {metric_name(metric)}: what is more has the "
        "strongest one. Phenotypes, whose silhouettes cannot be compared, have no row."
    )
    return chart("All pairs", spec, caption, alt, wide=True)


def _strongest(gathered: Gathered, rows: Sequence[Row]) -> tuple[float, str]:
    """The change of the strongest colour, and the metric whose changes it is of: that of most rows.

    One outcome with a large negative R² would else leave all others white.
    """
    metrics = [_metric_of(gathered, row) for row in rows]
    metric = Counter(metrics).most_common(1)[0][0]
    mine = [abs(row["estimate"]) for row, one in zip(rows, metrics, strict=True) if one == metric]
    finite = [value for value in mine if np.isfinite(value)]
    return float(np.percentile(finite, _WITHIN)) if any(finite) else 1.0, metric


def _metric_of(gathered: Gathered, row: Row) -> str:
    task = gathered.tasks.get(row["task"].partition("~")[0])
    return task.metric if task else ""


def _said(gathered: Gathered, row: Row) -> str:
    return (
        f"{signed(row['estimate'])} of {gathered.title(row['companion'])} for {gathered.title(row['task'])}"
    )


def _number(value: float) -> float | None:
    return value if value == value else None


def _clustered(rows: Sequence[Row], tasks: Sequence[str], place: dict[str, int], limit: float) -> list[int]:
    """Places of tasks, those next to each other that help each other by their colours (average linkage)."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    n = len(tasks)
    if n < 3:
        return list(range(n))
    matrix = np.zeros((n, n))
    for row in rows:
        one, other = place[row["task"]], place[row["companion"]]
        if one < n and other < n:
            change = float(np.clip(np.nan_to_num(row["estimate"]), -limit, limit))
            matrix[one, other] += change / 2
            matrix[other, one] += change / 2
    distance = (matrix.max() - matrix)[np.triu_indices(n, 1)]
    order: list[int] = leaves_list(linkage(np.round(distance, 9), "average")).tolist()
    return order


def _network(gathered: Gathered, found: Sequence[Row]) -> list[Block]:
    if not found:
        return [words("Nothing survives: no arrow can be drawn.")]
    drawn = sorted(found, key=lambda row: -abs(effect(row)[0]))[:_ARROWS]
    tasks = [
        task for task in gathered.learned if any(task in (row["task"], row["companion"]) for row in drawn)
    ]
    tasks.sort(key=lambda task: (gathered.tasks[task].department, gathered.tasks[task].title))
    nodes = [
        {
            "name": gathered.title(task),
            "group": gathered.tasks[task].department or "outcomes",
            "to": f"outcome-{task}",
        }
        for task in tasks
    ]
    edges = [
        {
            "from": tasks.index(row["companion"]),
            "to": tasks.index(row["task"]),
            "values": [*effect(row), row["n_differences"]],
        }
        for row in drawn
        if row["companion"] in tasks and row["task"] in tasks
    ]
    spec = charts.network(
        nodes, edges, ("change less that of permuted companions", "from", "to", "differences")
    )
    caption = (
        "An arrow leads from the companion to the outcome whose score it changes: blue and whole where it "
        "helps, vermilion and dashed where it harms; the thicker, the more. A click on an outcome opens "
        "its page."
    )
    if len(drawn) < len(found):
        caption += f" The {len(drawn)} largest of {len(found)}; the table below has all."
    helps = sum(effect(row)[0] > 0 for row in drawn)
    alt = (
        f"Network of {len(nodes)} outcomes: {counted(helps, 'arrow')} of help, {len(edges) - helps} of harm."
    )
    return [chart("Who helps whom", spec, caption, alt, wide=True)]


def _directions(gathered: Gathered, rows: Sequence[Row], found: Sequence[Row]) -> list[Block]:
    """What survives, and what the same two do the other way round."""
    if not found:
        return []
    known = {(row["task"], row["companion"]): row for row in rows}
    shown = []
    for row in sorted(found, key=lambda row: -effect(row)[0]):
        back = known.get((row["companion"], row["task"]))
        shown.append(
            [
                _link(gathered, row["companion"]),
                _link(gathered, row["task"]),
                _effect(row),
                _metric(gathered, row["task"]),
                f"{row['n_differences']}",
                _effect(back) if back else "",
                ("yes" if back["significant"] else "no") if back else "",
            ]
        )
    header = [
        "Companion",
        "Outcome",
        "Change (95 % interval)",
        "Of",
        "Differences",
        "The other way round",
        "Survives, too",
    ]
    caption = "Changes less those of permuted companions, where these were learned."
    return [table("Both directions", header, shown, caption, search=True, name="tim-table")]


def _link(gathered: Gathered, task: str) -> Any:
    return {"text": gathered.title(task), "to": f"outcome-{task}"} if task in gathered.learned else task


def _metric(gathered: Gathered, task: str) -> str:
    return metric_name(gathered.tasks[task].metric) if task in gathered.tasks else ""


def _effect(row: Row) -> str:
    value, low, high = effect(row)
    return f"{signed(value)} ({signed(low)} to {signed(high)})"
