"""Observed event rate by quantile of the predicted risk, by subgroup (paper, Figure 4a)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    """The rows of the figure: the chosen tasks, or the ones with the most events.

    Rates of quantiles with fewer than ten samples are left out.
    """
    present = set(calibration["task"])
    shown = [task for task in chosen if task in present]
    if not shown:
        events = calibration.assign(events=calibration["observed"] * calibration["n"])
        events = events[events["model"] == events["model"].min()] if len(events) else events
        rate = events.groupby("task")[["events", "n"]].sum()
        frequency = (rate["events"] / rate["n"].clip(lower=1)).sort_values(ascending=False, kind="stable")
        shown = catalogue.order(list(frequency.index)[:_SHOWN])
    frame = calibration[calibration["task"].isin(shown)].copy()
    # A study with subgroups shows them; the whole cohort stands in where one of a task's models has none.
    models = frame.groupby("task")["model"].nunique().to_dict()
    known = frame[frame["subgroup"] != "all"].groupby("task")["model"].nunique()
    named = {str(task) for task, n in known.items() if n == models.get(task)}
    frame = frame[(frame["subgroup"] != "all") | ~frame["task"].isin(named)]
    keys = {
        "_task": frame["task"].map({t: i for i, t in enumerate(shown)}),
        "_model": frame["model"].map({m: i for i, m in enumerate(_MODELS)}).fillna(len(_MODELS)),
    }
    order = [*keys, "subgroup", "quantile"]
    frame = frame.assign(**keys).sort_values(order, kind="stable").drop(columns=list(keys))
    rates = ["predicted", "observed", "low", "high"]
    frame[rates] = frame[rates].astype(float).where(frame["n"] >= LEAST)
    return frame.reset_index(drop=True)


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
    panel = min(3.2 if columns == 1 else 2.2, (style.WIDTH - left - 0.1 - gap * (columns - 1)) / columns)
    tall = min(panel, 1.3)
    band = 2 * tall + 0.12 + 0.8
    width = max(left + columns * panel + (columns - 1) * gap + 0.1, 3.9)
    note = len(every) > len(tasks)
    figure = style.canvas(width, top + bands * band - (0.1 if note else 0.22))
    if note:
        text = f"{len(every) - len(tasks)} more binary tasks are in the table behind this figure."
        style.write(figure, 0.06, top + bands * band - 0.2, text, color=style.MUTED, fontsize=style.SMALL)
    _key(figure, groups, colours, subgroup)
    for k, task in enumerate(tasks):
        column, row = k % columns, k // columns
        x, y = left + column * (panel + gap), top + row * band
        rows = frame[frame["task"] == task]
        ceiling = _ceiling(rows)
        quantiles = (int(rows["quantile"].min()), int(rows["quantile"].max())) if len(rows) else (1, 10)
        style.write(figure, x - 0.3, y - 0.25, style.letter(k), fontweight="bold", fontsize=style.LARGE)
        style.write(figure, x - 0.16, y - 0.25, style.fit(catalogue.title(task), panel + 0.2))
        _sizes(figure, x - 0.16, y - 0.12, rows, colours)
        for i, model in enumerate(_MODELS):
            ax = style.axes(figure, x, y + i * (tall + 0.12), panel, tall)
            _panel(ax, rows[rows["model"] == model], model, colours, quantiles, ceiling)
            last = i == len(_MODELS) - 1
            if last:
                ax.set_xlabel("Quantile of predicted risk", labelpad=2)
            else:
                ax.set_xticklabels([])
        if column == 0:
            style.write(
                figure,
                0.1,
                y + tall + 0.06,
                "Observed event rate (%)",
                rotation=90,
                ha="center",
                va="center",
            )
    return figure


def _key(figure: Figure, groups: list[str], colours: dict[str, str], subgroup: str) -> None:
    names = {"all": "all samples"}
    entries: list[style.Entry] = [(names.get(g, g), {"marker": "o", "color": colours[g]}) for g in groups]
    if groups != ["all"]:
        name = f"{style.plain(subgroup).capitalize()}:"
        style.write(figure, 0.06, 0.1, name, fontsize=style.SMALL, color=style.MUTED)
        start = 0.12 + style.text_width(name, style.SMALL)
    else:
        start = 0.06
    entries.append(("mean predicted risk", {"linestyle": style.LINES[1], "color": style.MUTED}))
    style.key(figure, start, 0.1, entries)


def _sizes(figure: Figure, left: float, top: float, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """How many test samples of each subgroup stand behind a task's panels."""
    one = rows[rows["model"] == rows["model"].iloc[0]]
    style.write(figure, left, top, "n =", fontsize=style.SMALL, color=style.MUTED)
    left += style.text_width("n = ", style.SMALL)
    for group, n in one.groupby("subgroup")["n"].sum().items():
        text = small_count(int(n))
        style.write(figure, left, top, text, fontsize=style.SMALL, color=colours[str(group)])
        left += style.text_width(text, style.SMALL) + 0.08


def _ceiling(rows: pd.DataFrame) -> float:
    values = rows[["predicted", "observed", "high"]].to_numpy(float)
    values = values[np.isfinite(values)]
    # The upper third of a panel holds its texts.
    return float(values.max(initial=0.0)) / 0.68 or 1.0


def _slope(rows: pd.DataFrame, state: str) -> str:
    """A model's calibration slope with its interval; empty where it has none."""
    values = rows[[f"{name}_{state}" for name in ("slope", "slope_low", "slope_high")]].to_numpy(float)[:1]
    if not np.isfinite(values).all() or not len(values):
        return ""
    return "{:.2f} ({:.2f} to {:.2f})".format(*values[0])


def _panel(
    ax: Axes,
    rows: pd.DataFrame,
    model: str,
    colours: dict[str, str],
    quantiles: tuple[int, int],
    ceiling: float,
) -> None:
    present = [g for g in colours if g in set(rows["subgroup"])]
    for i, group in enumerate(present):
        part = rows[rows["subgroup"] == group]
        x = part["quantile"].to_numpy(float) + (i - (len(present) - 1) / 2) * 0.16
        observed, predicted = part["observed"].to_numpy(float), part["predicted"].to_numpy(float)
        low, high = part["low"].to_numpy(float), part["high"].to_numpy(float)
        colour = colours[group]
        ax.plot(x, 100 * predicted, color=colour, linestyle=style.LINES[1], linewidth=0.7, alpha=0.8)
        known = np.isfinite(low) & np.isfinite(high)
        intervals = np.stack([np.stack([x, 100 * low], 1), np.stack([x, 100 * high], 1)], 1)[known]
        style.strokes(ax, intervals, color=colour, linewidth=0.7)
        ax.plot(x, 100 * observed, linestyle="none", marker="o", markersize=2.4, color=colour, clip_on=False)
    name = style.MODELS[model][0]
    ax.text(0.03, 0.97, name, transform=ax.transAxes, va="top", fontsize=style.SMALL, fontweight="bold")
    for height, head, state in ((0.86, "slope", "before"), (0.76, "recalibrated", "after")):
        if text := _slope(rows, state):
            look: dict[str, Any] = {"va": "top", "fontsize": style.SMALL, "color": style.MUTED}
            ax.text(0.03, height, f"{head} {text}", transform=ax.transAxes, **look)
    if rows.empty:
        ax.text(0.5, 0.5, "not evaluated", transform=ax.transAxes, ha="center", color=style.MUTED)
    first, last = quantiles
    ax.set_xlim(first - 0.6, last + 0.6)
    ax.xaxis.set_major_locator(MaxNLocator(min(last - first + 1, 10), integer=True))
    ax.set_ylim(0, 100 * ceiling)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_yticks([t for t in ax.get_yticks() if 0 <= t <= 100 and t <= 100 * ceiling])
