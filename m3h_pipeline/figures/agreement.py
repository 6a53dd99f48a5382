"""Predicted against observed values of regression tasks, as counts (paper, Figure 4c)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import AGREEMENT, EVALUATION
from m3h_pipeline.disclosure import LEAST, small_count
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import EXPLAINED, Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table

_MODELS = ("single", "multi")
#: Most tasks drawn; all are in the CSV.
_SHOWN = 3
#: Share of the samples that may lie beyond each end of the view.
_EXTREME = 0.0025
_EDGES = ["observed_low", "observed_high", "predicted_low", "predicted_high"]


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``agreement``, ``evaluation`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    scores = read_table(inputs["evaluation"], EVALUATION).to_pandas().set_index("task")
    frame = table(read_table(inputs["agreement"], AGREEMENT).to_pandas(), catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue, scores), frame, ("n",))


def table(agreement: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The cells in the figure's order; those of few samples have no place in it.

    ``median_predicted`` belongs to the column of cells with the same observed values.
    """
    filled = agreement[agreement["n"] >= LEAST]
    if filled.empty:
        return filled.assign(median_predicted=pd.Series(dtype=float))
    parts: list[pd.DataFrame] = []
    for task in catalogue.order(filled["task"]):
        rows = filled[filled["task"] == task]
        for model in (*_MODELS, *sorted(set(rows["model"]) - set(_MODELS))):
            cells = rows[rows["model"] == model].sort_values(_EDGES, kind="stable")
            if len(cells):
                medians = {low: _median(column) for low, column in cells.groupby("observed_low")}
                parts.append(cells.assign(median_predicted=cells["observed_low"].map(medians)))
    return pd.concat(parts, ignore_index=True)


def view(rows: pd.DataFrame) -> tuple[float, float]:
    """The range of values shown: all but the most extreme of observed and of predicted values.

    It ends at edges of cells and holds at least 99.5 % of the samples of each model in each direction.
    """
    lows, highs = [], []
    for _, part in rows.groupby("model"):
        for axis in ("observed", "predicted"):
            column = part.groupby([f"{axis}_low", f"{axis}_high"], as_index=False)["n"].sum()
            below = np.cumsum(column["n"].to_numpy(float)) / float(column["n"].sum())
            lows.append(float(column[f"{axis}_low"].iloc[int(np.searchsorted(below, _EXTREME))]))
            highs.append(float(column[f"{axis}_high"].iloc[int(np.searchsorted(below, 1 - _EXTREME))]))
    return min(lows), max(highs)


def impossible(rows: pd.DataFrame) -> bool:
    """Whether some cells are of predictions below 0 while every observed value is above it.

    A network's output has no bounds: a stay of -2 days is its way to say "very short".
    """
    return bool((rows["observed_low"] >= 0).all() and (rows["predicted_low"] < 0).any())


def _median(column: pd.DataFrame) -> float:
    """Median of the predictions in a column of cells, interpolated within the cell it lies in."""
    column = column.sort_values("predicted_low")
    n = column["n"].to_numpy(float)
    before = np.cumsum(n) - n
    at = int(np.searchsorted(before + n, n.sum() / 2))
    low, high = float(column["predicted_low"].iloc[at]), float(column["predicted_high"].iloc[at])
    return low + (high - low) * float((n.sum() / 2 - before[at]) / n[at])


def draw(frame: pd.DataFrame, catalogue: Catalogue, scores: pd.DataFrame) -> Figure:
    """Per task a panel for each model with common axes and shades.

    Args:
        frame: cells from :func:`table`.
        catalogue: the tasks.
        scores: rows of the evaluation by task, for the scores in the titles.
    """
    if frame.empty:
        return style.notice("This study has no regression task.")
    tasks = list(dict.fromkeys(frame["task"]))
    shown = tasks[:_SHOWN]
    left, gap, side, band = 0.55, 0.3, 2.3, 3.12
    figure = style.canvas(style.WIDTH, band * len(shown) + (0.2 if len(tasks) > len(shown) else 0.0))
    if catalogue.explained(shown):
        style.note(figure, 0.14, EXPLAINED)
    for k, task in enumerate(shown):
        rows = frame[frame["task"] == task]
        top = k * band
        style.write(figure, 0.06, top + 0.14, style.letter(k), fontweight="bold", fontsize=style.LARGE)
        style.write(figure, 0.2, top + 0.14, style.fit(catalogue.title(task), 4.5))
        levels = _levels(int(rows["n"].max()))
        low, high = view(rows)
        unit = style.plain(catalogue[task].unit)
        suffix = f" ({unit})" if unit else ""
        for i, model in enumerate(_MODELS):
            ax = style.axes(figure, left + i * (side + gap), top + 0.44, side, side)
            _panel(ax, rows[rows["model"] == model], levels, (low, high))
            if impossible(rows):
                ax.axhspan(low, 0, color=style.FAINT, linewidth=0, zorder=0)
                ax.axhline(0, color=style.MUTED, linewidth=0.5, zorder=0)
            ax.set_title(_heading(task, model, scores), loc="left", fontsize=style.SMALL, pad=3)
            ax.set_xlabel(f"Observed{suffix}")
            if i == 0:
                ax.set_ylabel(f"Predicted{suffix}")
            else:
                ax.set_yticklabels([])
        _legend(figure, rows, levels, left + 2 * (side + gap), top + 0.5, (low, high))
    if len(tasks) > len(shown):
        text = f"{len(tasks) - len(shown)} more regression tasks are in the table behind this figure."
        style.write(figure, 0.06, band * len(shown) + 0.05, text, color=style.MUTED, fontsize=style.SMALL)
    return figure


def _heading(task: str, model: str, scores: pd.DataFrame) -> str:
    name = style.MODELS[model][0]
    if task not in scores.index:
        return name
    # pandas hints a cell as any scalar; the contract makes these numbers.
    value, low, high = (float(scores.loc[task, f"{model}{end}"]) for end in ("", "_low", "_high"))  # type: ignore[arg-type]
    metric = style.metric_name(str(scores.loc[task, "metric"]))
    span = f" ({style.number(low, 2)} to {style.number(high, 2)})" if np.isfinite([low, high]).all() else ""
    return f"{name}: {metric} {style.number(value, 2)}{span}"


def _levels(most: int) -> list[int]:
    """Least counts of the shades: 11, 30, 100, 300, ... as far as there are cells."""
    levels, step = [LEAST], 30
    while step <= most:
        levels.append(step)
        step = step * 3 if str(step)[0] == "1" else step // 3 * 10
    return levels


def _shades(levels: list[int]) -> list[tuple[float, float, float, float]]:
    colours = style.sequential()
    # The lightest shade stands for few, of which none is shown.
    return [colours((i + 1) / len(levels)) for i in range(len(levels))]


def _panel(ax: Axes, rows: pd.DataFrame, levels: list[int], bounds: tuple[float, float]) -> None:
    shades = _shades(levels)
    order = np.searchsorted(levels, rows["n"].to_numpy(), side="right") - 1
    x0, x1, y0, y1 = (rows[name].to_numpy(float) for name in _EDGES)
    corners: npt.NDArray[np.float64] = np.stack(
        [np.stack([x0, x1, x1, x0], 1), np.stack([y0, y0, y1, y1], 1)], 2
    )
    ax.add_collection(
        PolyCollection(
            list(corners), facecolors=[shades[i] for i in order], edgecolors="white", linewidths=0.15
        )
    )
    ax.plot(bounds, bounds, color=style.MUTED, linewidth=0.7, linestyle=style.LINES[1])
    medians = rows.drop_duplicates("observed_low").sort_values("observed_low")
    middle = (medians["observed_low"] + medians["observed_high"]) / 2
    ax.plot(
        middle,
        medians["median_predicted"],
        color=style.VERMILLION,
        linewidth=0.9,
        marker="o",
        markersize=2.2,
        markeredgewidth=0,
    )
    if rows.empty:
        ax.text(0.5, 0.5, "not evaluated", transform=ax.transAxes, ha="center", color=style.MUTED)
    ax.set(xlim=bounds, ylim=bounds)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _legend(
    figure: Figure,
    rows: pd.DataFrame,
    levels: list[int],
    left: float,
    top: float,
    bounds: tuple[float, float],
) -> None:
    width, height = figure.get_size_inches()
    sizes = {m: int(rows.loc[rows["model"] == m, "n"].sum()) for m in _MODELS if m in set(rows["model"])}
    style.write(figure, left, top, f"n = {small_count(max(sizes.values()))} in cells", fontsize=style.SMALL)
    beyond = rows[(rows[_EDGES[0::2]] < bounds[0]).any(axis=1) | (rows[_EDGES[1::2]] > bounds[1]).any(axis=1)]
    if len(beyond):
        most = small_count(int(beyond.groupby("model")["n"].sum().max()))
        text = f"{most} beyond the view"
        style.write(figure, left, top + 0.13, text, fontsize=style.SMALL, color=style.MUTED)
    style.write(figure, left, top + 0.34, "Samples in a cell", fontsize=style.SMALL, color=style.MUTED)
    for i, (level, shade) in enumerate(zip(levels, _shades(levels), strict=True)):
        y = top + 0.5 + 0.14 * i
        last = i == len(levels) - 1
        text = f"≥{level:,}" if last else f"{level:,} to {levels[i + 1] - 1:,}"
        corner = left / width, 1 - (y + 0.05) / height
        figure.add_artist(Rectangle(corner, 0.14 / width, 0.1 / height, color=shade, linewidth=0))
        style.write(figure, left + 0.2, y, text, fontsize=style.SMALL)
    y = top + 0.5 + 0.14 * len(levels) + 0.12
    line = {
        "linestyle": "-",
        "color": style.VERMILLION,
        "marker": "o",
        "markersize": 2.2,
        "markeredgewidth": 0,
    }
    style.key(figure, left, y, [("median prediction", line)])
    style.key(figure, left, y + 0.14, [("identity", {"linestyle": style.LINES[1], "color": style.MUTED})])
    if impossible(rows):
        below = rows[rows["predicted_low"] < 0].groupby("model")["n"].sum()
        said = [f"{style.MODELS[m][0]}: {small_count(int(below.get(m, 0)))}" for m in sizes]
        looks = {"marker": "s", "color": style.FAINT, "markeredgecolor": style.MUTED, "markeredgewidth": 0.5}
        style.key(figure, left, y + 0.36, [("below 0: none observed", looks)])
        for i, text in enumerate(said):
            style.write(figure, left + 0.13, y + 0.49 + 0.13 * i, text, fontsize=style.SMALL)
