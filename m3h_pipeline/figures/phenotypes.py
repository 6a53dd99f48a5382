"""Binned map of the phenotypes' latents (paper, Figure 4d)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import PHENOTYPES
from m3h_pipeline.contracts.reported import PHENOTYPE_SCORES
from m3h_pipeline.disclosure import LEAST, small_count
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table

_MODELS = ("single", "multi")
#: Most tasks drawn; all are in the CSV.
_SHOWN = 2
#: Least count of a cell and the part of the cell's side that its square takes.
_SIDES = ((LEAST, 0.7), (30, 0.85), (100, 1.0))
#: Diameter of a cluster's number, in inches.
_BADGE = 0.125
# No fifteen colours are told apart by everyone; numbers at the clusters' centres say which is which.
_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#8A6D3B",
    "#5D3A9B",
    "#999933",
    "#882255",
    "#44AA99",
    "#C4A500",
    "#332288",
    "#A0522D",
    "#7A7A7A",
)


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``phenotypes``, ``phenotype_scores`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    scores = read_table(inputs["phenotype_scores"], PHENOTYPE_SCORES).to_pandas()
    frame = table(read_table(inputs["phenotypes"], PHENOTYPES).to_pandas(), scores, catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue), frame, ("n",))


def table(phenotypes: pd.DataFrame, scores: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The cells in the figure's order, with what the clusters are worth; those of few samples are no part."""
    filled = phenotypes[phenotypes["n"] >= LEAST].drop(columns="silhouette")
    filled = filled.merge(
        scores.drop(columns="control"), how="left", on=["task", "model"], validate="many_to_one"
    )
    tasks = {t: i for i, t in enumerate(catalogue.order(filled["task"]))}
    models = {m: i for i, m in enumerate(_MODELS)}
    ordered = filled.assign(
        _task=filled["task"].map(tasks), _model=filled["model"].map(models).fillna(len(models))
    )
    ordered = ordered.sort_values(["_task", "_model", "model", "x", "y", "cluster"], kind="stable")
    return ordered.drop(columns=["_task", "_model"]).reset_index(drop=True)


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Per task a map for each model; clusters of the two maps are not matched."""
    if frame.empty:
        return style.notice("This study has no clustering task.")
    tasks = list(dict.fromkeys(frame["task"]))
    shown = tasks[:_SHOWN]
    left, gap, side = 0.3, 0.35, 3.2
    band = side + 0.72
    figure = style.canvas(style.WIDTH, band * len(shown) + 0.22)
    for k, task in enumerate(shown):
        rows = frame[frame["task"] == task]
        top = k * band
        style.write(figure, 0.06, top + 0.14, style.letter(k), fontweight="bold", fontsize=style.LARGE)
        style.write(figure, 0.2, top + 0.14, style.fit(catalogue.title(task), 6.5))
        for i, model in enumerate(_MODELS):
            ax = style.axes(figure, left + i * (side + gap), top + 0.52, side, side)
            cells = rows[rows["model"] == model]
            _panel(ax, cells, side)
            compared, described = _headings(model, cells)
            style.write(figure, left + i * (side + gap), top + 0.32, compared, fontsize=style.SMALL)
            ax.set_title(described, loc="left", fontsize=style.SMALL, color=style.MUTED, pad=3)
            by = cells["projection"].iloc[0] if len(cells) else "Map"
            ax.set_xlabel(f"{by} 1", labelpad=2)
            ax.set_ylabel(f"{by} 2", labelpad=2)
    entries: list[style.Entry] = []
    for (least, part), (more, _) in zip(_SIDES, (*_SIDES[1:], (0, 0.0)), strict=True):
        text = f"{least} to {more - 1}" if more else f"≥{least} samples in a cell"
        entries.append(
            (text, {"marker": "s", "color": style.GREY, "markersize": 4.4 * part, "markeredgewidth": 0})
        )
    style.key(figure, left, band * len(shown) + 0.06, [*entries, *catalogue.explained(shown)])
    if len(tasks) > len(shown):
        text = f"{len(tasks) - len(shown)} more clustering tasks are in the table behind this figure."
        style.write(
            figure,
            style.WIDTH - 0.06,
            band * len(shown) + 0.06,
            text,
            ha="right",
            color=style.MUTED,
            fontsize=style.SMALL,
        )
    return figure


def _headings(model: str, cells: pd.DataFrame) -> tuple[str, str]:
    """What the clusters of a model are worth: the line that compares, and the one that describes."""
    name = style.MODELS[model][0]
    if cells.empty:
        return name, ""
    numbers = ("silhouette", "low", "high", "stability")
    value, low, high, stability = (float(cells[column].iloc[0]) for column in numbers)
    ends = f" ({style.number(low)} to {style.number(high)})" if np.isfinite([low, high]).all() else ""
    seeds = f"seeds agree {style.number(stability, 2)}; " if np.isfinite(stability) else ""
    count = small_count(int(cells["n"].sum()))
    return f"{name}: silhouette in the inputs {style.number(value)}{ends}", f"{seeds}n = {count} in cells"


def _pitch(values: npt.NDArray[np.float64]) -> float:
    """Distance between neighbouring cells."""
    gaps = np.diff(np.unique(values))
    gaps = gaps[gaps > 1e-6 * np.ptp(values)]
    return float(gaps.min()) if len(gaps) else 1.0


def _panel(ax: Axes, cells: pd.DataFrame, side: float) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    if cells.empty:
        ax.text(0.5, 0.5, "not evaluated", transform=ax.transAxes, ha="center", color=style.MUTED)
        return
    x, y = cells["x"].to_numpy(float), cells["y"].to_numpy(float)
    least = [n for n, _ in _SIDES]
    part = np.array([s for _, s in _SIDES])[np.searchsorted(least, cells["n"].to_numpy(), side="right") - 1]
    half_x, half_y = _pitch(x) / 2 * part, _pitch(y) / 2 * part
    corners = np.stack(
        [
            np.stack([x - half_x, x + half_x, x + half_x, x - half_x], 1),
            np.stack([y - half_y, y - half_y, y + half_y, y + half_y], 1),
        ],
        2,
    )
    colours = [_COLOURS[c % len(_COLOURS)] for c in cells["cluster"]]
    ax.add_collection(PolyCollection(list(corners), facecolors=colours, linewidths=0))
    # One scale for both axes: distances on the map mean the same in every direction.
    reach = 0.53 * max(np.ptp(x) + _pitch(x), np.ptp(y) + _pitch(y))
    middle = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    ax.set_xlim(middle[0] - reach, middle[0] + reach)
    ax.set_ylim(middle[1] - reach, middle[1] + reach)
    clusters = [int(c) for c in np.unique(cells["cluster"].to_numpy())]
    centres = np.array([_centre(cells[cells["cluster"] == c]) for c in clusters])
    # Up and to the right: of a cluster with one cell the number would hide the cell.
    centres = centres + np.array([_pitch(x), _pitch(y)]) / 3 + 2 * reach * _BADGE / side / 3
    for cluster, (at_x, at_y) in zip(clusters, _apart(centres, 2 * reach * _BADGE / side), strict=True):
        ax.plot(
            at_x,
            at_y,
            marker="o",
            markersize=72 * _BADGE - 1.5,
            color="white",
            markeredgecolor=_COLOURS[cluster % len(_COLOURS)],
            markeredgewidth=0.8,
            zorder=3,
        )
        ax.annotate(
            f"{cluster + 1}",
            (at_x, at_y),
            xytext=(0, -0.365 * style.SMALL),
            textcoords="offset points",
            ha="center",
            va="baseline",
            fontsize=style.SMALL,
            zorder=4,
        )


def _apart(points: npt.NDArray[np.float64], distance: float) -> npt.NDArray[np.float64]:
    """Push points that are closer than ``distance`` apart, as little as that takes."""
    points = points.copy()
    for _ in range(100):
        moved = False
        for i in range(len(points)):
            for j in range(i):
                gap = points[i] - points[j]
                length = float(np.hypot(*gap))
                if length < 0.999 * distance:
                    # Two labels on one spot part along a direction that depends on their numbers only.
                    way = gap / length if length > 1e-9 * distance else np.array([np.cos(i), np.sin(i)])
                    points[i] += way * (distance - length) / 2
                    points[j] -= way * (distance - length) / 2
                    moved = True
        if not moved:
            break
    return points


def _centre(cells: pd.DataFrame) -> tuple[float, float]:
    """The cell of a cluster that is nearest to its median position."""
    x, y = cells["x"].to_numpy(float), cells["y"].to_numpy(float)
    n = cells["n"].to_numpy(float)

    def median(values: npt.NDArray[np.float64]) -> float:
        order = np.argsort(values, kind="stable")
        return float(values[order][np.searchsorted(np.cumsum(n[order]), n.sum() / 2)])

    nearest = int(np.argmin((x - median(x)) ** 2 + (y - median(y)) ** 2))
    return float(x[nearest]), float(y[nearest])
