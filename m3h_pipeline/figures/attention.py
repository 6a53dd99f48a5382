"""Mean cross-task attention of the final models (paper, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import ATTENTION
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.figures.rows import Rows, pitch_for, rows
from m3h_pipeline.files import read_table

#: A name cut to fewer letters says nothing.
_LEAST_LETTERS = 7
_OWN = "#0B4F7D"
_SAME = "#7FB2D3"
_OTHER = "#D5DEE5"


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``attention`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    frame = table(read_table(inputs["attention"], ATTENTION).to_pandas(), catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue), frame)


def table(attention: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The weights in the figure's order: each task's own weight, then its companions' by size.

    ``uninformed`` is the weight the same companion has before anything is learned, when the attention logits
    of all tasks are equal but for the identity that the paper adds.
    """
    frame = attention.copy()
    frame["own"] = frame["task"] == frame["companion"]
    order = {task: i for i, task in enumerate(catalogue.order(frame["task"]))}
    frame["_task"] = frame["task"].map(order)
    size = frame.groupby("task")["companion"].transform("size").astype(float)
    total = np.e + size - 1
    frame["uninformed"] = np.where(frame["own"], np.e, 1.0) / total
    frame = frame.sort_values(["_task", "own", "weight", "companion"], ascending=[True, False, False, True])
    return frame.drop(columns="_task").reset_index(drop=True)


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """One bar per source task, divided into its own weight and its companions'."""
    if frame.empty:
        return style.notice("No model of this study has cross-task attention.")
    tasks = list(dict.fromkeys(frame["task"]))
    departments = len(catalogue.groups(tasks))
    block = rows(catalogue, tasks, pitch_for(len(tasks), departments, style.HEIGHT - 0.8, largest=0.18))
    top, left = 0.3, 0.04
    figure = style.canvas(style.WIDTH, top + block.height + 0.42)
    labels = block.labels_width(catalogue, 2.05)
    first = left + labels + 0.12
    block.write_labels(figure, catalogue, left, top, labels, style.WIDTH - 0.04)
    width = style.WIDTH - first - 0.15
    ax = style.axes(figure, first, top, width, block.height)
    _bars(ax, frame, block, catalogue, width)
    entries: list[style.Entry] = [
        ("own weight", {"marker": "s", "color": _OWN}),
        ("companion of the same department", {"marker": "s", "color": _SAME}),
        ("of another department", {"marker": "s", "color": _OTHER}),
        (
            "own weight from the start, of two tasks",
            {"marker": "|", "color": style.VERMILLION, "markersize": 6},
        ),
        *catalogue.explained({*tasks, *frame["companion"]}),
    ]
    style.key(figure, left, 0.1, entries)
    return figure


def _bars(ax: Axes, frame: pd.DataFrame, block: Rows, catalogue: Catalogue, width: float) -> None:
    block.prepare(ax)
    ax.set_xlim(0, 1)
    heights = np.diff(sorted(block.at.values()))
    tall = min(0.8 * float(heights.min(initial=0.16)), 0.135)
    boxes: list[list[tuple[float, float]]] = []
    colours: list[str] = []
    for task, part in frame.groupby("task", sort=False):
        y = block.at[str(task)]
        alone = len(part) == 1
        # Of larger combinations it follows from `model.attention.own_weight`, which a figure does not know.
        reference = float(part.loc[part["own"], "uninformed"].max()) if len(part) == 2 else np.nan
        low, high = y - tall / 2, y + tall / 2
        at = 0.0
        for row in part.itertuples():
            # pandas hints a cell as any scalar; the contract makes it a number.
            weight, companion = float(row.weight), str(row.companion)  # type: ignore[arg-type]
            if not np.isfinite(weight):
                continue
            same = catalogue[companion].department == catalogue[str(task)].department
            boxes.append([(at, low), (at + weight, low), (at + weight, high), (at, high)])
            colours.append(_OWN if row.own else _SAME if same else _OTHER)
            # The text of a segment starts after the mark, where the mark lies in it.
            start = max(at, reference) if at <= reference < at + weight and not row.own else at
            room = (at + weight - start) * width - 0.06
            full = catalogue.title(companion)
            text = style.number(weight, 2) if row.own else style.fit(full, room, style.SMALL)
            text = "no companion selected" if alone else text
            at += weight
            if style.text_width(text, style.SMALL) > room or ("…" in text and len(text) < _LEAST_LETTERS):
                continue
            ax.text(
                start + 0.03 / width,
                y + 0.365 * style.SMALL / 72,
                text,
                va="baseline",
                fontsize=style.SMALL,
                color="white" if row.own else style.INK,
            )
        if np.isfinite(reference):
            ends = [low - 0.008, high + 0.008]
            ax.plot([reference] * 2, ends, color=style.VERMILLION, linewidth=1.1, zorder=3)
    ax.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="white", linewidths=0.5))
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    ax.set_xlabel("Mean attention weight on the test part")
