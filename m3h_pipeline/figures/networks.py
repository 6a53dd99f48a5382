"""Networks compared: a panel per task, a row per model, out of fold and on the test part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import NETWORK_COMPARISON
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.comparison import CHANCE
from m3h_pipeline.files import read_table

#: What a model was learned on -> how its rows are named, and their colour.
_LEARNED = {
    "together": ("{}, all tasks", style.BLUE),
    "alone": ("{}, alone", style.GREY),
    "reference": ("{}", style.ORANGE),
}
_PARTS = {"validation": "out of fold", "test": "test part"}
_COLUMNS = 2
_PITCH = 0.125
_TITLE, _AXIS, _GAP = 0.2, 0.2, 0.08


def draw_networks(comparison: Path, tasks: Path, out: Path, settings: Figures) -> None:
    """Write the figure ``comparison`` (images as configured, and CSV) into a folder.

    Args:
        comparison: table of contracts.NETWORK_COMPARISON.
        tasks: ``labels/tasks.json``.
        out: the folder.
        settings: file formats.

    Raises:
        InputError: a table is absent or unreadable, or the folder cannot be written.
        ContractError: a table does not follow its schema.
    """
    catalogue = read_catalogue(tasks)
    frame = table(read_table(comparison, NETWORK_COMPARISON).to_pandas(), catalogue)
    with style.applied():
        style.save(draw(frame, catalogue), frame, Path(out) / "comparison", settings, "Networks compared")


def table(frame: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The rows of the figure in its order; ``title`` and ``model`` (a row's name) added."""
    order = {task: i for i, task in enumerate(catalogue.order(frame["task"]))}
    frame = frame.assign(_task=frame["task"].map(order)).sort_values("_task", kind="stable")
    frame = frame.drop(columns="_task").reset_index(drop=True)
    frame.insert(1, "title", [catalogue.title(task) for task in frame["task"]])
    reference = style.looks(frame.loc[frame["learned"] == "reference", "network"])
    names = [reference[n][0] if n in reference else n for n in frame["network"]]
    models = [_LEARNED[learned][0].format(n) for n, learned in zip(names, frame["learned"], strict=True)]
    frame.insert(2, "model", models)
    return frame


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Panels in two columns; rows stand in the same order in each."""
    if frame.empty:
        return style.notice("No network of this study was compared.")
    rank = {learned: i for i, learned in enumerate(_LEARNED)}
    first = frame.drop_duplicates("model")
    models = first.assign(_rank=first["learned"].map(rank)).sort_values("_rank", kind="stable")["model"]
    rows = {model: i for i, model in enumerate(models)}
    tasks = catalogue.order(frame["task"])
    labels = min(1.6, max(style.text_width(model, style.SMALL) for model in rows) + 0.06)
    left, top = 0.06, 0.32
    panel = _PITCH * len(rows) + 0.04
    width = (style.WIDTH - left - _COLUMNS * labels - 0.38) / _COLUMNS
    lines = int(np.ceil(len(tasks) / _COLUMNS))
    height = top + lines * (_TITLE + panel + _AXIS + _GAP)
    figure = style.canvas(style.WIDTH, height)
    _key(figure, left, catalogue.explained(tasks))
    for i, task in enumerate(tasks):
        line, column = divmod(i, _COLUMNS)
        x = left + column * (labels + width + 0.24)
        y = top + line * (_TITLE + panel + _AXIS + _GAP)
        mine = frame[frame["task"] == task]
        metric = str(mine["metric"].iloc[0])
        title = style.fit(catalogue.title(task), labels + width - 0.9, bold=True)
        style.write(figure, x, y + _TITLE / 2, title, fontweight="bold")
        style.write(
            figure,
            x + labels + width,
            y + _TITLE / 2,
            style.metric_name(metric),
            ha="right",
            fontsize=style.SMALL,
            color=style.MUTED,
        )
        for model, row in rows.items():
            at = y + _TITLE + 0.02 + (row + 0.5) * _PITCH
            style.write(figure, x, at, style.fit(model, labels - 0.04, style.SMALL), fontsize=style.SMALL)
        ax = style.axes(figure, x + labels, y + _TITLE, width, panel)
        _panel(ax, mine, rows, metric, panel)
    return figure


def _key(figure: Figure, left: float, more: list[style.Entry]) -> None:
    entries: list[style.Entry] = [
        (_PARTS["validation"], {"marker": "o", "color": style.INK, "linestyle": "-"}),
        (_PARTS["test"], {"marker": "o", "color": style.INK, "markerfacecolor": "white", "linestyle": "-"}),
        ("the reference, out of fold", {"color": style.ORANGE, "linestyle": ":"}),
        ("no information", {"color": style.MUTED, "linestyle": "-", "linewidth": 0.6}),
    ]
    style.key(figure, left, 0.12, [*entries, *more])


def _panel(ax: Axes, frame: pd.DataFrame, rows: dict[str, int], metric: str, height: float) -> None:
    ax.set_ylim(height, 0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ends = frame[["value", "low", "high"]].to_numpy(float).ravel()
    ends = ends[np.isfinite(ends)]
    low, high = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 1.0)
    chance = CHANCE.get(metric)
    if chance is not None:
        # A model far below chance does not squeeze the others.
        low = max(low, chance - max(high - chance, 0.1))
    margin = 0.03 * max(high - low, 0.01)
    ax.set_xlim(low - margin, high + margin)
    if chance is not None and low - margin <= chance <= high + margin:
        ax.axvline(chance, color=style.MUTED, linewidth=0.6, zorder=0)
    reference = frame[(frame["network"] == "linear") & (frame["part"] == "validation")]["value"]
    if len(reference) and np.isfinite(reference.iloc[0]):
        ax.axvline(reference.iloc[0], color=style.ORANGE, linestyle=":", linewidth=0.8, zorder=0)
    for row in range(1, len(rows), 2):
        ax.axhspan(0.02 + row * _PITCH, 0.02 + (row + 1) * _PITCH, color=style.FAINT, linewidth=0, zorder=-1)
    for part, shift, face in (("validation", -0.024, None), ("test", 0.024, "white")):
        for record in frame[frame["part"] == part].to_dict("records"):
            value, colour = record["value"], _LEARNED[record["learned"]][1]
            if value is None or not np.isfinite(value):
                continue
            y = 0.02 + (rows[record["model"]] + 0.5) * _PITCH + shift
            if np.isfinite(record["low"]) and np.isfinite(record["high"]):
                ax.plot([record["low"], record["high"]], [y, y], color=colour, linewidth=0.6, alpha=0.7)
            ax.plot(
                [max(value, low - margin)],
                [y],
                marker="o" if value >= low - margin else "<",
                markersize=2.6,
                color=colour,
                markerfacecolor=face or colour,
                markeredgewidth=0.6,
                zorder=3,
            )
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.grid(axis="x", color=style.RULE, linewidth=0.4)
    ax.set_axisbelow(True)
