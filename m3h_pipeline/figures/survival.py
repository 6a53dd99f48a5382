"""Survival tasks: Kaplan-Meier curves by predicted risk, AUROC over time, and what sums them up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import DYNAMIC_AUROC, KAPLAN_MEIER, SURVIVAL
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table

#: Most tasks drawn; all are in the CSV.
_SHOWN = 4
_GROUPS = {"low risk": style.BLUE, "medium risk": style.ORANGE, "high risk": style.VERMILLION}
_SCORES = {"uno": "Uno", "dynamic_auroc": "AUROC", "brier": "Brier"}
_REFERENCE = "kaplan_meier"
#: Panels and the gaps between them, in inches; left edges of the AUROC and of the table.
_SIDE, _GAP, _LEFT = 1.3, 0.3, 0.5
_MIDDLE = _LEFT + 2 * _SIDE + _GAP + 0.5
_TABLE = _MIDDLE + _SIDE + 0.12
_ABOVE = 0.5
_HEIGHT = _SIDE + _ABOVE + 0.5


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``kaplan_meier``, ``dynamic_auroc``, ``survival`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    frame = table(
        read_table(inputs["kaplan_meier"], KAPLAN_MEIER).to_pandas(),
        read_table(inputs["dynamic_auroc"], DYNAMIC_AUROC).to_pandas(),
        read_table(inputs["survival"], SURVIVAL).to_pandas(),
        catalogue,
    )
    with style.applied():
        return Drawn(
            draw(frame, catalogue),
            frame,
            ("n", "events"),
        )


def table(
    kaplan_meier: pd.DataFrame, auroc: pd.DataFrame, scores: pd.DataFrame, catalogue: Catalogue
) -> pd.DataFrame:
    """All three tables under one head: ``quantity`` is survival, auroc, or the name of a score."""
    parts = [
        kaplan_meier.rename(columns={"survival": "value"}).assign(quantity="survival"),
        auroc.rename(columns={"auroc": "value"}).assign(quantity="auroc"),
        scores.rename(columns={"score": "quantity"}),
    ]
    columns = ["task", "control", "model", "quantity", "group", "time", "value", "low", "high", "n"]
    columns += ["events", "p"]
    parts = [part.reindex(columns=columns) for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=columns)
    frame = pd.concat([part.astype({"group": object}) for part in parts], ignore_index=True)
    place = {task: i for i, task in enumerate(catalogue.order(frame["task"].unique()))}
    return frame.sort_values("task", key=lambda names: names.map(place), kind="stable", ignore_index=True)


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Per task: curves of both networks, AUROC over time of all models, and a small table of scores."""
    if frame.empty:
        return style.notice("This study has no survival task that could be scored.")
    tasks = list(dict.fromkeys(frame["task"]))
    shown, more = tasks[:_SHOWN], len(tasks) - _SHOWN
    figure = style.canvas(style.WIDTH, 0.3 + _HEIGHT * len(shown) + (0.2 if more > 0 else 0))
    groups = [(name, {"color": colour, "linestyle": "-"}) for name, colour in _GROUPS.items()]
    style.key(figure, _LEFT, 0.12, [*groups, *catalogue.explained(shown)])
    for k, task in enumerate(shown):
        _task(figure, 0.3 + k * _HEIGHT, style.letter(k), catalogue, task, frame[frame["task"] == task])
    if more > 0:
        text = f"{more} more survival task{'s are' if more > 1 else ' is'} in the table behind this figure."
        style.write(figure, 0.06, 0.33 + _HEIGHT * len(shown), text, color=style.MUTED, fontsize=style.SMALL)
    return figure


def _task(
    figure: Figure, top: float, letter: str, catalogue: Catalogue, task: str, rows: pd.DataFrame
) -> None:
    unit = f" ({catalogue[task].unit})" if catalogue[task].unit else ""
    style.write(figure, 0.06, top + 0.1, letter, fontweight="bold", fontsize=style.LARGE)
    style.write(figure, 0.2, top + 0.1, style.fit(catalogue.title(task), 6.5))
    curves = rows[rows["quantity"] == "survival"]
    longest = float(rows["time"].max()) if rows["time"].notna().any() else 1.0
    for i, model in enumerate(("single", "multi")):
        ax = style.axes(figure, _LEFT + i * (_SIDE + _GAP), top + _ABOVE, _SIDE, _SIDE)
        mine = curves[curves["model"] == model]
        _kaplan_meier(ax, mine)
        left = _LEFT + i * (_SIDE + _GAP)
        style.write(figure, left, top + _ABOVE - 0.22, _heading(model, mine), fontsize=style.SMALL)
        _counts(figure, left, top + _ABOVE - 0.1, mine)
        ax.set_xlim(0, longest * 1.02)
        ax.set_xlabel(f"Time{unit}")
        if i == 0:
            ax.set_ylabel("Without the event")
        else:
            ax.set_yticklabels([])
    ax = style.axes(figure, _MIDDLE, top + _ABOVE, _SIDE, _SIDE)
    _auroc(ax, rows[rows["quantity"] == "auroc"])
    ax.set_xlim(0, longest * 1.02)
    ax.set_xlabel(f"Time{unit}")
    ax.set_ylabel("AUROC until then")
    _scores(figure, top + _ABOVE, rows)


def _heading(model: str, rows: pd.DataFrame) -> str:
    name, p = style.MODELS[model][0], rows["p"].dropna()
    if p.empty:
        return name
    return name + (", log-rank p < 0.001" if p.iloc[0] < 0.001 else f", log-rank p = {p.iloc[0]:.2g}")


def _counts(figure: Figure, left: float, top: float, rows: pd.DataFrame) -> None:
    """Events and patients of each group, in its colour, above the curves."""
    for text, colour in [("events of n:", style.MUTED), *_sizes(rows)]:
        style.write(figure, left, top, text, fontsize=style.SMALL, color=colour)
        left += style.text_width(text, style.SMALL) + 0.07


def _sizes(rows: pd.DataFrame) -> list[tuple[str, str]]:
    firsts = [(rows[rows["group"] == group], colour) for group, colour in _GROUPS.items()]
    counts = [
        (*(style.count(mine[name].iloc[0]) for name in ("events", "n")), colour)
        for mine, colour in firsts
        if len(mine)
    ]
    return [(f"{events}/{n}", colour) for events, n, colour in counts]


def _kaplan_meier(ax: Axes, rows: pd.DataFrame) -> None:
    for group, colour in _GROUPS.items():
        mine = rows[rows["group"] == group].sort_values("time")
        if mine.empty:
            continue
        # A step is a patient: the curve is known at some times, with straight lines between them.
        ax.fill_between(mine["time"], mine["low"], mine["high"], color=colour, alpha=0.13, linewidth=0)
        ax.plot(mine["time"], mine["value"], color=colour, linewidth=1.2, marker="o", markersize=1.8)
    ax.set(ylim=(0, 1.02))
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.xaxis.set_major_locator(MaxNLocator(4))
    if rows.empty:
        ax.text(0.5, 0.5, f"under {LEAST} patients", ha="center", color=style.MUTED, transform=ax.transAxes)


def _auroc(ax: Axes, rows: pd.DataFrame) -> None:
    ax.axhline(0.5, color=style.MUTED, linewidth=0.6, zorder=0)
    looks = style.looks(rows["model"])
    for model in reversed(looks):
        mine = rows[rows["model"] == model].sort_values("time")
        colour = looks[model][1]
        if model == "multi" and len(mine):
            ax.fill_between(mine["time"], mine["low"], mine["high"], color=colour, alpha=0.13, linewidth=0)
        ax.plot(mine["time"], mine["value"], color=colour, linewidth=1.3 if model == "multi" else 0.9)
    least = float(rows["value"].min()) if len(rows) else 0.5
    ax.set(ylim=(max(0.0, min(0.4, np.floor(least * 10) / 10)), 1.0))
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _scores(figure: Figure, top: float, rows: pd.DataFrame) -> None:
    """The scores as a small table; the training part's Kaplan-Meier curve is the Brier score's reference."""
    width, height = figure.get_size_inches()
    columns = dict(zip(_SCORES, (width - 0.72, width - 0.36, width - 0.06), strict=True))
    for score, x in columns.items():
        style.write(figure, x, top, _SCORES[score], ha="right", fontsize=style.SMALL, color=style.MUTED)
    known = rows.set_index(["quantity", "model"])["value"]
    models = (model for model in rows["model"] if model != _REFERENCE)
    looks = style.looks(models) | {_REFERENCE: ("No features", style.MUTED, "")}
    present = [model for model in looks if any((score, model) in known.index for score in _SCORES)]
    for k, model in enumerate(present):
        name, colour = looks[model][0].replace("Gradient boosting", "Boosting"), looks[model][1]
        y = top + 0.18 * (k + 1)
        if model != _REFERENCE:
            ends = [_TABLE / width, (_TABLE + 0.12) / width]
            figure.add_artist(Line2D(ends, [1 - y / height] * 2, color=colour, linewidth=1.2))
        room = columns["uno"] - 0.26 - _TABLE - 0.16
        style.write(figure, _TABLE + 0.16, y, style.fit(name, room, style.SMALL), fontsize=style.SMALL)
        for score, x in columns.items():
            value = float(known.get((score, model), np.nan))
            text = style.number(value) if np.isfinite(value) else "–"
            style.write(figure, x, y, text, ha="right", fontsize=style.SMALL)
