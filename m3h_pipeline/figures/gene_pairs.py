"""Gene-gene interactions of one task: network, heads, volcano."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from m3h_pipeline.config import Figures, GenePairs
from m3h_pipeline.contracts.gene_pairs import GENE_HEADS, GENE_IMPORTANCE, GENE_PAIRS
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.figures import style
from m3h_pipeline.figures.catalogue import CONTROL, EXPLAINED, read_catalogue
from m3h_pipeline.files import read_table
from m3h_pipeline.layout import GenePairFiles

#: What the network and the order of pairs show; docs/gene_pairs.md says why.
MEASURE = "mixed difference of the task's output"
_SIDE = 4.6
_LABELLED = 12
_SHOWN_PAIRS = 30


def draw_gene_pairs(task: str, tasks: Path, folder: Path, gene_pairs: GenePairs, settings: Figures) -> None:
    """Write ``network``, ``heads`` and ``volcano`` (images as configured, and CSV) into a folder.

    Args:
        task: whose interactions.
        tasks: ``labels/tasks.json``.
        folder: with ``pairs.parquet``, ``genes.parquet`` and ``heads.parquet``.
        gene_pairs: how many pairs are shown, and the false discovery rate.
        settings: file formats.

    Raises:
        InputError: a table is absent or unreadable.
        ContractError: a table does not follow its schema.
    """
    described = read_catalogue(tasks)[task]
    title, control = described.title, described.control
    folder = Path(folder)
    files = GenePairFiles(folder)
    pairs = read_table(files.pairs, GENE_PAIRS).to_pandas()
    genes = read_table(files.genes, GENE_IMPORTANCE).to_pandas()
    heads = read_table(files.heads, GENE_HEADS).to_pandas()
    top = strongest(pairs, gene_pairs.top)
    with style.applied():
        figure = network(top, dict(zip(genes["gene"], genes["importance"], strict=True)), title)
        volcano_of = pairs.loc[_notable(pairs, gene_pairs.fdr)]
        drawn = {
            "network": (figure, top, "Top interactions"),
            "heads": (head_map(heads, title), heads, "Attention by head"),
            "volcano": (volcano(pairs, gene_pairs.fdr, title), volcano_of, "Differential attention"),
        }
        for name, (figure, frame, what) in drawn.items():
            if control and any(CONTROL in text.get_text() for text in figure.texts):
                style.note(figure, 0.28, EXPLAINED)
            style.save(figure, frame.assign(control=control), folder / name, settings, f"{what}: {title}")


def strongest(pairs: pd.DataFrame, count: int) -> pd.DataFrame:
    """The pairs of largest effect, strongest first."""
    order = pairs["effect"].abs().sort_values(ascending=False, kind="stable").index
    return pairs.loc[order[:count]].reset_index(drop=True)


def network(top: pd.DataFrame, importance: Mapping[str, float], title: str) -> Figure:
    """The strongest pairs as a network; blue raises the output, red lowers it."""
    if top.empty or not (top["effect"].abs() > 0).any():
        return style.notice("The models' outputs hold no interaction of two genes.")
    figure = style.canvas(style.WIDTH, _SIDE + 0.75)
    style.write(figure, 0.06, 0.12, style.fit(f"{title}: {len(top)} strongest interactions", 6.9))
    style.write(figure, 0.06, 0.28, f"Edges: {MEASURE}", fontsize=style.SMALL, color=style.MUTED)
    ax = style.axes(figure, 0.1, 0.4, style.WIDTH - 0.2, _SIDE)
    ax.set_axis_off()
    graph = nx.Graph()
    for row in top.to_dict("records"):
        graph.add_edge(row["gene_a"], row["gene_b"], effect=float(row["effect"]))
    place = _layout(graph)
    largest = float(top["effect"].abs().max())
    edges = list(graph.edges(data="effect"))
    sizes = np.array([abs(effect) / largest for *_, effect in edges])
    colours = [style.BETTER if effect > 0 else style.WORSE for *_, effect in edges]
    lines = [[place[a], place[b]] for a, b, _ in edges]
    ax.add_collection(
        LineCollection(lines, colors=colours, linewidths=0.4 + 2.6 * sizes, alpha=0.7, zorder=1)
    )
    most = max(importance.get(gene, 0.0) for gene in graph) or 1.0
    areas = {gene: 12 + 90 * importance.get(gene, 0.0) / most for gene in graph}
    for gene, area in areas.items():
        x, y = place[gene]
        ax.scatter([x], [y], s=area, color="white", edgecolor=style.INK, linewidth=0.7, zorder=2)
    ax.margins(0.08)
    taken: list[Bbox] = []
    # Where names would cover each other, that of the more important gene stays.
    for gene in sorted(graph, key=lambda gene: (-importance.get(gene, 0.0), gene)):
        text = ax.annotate(
            str(gene),
            place[gene],
            xytext=(0, np.sqrt(areas[gene]) / 2 + 1.5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=style.SMALL,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
            zorder=3,
        )
        _keep_if_free(text, taken)
    entries: list[style.Entry] = [
        ("together they raise the output more than each alone", {"color": style.BETTER, "linestyle": "-"}),
        ("less", {"color": style.WORSE, "linestyle": "-"}),
        ("gene, by importance", {"marker": "o", "color": "white", "markeredgecolor": style.INK}),
    ]
    style.key(figure, 0.1, _SIDE + 0.58, entries)
    return figure


def _keep_if_free(text: Text, taken: list[Bbox]) -> None:
    box = text.get_window_extent()
    if any(box.overlaps(other) for other in taken):
        text.remove()
    else:
        taken.append(box)


def _layout(graph: nx.Graph) -> dict[str, tuple[float, float]]:
    """Places of genes: components in boxes of a size to their genes, so that labels do not meet."""
    parts = sorted(nx.connected_components(graph), key=lambda part: (-len(part), min(part)))
    place: dict[str, tuple[float, float]] = {}
    width = max(1.0, np.sqrt(1.5 * sum(_room(len(part)) ** 2 for part in parts)))
    x = y = tallest = 0.0
    for part in parts:
        side = _room(len(part))
        if x > 0 and x + side > width:
            x, y, tallest = 0.0, y - tallest, 0.0
        own = graph.subgraph(sorted(part))
        found = nx.kamada_kawai_layout(own) if len(part) > 2 else nx.circular_layout(own)
        for gene, (u, v) in found.items():
            place[gene] = (x + side * (0.5 + 0.38 * u), y - side * (0.5 + 0.38 * v))
        x, tallest = x + side, max(tallest, side)
    return place


def _room(genes: int) -> float:
    return float(np.sqrt(genes)) + 0.4


def head_map(heads: pd.DataFrame, title: str) -> Figure:
    """Attention of the strongest pairs in every head, as a multiple of even attention."""
    if heads.empty:
        return style.notice("There are no pairs of genes to show.")
    frame = heads.assign(pair=heads["gene_a"] + " – " + heads["gene_b"])
    pairs = list(dict.fromkeys(frame["pair"]))[:_SHOWN_PAIRS]
    frame = frame[frame["pair"].isin(pairs)]
    grid = frame.pivot(index="pair", columns=["layer", "head"], values="ratio").loc[pairs]
    values = np.log2(np.maximum(grid.to_numpy(), 2.0**-6))
    limit = max(1.0, float(np.ceil(np.abs(values).max())))
    columns = grid.shape[1]
    pitch, left, top = 0.16, 1.6, 0.75
    width = max(1.2, min(style.WIDTH - left - 1.2, 0.3 * columns))
    height = pitch * len(pairs)
    figure = style.canvas(style.WIDTH, top + height + 0.25)
    style.write(figure, 0.06, 0.12, style.fit(f"{title}: attention of the strongest interactions", 6.9))
    text = f"Rows by {MEASURE}, strongest first; columns: layers and heads"
    style.write(figure, 0.06, 0.28, text, fontsize=style.SMALL, color=style.MUTED)
    ax = style.axes(figure, left, top, width, height)
    image = ax.imshow(values, aspect="auto", cmap=style.diverging(), norm=Normalize(-limit, limit))
    ax.set_yticks(range(len(pairs)), [style.fit(pair, left - 0.12, style.SMALL) for pair in pairs])
    heads_of = frame.drop_duplicates(["layer", "head"]).sort_values(["layer", "head"])
    names = [f"{a + 1}.{b + 1}" for a, b in zip(heads_of["layer"], heads_of["head"], strict=True)]
    step = int(np.ceil(columns * 0.2 / width))
    ax.set_xticks(range(0, columns, step), names[::step])
    ax.xaxis.tick_top()
    ax.tick_params(length=0, labelsize=style.SMALL)
    bar = style.axes(figure, left + width + 0.25, top, 0.1, min(height, 1.2))
    colours = figure.colorbar(image, cax=bar)
    ticks = [-limit, 0.0, limit]
    colours.set_ticks(ticks, labels=[f"{2.0**t:g}×" for t in ticks])
    bar.tick_params(labelsize=style.SMALL)
    bar.set_title("of even", fontsize=style.SMALL, pad=3, loc="left")
    return figure


def _notable(pairs: pd.DataFrame, fdr: float) -> pd.Series:
    """Pairs of the volcano's table: those called, and the hundred of smallest p."""
    if pairs["p"].isna().all():
        return pd.Series(False, index=pairs.index)
    rank = pairs["p"].rank(method="first")
    return (rank <= 100) | pairs["called"].fillna(False).astype(bool)


def volcano(pairs: pd.DataFrame, fdr: float, title: str) -> Figure:
    """Difference of attention between two groups against its p value."""
    if pairs.empty or pairs["p"].isna().all():
        return style.notice(f"No two groups of {LEAST} patients or more: attention was not compared.")
    figure = style.canvas(style.WIDTH, 3.9)
    called = pairs["called"].fillna(False).astype(bool)
    style.write(figure, 0.06, 0.12, style.fit(f"{title}: differential attention", 6.9))
    text = f"{int(called.sum()):,} of {len(pairs):,} pairs called at a false discovery rate of {fdr:g}"
    style.write(figure, 0.06, 0.28, text, fontsize=style.SMALL, color=style.MUTED)
    ax = style.axes(figure, 0.65, 0.5, style.WIDTH - 0.95, 2.9)
    # In multiples of even attention per thousand: attention adds up to 1 over all genes.
    x = pairs["difference"].to_numpy() * 1000
    y = -np.log10(pairs["p"].to_numpy())
    plain = ~called.to_numpy()
    with mpl.rc_context({"path.simplify": True}):
        ax.scatter(x[plain], y[plain], s=4, color=style.GREY, alpha=0.35, linewidth=0, rasterized=True)
        ax.scatter(x[~plain], y[~plain], s=7, color=style.VERMILLION, linewidth=0, rasterized=True)
    _names(ax, pairs[called], x[~plain], y[~plain])
    ax.axvline(0, color=style.RULE, linewidth=0.6, zorder=0)
    ax.set_xlabel("Mean attention of patients with the outcome less that of the others (per thousand)")
    ax.set_ylabel("p (by permutation), -log10")
    return figure


def _names(ax: Axes, called: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> None:
    """Names of the pairs of smallest p, where they do not cover each other."""
    if not len(called):
        return
    figure = ax.figure
    figure.canvas.draw()
    taken: list[Bbox] = []
    dots = ax.transData.transform(np.column_stack([x, y]))
    frame = ax.get_window_extent()
    # Permutations end at a smallest p: of pairs that share it, those of the largest difference come first.
    for i in np.lexsort([-np.abs(x), -y])[: 4 * _LABELLED]:
        outward = 1 if x[i] >= 0 else -1
        for direction in (outward, -outward):
            text = ax.annotate(
                f"{called['gene_a'].iloc[i]} – {called['gene_b'].iloc[i]}",
                (x[i], y[i]),
                (3 * direction, 0),
                textcoords="offset points",
                ha="left" if direction > 0 else "right",
                va="center",
                fontsize=style.SMALL,
            )
            box = text.get_window_extent()
            free = not any(box.overlaps(other) for other in taken)
            free &= not any(box.contains(*dot) for j, dot in enumerate(dots) if j != i)
            inside = frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
            if free and inside:
                taken.append(box)
                break
            text.remove()
        if len(taken) == _LABELLED:
            break
