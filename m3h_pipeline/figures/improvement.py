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
from m3h_pipeline.contracts.reported import PHENOTYPE_SCORES
from m3h_pipeline.evaluation.claims import DECIDED, OPEN
from m3h_pipeline.figures import style, verdicts
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.figures.rows import Rows, pitch_for, rows
from m3h_pipeline.figures.text import wrapped
from m3h_pipeline.files import metadata_of, read_table

Values = npt.NDArray[np.float64]

#: Height of a line of the headline in inches.
_LINE = 0.115
#: Columns beside the panels, and their heads.
_COLUMNS = {"metric": "Metric", "scores": "Single → multi", "q": "q", "detectable": "Detect.", "n": "n"}


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure; ``inputs`` are ``evaluation``, ``phenotype_scores`` and ``tasks``."""
    catalogue = read_catalogue(inputs["tasks"])
    evaluation = read_table(inputs["evaluation"], EVALUATION)
    how = metadata_of(evaluation, "evaluation", dict, inputs["evaluation"]) if evaluation.num_rows else {}
    phenotypes = read_table(inputs["phenotype_scores"], PHENOTYPE_SCORES).to_pandas()
    frame = table(in_the_inputs(evaluation.to_pandas(), phenotypes), catalogue)
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


def in_the_inputs(evaluation: pd.DataFrame, phenotypes: pd.DataFrame) -> pd.DataFrame:
    """The evaluation with the silhouettes that phenotypes have in the inputs, where models can be compared.

    That of a model's own space says how it sees its clusters, and stands in no figure: one task, one number.
    """
    known = {(row["task"], row["model"]): row for row in phenotypes.to_dict("records")}
    found = evaluation.to_dict("records")
    for row in found:
        single, multi = (known.get((row["task"], model)) for model in ("single", "multi"))
        if single is None or multi is None:
            continue
        for name, part in (("single", single), ("multi", multi)):
            row |= {name: part["silhouette"], f"{name}_low": part["low"], f"{name}_high": part["high"]}
        ends = ("", "_low", "_high")
        row |= {f"difference{end}": multi[f"difference{end}"] for end in ends}
        row |= {f"relative{end}": np.nan for end in ends}
    return pd.DataFrame(found, columns=evaluation.columns).astype(evaluation.dtypes)


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
    right = style.WIDTH - 2.5
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
    _key(figure, frame, left, catalogue.explained(tasks))
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
    # The looks are drawing options of several types.
    ax.plot(np.zeros(alone.sum()), y[alone], linestyle="none", **bar)  # type: ignore[arg-type]
    for verdict, look in verdicts.MARKS.items():
        mine = seen & (frame["verdict"] == verdict).to_numpy(bool)
        colour = look["color"]
        known = mine & np.isfinite(low) & np.isfinite(high)
        ends = np.clip(np.stack([low, high], 1), *bound)
        intervals = np.stack([ends, np.stack([y, y], 1)], 2)[known]
        style.strokes(ax, intervals, color=colour, linewidth=0.9, zorder=2)
        for limit, beyond, arrow in ((bound[0], low < bound[0], "<"), (bound[1], high > bound[1], ">")):
            rows_at = y[known & beyond]
            tip = {"marker": arrow, "color": colour, "markersize": 2.6, "clip_on": False, "zorder": 2}
            ax.plot(np.full(len(rows_at), limit), rows_at, linestyle="none", **tip)
        inside = mine & (value >= bound[0]) & (value <= bound[1])
        if inside.any():
            ax.plot(value[inside], y[inside], zorder=3, **(verdicts.LOOK | look))
        for i in np.flatnonzero(mine & ~inside):
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
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 5, 10]))
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
    at = dict(zip(_COLUMNS, (0.08, 1.35, 1.71, 2.09, 2.45), strict=True))
    columns = {name: right + place for name, place in at.items()}
    sides = dict.fromkeys(_COLUMNS, "right") | {"metric": "left"}
    muted = {"fontsize": style.SMALL, "color": style.MUTED}
    for name, text in _COLUMNS.items():
        style.write(figure, columns[name], top - 0.06, text, ha=sides[name], **muted)
    for row in frame.itertuples():
        y = top + block.at[str(row.task)]
        # pandas hints a cell as any scalar; the contract makes these numbers.
        single, multi = float(row.single), float(row.multi)  # type: ignore[arg-type]
        scores = f"{style.number(single)} → {style.number(multi)}"
        if not row.companions:
            scores = f"{style.number(single)} (alone)"
        weight = "bold" if row.verdict in DECIDED else "normal"
        # Likewise.
        least = float(row.detectable) if row.verdict == OPEN else np.nan  # type: ignore[arg-type]
        cells = {
            "metric": style.fit(style.metric_name(str(row.metric)), 0.6, style.SMALL),
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
                ha=sides[name],
                fontsize=style.SMALL,
                fontweight=weight if name == "q" else "normal",
                color=style.MUTED if name == "metric" else style.INK,
            )


def _key(figure: Figure, frame: pd.DataFrame, left: float, more: list[style.Entry]) -> None:
    entries = verdicts.entries(frame.loc[frame["companions"], "verdict"])
    if not frame["companions"].all():
        entries.append(("no companion selected", {"marker": "|", "color": style.GREY, "markersize": 5}))
    style.key(figure, left, 0.1, [*entries, *more])
