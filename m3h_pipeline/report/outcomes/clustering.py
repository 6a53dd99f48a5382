"""The page of a phenotype: a map of its clusters, what sets each apart, how steady they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, chart, heading, table, words
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.said import Row, filled, interval, number, one, percent
from m3h_pipeline.report.wording import listed

#: Below this a cluster of one seed is not found again by another (Hennig 2007).
UNSTEADY: Final = 0.6


def clustering_blocks(gathered: Gathered, task: str) -> list[Block]:
    """Blocks of a phenotype, after its companions."""
    rows = gathered.rows("phenotype_profiles", task)
    return [
        heading("The clusters"),
        *_worth(gathered, task),
        *_map(gathered, task),
        *_sizes(rows),
        heading("What sets each cluster apart"),
        *_apart(gathered, rows),
        *_outcomes(gathered, rows),
    ]


def _worth(gathered: Gathered, task: str) -> Iterator[Block]:
    rows = gathered.rows("phenotype_scores", task)
    found, alone = one(rows, model="multi"), one(rows, model="single")
    if found is None:
        return
    said = f"Silhouette by the distances of the standardised inputs: {_silhouette(found)}"
    if alone is not None and (found["difference"] or 0) != 0:
        said += (
            f" (learned alone: {_silhouette(alone)}; difference {interval(found, 'difference', sign=True)})"
        )
    steady = found["stability"]
    yield words(
        f"{said}. Clusters of different seeds agree by {number(steady, 2)} (adjusted Rand index; 1: the "
        f"same). The latent has an effective rank of {number(found['rank'], 1)} of {found['width']}: so "
        "many directions hold its variance. Nothing of this is tested."
    )


def _silhouette(row: Row) -> str:
    return interval({"value": row["silhouette"], "low": row["low"], "high": row["high"]})


def _map(gathered: Gathered, task: str) -> Iterator[Block]:
    cells = [row for row in gathered.rows("phenotypes", task) if row["model"] == "multi"]
    if not cells:
        return
    by = cells[0]["projection"]
    drawn = [
        {"name": f"cluster {c}", "points": [(r["x"], r["y"], r["n"]) for r in cells if r["cluster"] == c]}
        for c in sorted({row["cluster"] for row in cells})
    ]
    n = sum(row["n"] for row in cells)
    yield chart(
        f"Map of the latents ({by})",
        charts.tiles(charts.axis(f"{by} 1"), charts.axis(f"{by} 2"), drawn, _side(cells)),
        f"{n:,} test samples of the first seed in cells of at least 11 patients, in the colour and "
        "with the number of the cluster that most of them belong to, the stronger the more there "
        "are; other cells are left out. Distances on such a map say little; neighbours do.",
        f"A map of {len(drawn)} clusters in {len(cells)} cells.",
    )


def _side(cells: Sequence[Row]) -> tuple[float, float]:
    """Width and height of a map's cells: the least step between two of their middles.

    Examples:
        >>> _side([{"x": 0.0, "y": 1.0}, {"x": 6.0, "y": 1.0}, {"x": 2.0, "y": 4.0}])
        (2.0, 3.0)
    """
    found = []
    for name in ("x", "y"):
        at = sorted({round(row[name], 9) for row in cells})
        found.append(min((b - a for a, b in itertools.pairwise(at)), default=1.0))
    return found[0], found[1]


def _clusters(rows: Sequence[Row]) -> list[int]:
    return sorted({row["cluster"] for row in rows})


def _sizes(rows: Sequence[Row]) -> Iterator[Block]:
    sizes = {row["cluster"]: row["value"] for row in rows if row["what"] == "size"}
    steady = {row["cluster"]: row["value"] for row in rows if row["what"] == "stability"}
    shown = [c for c in sorted(sizes) if sizes[c] is not None]
    if shown:
        yield chart(
            "Size of each cluster",
            charts.bars(
                [f"cluster {c}" for c in shown],
                charts.axis("test samples", 0),
                [{"name": "samples", "look": "multi", "y": [sizes[c] for c in shown]}],
                lying=True,
            ),
            f"{len(sizes) - len(shown)} clusters of few patients are not shown."
            if len(shown) < len(sizes)
            else "All clusters that occur on the test part.",
            f"The largest cluster has {max(sizes[c] for c in shown):.0f} samples.",
        )
    unsteady = [str(c) for c in shown if steady.get(c) is not None and steady[c] < UNSTEADY]
    if unsteady:
        they = f"Cluster {unsteady[0]} is" if len(unsteady) == 1 else f"Clusters {listed(unsteady)} are"
        yield words(
            f"{they} not found again by other seeds (Jaccard index below {UNSTEADY:g}): what is said below "
            "may be of one seed alone."
        )


def _apart(gathered: Gathered, rows: Sequence[Row]) -> Iterator[Block]:
    cells = []
    for c in _clusters(rows):
        mine = [row for row in rows if row["cluster"] == c]
        size, steady = one(mine, what="size"), one(mine, what="stability")
        features = [
            f"{r['name']}\u00a0{number(r['value'], 1, sign=True)}" for r in mine if r["what"] == "feature"
        ]
        codes = [
            f"{r['name']} {percent(r['value'])} ({percent(r['rest'])})"
            for r in mine
            if r["what"] == "diagnosis"
        ]
        cells.append(
            [
                f"cluster {c}",
                "few" if size is None or size["value"] is None else number(size["value"], 0),
                number(steady["value"] if steady else None, 2),
                ", ".join(features) or "–",
                "; ".join(codes) or "–",
            ]
        )
    header = ["cluster", "samples", "found again", "features (standard deviations from the others)"]
    if cells:
        yield table(
            "By cluster",
            *filled([*header, "diagnoses (others)"], cells),
            "Found again: mean overlap (Jaccard index) with the nearest cluster of each other seed. "
            "Features and diagnoses that fewer than 11 patients of a cluster have, or have not, are left "
            "out.",
        )


def _outcomes(gathered: Gathered, rows: Sequence[Row]) -> Iterator[Block]:
    """Outcomes by cluster: share, less that of the other clusters."""
    had = [
        row
        for row in rows
        if row["what"] == "outcome" and row["value"] is not None and row["rest"] is not None
    ]
    shares = [r for r in had if gathered.tasks[r["name"]].problem_class == "binary"]
    clusters = sorted({row["cluster"] for row in shares})
    names = [name for name in gathered.learned if any(row["name"] == name for row in shares)]
    if shares:
        cells = [
            (
                names.index(r["name"]),
                clusters.index(r["cluster"]),
                r["value"] - r["rest"],
                r["value"],
                r["rest"],
            )
            for r in shares
        ]
        yield chart(
            "Outcomes by cluster",
            charts.heatmap(
                [gathered.title(name) for name in names],
                [f"cluster {c}" for c in clusters],
                cells,
                ["more than in the others", "share in the cluster", "in the others"],
                max(0.05, *(abs(cell[2]) for cell in cells)),
            ),
            "Share with the outcome less that in all other clusters. Empty: of few patients, or one "
            "could tell such.",
            f"{len(shares)} shares of {len(names)} outcomes in {len(clusters)} clusters.",
            wide=True,
        )
    values = [row for row in had if gathered.tasks[row["name"]].problem_class == "regression"]
    for name in dict.fromkeys(row["name"] for row in values):
        mine = [row for row in values if row["name"] == name]
        unit = gathered.tasks[name].unit
        yield chart(
            f"{gathered.title(name)} by cluster",
            charts.bars(
                [f"cluster {row['cluster']}" for row in mine],
                charts.axis(f"mean{f', {unit}' if unit else ''}", 0),
                [
                    {"name": "in the cluster", "look": "multi", "y": [row["value"] for row in mine]},
                    {"name": "in all others", "look": "single", "y": [row["rest"] for row in mine]},
                ],
                lying=True,
            ),
            "Means over the test samples with a value.",
            "; ".join(f"cluster {row['cluster']} {number(row['value'], 2)}" for row in mine),
        )
