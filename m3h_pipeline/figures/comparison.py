"""Every model beside the references, out of fold and on the test part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from m3h_pipeline.config import Figures
from m3h_pipeline.contracts import CHOICE, COMPARISON, EVALUATION
from m3h_pipeline.contracts.reported import PHENOTYPE_SCORES
from m3h_pipeline.evaluation.claims import OWN_SPACES
from m3h_pipeline.figures import style, verdicts
from m3h_pipeline.figures.catalogue import Catalogue, read_catalogue
from m3h_pipeline.figures.drawn import Drawn
from m3h_pipeline.figures.rows import Rows, pitch_for, rows
from m3h_pipeline.files import read_table
from m3h_pipeline.inference import metrics

_PARTS = {"validation": "Validation (out of fold)", "test": "Test"}
#: What a model without information reaches, where the metric has such a value.
CHANCE = {**metrics.CHANCE, "silhouette": 0.0}
#: Candidates of the choice as this figure calls them.
_CANDIDATES = {"together": "multi", "alone": "single"}
_JOINT = {"macro_auroc": "auroc", "concordance": "auroc"}
_AXIS = 0.34
#: What the multitask model is held against: in the CSV, in the evaluation, in the heads of columns so wide.
_VERDICTS = {"versus_single": "verdict", "versus_reference": "reference_verdict"}
_HEADS = ("single", "ref.")
_COLUMN = 0.3
_RING: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "markeredgecolor": style.INK}


def render(inputs: Mapping[str, Path], out: Path, settings: Figures, title: str) -> None:
    """Write the figure; see :func:`drawn`."""
    drawn(inputs, settings).save(out, settings, title)


def drawn(inputs: Mapping[str, Path], settings: Figures) -> Drawn:
    """Draw the figure.

    ``inputs`` are ``comparison``, ``choice``, ``evaluation``, ``phenotype_scores`` and ``tasks``.
    """
    catalogue = read_catalogue(inputs["tasks"])
    chosen = read_table(inputs["choice"], CHOICE).to_pandas()
    phenotypes = read_table(inputs["phenotype_scores"], PHENOTYPE_SCORES).to_pandas()
    compared = in_the_inputs(read_table(inputs["comparison"], COMPARISON).to_pandas(), phenotypes)
    said = read_table(inputs["evaluation"], EVALUATION).to_pandas()
    frame = table(compared, chosen, said, catalogue)
    with style.applied():
        return Drawn(draw(frame, catalogue), frame)


def in_the_inputs(comparison: pd.DataFrame, phenotypes: pd.DataFrame) -> pd.DataFrame:
    """The comparison with the silhouettes that phenotypes have in the inputs: of spaces that models made
    themselves there is nothing to compare, and out of fold there are no others."""
    own = comparison["metric"].isin(OWN_SPACES)
    known = phenotypes.rename(columns={"silhouette": "value"})[["task", "model", "value", "low", "high"]]
    controls = dict(zip(comparison.loc[own, "task"], comparison.loc[own, "control"], strict=True))
    known = known[known["task"].isin(list(controls))].assign(part="test", metric="silhouette")
    known["control"] = known["task"].map(controls)
    return pd.concat([comparison[~own], known[comparison.columns]], ignore_index=True)


def table(
    comparison: pd.DataFrame, choice: pd.DataFrame, evaluation: pd.DataFrame, catalogue: Catalogue
) -> pd.DataFrame:
    """The rows of the figure in its order; blends, ``chosen``, ``department`` and ``title`` added.

    ``versus_single`` and ``versus_reference``: what may be said of the multitask model on the test part.
    """
    blends = choice[choice["candidate"] == "blend"].rename(columns={"candidate": "model"})
    frame = pd.concat([comparison, blends[list(comparison.columns)]], ignore_index=True)
    names = choice["candidate"].replace(_CANDIDATES)
    marked = set(zip(choice["task"][choice["chosen"]], names[choice["chosen"]], strict=True))
    frame["chosen"] = [place in marked for place in zip(frame["task"], frame["model"], strict=True)]
    order = {task: i for i, task in enumerate(catalogue.order(frame["task"]))}
    models = {model: i for i, model in enumerate(style.looks(frame["model"]))}
    parts = {part: i for i, part in enumerate(_PARTS)}
    frame["_task"] = frame["task"].map(order)
    frame["_part"] = frame["part"].map(parts).fillna(len(parts))
    frame["_model"] = frame["model"].map(models)
    frame = frame.sort_values(["_task", "_part", "_model"], kind="stable").drop(
        columns=["_task", "_part", "_model"]
    )
    frame.insert(1, "title", [catalogue.title(task) for task in frame["task"]])
    frame.insert(2, "department", [catalogue[task].department for task in frame["task"]])
    said = evaluation.set_index("task")
    for name, column in _VERDICTS.items():
        frame[name] = frame["task"].map(said[column]).where(frame["model"] == "multi")
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame, catalogue: Catalogue) -> Figure:
    """A dot plot; tasks whose metrics share a scale share a block, each block has its own axes."""
    if frame.empty:
        return style.notice("No model of this study was compared.")
    scale = frame["metric"].map(lambda m: _JOINT.get(m, m))
    known = list(dict.fromkeys([*style.METRIC_NAMES, *sorted(set(scale))]))
    groups = [frame[scale == name] for name in known if (scale == name).any()]
    orders = [catalogue.order(group["task"]) for group in groups]
    headings = sum(len(catalogue.groups(order)) for order in orders)
    room = style.HEIGHT - 0.59 - len(groups) * (_AXIS + 0.08)
    pitch = pitch_for(sum(map(len, orders)), headings, room, largest=0.2)
    blocks = [rows(catalogue, order, pitch) for order in orders]

    top, left = 0.54, 0.04
    height = top + sum(block.height + _AXIS for block in blocks) + 0.06 * (len(blocks) - 1) + 0.04
    figure = style.canvas(style.WIDTH, height)
    labels = max(block.labels_width(catalogue, 2.05) for block in blocks)
    first = left + labels + 0.15
    gap = 0.25
    panel = (style.WIDTH - 0.1 - _COLUMN * len(_HEADS) - first - gap) / 2

    looks = style.looks(frame["model"])
    style.key(
        figure,
        left,
        0.1,
        [
            *((name, {"marker": marker, "color": colour}) for name, colour, marker in looks.values()),
            *([("Chosen", _RING | {"markersize": 6.0})] if frame["chosen"].any() else []),
        ],
    )
    said = verdicts.entries({v for name in _VERDICTS for v in frame[name].dropna()})
    style.key(figure, left, 0.24, [*said, *catalogue.explained(frame["task"])])
    for i, text in enumerate(_PARTS.values()):
        style.write(
            figure, first + i * (panel + gap) + panel / 2, top - 0.09, text, ha="center", fontweight="bold"
        )
    columns = [style.WIDTH - 0.04 - _COLUMN * (len(_HEADS) - i - 0.5) for i in range(len(_HEADS))]
    middle = sum(columns) / len(columns)
    muted = {"ha": "center", "fontsize": style.SMALL, "color": style.MUTED}
    style.write(figure, middle, top - 0.15, "Multi versus", **muted)
    for x, text in zip(columns, _HEADS, strict=True):
        style.write(figure, x, top - 0.06, text, **muted)
    for group, block in zip(groups, blocks, strict=True):
        block.write_labels(figure, catalogue, left, top, labels, style.WIDTH - 0.04)
        _said(figure, group, block, top, columns)
        bounds = _bounds(group)
        names = " / ".join(_metric(m) for m in dict.fromkeys(sorted(group["metric"])))
        for i, part in enumerate(_PARTS):
            if part not in set(group["part"]):
                continue
            ax = style.axes(figure, first + i * (panel + gap), top, panel, block.height)
            _panel(ax, group[group["part"] == part], block, bounds, pitch, looks)
            ax.set_xlabel(names, labelpad=1.5)
        top += block.height + _AXIS + 0.06
    return figure


def _metric(metric: str) -> str:
    return style.metric_name(metric) + (" in the inputs" if metric in OWN_SPACES else "")


def _said(figure: Figure, group: pd.DataFrame, block: Rows, top: float, columns: list[float]) -> None:
    """The verdicts on the multitask model of each task, as marks."""
    width, height = figure.get_size_inches()
    mine = group[(group["model"] == "multi") & (group["part"] == "test")]
    for name, x in zip(_VERDICTS, columns, strict=True):
        for verdict, look in verdicts.MARKS.items():
            at = [top + block.at[task] for task in mine.loc[mine[name] == verdict, "task"]]
            if at:
                ends = [x / width] * len(at), [1 - y / height for y in at]
                figure.add_artist(Line2D(*ends, **(verdicts.LOOK | look)))


def _bounds(group: pd.DataFrame) -> tuple[float, float]:
    """Limits shared by both parts; a model far below chance does not squeeze the others."""
    chance = CHANCE.get(str(group["metric"].iloc[0]))
    ends = group[["value", "low", "high"]].to_numpy(float).ravel()
    ends = ends[np.isfinite(ends)]
    if chance is not None:
        ends = np.append(ends, chance)
    if not len(ends):
        return 0.0, 1.0
    low, high = float(ends.min()), float(ends.max())
    if chance is not None:
        low = max(low, chance - max(high - chance, 0.1))
    margin = 0.04 * max(high - low, 0.01)
    return low - margin, high + margin


def _panel(
    ax: Axes,
    part: pd.DataFrame,
    block: Rows,
    bounds: tuple[float, float],
    pitch: float,
    looks: Mapping[str, tuple[str, str, str]],
) -> None:
    block.prepare(ax)
    ax.set_xlim(*bounds)
    chance = CHANCE.get(str(part["metric"].iloc[0])) if len(part) else None
    if chance is not None:
        ax.axvline(chance, color=style.MUTED, linewidth=0.6, zorder=0)
    present = [m for m in looks if m in set(part["model"])]
    # Bands tie the markers of a task together where rows stand close; one row alone with one would stand out.
    for task in block.tasks:
        middle = block.at[task]
        ax.axhspan(middle - 0.44 * pitch, middle + 0.44 * pitch, color=style.FAINT, linewidth=0, zorder=-1)
    step = min(0.036, 0.76 * pitch / max(len(present), 1))
    for i, model in enumerate(present):
        _, colour, marker = looks[model]
        shift = (i - (len(present) - 1) / 2) * step
        rows = part[(part["model"] == model) & np.isfinite(part["value"].to_numpy(float))]
        y = np.array([block.at[task] + shift for task in rows["task"]])
        value, low, high = (rows[name].to_numpy(float) for name in ("value", "low", "high"))
        known = np.isfinite(low) & np.isfinite(high)
        ends = np.clip(np.stack([low, high], 1), *bounds)
        intervals = np.stack([ends, np.stack([y, y], 1)], 2)[known]
        style.strokes(ax, intervals, color=colour, linewidth=0.6, alpha=0.7, zorder=1)
        below = value < bounds[0]
        ax.plot(
            np.full(int(below.sum()), bounds[0]),
            y[below],
            linestyle="none",
            marker="<",
            color=colour,
            markersize=3,
            clip_on=False,
            zorder=3,
        )
        ax.plot(
            value[~below],
            y[~below],
            linestyle="none",
            marker=marker,
            color=colour,
            markersize={"s": 2.7, "D": 2.5}.get(marker, 3.2),
            markeredgewidth=0.3,
            markeredgecolor="white",
            zorder=3 + (model == "multi"),
        )
        ringed = rows["chosen"].to_numpy(bool)
        ax.plot(
            np.maximum(value[ringed], bounds[0]),
            y[ringed],
            linestyle="none",
            markersize=min(6.0, 45 * pitch),
            markeredgewidth=0.7,
            clip_on=False,
            zorder=5,
            **_RING,
        )
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.grid(axis="x", color=style.RULE, linewidth=0.4)
    ax.set_axisbelow(True)
