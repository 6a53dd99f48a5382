"""One-vs-rest ROC curves of the classes of multiclass tasks (paper, Figure 4b)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import ROC
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import EXPLAINED, Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table

_MODELS = ("single", "multi")
#: Most tasks drawn; all are in the CSV.
_SHOWN = 3
_MACRO = "macro"
_LINE = 0.135


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``roc`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    frame = table(read_table(inputs["roc"], ROC).to_pandas(), catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue), frame)


def table(roc: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The curves in the figure's order, with the macro average (mean sensitivity over classes) added."""
    if roc.empty:
        return roc
    parts: list[pd.DataFrame] = []
    for task in catalogue.order(roc["task"]):
        for model in (*_MODELS, *sorted(set(roc["model"]) - set(_MODELS))):
            curves = roc[(roc["task"] == task) & (roc["model"] == model)]
            curves = curves.sort_values(["fpr", "tpr"], kind="stable")
            curves = curves.sort_values("class_name", kind="stable", key=_place(roc, task))
            parts.append(curves)
            if len(curves) and _MACRO not in set(curves["class_name"]):
                parts.append(_macro(curves))
    return pd.concat(parts, ignore_index=True)


def _place(roc: pd.DataFrame, task: str) -> Callable[[pd.Series], pd.Series]:
    """Classes stand in the order of the task's definition, in which the table has them."""
    places = {name: i for i, name in enumerate(dict.fromkeys(roc.loc[roc["task"] == task, "class_name"]))}
    return lambda names: names.map(places)


def _macro(curves: pd.DataFrame) -> pd.DataFrame:
    grid = np.unique(curves["fpr"].dropna().to_numpy(float))
    classes = [part for _, part in curves.groupby("class_name") if np.isfinite(part["auroc"]).all()]
    if not len(grid) or not classes:
        return curves.iloc[:0]
    mean = np.mean([np.interp(grid, part["fpr"], part["tpr"]) for part in classes], axis=0)
    first = curves.iloc[0]
    return pd.DataFrame(
        {
            **{name: first[name] for name in ("task", "control", "model")},
            "class_name": _MACRO,
            "fpr": grid,
            "tpr": mean,
            "auroc": float(np.mean([part["auroc"].iloc[0] for part in classes])),
        }
    )


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Per task a panel for each model, and the AUROC of each class beside them."""
    if frame.empty:
        return style.notice("This study has no multiclass task.")
    tasks = list(dict.fromkeys(frame["task"]))
    shown = tasks[:_SHOWN]
    left, gap, side = 0.5, 0.28, 1.95
    needs = [_LINE * (len(set(frame.loc[frame["task"] == task, "class_name"])) + 2) for task in shown]
    heights = [max(side, need) + 0.75 for need in needs]
    figure = style.canvas(style.WIDTH, sum(heights) + 0.05 + (0.2 if len(tasks) > len(shown) else 0))
    top = 0.05
    if catalogue.explained(shown):
        style.note(figure, top + 0.1, EXPLAINED)
    for k, (task, height) in enumerate(zip(shown, heights, strict=True)):
        rows = frame[frame["task"] == task]
        classes = [name for name in dict.fromkeys(rows["class_name"]) if name != _MACRO]
        style.write(figure, 0.06, top + 0.1, style.letter(k), fontweight="bold", fontsize=style.LARGE)
        style.write(figure, 0.2, top + 0.1, style.fit(catalogue.title(task), 4.5))
        for i, model in enumerate(_MODELS):
            ax = style.axes(figure, left + i * (side + gap), top + 0.36, side, side)
            _panel(ax, rows[rows["model"] == model], classes)
            ax.set_title(style.MODELS[model][0], fontweight="bold", fontsize=style.SMALL, pad=2)
            ax.set_xlabel("1 − specificity")
            if i == 0:
                ax.set_ylabel("Sensitivity")
            else:
                ax.set_yticklabels([])
        _legend(figure, rows, classes, left + 2 * (side + gap) - 0.02, top + 0.36)
        top += height
    if len(tasks) > len(shown):
        text = f"{len(tasks) - len(shown)} more multiclass tasks are in the table behind this figure."
        style.write(figure, 0.06, top + 0.05, text, color=style.MUTED, fontsize=style.SMALL)
    return figure


def _look(index: int) -> dict[str, Any]:
    colours = style.CATEGORIES
    return {
        "color": colours[index % len(colours)],
        "linestyle": style.LINES[index // len(colours) % len(style.LINES)],
        "linewidth": 0.7,
    }


def _panel(ax: Axes, rows: pd.DataFrame, classes: list[str]) -> None:
    ax.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.6, zorder=0)
    for i, name in enumerate(classes):
        curve = rows[rows["class_name"] == name]
        ax.plot(curve["fpr"], curve["tpr"], alpha=0.9, **_look(i))
    macro = rows[rows["class_name"] == _MACRO]
    ax.plot(macro["fpr"], macro["tpr"], color=style.INK, linewidth=1.7)
    if rows.empty:
        ax.text(0.5, 0.5, "not evaluated", ha="center", color=style.MUTED)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _legend(figure: Figure, rows: pd.DataFrame, classes: list[str], left: float, top: float) -> None:
    """The classes as a small table: line, name, AUROC of both models."""
    total_width, total_height = figure.get_size_inches()
    columns = {"single": total_width - 0.5, "multi": total_width - 0.08}
    aurocs = rows.groupby(["class_name", "model"])["auroc"].first()
    style.write(figure, left + 0.25, top, "AUROC", fontsize=style.SMALL, color=style.MUTED)
    for model, x in columns.items():
        name = {"single": "Single", "multi": "Multi"}[model]
        style.write(figure, x, top, name, ha="right", fontsize=style.SMALL, color=style.MUTED)
    entries = [*((name, _look(i)) for i, name in enumerate(classes))]
    entries.append((_MACRO, {"color": style.INK, "linewidth": 1.7}))
    for k, (name, look) in enumerate(entries):
        y = top + _LINE * (k + 1) + (0.05 if name == _MACRO else 0)
        figure.add_artist(
            Line2D(
                [left / total_width, (left + 0.19) / total_width],
                [1 - y / total_height] * 2,
                **look,
            )
        )
        weight = "bold" if name == _MACRO else "normal"
        shown = "Macro average" if name == _MACRO else style.class_title(name)
        room = columns["single"] - left - 0.62
        style.write(
            figure,
            left + 0.25,
            y,
            style.fit(shown, room, style.SMALL, bold=name == _MACRO),
            fontsize=style.SMALL,
            fontweight=weight,
        )
        for model, x in columns.items():
            value = aurocs.get((name, model), np.nan)
            style.write(
                figure,
                x,
                y,
                style.number(float(value)),
                ha="right",
                fontsize=style.SMALL,
                fontweight=weight,
            )
