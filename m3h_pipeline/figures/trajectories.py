"""The search for companions: what was tried, what the beam kept, and where it ended.

Only scores of equal standing stand beside each other: those by the replicates of all that a task looked at to
the end. The search ranks a size by all of its replicates; what it ranked first is the best of its size here
too, whichever looks best by fewer. What was left before it was trained whole is counted and not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import OPTIMISM, SEARCH_REPORT, SELECTION, TRAJECTORY
from m3h_pipeline.evaluation.claims import OWN_SPACES
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue, with_controls
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table

_TICK = 0.028
#: Where the horizontal axis begins, and how far from its column the corrected score stands.
_FIRST = 0.55
_BESIDE = 0.29


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure.

    Args:
        inputs: ``trajectory``, ``report``, ``selection``, ``optimism`` and ``tasks``.
        settings: not read.
    """
    catalogue = read_catalogue(inputs["tasks"])
    trajectory = read_table(inputs["trajectory"], TRAJECTORY).to_pandas()
    selection = read_table(inputs["selection"], SELECTION).to_pandas()
    optimism = read_table(inputs["optimism"], OPTIMISM).to_pandas()
    report = read_table(inputs["report"], SEARCH_REPORT).to_pandas()
    frame = with_controls(table(trajectory, selection, optimism, report, catalogue), catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue), frame)


def table(
    trajectory: pd.DataFrame,
    selection: pd.DataFrame,
    optimism: pd.DataFrame,
    report: pd.DataFrame,
    catalogue: Catalogue,
) -> pd.DataFrame:
    """What each task looked at, in the figure's order, with the selection and the single-task baseline.

    The row of the selected combination has its score without the patients' part of the search's luck (BBC-CV;
    that of seeds is still in it), with its interval: ``compared``, less what
    :data:`~m3h_pipeline.contracts.OPTIMISM` takes off the score that was selected.
    ``first`` marks what the search ranked first of its size. ``fits``, ``saved`` and ``stopped`` are of the
    whole task: what its combinations cost, what leaving some of them spared, and why the search ended.
    """
    frame = trajectory.copy()
    chosen = selection.set_index("task")
    ranks = frame.groupby(["task", "size"])["score"].rank(method="first", ascending=False)
    frame["first"] = ranks == 1
    frame["selected"] = frame["combination"] == frame["task"].map(chosen["combination"])
    alone = frame[frame["size"] == 1].set_index("task")
    frame["single_score"] = frame["task"].map(alone["compared"])
    frame["metric"] = frame["task"].map(chosen["metric"])
    corrected = optimism.set_index("task")
    for name in ("corrected", "low", "high"):
        taken = corrected[name] - corrected["selected"]
        moved = frame["compared"] + frame["task"].map(taken).astype(float)
        frame[name] = moved.where(frame["selected"])
    frame = frame.rename(columns={"low": "corrected_low", "high": "corrected_high"})
    cost = report.dropna(subset="task").set_index("task")
    for name in ("fits", "saved", "stopped"):
        frame[name] = frame["task"].map(cost[name])
    frame["_task"] = frame["task"].map({t: i for i, t in enumerate(catalogue.order(frame["task"]))})
    frame = frame.sort_values(["_task", "size", "score", "combination"], ascending=[True, True, False, True])
    return frame.drop(columns="_task").reset_index(drop=True)


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Small multiples, one per task: score against the number of tasks learned together."""
    if frame.empty:
        return style.notice("No search was run in this study.")
    tasks = list(dict.fromkeys(frame["task"]))
    columns = 6 if len(tasks) > 24 else 4 if len(tasks) > 2 else len(tasks)
    bands = -(-len(tasks) // columns)
    left, gap, top = 0.42, 0.36, 0.32
    wide = min(2.6, (style.WIDTH - left - 0.06 - gap * (columns - 1)) / columns)
    tall = min(0.72 * wide, 1.1, (style.HEIGHT - top - 0.3) / bands - 0.54)
    band = tall + 0.52
    explained = catalogue.explained(tasks)
    # Of a few tasks the figure is as wide as its key.
    width = max(left + columns * wide + (columns - 1) * gap + 0.06, 6.8 if explained else 6.2)
    height = top + bands * band + 0.12
    figure = style.canvas(width, height)
    style.key(figure, 0.06, 0.1, [*_ENTRIES, *explained])
    sheet = _Sheet()
    most = max(int(frame["size"].max()), 2)
    size = style.BASE if columns < 6 else style.SMALL
    for k, task in enumerate(tasks):
        x = left + k % columns * (wide + gap)
        y = top + k // columns * band + 0.3
        rows = frame[frame["task"] == task]
        known = rows["metric"].dropna()
        metric = str(known.iloc[0] if len(known) else catalogue[task].metric)
        # The search goes by each model's own space; other figures compare phenotypes in the inputs.
        name = style.metric_name(metric) + (" (own space)" if metric in OWN_SPACES else "")
        title = style.fit(catalogue.title(task), wide + 0.2, size)
        style.write(figure, x - 0.24, y - 0.29, title, fontsize=size)
        behind = int(rows["left"].sum())
        note = f"{name}, {len(rows):,} tried" + (f", {behind:,} left" if behind else "")
        note = style.fit(note, wide + 0.24, style.SMALL)
        style.write(figure, x - 0.24, y - 0.185, note, fontsize=style.SMALL, color=style.MUTED)
        spent = style.fit(_spent(rows.iloc[0], columns >= 6), wide + 0.24, style.SMALL)
        style.write(figure, x - 0.24, y - 0.085, spent, fontsize=style.SMALL, color=style.MUTED)
        sheet.panel(rows, _Box(x, y, wide, tall), most, labelled=k + columns >= len(tasks))
    sheet.draw(style.axes(figure, 0, 0, width, height), width, height)
    middle = left + (columns * (wide + gap) - gap) / 2
    style.write(figure, middle, height - 0.1, "Tasks learned together", ha="center")
    style.write(
        figure, 0.07, top + bands * band / 2, "Out-of-fold score", rotation=90, ha="center", va="center"
    )
    return figure


#: Why a search ended, where there is little room.
_BRIEFLY = {"within the error": "error", "largest size": "size", "nothing scored": "no score"}


def _spent(row: pd.Series, narrow: bool) -> str:
    """What the search of a task cost, and why it ended.

    Examples:
        >>> row = pd.Series({"fits": 1234, "saved": 12, "stopped": "within the error"})
        >>> _spent(row, False), _spent(row, True)
        ('1,234 fits, 12 saved; within the error', '1,234 fits, 12 saved; error')
        >>> _spent(pd.Series({"fits": 90, "saved": 0, "stopped": "no gain"}), True)
        '90 fits; no gain'
    """
    saved = f", {int(row['saved']):,} saved" if row["saved"] else ""
    why = str(row["stopped"])
    return f"{int(row['fits']):,} fits{saved}; {_BRIEFLY.get(why, why) if narrow else why}"


_ENTRIES: list[style.Entry] = [
    ("tried", {"marker": "_", "color": style.GREY, "markersize": 5}),
    ("kept by the beam", {"marker": "o", "color": style.SKY, "markersize": 2.6}),
    ("ranked first of its size", {"linestyle": "-", "color": style.BLUE}),
    ("selected", {"marker": "o", "color": style.BLUE, "markersize": 4.4}),
    (
        "less the patients' luck (BBC-CV), 95 % interval",
        {"linestyle": "-", "marker": "D", "color": style.VERMILLION, "markersize": 2.6, "linewidth": 0.7},
    ),
    ("single task", {"linestyle": style.LINES[1], "color": style.INK}),
]


@dataclass(frozen=True)
class _Box:
    """A panel: its upper left corner and its size, in inches."""

    left: float
    top: float
    width: float
    height: float


Points = npt.NDArray[np.float64]


@dataclass
class _Sheet:
    """All panels' marks in inches, drawn as a few artists: forty axes of their own would take seconds."""

    tried: list[Points] = field(default_factory=list)
    single: list[Points] = field(default_factory=list)
    best: list[Points] = field(default_factory=list)
    frames: list[Points] = field(default_factory=list)
    kept: list[Points] = field(default_factory=list)
    selected: list[Points] = field(default_factory=list)
    corrected: list[Points] = field(default_factory=list)
    intervals: list[Points] = field(default_factory=list)
    above: list[Points] = field(default_factory=list)
    below: list[Points] = field(default_factory=list)
    labels: list[tuple[float, float, str, str]] = field(default_factory=list)

    def panel(self, rows: pd.DataFrame, box: _Box, most: int, labelled: bool) -> None:
        """Add one task's panel; ``labelled``: with the numbers of the horizontal axis."""
        scores, sizes = rows["compared"].to_numpy(float), rows["size"].to_numpy(float)
        single = rows["single_score"].dropna().to_numpy(float)[:1]
        chosen = rows[rows["selected"].to_numpy(bool)]
        corrected = chosen[["size", "corrected", "corrected_low", "corrected_high"]].to_numpy(float)
        low, high = _limits(scores, np.concatenate([single, corrected[:, 1]]))

        def place(x: Points, y: Points) -> Points:
            across = box.left + (x - _FIRST) / (most + 1 - 2 * _FIRST) * box.width
            down = box.top + (high - y) / (high - low) * box.height
            return np.stack([across, down], 1)

        seen = np.isfinite(scores) & (scores >= low)
        for ends in zip(
            place(sizes[seen] - 0.16, scores[seen]), place(sizes[seen] + 0.16, scores[seen]), strict=True
        ):
            self.tried.append(np.stack(ends))
        for value in single[np.isfinite(single)]:
            self.single.append(place(np.array([_FIRST, most + 1 - _FIRST]), np.array([value, value])))
        first = np.isfinite(scores) & rows["first"].to_numpy(bool)
        if first.sum() > 1:
            self.best.append(place(sizes[first], np.maximum(scores[first], low)))
        for name, points in (("kept", self.kept), ("selected", self.selected)):
            chosen = seen & rows[name].to_numpy(bool)
            points.append(place(sizes[chosen], scores[chosen]))
        for size, value, least, largest in corrected[np.isfinite(corrected[:, 1])]:
            # Beside the column of strokes; a wide interval is cut at the panel, where a tip says so.
            x = np.array([size + _BESIDE])
            self.corrected.append(place(x, np.array([value])))
            if np.isfinite(least) and np.isfinite(largest):
                ends = np.clip([least, largest], low, high)
                self.intervals.append(place(np.repeat(x, 2), ends))
                for tips, cut, end in ((self.below, least < low, low), (self.above, largest > high, high)):
                    tips.extend([place(x, np.array([end]))] if cut else [])
        self._axes(box, place, low, high, most, labelled)

    def _axes(
        self,
        box: _Box,
        place: Callable[[Points, Points], Points],
        low: float,
        high: float,
        most: int,
        labelled: bool,
    ) -> None:
        bottom = box.top + box.height
        self.frames.append(
            np.array([[box.left, box.top], [box.left, bottom], [box.left + box.width, bottom]])
        )
        for size in range(1, most + 1, max(1, -(-most // 8))):
            x = float(place(np.array([float(size)]), np.array([low]))[0, 0])
            self.frames.append(np.array([[x, bottom], [x, bottom + _TICK]]))
            if labelled:
                self.labels.append((x, bottom + 0.1, str(size), "center"))
        values = [v for v in MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= v <= high]
        digits = max(0, -int(np.floor(np.log10(np.diff(values).min() * 1.001)))) if len(values) > 1 else 3
        for value in values:
            y = float(place(np.array([_FIRST]), np.array([value]))[0, 1])
            self.frames.append(np.array([[box.left - _TICK, y], [box.left, y]]))
            self.labels.append((box.left - 0.05, y, style.number(value, digits), "right"))

    def draw(self, ax: Axes, width: float, height: float) -> None:
        """Draw everything on axes that cover the figure."""
        ax.set(xlim=(0, width), ylim=(height, 0))
        ax.set_axis_off()
        style.strokes(ax, self.frames, color=style.MUTED, linewidth=0.5)
        style.strokes(ax, self.tried, color="#B0B0B0", linewidth=0.35)
        style.strokes(ax, self.single, color=style.INK, linewidth=0.6, linestyle=style.LINES[1])
        style.strokes(ax, self.best, color=style.BLUE, linewidth=0.9)
        style.strokes(ax, self.intervals, color=style.VERMILLION, linewidth=0.7)
        for points, colour, marker, size in (
            (self.kept, style.SKY, "o", 1.7),
            (self.selected, style.BLUE, "o", 3.6),
            (self.corrected, style.VERMILLION, "D", 2.2),
            (self.above, style.VERMILLION, "^", 2.4),
            (self.below, style.VERMILLION, "v", 2.4),
        ):
            at = np.concatenate([*points, np.empty((0, 2))])
            look: dict[str, Any] = {
                "marker": marker,
                "markersize": size,
                "markeredgewidth": 0,
                "color": colour,
            }
            ax.plot(at[:, 0], at[:, 1], linestyle="none", zorder=3, **look)
        for x, y, text, side in self.labels:
            ax.text(
                x,
                y + 0.365 * style.SMALL / 72,
                text,
                ha=side,
                va="baseline",
                fontsize=style.SMALL,
            )


def _limits(scores: Points, others: Points) -> tuple[float, float]:
    """The view: what the search had to choose from, of which the worst may lie below, and all ``others``."""
    others = others[np.isfinite(others)]
    values = np.concatenate([scores, others])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(np.quantile(values, 0.05)), float(values.max())
    low = min([low, *others.tolist()])
    spread = max(high - low, 0.01)
    return low - 0.12 * spread, high + 0.12 * spread
