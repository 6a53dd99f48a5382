"""The page of a binary outcome: curves, alerts at any threshold, net benefit, calibration, risks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, chart, heading, on_screen, table, words
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.common import slope_table
from m3h_pipeline.report.outcomes.said import (
    Row,
    columns,
    interval,
    look,
    model,
    number,
    one,
    percent,
    share,
    together,
)

#: Rates of the table of operating points, and how they are called.
_RATES: Final = {
    "sensitivity": "events found",
    "specificity": "spared of those without",
    "ppv": "alerts that are right",
    "npv": "no alert that is right",
}
#: Rules of thresholds that are no words.
_RULES: Final = {"youden": "Youden's index", "prevalence": "the event rate"}
#: Digits of numbers behind the slider.
_DIGITS: Final = 3
#: Bars of the histogram of risks.
_BARS: Final = 8


def binary_blocks(gathered: Gathered, task: str) -> list[Block]:
    """Blocks of a binary outcome, between its companions and its subgroups."""
    use = chosen(gathered, task)
    points = [row for row in gathered.rows("operating_points", task) if row["candidate"] == use]
    points.sort(key=lambda row: row["at"])
    rate = event_rate(gathered, task)
    blocks: list[Block] = [heading("Whom it ranks above whom")]
    if points:
        blocks += _curves(gathered, task, rate)
    else:
        blocks.append(_too_few())
    if alerts := [*_alerts(gathered, task, points, rate)]:
        blocks += [heading("What alerting would do"), *alerts]
    slopes = slope_table(gathered, task)
    right = [*_calibration(gathered, task), *_risks(points, rate), *on_screen(slopes)]
    return [*blocks, heading("Are the probabilities right"), *right]


def event_rate(gathered: Gathered, task: str) -> float | None:
    """Share of the test samples with the event, from the strategy that alerts everybody; None: hidden."""
    for row in gathered.rows("performance", task):
        if row["candidate"] == "treat_all" and row["value"] is not None and row["at"] < 1:
            odds = row["at"] / (1 - row["at"])
            return float((row["value"] + odds) / (1 + odds))
    return None


def _too_few() -> Block:
    return words("Few test patients have the event, or few have not: curves would tell of single patients.")


def _curves(gathered: Gathered, task: str, rate: float | None) -> Iterator[Block]:
    """ROC and precision-recall curves of the chosen candidate, both networks and the strongest reference."""
    use, found = chosen(gathered, task), gathered.row("evaluation", task)
    wanted = dict.fromkeys([use, "together", "alone", found["reference"] if found else None])
    every = gathered.rows("operating_points", task)
    roc, precision = [], []
    for name in wanted:
        points = sorted((r for r in every if r["candidate"] == name), key=lambda row: -row["at"])
        if not points:
            continue
        title = f"{model(str(name))}{' (chosen)' if name == use else ''}"
        drawn = [
            (1 - row["specificity"], row["sensitivity"])
            for row in points
            if row["specificity"] is not None and row["sensitivity"] is not None
        ]
        drawn = [(0.0, 0.0), *drawn, (1.0, 1.0)]
        roc.append(_curve(title, str(name), drawn, name == use))
        right = [(row["sensitivity"], row["ppv"]) for row in points if row["ppv"] is not None]
        right += [(1.0, rate)] if rate is not None and (not right or right[-1][0] < 1) else []
        precision.append(_curve(title, str(name), right, name == use))
    area = one(gathered.rows("choice", task), candidate=use, part="test")
    auprc = one(gathered.rows("performance", task), candidate=use, state="before", measure="auprc")
    yield chart(
        "ROC curve",
        charts.lines(
            charts.axis("false positive rate", 0, 1, percent=True),
            charts.axis("sensitivity", 0, 1, percent=True),
            roc,
            diagonal=True,
        ),
        f"Area {interval(area)}. Straight lines join points between which there are no 1 to 10 "
        "patients; where points are few they run below the true curve: compare areas, not lines.",
        f"ROC curves of {len(roc)} models; area of the chosen one {interval(area)}.",
    )
    yield chart(
        "Precision and recall",
        charts.lines(
            charts.axis("sensitivity (recall)", 0, 1, percent=True),
            charts.axis("precision (PPV)", 0, 1, percent=True),
            precision,
            rules=[] if rate is None else [{"y": rate, "name": "everybody"}],
        ),
        f"Mean precision {interval(auprc)}; what knows nothing has the event rate, {percent(rate, 1)}.",
        f"Precision-recall curves; mean precision of the chosen model {interval(auprc)}.",
    )


def _curve(title: str, name: str, drawn: Sequence[tuple[float, float]], used: bool) -> Block:
    """A line of a candidate; of the one that is used with its points."""
    x, y = [at for at, _ in drawn], [value for _, value in drawn]
    return charts.series(title, x, y, look=look(name), dash=not used, dots=used)


def _alerts(gathered: Gathered, task: str, points: Sequence[Row], rate: float | None) -> Iterator[Block]:
    use = chosen(gathered, task)
    if points and rate is not None:
        yield {"kind": "threshold", "spec": slider(points, rate), "title": "Choose a threshold"}
    rows = [
        row
        for row in gathered.rows("performance", task)
        if row["candidate"] == use and row["state"] == "after" and row["rule"] not in (None, "horizon")
    ]
    places = list(dict.fromkeys((row["rule"], row["at"]) for row in rows if row["rule"] != "risk"))
    cells = []
    for rule, at in places:
        found = {row["measure"]: row for row in rows if (row["rule"], row["at"]) == (rule, at)}
        cells.append(
            [_RULES.get(rule, rule), percent(at, 1)]
            + [share(found.get(name)) for name in _RATES]
            + [interval(found.get("alerts_per_100"), digits=0)]
        )
    if cells:
        yield from on_screen(
            [
                table(
                    "Thresholds found by predictions out of fold",
                    ["chosen for", "threshold", *_RATES.values(), "alerts per 100"],
                    cells,
                    "On the test part, recalibrated. Thresholds between which there are 1 to 10 patients are "
                    "left out.",
                )
            ]
        )
    yield from _benefit(gathered, task, points, rate)


def slider(points: Sequence[Row], rate: float) -> dict[str, Any]:
    """What the slider shows at each threshold, column by column."""
    kept = [row for row in points if row["sensitivity"] is not None]
    columns: dict[str, Any] = {
        name: [None if row[name] is None else round(row[name], _DIGITS) for row in kept]
        for name in ("sensitivity", "specificity", "ppv", "npv")
    }
    columns["alerts"] = [round(row["alerts_per_100"], 1) for row in kept]
    return {
        "kind": "threshold",
        "rate": round(rate, 4),
        "at": [round(row["at"], 4) for row in kept],
        **columns,
    }


def _benefit(gathered: Gathered, task: str, points: Sequence[Row], rate: float | None) -> Iterator[Block]:
    """The decision curve."""
    use = chosen(gathered, task)
    drawn = [(r["at"], r["net_benefit"]) for r in points if r["net_benefit"] is not None and r["at"] < 1]
    if not drawn or rate is None:
        return
    last = max(at for at, _ in drawn)
    grid = [last * i / 40 for i in range(41)]
    everybody = [(at, rate - (1 - rate) * at / (1 - at)) for at in grid]
    floor = -0.15 * rate
    everybody = [(at, value) for at, value in everybody if value >= floor]
    shown = [(at, value) for at, value in drawn if value >= floor]
    yield chart(
        "Decision curve",
        charts.lines(
            charts.axis("act from this risk on", 0, last, percent=True),
            charts.axis("net benefit per patient", floor, rate * 1.1),
            [
                charts.series(
                    model(str(use)),
                    [a for a, _ in shown],
                    [v for _, v in shown],
                    look=look(str(use)),
                    dots=True,
                ),
                charts.series("everybody", [a for a, _ in everybody], [v for _, v in everybody], dash=True),
                charts.series("nobody", [0, last], [0, 0], look="single", dash=True),
            ],
        ),
        "Events found less false alerts, these at the odds of the threshold: at 10 % nine false alerts "
        "weigh as much as one event found. A model is worth using where its line is above both others.",
        f"Net benefit at thresholds up to {percent(last)}, beside acting on everybody and on nobody.",
    )


def _calibration(gathered: Gathered, task: str) -> Iterator[Block]:
    rows = [row for row in gathered.rows("calibration", task) if row["subgroup"] == "all"]
    drawn: list[Block] = []
    for name in ("single", "multi"):
        mine = sorted((row for row in rows if row["model"] == name), key=lambda row: row["predicted"])
        x, y, low, high = columns(mine, "predicted", "observed", "low", "high")
        if mine and (name == "single" or together(gathered, task)):
            drawn.append(charts.series(model(name), x, y, low, high, look=name, dots=True))
    if drawn:
        most = end_of_risks(max(row["high"] for row in rows))
        yield chart(
            "Observed against predicted risk",
            charts.lines(
                charts.axis("predicted risk", 0, most, percent=True),
                charts.axis("observed", 0, most, percent=True),
                drawn,
                diagonal=True,
            ),
            "Fractions of the test part of equal size by predicted risk, as the networks predict before "
            "recalibration; none of few patients. On the line the risks are right. How the chosen model does "
            "after it, says the table of slopes.",
            "Calibration of the networks: observed event rates by predicted risk.",
        )


def end_of_risks(highest: float) -> float:
    """Where an axis of risks ends: a round share with some room above the highest.

    Examples:
        >>> [end_of_risks(x) for x in (0.012, 0.22, 0.88, 0.99)]
        [0.02, 0.25, 1.0, 1.0]
    """
    step = next(step for step in (0.01, 0.05, 0.1, 0.2) if highest <= 5 * step)
    return min(1.0, round(math.ceil(1.05 * highest / step) * step, 2))


def _risks(points: Sequence[Row], rate: float | None) -> Iterator[Block]:
    """How many have a risk between two thresholds, and how many of them have the event."""
    kept = [row for row in points if row["sensitivity"] is not None]
    if len(kept) < 2 or rate is None:
        return
    edges = [(0.0, 100.0, 1.0)]
    edges += [(row["at"], row["alerts_per_100"], row["sensitivity"]) for row in kept]
    edges.append((1.0, 0.0, 0.0))
    while len(edges) > _BARS + 1:
        # The bar of the fewest goes to its neighbour.
        sizes = [edges[i - 1][1] - edges[i + 1][1] for i in range(1, len(edges) - 1)]
        edges.pop(1 + sizes.index(min(sizes)))
    names, ill, well = [], [], []
    for (low, above, found), (high, beyond, later) in itertools.pairwise(edges):
        if above - beyond <= 0:
            continue
        events = 100 * rate * (found - later)
        names.append(f"{100 * low:.3g}–{100 * high:.3g} %")
        ill.append(events)
        well.append(above - beyond - events)
    yield chart(
        "How the risks lie",
        charts.bars(
            names,
            charts.axis("of 100 test samples"),
            [
                {"name": "with the event", "look": "multi", "y": ill},
                {"name": "without", "look": "single", "y": [max(0.0, value) for value in well]},
            ],
            name="predicted risk, recalibrated",
            stacked=True,
        ),
        "Bars are between thresholds that may be told, so they differ in width; none of few patients.",
        f"Of 100 test samples {number(well[0] + ill[0], 0)} have a predicted risk of {names[0]}.",
    )
