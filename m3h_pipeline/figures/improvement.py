"""The selected multitask model against the single-task model, task by task (paper, Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import EVALUATION
from m3h_pipeline.evaluation.claims import BETTER, DECIDED, OPEN, WORSE
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import CONTROL, Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.figures.rows import Rows, pitch_for, rows
from m3h_pipeline.figures.text import wrapped
from m3h_pipeline.files import metadata_of, read_table

Values = npt.NDArray[np.float64]

#: Height of a line of the headline in inches.
_LINE = 0.115


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``evaluation`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    evaluation = read_table(inputs["evaluation"], EVALUATION)
    how = metadata_of(evaluation, "evaluation", dict, inputs["evaluation"]) if evaluation.num_rows else {}
    frame = table(evaluation.to_pandas(), catalogue)
    with style.applied():
        return Drawn(
            draw(frame, catalogue, str(how.get("headline", ""))),
            frame,
            ("n_samples", "n_patients"),
        )


def table(evaluation: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """The rows of the figure in its order, with whether companions were selected at all."""
    frame = evaluation.set_index("task").loc[catalogue.order(evaluation["task"])].reset_index()
    frame["companions"] = [key != task for key, task in zip(frame["combination"], frame["task"], strict=True)]
    return frame


def draw(frame: pd.DataFrame, catalogue: Catalogue, said: str = "") -> Figure:
    """A forest plot: absolute and relative change with 95 % intervals, scores and sizes beside it.

    Args:
        frame: of :func:`table`.
        catalogue: the study's tasks.
        said: the headline, which stands below.
    """
    if frame.empty:
        return style.notice("No task of this study was evaluated on the test part.")
    tasks = list(frame["task"])
    departments = len(catalogue.groups(tasks))
    top, left = 0.42, 0.04
    lines = wrapped(said, style.WIDTH - 2 * left, style.SMALL)
    below = _LINE * len(lines) + (0.06 if lines else 0.0)
    block = rows(catalogue, tasks, pitch_for(len(tasks), departments, style.HEIGHT - 1.0 - below))
    axis = top + block.height + 0.42
    figure = style.canvas(style.WIDTH, axis + below)

    labels = block.labels_width(catalogue, 2.05)
    right = style.WIDTH - 2.0
    gap = 0.28
    first = left + labels + 0.12
    panel = (right - first - gap) / 2
    second = first + panel + gap
    block.write_labels(figure, catalogue, left, top, labels, style.WIDTH - 0.04)

    absolute = style.axes(figure, first, top, panel, block.height)
    relative = style.axes(figure, second, top, panel, block.height)
    _panel(absolute, frame, block, "difference", 1.0, 3)
    _panel(relative, frame, block, "relative", 100.0, 1)
    absolute.set_xlabel("Change of the task’s metric")
    relative.set_xlabel("Relative change (%)")
    _columns(figure, frame, block, top, right)
    _key(figure, frame, left)
    for i, line in enumerate(lines):
        style.write(figure, left, axis + _LINE * (i + 0.5), line, fontsize=style.SMALL)
    return figure


def _panel(ax: Axes, frame: pd.DataFrame, block: Rows, name: str, factor: float, digits: int) -> None:
    value, low, high = (
        frame[column].to_numpy(float) * factor for column in (name, f"{name}_low", f"{name}_high")
    )
    bound = _bounds(value, low, high)
    block.prepare(ax)
    ax.set_xlim(*bound)
    ax.axvline(0, color=style.MUTED, linewidth=0.6, zorder=0)
    y = np.array([block.at[task] for task in frame["task"]])
    alone = ~frame["companions"].to_numpy(bool)
    seen = np.isfinite(value) & ~alone
    for task_y in y[~np.isfinite(value) & ~alone]:
        ax.text(0, task_y, " not compared", fontsize=style.SMALL, color=style.MUTED, va="center_baseline")
    bar = {"marker": "|", "color": style.GREY, "markersize": 5, "markeredgewidth": 1.0}
    ax.plot(np.zeros(alone.sum()), y[alone], linestyle="none", **bar)  # type: ignore[arg-type]
    for colour, side in ((style.BETTER, seen & (value > 0)), (style.WORSE, seen & (value <= 0))):
        known = side & np.isfinite(low) & np.isfinite(high)
        ends = np.clip(np.stack([low, high], 1), *bound)
        intervals = np.stack([ends, np.stack([y, y], 1)], 2)[known]
        style.strokes(ax, intervals, color=colour, linewidth=0.9, zorder=2)
        for limit, beyond, arrow in ((bound[0], low < bound[0], "<"), (bound[1], high > bound[1], ">")):
            rows_at = y[known & beyond]
            look = {"marker": arrow, "color": colour, "markersize": 2.6, "clip_on": False, "zorder": 2}
            ax.plot(np.full(len(rows_at), limit), rows_at, linestyle="none", **look)  # type: ignore[arg-type]
        inside = side & (value >= bound[0]) & (value <= bound[1])
        for metric in sorted(set(frame["metric"])):
            for decided in (True, False):
                chosen = inside & (frame["metric"] == metric).to_numpy()
                chosen &= frame["verdict"].isin(DECIDED).to_numpy(bool) == decided
                if chosen.any():
                    ax.plot(
                        value[chosen],
                        y[chosen],
                        linestyle="none",
                        marker=style.METRIC_MARKERS.get(metric, "o"),
                        color=colour,
                        markersize=3.8,
                        markeredgewidth=0.8,
                        markerfacecolor=colour if decided else "white",
                        zorder=3,
                    )
        for i in np.flatnonzero(side & ~inside):
            right = value[i] > 0
            text = style.number(value[i], digits)
            ax.text(
                bound[1] if right else bound[0],
                y[i],
                f"{text}  " if right else f"  {text}",
                ha="right" if right else "left",
                va="center_baseline",
                fontsize=style.SMALL,
                color=colour,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
                zorder=4,
            )
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.grid(axis="x", color=style.RULE, linewidth=0.4)
    ax.set_axisbelow(True)


def _bounds(value: Values, low: Values, high: Values) -> tuple[float, float]:
    """Limits of the axis: everything, unless a few tasks are so far out that the others would vanish."""
    ends = np.stack([value, low, high])
    ends = np.where(np.isfinite(ends), ends, 0.0)
    reach = np.abs(ends).max(axis=0)
    usual, limit = float(np.quantile(reach, 0.75)), float(reach.max())
    if limit > 4 * usual > 0:
        limit = 2 * usual
    limit = limit or 0.01
    least, most = float(ends.min()), float(ends.max())
    margin = 0.06 * limit
    return max(-limit, min(least, -0.15 * limit)) - margin, min(limit, max(most, 0.15 * limit)) + margin


def _columns(figure: Figure, frame: pd.DataFrame, block: Rows, top: float, right: float) -> None:
    columns = {"scores": right + 0.8, "q": right + 1.17, "detectable": right + 1.58, "n": right + 1.95}
    for name, text in (("scores", "Single → multi"), ("q", "q"), ("detectable", "Detect."), ("n", "n")):
        style.write(
            figure, columns[name], top - 0.06, text, ha="right", fontsize=style.SMALL, color=style.MUTED
        )
    for row in frame.itertuples():
        y = top + block.at[str(row.task)]
        single, multi = float(row.single), float(row.multi)  # type: ignore[arg-type]
        scores = f"{style.number(single)} → {style.number(multi)}"
        if not row.companions:
            scores = f"{style.number(single)} (alone)"
        weight = "bold" if row.verdict in DECIDED else "normal"
        least = float(row.detectable) if row.verdict == OPEN else np.nan  # type: ignore[arg-type]
        cells = {
            "scores": scores,
            "q": style.q_text(float(row.q)),  # type: ignore[arg-type]  # pandas has no row types
            "detectable": style.number(least) if np.isfinite(least) else "",
            "n": style.count(row.n_samples),
        }
        for name, text in cells.items():
            style.write(
                figure,
                columns[name],
                y,
                text,
                ha="right",
                fontsize=style.SMALL,
                fontweight=weight if name == "q" else "normal",
            )


def _key(figure: Figure, frame: pd.DataFrame, left: float) -> None:
    dot = {"marker": "o", "color": style.BETTER}
    entries: list[style.Entry] = [
        (BETTER, dot),
        (WORSE, {"marker": "o", "color": style.WORSE}),
        (OPEN, {"marker": "o", "color": style.MUTED, "markerfacecolor": "white"}),
    ]
    if not frame["companions"].all():
        entries.append(("no companion selected", {"marker": "|", "color": style.GREY, "markersize": 5}))
    if frame["control"].any():
        entries.append((f"{CONTROL} control", {"marker": "None"}))
    end = style.key(figure, left, 0.1, entries)
    metrics = [m for m in style.METRIC_MARKERS if m in set(frame["metric"])]
    metrics += sorted(set(frame["metric"]) - set(metrics))
    shapes: list[style.Entry] = [
        (style.metric_name(m), {"marker": style.METRIC_MARKERS.get(m, "o"), "color": style.MUTED})
        for m in metrics
    ]
    style.key(figure, end + 0.1 if end < 3.7 else left, 0.1 if end < 3.7 else 0.25, shapes)
