"""Heatmap of the task interaction measurement (paper, Figure 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from m3h_pipeline.coding import is_permuted, labelled_by
from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import TIM
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.files import read_table
from m3h_pipeline.tasks.assessed import PERMUTED_LABELS

Matrix = npt.NDArray[np.float64]

#: Colours saturate at this quantile of the absolute values, and never below ``_FLOOR``: a study in which
#: nothing happens looks pale.
_QUANTILE = 0.98
_FLOOR = 0.01
#: The row and the column of the permuted companions.
PERMUTED = "Permuted labels"
#: Metrics in one unit share one scale.
_SCALE = {"macro_auroc": "auroc"}
# Room of one colour bar, in inches.
_BAR = 1.7
#: Up to this many columns, values are written into the cells.
_WRITTEN = 13
#: ... and up to this many there is room for bold ones.
_BOLD = 9


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``tim`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    frame = table(read_table(inputs["tim"], TIM).to_pandas(), catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue), frame)


def table(tim: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The rows of the figure in its order, with the task's metric and the limit of its colours.

    Permuted companions are one row and one column, :data:`PERMUTED`: means of their estimates. As source
    tasks they have several metrics: the row is of those with the most frequent one.
    """
    named = tim[tim["task"] != tim["companion"]].copy()
    named.insert(2, "metric", [catalogue[labelled_by(task)].metric for task in named["task"]])
    frame = pd.concat([named[~named["control"]], *_controls(named)], ignore_index=True)
    order = {t: i for i, t in enumerate(_order(frame, catalogue))}
    frame["_i"], frame["_j"] = frame["task"].map(order), frame["companion"].map(order)
    frame = frame.sort_values(["_i", "_j"], kind="stable").drop(columns=["_i", "_j"]).reset_index(drop=True)
    scale = frame["metric"].map(lambda m: _SCALE.get(m, m))
    own = frame["estimate"].where(~frame["control"])
    limits = {name: limit(own[scale == name].to_numpy(float)) for name in set(scale)}
    frame["colour_limit"] = scale.map(limits).astype(float)
    return frame


def _controls(named: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Means of the estimates beside permuted companions, and of permuted companions beside each task."""
    control = named[named["control"]]
    for name, other in (("companion", "task"), ("task", "companion")):
        rows = control[control[name].map(is_permuted).astype(bool)]
        rows = rows[rows["metric"] == rows["metric"].mode().iloc[0]] if name == "task" and len(rows) else rows
        for key, group in rows.groupby(other, sort=True):
            mean = {name: [PERMUTED], other: [key], "estimate": [group["estimate"].mean()]}
            same = {column: [group[column].iloc[0]] for column in ("metric", "mode", f"{other}_control")}
            mean[f"{name}_control"] = [PERMUTED_LABELS]
            yield pd.DataFrame({**mean, **same, "significant": [False], "control": [True]})


def _order(frame: pd.DataFrame, catalogue: Catalogue) -> list[str]:
    """Tasks as in all figures, then the permuted companions."""
    names = {*frame["task"], *frame["companion"]}
    return [*catalogue.order(names - {PERMUTED}), *sorted(names & {PERMUTED})]


def limit(values: Matrix) -> float:
    """Where the colours of one metric saturate: a robust maximum of its absolute values, rounded up.

    Examples:
        >>> limit(np.array([0.001, -0.002])), limit(np.array([0.0412, -0.02])), limit(np.array([np.nan]))
        (0.01, 0.05, 0.01)
    """
    sizes = np.abs(values[np.isfinite(values)])
    top = max(float(np.quantile(sizes, _QUANTILE)), _FLOOR) if len(sizes) else _FLOOR
    power = 10.0 ** np.floor(np.log10(top) + 1e-9)
    step = next(s for s in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if top <= s * power * (1 + 1e-9))
    return float(f"{step * power:.3g}")


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """Rows are source tasks, columns companions; colours are the share of the metric's own limit.

    Permuted companions stand last. As source tasks they have a row where they were measured as such.
    """
    if frame.empty:
        return style.notice("Task interaction needs two tasks; this study has fewer.")
    columns = _order(frame, catalogue)
    # Permuted companions, if they are source tasks at all, are the last of both.
    tasks = [task for task in columns if task in set(frame["task"])]
    n, height = len(columns), len(tasks)
    place = {task: i for i, task in enumerate(columns)}
    share, estimate = np.full((height, n), np.nan), np.full((height, n), np.nan)
    marked = np.zeros((height, n), bool)
    for row in frame.itertuples():
        i, j = place[str(row.task)], place[str(row.companion)]
        estimate[i, j] = row.estimate
        share[i, j] = row.estimate / row.colour_limit  # type: ignore[operator]  # pandas has no row types
        marked[i, j] = row.significant

    size = style.BASE if n <= 25 else style.SMALL
    cap = 1.95 if n <= 25 else 1.55
    names = [style.fit(catalogue.title(task), cap, size) for task in columns if task != PERMUTED]
    names += [PERMUTED] * (n - len(names))
    names_width = max(style.text_width(name, size) for name in names) + 0.06
    groups = catalogue.groups([task for task in columns if task != PERMUTED])
    departments = [style.fit(group.department, 1.45, style.SMALL) for group in groups]
    right = max(style.text_width(name, style.SMALL) for name in departments) + 0.22
    left = 0.26 + names_width
    cell = min(0.42 if n <= _WRITTEN else 0.22, (style.WIDTH - left - right) / n)
    top = 0.26 + names_width
    side, down = cell * n, cell * height
    scales = _scales(frame)
    # The scales stand side by side below, and decide on the width where there are few tasks.
    width = max(left + side + right, 0.3 + _BAR * len(scales), 4.2)
    figure = style.canvas(width, top + down + 0.88)
    ax = style.axes(figure, left, top, side, down)
    blank = np.eye(height, n, dtype=bool)
    written = estimate if n <= _WRITTEN else None
    _heat(ax, share, marked, written, blank, [g.start for g in groups][1:] + [n - 1] * (PERMUTED in columns))
    for i, name in enumerate(names):
        middle = (i + 0.5) * cell
        if i < height:
            style.write(figure, left - 0.05, top + middle, name, ha="right", fontsize=size)
        style.write(
            figure, left + middle, top - 0.05, name, rotation=90, ha="center", va="bottom", fontsize=size
        )
    for group, name in zip(groups, departments, strict=True):
        first, last = top + group.start * cell, top + group.stop * cell
        style.upright(
            figure, left + side + 0.06, first + 0.015, last - 0.015, color=style.MUTED, linewidth=0.7
        )
        style.write(
            figure,
            left + side + 0.1,
            (first + last) / 2,
            name,
            fontsize=style.SMALL,
            color=style.MUTED,
        )
    style.write(figure, left + side / 2, 0.1, "Companion, learned jointly", ha="center", fontweight="bold")
    style.write(
        figure, 0.1, top + down / 2, "Source task", rotation=90, ha="center", va="center", fontweight="bold"
    )
    unknown = bool(np.isnan(share[~blank]).any())
    explained = catalogue.explained(columns)
    _legend(figure, scales, top + down + 0.14, unknown, PERMUTED in columns, explained)
    return figure


def _heat(
    ax: Axes,
    share: Matrix,
    marked: npt.NDArray[np.bool_],
    written: Matrix | None,
    blank: npt.NDArray[np.bool_],
    groups_at: list[int],
) -> None:
    height, n = share.shape
    colours = style.diverging()
    ax.set(xlim=(0, n), ylim=(height, 0), xticks=[], yticks=[])
    ax.set_facecolor("white")
    ax.pcolormesh(
        np.arange(n + 1),
        np.arange(height + 1),
        np.ma.masked_invalid(np.clip(share, -1, 1)),
        cmap=colours,
        vmin=-1,
        vmax=1,
        edgecolors="white",
        linewidth=0.25,
    )
    for i, j in np.argwhere(blank):
        ax.fill_between([j, j + 1], i, i + 1, color=style.RULE, linewidth=0)
    missing = np.argwhere(np.isnan(share) & ~blank).tolist()
    if missing:
        xs = np.concatenate([[j + 0.2, j + 0.8, np.nan] for _, j in missing])
        ys = np.concatenate([[i + 0.8, i + 0.2, np.nan] for i, _ in missing])
        ax.plot(xs, ys, color=style.RULE, linewidth=0.6)
    for at in groups_at:
        ax.axhline(at, color=style.MUTED, linewidth=0.35)
        ax.axvline(at, color=style.MUTED, linewidth=0.35)
    for spine in ax.spines.values():
        spine.set_visible(True)
    for dark in (False, True):
        chosen = [(i, j) for i, j in np.argwhere(marked) if (abs(share[i, j]) > 0.55) == dark]
        if chosen:
            ax.plot(
                [j + (0.5 if written is None else 0.82) for _, j in chosen],
                [i + (0.5 if written is None else 0.2) for i, _ in chosen],
                linestyle="none",
                marker="o",
                markersize=1.9 if n > 25 else 2.6,
                markeredgewidth=0,
                color="white" if dark else style.INK,
            )
    if written is not None:
        for i, j in np.argwhere(np.isfinite(written)):
            value = f"{round(written[i, j], 3) + 0.0:+.3f}".replace("-", "−")
            colour = "white" if abs(share[i, j]) > 0.55 else style.INK
            weight = "bold" if marked[i, j] and height <= _BOLD else "normal"
            ax.text(
                j + 0.5,
                i + 0.56,
                value,
                ha="center",
                va="center_baseline",
                fontsize=style.SMALL,
                color=colour,
                fontweight=weight,
            )


def _scales(frame: pd.DataFrame) -> list[tuple[str, float, bool]]:
    """(metric, limit, whether values lie beyond it) of each colour scale."""
    scales = []
    scale = frame["metric"].map(lambda m: _SCALE.get(m, m))
    known = list(dict.fromkeys([*style.METRIC_NAMES, *sorted(set(scale))]))
    for name in known:
        rows = frame[scale == name]
        if len(rows):
            bound = float(rows["colour_limit"].iloc[0])
            beyond = bool((rows["estimate"].abs() > bound).any())
            scales.append((style.metric_name(name), bound, beyond))
    return scales


def _legend(
    figure: Figure,
    scales: list[tuple[str, float, bool]],
    top: float,
    missing: bool,
    controls: bool,
    explained: list[style.Entry],
) -> None:
    """One colour bar with the limits of each metric, and what dots and blanks mean.

    Colours are estimates; with ``controls`` a dot is about what is left of one beyond permuted companions.
    ``explained`` says what the mark behind titles is.
    """
    width = float(figure.get_size_inches()[0])
    step = _BAR
    left = max(0.15, (width - step * len(scales)) / 2 + 0.22)
    colours = np.linspace(-1, 1, 101)[None, :]
    for k, (name, bound, beyond) in enumerate(scales):
        ax = style.axes(figure, left + k * step, top + 0.16, step - 0.45, 0.08)
        ax.pcolormesh(
            np.linspace(-1, 1, 102),
            [0, 1],
            colours,
            cmap=style.diverging(),
            vmin=-1,
            vmax=1,
            edgecolors="face",
        )
        more = "≥" if beyond else ""
        less = "≤" if beyond else ""
        ax.set_xticks([-1, 0, 1], [f"{less}−{bound:g}", "0", f"{more}{bound:g}"])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_title(style.fit(f"Change of {name}", step - 0.05, style.SMALL), pad=2.5, fontsize=style.SMALL)
    about = "beyond permuted labels" if controls else "significant"
    entries: list[style.Entry] = [
        (
            f"{about} (false discovery rate controlled)",
            {"marker": "o", "color": style.INK, "markersize": 2.6, "markeredgewidth": 0},
        )
    ]
    if missing:
        entries.append(("not measured", {"marker": (2, 0, -45), "color": style.GREY, "markersize": 5}))
    entries += explained
    length = sum(0.29 + style.text_width(text, style.SMALL) for text, _ in entries)
    style.key(figure, max(0.1, (width - length) / 2), top + 0.62, entries)
