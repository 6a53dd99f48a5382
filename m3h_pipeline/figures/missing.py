"""Scores of the selected models where modalities are hidden from a share of the samples."""

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
from m3h_pipeline.contracts import MISSING
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table
from m3h_pipeline.inference.metrics import CHANCE

_EVERY = "each of them"
_LINE = 0.14
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``missing`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    frame = table(read_table(inputs["missing"], MISSING).to_pandas(), catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue), frame)


def table(missing: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The rows of the figure in its order; ``title`` added; what hides each modality by itself comes last."""
    order = {task: i for i, task in enumerate(catalogue.order(missing["task"]))}
    every = missing["modality"].isna()
    frame = missing.assign(
        _task=missing["task"].map(order), _every=every, modality=missing["modality"].fillna(_EVERY)
    )
    frame = frame.sort_values(["_task", "_every", "modality", "share"], kind="stable")
    frame = frame.drop(columns=["_task", "_every"]).reset_index(drop=True)
    frame.insert(1, "title", [catalogue.title(task) for task in frame["task"]])
    return frame


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Small multiples, one per task: score against the share of samples without a modality."""
    if frame.empty:
        return style.notice("Nothing to hide: this study has one modality, or clustering tasks alone.")
    tasks = list(dict.fromkeys(frame["task"]))
    names = [name for name in dict.fromkeys(frame["modality"]) if name != _EVERY]
    looks = {name: _look(i) for i, name in enumerate(names)}
    looks[_EVERY] = {"color": style.INK, "marker": ".", "linestyle": "-", "linewidth": 1.4}
    more = dict(catalogue.explained(tasks))
    looks |= more
    columns = 6 if len(tasks) > 24 else 4
    left, gap = 0.42, 0.36
    wide = (style.WIDTH - left - 0.06 - gap * (columns - 1)) / columns
    lines = _lines([*names, _EVERY, *more])
    top = 0.12 + _LINE * len(lines)
    bands = -(-len(tasks) // columns)
    tall = min(0.72 * wide, 1.1, (style.HEIGHT - top - 0.3) / bands - 0.44)
    band = tall + 0.42
    # Of a few tasks the figure is as wide as its key.
    figure = style.canvas(style.WIDTH, top + bands * band + 0.16)
    for i, line in enumerate(lines):
        entries = [(style.fit(name, 1.4, style.SMALL), {**looks[name], "markersize": 3.0}) for name in line]
        style.key(figure, 0.06, 0.1 + i * _LINE, entries)
    size = style.BASE if columns < 6 else style.SMALL
    for k, task in enumerate(tasks):
        x, y = left + k % columns * (wide + gap), top + k // columns * band + 0.2
        rows = frame[frame["task"] == task]
        style.write(
            figure, x - 0.24, y - 0.19, style.fit(catalogue.title(task), wide + 0.2, size), fontsize=size
        )
        metric = str(rows["metric"].iloc[0])
        note = style.fit(style.metric_name(metric), wide + 0.2, style.SMALL)
        style.write(figure, x - 0.24, y - 0.085, note, fontsize=style.SMALL, color=style.MUTED)
        ax = style.axes(figure, x, y, wide, tall)
        _panel(ax, rows, looks, CHANCE.get(metric), labelled=k + columns >= len(tasks))
    middle = left + (columns * (wide + gap) - gap) / 2
    text = "Samples from which it is hidden (%)"
    style.write(figure, middle, top + bands * band + 0.06, text, ha="center")
    style.write(figure, 0.07, top + bands * band / 2, "Test score", rotation=90, ha="center", va="center")
    return figure


def _look(index: int) -> dict[str, Any]:
    colours = [colour for colour in style.CATEGORIES if colour != style.INK]
    return {
        "color": colours[index % len(colours)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": style.LINES[index // len(colours) % len(style.LINES)],
        "linewidth": 0.8,
    }


def _lines(names: list[str]) -> list[list[str]]:
    """The entries of the key, as many on a line as fit."""
    lines: list[list[str]] = [[]]
    used = 0.0
    for name in names:
        width = 0.39 + style.text_width(style.fit(name, 1.4, style.SMALL), style.SMALL)
        if lines[-1] and used + width > style.WIDTH - 0.1:
            lines.append([])
            used = 0.0
        lines[-1].append(name)
        used += width
    return lines


def _panel(
    ax: Axes, rows: pd.DataFrame, looks: Mapping[str, dict[str, Any]], chance: float | None, labelled: bool
) -> None:
    if chance is not None:
        ax.axhline(chance, color=style.MUTED, linewidth=0.6, zorder=0)
    known = rows[np.isfinite(rows["value"].to_numpy(float))]
    for name, part in known.groupby("modality", sort=False):
        look = looks[str(name)]
        share, value = 100 * part["share"].to_numpy(float), part["value"].to_numpy(float)
        ax.plot(share, value, markersize=2.2, zorder=2 + (name == _EVERY), **look)
        if name == _EVERY:
            ends = part[["low", "high"]].to_numpy(float)
            strokes = np.stack([np.repeat(share[:, None], 2, 1), ends], 2)[np.isfinite(ends).all(1)]
            style.strokes(ax, strokes, color=look["color"], linewidth=0.6, alpha=0.6, zorder=1)
    if known.empty:
        ax.text(0.5, 0.5, "not evaluated", transform=ax.transAxes, ha="center", color=style.MUTED)
    ax.set_xlim(-4, 104)
    ax.set_ylim(*_limits(known, chance))
    ax.set_xticks([0, 50, 100], ["0", "50", "100"] if labelled else [""] * 3)
    ax.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))


def _limits(known: pd.DataFrame, chance: float | None) -> tuple[float, float]:
    """What the axis shows: values, chance and intervals, these no further than the values spread."""
    values = known["value"].to_numpy(float)
    if chance is not None:
        values = np.append(values, chance)
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = max(0.5 * (high - low), 0.01)
    ends = known[["low", "high"]].to_numpy(float)
    ends = ends[np.isfinite(ends)]
    if len(ends):
        low, high = max(min(low, ends.min()), low - room), min(max(high, ends.max()), high + room)
    margin = 0.05 * max(high - low, 0.01)
    return low - margin, high + margin
