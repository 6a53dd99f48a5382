"""Observed event rate over the predicted risk, a mark for each quantile, by subgroup (paper, Figure 4a)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import CALIBRATION, CALIBRATION_SLOPES
from m3h_pipeline.disclosure import LEAST, small_count
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table

#: Tasks shown if none are chosen in the configuration.
_SHOWN = 4
_MODELS = ("single", "multi")
_COLUMNS = 4
#: What makes an outcome weigh more than any other.
_DEATH = re.compile(r"\b(mortality|deaths?|died|dying|fatal\w*)\b", re.IGNORECASE)
#: Above a panel: the lines on its model, in inches from the panel's upper edge.
_LINES = {"name": 0.34, "slope": 0.21, "recalibrated": 0.09}
_ABOVE = 0.46


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``calibration``, ``calibration_slopes`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    everything = read_table(inputs["calibration"], CALIBRATION).to_pandas()
    slopes = read_table(inputs["calibration_slopes"], CALIBRATION_SLOPES).to_pandas()
    frame = with_slopes(table(everything, catalogue, settings.calibration_tasks), slopes)
    with style.applied():
        return Drawn(draw(frame, catalogue, settings.calibration_subgroup), frame, ("n",))


def table(calibration: pd.DataFrame, catalogue: Catalogue, chosen: list[str]) -> pd.DataFrame:
    """The rows of the figure: the chosen tasks, or those of the most clinical weight (:func:`weightiest`).

    Subgroups stand there where both models have most of their quantiles: a few points of one say nothing.
    """
    present = set(calibration["task"])
    shown = [task for task in chosen if task in present] or weightiest(calibration, catalogue)
    frame = calibration[calibration["task"].isin(shown)].copy()
    whole = frame["subgroup"] == "all"
    every = frame[whole].groupby(["task", "model"])["quantile"].nunique()
    told = frame[~whole].groupby(["task", "model", "subgroup"])["quantile"].nunique().reset_index()
    wanted = [every.get((task, model), 0) for task, model in zip(told["task"], told["model"], strict=True)]
    told = told[2 * told["quantile"] >= np.array(wanted)]
    models = frame.groupby("task")["model"].nunique()
    full = told.groupby(["task", "subgroup"])["model"].nunique().reset_index()
    full = full[full["model"].to_numpy() == full["task"].map(models).to_numpy()]
    known = set(zip(full["task"], full["subgroup"], strict=True))
    mine = np.array([key in known for key in zip(frame["task"], frame["subgroup"], strict=True)], dtype=bool)
    frame = frame[mine | (whole & ~frame["task"].isin(set(full["task"])))]
    keys = {
        "_task": frame["task"].map({t: i for i, t in enumerate(shown)}),
        "_model": frame["model"].map({m: i for i, m in enumerate(_MODELS)}).fillna(len(_MODELS)),
    }
    order = [*keys, "subgroup", "quantile"]
    frame = frame.assign(**keys).sort_values(order, kind="stable").drop(columns=list(keys))
    rates = ["predicted", "observed", "low", "high"]
    frame[rates] = frame[rates].astype(float).where(frame["n"] >= LEAST)
    return frame.reset_index(drop=True)


def weightiest(calibration: pd.DataFrame, catalogue: Catalogue) -> list[str]:
    """The tasks that are shown where nobody chose: death first, then those with the most events.

    How many events the test part has decides how much of a calibration can be seen. Controls come last: of
    them nothing can be learned.
    """
    rows = calibration[calibration["subgroup"] == "all"]
    rows = rows[rows["model"] == rows["model"].min()] if len(rows) else rows
    events = (rows["observed"] * rows["n"]).groupby(rows["task"]).sum()

    def weight(task: str) -> tuple[bool, bool, float]:
        known = catalogue[task]
        dies = _DEATH.search(f"{known.title} {task.replace('_', ' ')}") is not None
        return bool(known.control), not dies, -float(events.get(task, 0.0))

    return sorted(catalogue.order(calibration["task"]), key=weight)[:_SHOWN]


def with_slopes(frame: pd.DataFrame, slopes: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure with their model's calibration slope over all samples, before and after.

    A task that was selected alone has one network: both models are that.
    """
    known = {(row["task"], row["candidate"], row["state"]): row for row in slopes.to_dict("records")}
    frame = frame.copy()
    for state in ("before", "after"):
        found = [
            known.get((task, "together" if model == "multi" else "alone", state))
            or known.get((task, "alone", state), {})
            for task, model in zip(frame["task"], frame["model"], strict=True)
        ]
        for name in ("slope", "slope_low", "slope_high"):
            frame[f"{name}_{state}"] = pd.Series([row.get(name) for row in found], frame.index, dtype=float)
    return frame


def draw(frame: pd.DataFrame, catalogue: Catalogue, subgroup: str = "subgroup") -> Figure:
    """One column of panels per task, single-task above multitask, one line per subgroup."""
    if frame.empty:
        return style.notice("This study has no binary task to calibrate.")
    every = list(dict.fromkeys(frame["task"]))
    tasks = every[: 2 * _COLUMNS]
    groups = sorted(set(frame["subgroup"]))
    colours = dict(zip(groups, style.CATEGORIES * len(groups), strict=False))
    columns = min(len(tasks), _COLUMNS)
    bands = -(-len(tasks) // columns)
    left, gap, top = 0.52, 0.4, 0.62
    panel = min(2.2, (style.WIDTH - left - 0.1 - gap * (columns - 1)) / columns)
    band = 2 * (panel + _ABOVE) + 0.62
    width = max(left + columns * panel + (columns - 1) * gap + 0.1, 3.9)
    note = len(every) > len(tasks)
    figure = style.canvas(width, top + bands * band - (0.1 if note else 0.22))
    if note:
        text = f"{len(every) - len(tasks)} more binary tasks are in the table behind this figure."
        style.write(figure, 0.06, top + bands * band - 0.2, text, color=style.MUTED, fontsize=style.SMALL)
    _key(figure, groups, colours, subgroup, catalogue.explained(tasks))
    for k, task in enumerate(tasks):
        column, row = k % columns, k // columns
        x, y = left + column * (panel + gap), top + row * band
        rows = frame[frame["task"] == task]
        reach = _reach(rows)
        style.write(figure, x - 0.3, y - 0.25, style.letter(k), fontweight="bold", fontsize=style.LARGE)
        style.write(figure, x - 0.16, y - 0.25, style.fit(catalogue.title(task), panel + 0.2))
        _sizes(figure, x - 0.16, y - 0.12, rows, colours)
        for i, model in enumerate(_MODELS):
            here = y + _ABOVE + i * (panel + _ABOVE)
            mine = rows[rows["model"] == model]
            _heading(figure, x, here, mine, model)
            ax = style.axes(figure, x, here, panel, panel)
            _panel(ax, mine, colours, reach)
            if i == len(_MODELS) - 1:
                ax.set_xlabel("Predicted risk (%)", labelpad=2)
            else:
                ax.set_xticklabels([])
        if column == 0:
            middle = y + _ABOVE + panel + _ABOVE / 2
            turned = {"rotation": 90, "ha": "center", "va": "center"}
            style.write(figure, 0.1, middle, "Observed event rate (%)", **turned)
    return figure


def _key(
    figure: Figure, groups: list[str], colours: dict[str, str], subgroup: str, more: list[style.Entry]
) -> None:
    names = {"all": "all samples"}
    entries: list[style.Entry] = [(names.get(g, g), {"marker": "o", "color": colours[g]}) for g in groups]
    if groups != ["all"]:
        name = f"{style.plain(subgroup).capitalize()}:"
        style.write(figure, 0.06, 0.1, name, fontsize=style.SMALL, color=style.MUTED)
        start = 0.12 + style.text_width(name, style.SMALL)
    else:
        start = 0.06
    entries.append(("as predicted", {"linestyle": style.LINES[1], "color": style.MUTED}))
    style.key(figure, start, 0.1, [*entries, *more])


def _sizes(figure: Figure, left: float, top: float, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """How many test samples of each subgroup stand behind a task's panels."""
    one = rows[rows["model"] == rows["model"].iloc[0]]
    style.write(figure, left, top, "n =", fontsize=style.SMALL, color=style.MUTED)
    left += style.text_width("n = ", style.SMALL)
    for group, n in one.groupby("subgroup")["n"].sum().items():
        text = small_count(int(n))
        style.write(figure, left, top, text, fontsize=style.SMALL, color=colours[str(group)])
        left += style.text_width(text, style.SMALL) + 0.08


def _reach(rows: pd.DataFrame) -> float:
    """End of both axes, in %: the same of both models, and of what was predicted and observed."""
    values = rows[["predicted", "observed", "high"]].to_numpy(float)
    values = values[np.isfinite(values)]
    return min(104.0, 104.0 * float(values.max(initial=0.0))) or 1.0


def _slope(rows: pd.DataFrame, state: str) -> str:
    """A model's calibration slope with its interval; empty where it has none."""
    values = rows[[f"{name}_{state}" for name in ("slope", "slope_low", "slope_high")]].to_numpy(float)[:1]
    if not np.isfinite(values).all() or not len(values):
        return ""
    value, low, high = (style.number(number, 2) for number in values[0])
    return f"{value} ({low} to {high})"


def _heading(figure: Figure, left: float, top: float, rows: pd.DataFrame, model: str) -> None:
    """Whose panel it is, and its slopes: above it, where no data are."""
    said = {"name": style.MODELS[model][0]}
    for head, state in (("slope", "before"), ("recalibrated", "after")):
        if text := _slope(rows, state):
            said[head] = f"{head} {text}"
    for name, text in said.items():
        look = {"fontweight": "bold"} if name == "name" else {"color": style.MUTED}
        style.write(figure, left, top - _LINES[name], text, fontsize=style.SMALL, **look)


def _panel(ax: Axes, rows: pd.DataFrame, colours: dict[str, str], reach: float) -> None:
    ax.plot([0, reach], [0, reach], color=style.MUTED, linestyle=style.LINES[1], linewidth=0.7, zorder=0)
    for group in (g for g in colours if g in set(rows["subgroup"])):
        part = rows[rows["subgroup"] == group].sort_values("quantile")
        x, y, low, high = (
            100 * part[name].to_numpy(float) for name in ("predicted", "observed", "low", "high")
        )
        colour = colours[group]
        known = np.isfinite(low) & np.isfinite(high)
        intervals = np.stack([np.stack([x, low], 1), np.stack([x, high], 1)], 1)[known]
        style.strokes(ax, intervals, color=colour, linewidth=0.7)
        ax.plot(x, y, color=colour, linewidth=0.5, marker="o", markersize=2.4, clip_on=False)
    if rows.empty:
        ax.text(0.5, 0.5, "not evaluated", transform=ax.transAxes, ha="center", color=style.MUTED)
    ax.set(xlim=(0, reach), ylim=(0, reach))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
