"""The search for companions: what was tried, what the beam kept, and where it ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import SELECTION, TRAJECTORY, combination_tasks, read_table
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; ``inputs`` are ``trajectory``, ``selection`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    trajectory = read_table(inputs["trajectory"], TRAJECTORY).to_pandas()
    selection = read_table(inputs["selection"], SELECTION).to_pandas()
    frame = table(trajectory, selection, catalogue)
    with style.applied():
        style.save(draw(frame, catalogue), frame, out, settings, title)


def table(trajectory: pd.DataFrame, selection: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """What each task looked at, in the figure's order, with size, selection and the single-task baseline."""
    frame = trajectory.copy()
    chosen = selection.set_index("task")
    frame["size"] = [len(combination_tasks(key)) for key in frame["combination"]]
    frame["selected"] = frame["combination"] == frame["task"].map(chosen["combination"])
    frame["single_score"] = frame["task"].map(chosen["single_score"])
    frame["metric"] = frame["task"].map(chosen["metric"])
    frame["_task"] = frame["task"].map({t: i for i, t in enumerate(catalogue.order(frame["task"]))})
    frame = frame.sort_values(
        ["_task", "round", "size", "score", "combination"], ascending=[True, True, True, False, True]
    )
    return frame.drop(columns="_task").reset_index(drop=True)


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Small multiples, one per task: score against the number of tasks learned together."""
    if frame.empty:
        return style.notice("No search was run in this study.")
    tasks = list(dict.fromkeys(frame["task"]))
    columns = 6 if len(tasks) > 24 else 4 if len(tasks) > 2 else len(tasks)
    bands = -(-len(tasks) // columns)
    left, gap, top = 0.42, 0.36, 0.32
    panel = min(2.6, (style.WIDTH - left - 0.06 - gap * (columns - 1)) / columns)
    tall = min(0.72 * panel, 1.1, (style.HEIGHT - top - 0.3) / bands - 0.44)
    band = tall + 0.42
    width = max(left + columns * panel + (columns - 1) * gap + 0.06, 4.6)
    figure = style.canvas(width, top + bands * band + 0.22)
    entries: list[tuple[str, dict[str, object]]] = [
        ("tried", {"marker": "_", "color": style.GREY, "markersize": 5}),
        ("kept by the beam", {"marker": "o", "color": style.SKY, "markersize": 2.6}),
        ("best of its size", {"linestyle": "-", "color": style.BLUE}),
        ("selected", {"marker": "o", "color": style.BLUE, "markersize": 4.4}),
        ("single task", {"linestyle": style.LINES[1], "color": style.INK}),
    ]
    style.key(figure, 0.06, 0.1, entries)
    most = int(frame["size"].max())
    for k, task in enumerate(tasks):
        column, row = k % columns, k // columns
        x, y = left + column * (panel + gap), top + row * band + 0.2
        rows = frame[frame["task"] == task]
        ax = style.axes(figure, x, y, panel, tall)
        _panel(ax, rows, most)
        lowest = k + columns >= len(tasks)
        if not lowest:
            ax.set_xticklabels([])
        size = style.BASE if columns < 6 else style.SMALL
        title = style.fit(catalogue.title(task), panel + gap - 0.1, size)
        style.write(figure, x - 0.24, y - 0.19, title, fontsize=size, fontweight="normal")
        metric = rows["metric"].dropna()
        name = style.metric_name(str(metric.iloc[0] if len(metric) else catalogue[task].metric))
        note = f"{name}, {len(rows):,} tried"
        style.write(figure, x - 0.24, y - 0.085, note, fontsize=style.SMALL, color=style.MUTED)
    style.write(
        figure,
        left + (columns * (panel + gap) - gap) / 2,
        top + bands * band + 0.1,
        "Tasks learned together",
        ha="center",
    )
    style.write(
        figure,
        0.07,
        top + bands * band / 2,
        "Out-of-fold score",
        rotation=90,
        ha="center",
        va="center",
    )
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, most: int) -> None:
    scores = rows["score"].to_numpy(float)
    sizes = rows["size"].to_numpy(float)
    seen = np.isfinite(scores)
    # One path of many short strokes: thousands of markers would make a heavy file.
    gaps = np.full(int(seen.sum()), np.nan)
    strokes_x = np.stack([sizes[seen] - 0.16, sizes[seen] + 0.16, gaps], 1).ravel()
    strokes_y = np.stack([scores[seen], scores[seen], gaps], 1).ravel()
    ax.plot(strokes_x, strokes_y, color=style.GREY, linewidth=0.35, alpha=0.55)
    single = rows["single_score"].dropna()
    if len(single):
        ax.axhline(float(single.iloc[0]), color=style.INK, linewidth=0.6, linestyle=style.LINES[1], zorder=1)
    kept = rows[seen & rows["kept"].to_numpy(bool)]
    ax.plot(
        kept["size"], kept["score"], linestyle="none", marker="o", markersize=1.7, color=style.SKY, zorder=2
    )
    best = rows[seen].groupby("size")["score"].max()
    ax.plot(best.index.to_numpy(), best.to_numpy(), color=style.BLUE, linewidth=0.9, zorder=3)
    chosen = rows[seen & rows["selected"].to_numpy(bool)]
    if len(chosen):
        ax.plot(
            chosen["size"].iloc[0],
            chosen["score"].iloc[0],
            marker="o",
            markersize=3.6,
            color=style.BLUE,
            zorder=4,
        )
    ax.set_xlim(0.6, max(most, 2) + 0.4)
    ax.set_xticks(range(1, max(most, 2) + 1, max(1, -(-most // 8))))
    values = np.concatenate([scores[seen], single.to_numpy(float)[:1]])
    values = values[np.isfinite(values)]
    if len(values):
        # The worst tenth may lie far below; the view shows what the search had to choose from.
        low, high = float(np.quantile(values, 0.05)), float(values.max())
        low = min(low, float(single.iloc[0])) if len(single) else low
        spread = max(high - low, 0.01)
        ax.set_ylim(low - 0.12 * spread, high + 0.12 * spread)
    ax.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
