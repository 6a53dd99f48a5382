"""The page of a time to an event: curves by risk group, risks at horizons, AUROC over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, chart, heading, on_screen, table, words
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.common import slope_table
from m3h_pipeline.report.outcomes.said import (
    arm,
    columns,
    interval,
    look,
    model,
    number,
    one,
    recalibrated,
    together,
)

_GROUPS: Final = ("low risk", "medium risk", "high risk")
_SCORES: Final = {
    "uno": "Uno's concordance",
    "dynamic_auroc": "mean AUROC over time",
    "brier": "integrated Brier score",
}


def survival_blocks(gathered: Gathered, task: str) -> list[Block]:
    """Blocks of a survival outcome, between its companions and its subgroups."""
    return [
        heading("Survival by predicted risk"),
        *_curves(gathered, task),
        *_over_time(gathered, task),
        heading("Are the risks right"),
        *_horizons(gathered, task),
        *on_screen(slope_table(gathered, task)),
        *_scores(gathered, task),
    ]


def _unit(gathered: Gathered, task: str) -> str:
    unit = gathered.tasks[task].unit
    return f"time, {unit}" if unit else "time"


def _curves(gathered: Gathered, task: str) -> Iterator[Block]:
    network, title, other = arm(gathered, task)
    rows = [row for row in gathered.rows("kaplan_meier", task) if row["model"] == network]
    drawn, said = [], []
    for group in _GROUPS:
        mine = sorted((row for row in rows if row["group"] == group), key=lambda row: row["time"])
        if len(mine) > 1:
            x, y, low, high = columns(mine, "time", "survival", "low", "high")
            drawn.append(charts.series(group, x, y, low, high, step=True))
            said.append(f"{group} {number(mine[-1]['survival'], 2)} at {mine[-1]['time']:g}")
    if drawn:
        p = rows[0]["p"]
        yield chart(
            f"Kaplan-Meier curves ({title})",
            charts.lines(
                charts.axis(_unit(gathered, task), 0),
                charts.axis("without the event", 0, 1, percent=True),
                drawn,
            ),
            "Thirds of the test part by predicted risk, at times between which no 1 to 10 patients have "
            f"the event. Log-rank test between them: p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}.{other}",
            "; ".join(said),
        )
    else:
        yield words("Few test patients have the event: curves would tell of single ones.")


def _over_time(gathered: Gathered, task: str) -> Iterator[Block]:
    use = chosen(gathered, task)
    rows = gathered.rows("dynamic_auroc", task)
    wanted = ({"multi", "single"} if together(gathered, task) else {"single"}) | {look(str(use))}
    names = [name for name in dict.fromkeys(row["model"] for row in rows) if name in wanted]
    drawn = []
    # The interval of the chosen one; of a network where the tables have none of that.
    banded = look(str(use)) if look(str(use)) in names else arm(gathered, task)[0]
    for name in names:
        mine = sorted((row for row in rows if row["model"] == name), key=lambda row: row["time"])
        x, y, low, high = columns(mine, "time", "auroc", "low", "high")
        used = name == banded
        drawn.append(
            charts.series(model(name), x, y, low if used else None, high if used else None, look=name)
        )
    if drawn:
        yield chart(
            "AUROC over time",
            charts.lines(
                charts.axis(_unit(gathered, task), 0),
                charts.axis("AUROC", None, 1),
                drawn,
                rules=[{"y": 0.5, "name": "chance"}],
            ),
            "Who has the event until a time against who has not had it by then; band: 95 % interval over "
            "patients.",
            f"AUROC over time of {len(drawn)} models.",
        )


def _horizons(gathered: Gathered, task: str) -> Iterator[Block]:
    use = chosen(gathered, task)
    rows = [row for row in gathered.rows("performance", task) if row["candidate"] == use]
    state = "after" if any(row["state"] == "after" for row in rows) else "before"
    rows = [row for row in rows if row["state"] == state and row["rule"] == "horizon"]
    times = sorted({row["at"] for row in rows})
    found = {(row["measure"], row["at"]): row for row in rows}
    both = [
        t
        for t in times
        if _known(found.get(("predicted_risk", t))) and _known(found.get(("observed_risk", t)))
    ]
    if both:
        y, low, high = columns([found["observed_risk", t] for t in both], "value", "low", "high")
        yield chart(
            "Observed against predicted risk at the horizons",
            charts.lines(
                charts.axis("mean predicted risk", 0, 1, percent=True),
                charts.axis("observed (Kaplan-Meier)", 0, 1, percent=True),
                [
                    charts.series(
                        model(str(use)),
                        [found["predicted_risk", t]["value"] for t in both],
                        y,
                        low,
                        high,
                        look=look(str(use)),
                        dots=True,
                        line=False,
                    )
                ],
                diagonal=True,
            ),
            f"Until {', '.join(f'{t:g}' for t in both)} {gathered.tasks[task].unit}, {recalibrated(state)}.",
            "; ".join(f"until {t:g}: observed {interval(found['observed_risk', t], digits=2)}" for t in both),
        )
    cells = [
        [f"{t:g}"]
        + [
            interval(found.get((measure, t)), digits=2)
            for measure in ("observed_risk", "predicted_risk", "observed_to_expected", "slope")
        ]
        for t in times
    ]
    if cells:
        header = [f"until{f' ({unit})' if (unit := gathered.tasks[task].unit) else ''}"]
        yield table(
            "At the horizons",
            [*header, "observed risk", "mean predicted risk", "observed over predicted", "slope"],
            cells,
            "A ratio and a slope of 1 are right.",
        )


def _known(row: object) -> bool:
    return isinstance(row, dict) and row["value"] is not None


def _scores(gathered: Gathered, task: str) -> Iterator[Block]:
    rows = gathered.rows("survival", task)
    cells = [
        ["training part's curve for all" if name == "kaplan_meier" else model(name)]
        + [interval(one(rows, model=name, score=score)) for score in _SCORES]
        for name in dict.fromkeys(row["model"] for row in rows)
    ]
    if cells:
        yield table(
            "Further scores",
            ["model", *_SCORES.values()],
            cells,
            "Of the Brier score less is better; what knows nothing is the first row that it should be below.",
            folded=True,
        )
