"""The page of a value: predicted against observed, error by size, coverage of intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, chart, heading, on_screen, words
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.common import slope_table
from m3h_pipeline.report.outcomes.said import (
    Row,
    arm,
    interval,
    look,
    model,
    number,
    one,
    percent,
    recalibrated,
)

#: Fewer samples than this in a column of the grid say nothing of its ends.
_LEAST: Final = 20
_ENDS: Final = (0.1, 0.5, 0.9)


def regression_blocks(gathered: Gathered, task: str) -> list[Block]:
    """Blocks of a regression outcome, between its companions and its subgroups."""
    return [
        heading("Predicted against observed"),
        *_agreement(gathered, task),
        heading("How wrong it is"),
        *_errors(gathered, task),
        *_coverage(gathered, task),
        *on_screen(slope_table(gathered, task)),
    ]


def _agreement(gathered: Gathered, task: str) -> Iterator[Block]:
    unit, (name, title, other) = gathered.tasks[task].unit, arm(gathered, task)
    cells = [row for row in gathered.rows("agreement", task) if row["model"] == name]
    cells.sort(key=lambda row: (row["predicted_low"], row["observed_low"]))
    of = f", {unit}" if unit else ""
    if not cells:
        yield words("Too few test patients: no cell of a grid may be shown.")
        return
    n = sum(row["n"] for row in cells)
    observed = charts.axis(f"observed{of}")
    grid = [
        (row["predicted_low"], row["predicted_high"], row["observed_low"], row["observed_high"], row["n"])
        for row in cells
    ]
    yield chart(
        f"{title}: numbers of samples",
        charts.grid(charts.axis(f"predicted{of}"), observed, grid, diagonal=True),
        f"{n:,} test samples in cells of at least 11 patients; other cells are left out. On the line the "
        f"prediction is right.{other}",
        f"{len(cells)} cells of predicted and observed values.",
    )
    columns = _columns(cells)
    if len(columns) > 1:
        at = [middle for middle, _ in columns]
        low, median, high = ([ends[k] for _, ends in columns] for k in range(3))
        yield chart(
            "Observed values by predicted value",
            charts.lines(
                charts.axis(f"predicted{of}"),
                observed,
                [
                    charts.series(
                        "median, and 10 to 90 of 100 samples", at, median, low, high, look=name, dots=False
                    )
                ],
                diagonal=True,
            ),
            "From the cells on the left: half of the samples lie above the line, a tenth above and a "
            "tenth below the band.",
            f"Median observed value {number(median[0], 2)} where {number(at[0], 2)} is predicted, "
            f"{number(median[-1], 2)} where {number(at[-1], 2)} is.",
        )


def _columns(cells: Sequence[Row]) -> list[tuple[float, list[float]]]:
    """Middle of each predicted value's cells, and quantiles of the observed values in them."""
    by_place: dict[float, list[Row]] = {}
    for row in cells:
        by_place.setdefault((row["predicted_low"] + row["predicted_high"]) / 2, []).append(row)
    found = []
    for middle, rows in sorted(by_place.items()):
        total = sum(row["n"] for row in rows)
        if total >= _LEAST:
            found.append((middle, [quantile(rows, share * total) for share in _ENDS]))
    return found


def quantile(rows: Sequence[Row], count: float) -> float:
    """The observed value below which ``count`` of the samples of some cells are, even within a cell.

    Examples:
        >>> rows = [{"observed_low": 0.0, "observed_high": 2.0, "n": 30},
        ...         {"observed_low": 2.0, "observed_high": 4.0, "n": 10}]
        >>> quantile(rows, 15), quantile(rows, 35)
        (1.0, 3.0)
    """
    passed = 0.0
    for row in rows:
        if passed + row["n"] >= count:
            inside = (count - passed) / row["n"]
            return float(row["observed_low"] + inside * (row["observed_high"] - row["observed_low"]))
        passed += row["n"]
    return float(rows[-1]["observed_high"])


def _errors(gathered: Gathered, task: str) -> Iterator[Block]:
    use, unit = chosen(gathered, task), gathered.tasks[task].unit
    rows = [row for row in gathered.rows("performance", task) if row["candidate"] == use]
    state = "after" if any(row["state"] == "after" for row in rows) else "before"
    rows = [row for row in rows if row["state"] == state]
    whole = {name: one(rows, measure=name, class_name=None) for name in ("mae", "rmse")}
    if whole["mae"] is not None:
        yield words(
            f"Mean absolute error {interval(whole['mae'], digits=2)} {unit}, root mean squared error "
            f"{interval(whole['rmse'], digits=2)} {unit}, on the test part, {recalibrated(state)}."
        )
    by_size = [row for row in rows if row["measure"] == "mae" and row["class_name"]]
    if by_size:
        numbers = {key: [row[key] for row in by_size] for key in ("low", "high")}
        y = [row["value"] for row in by_size]
        yield chart(
            "Error by size of the observed value",
            charts.bars(
                [str(row["class_name"]) for row in by_size],
                charts.axis(f"mean absolute error{f', {unit}' if unit else ''}", 0),
                [{"name": model(str(use)), "look": look(str(use)), "y": y, **numbers}],
                name="fourths of the training part's values",
            ),
            "Who is far from the middle is usually predicted worse: a model draws towards it.",
            "; ".join(f"{row['class_name']} {interval(row, digits=2)}" for row in by_size),
        )


def _coverage(gathered: Gathered, task: str) -> Iterator[Block]:
    """What the bundle's interval promises and held."""
    found = gathered.intervals.get(task)
    if not found:
        return
    unit = gathered.tasks[task].unit
    held = found.get("test_coverage")
    yield words(
        f"The bundle says each value with ± {found['half_width']:g} {unit}, so that "
        f"{percent(found['coverage'])} of patients are within (of residuals out of fold, "
        f"{found['patients']:,} patients). On the test part "
        + (f"{percent(held, 1)} were." if held is not None else "too few are outside to say how many were.")
    )
