"""What the clusters of a phenotype are on the test part: sizes, stability, features, outcomes, diagnoses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import LEAST, is_small
from m3h_pipeline.disclosure.suppression import Sum, hidden
from m3h_pipeline.evaluation.shown import patients_of

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.integer[Any]]
Row = dict[str, Any]

#: Features, and diagnoses, of a cluster that are named.
NAMED: Final = 6
#: Rounded to so many digits behind the point.
_DIGITS: Final = 3


@dataclass(frozen=True)
class Clustered:
    """The test samples that a model gives a cluster.

    Attributes:
        cluster: of each by the first replicate, (n,).
        others: by each other replicate, (replicates - 1, n).
        patient: number of each one's patient, (n,).
    """

    cluster: Index
    others: Index
    patient: Index

    @property
    def names(self) -> list[int]:
        """The clusters that occur."""
        return [int(c) for c in np.unique(self.cluster)]


def profile_rows(
    found: Clustered,
    x: Floats,
    features: Sequence[str],
    outcomes: Mapping[str, Floats],
    values: Mapping[str, Floats],
    diagnoses: Mapping[str, Floats],
) -> Iterator[Row]:
    """Rows of contracts.reported.PHENOTYPE_PROFILES but for task, control and model.

    Args:
        found: the clusters.
        x: features in standard deviations, NaN = missing, (n, F).
        features: their names, (F,).
        outcomes: name -> 1 = has it, 0 = has not, NaN = not known, (n,).
        values: outcomes that are numbers: name -> (n,), NaN = not observed.
        diagnoses: as ``outcomes``; the ones that a cluster has most above the others are named.
    """
    sizes, steady = cluster_sizes(found), stability(found)
    had = {name: shown_shares(found, has) for name, has in outcomes.items()}
    coded = {name: shown_shares(found, has) for name, has in diagnoses.items()}
    for c in found.names:
        here = found.cluster == c
        yield _row(c, "size", "", sizes[c])
        if sizes[c] is None:
            continue
        yield _row(c, "stability", "", _rounded(steady[c]))
        for name, apart in features_of(here, found.patient, x, features):
            yield _row(c, "feature", name, _rounded(apart))
        for name, by_cluster in had.items():
            if c in by_cluster:
                yield _row(c, "outcome", name, *by_cluster[c])
        for name, value in values.items():
            parts = [side & ~np.isnan(value) for side in (here, ~here)]
            if all(patients_of(found.patient, rows) >= LEAST for rows in parts):
                means = [_rounded(float(value[rows].mean(dtype=np.float64))) for rows in parts]
                yield _row(c, "outcome", name, *means)
        mine = {name: by[c] for name, by in coded.items() if c in by and by[c][0] > by[c][1]}
        for name in sorted(mine, key=lambda name: (mine[name][1] - mine[name][0], name))[:NAMED]:
            yield _row(c, "diagnosis", name, *mine[name])


def cluster_sizes(found: Clustered) -> dict[int, int | None]:
    """Numbers of samples; None where one of few patients could be told."""
    parts = [found.cluster == c for c in found.names]
    counts = [len(found.cluster), *(int(rows.sum()) for rows in parts)]
    few = [i + 1 for i, rows in enumerate(parts) if is_small(patients_of(found.patient, rows))]
    masked = hidden(counts, [Sum(0, range(1, len(counts)))], of_few=few, known=[0])
    return {c: None if masked[i] else counts[i] for i, c in enumerate(found.names, start=1)}


def stability(found: Clustered) -> dict[int, float]:
    """How far the other replicates have the same cluster: the mean of the largest Jaccard indices.

    1: all have it (Hennig, Computational Statistics & Data Analysis 2007; 52:258). NaN of one replicate.
    """
    steady = {}
    for c in found.names:
        here = found.cluster == c
        best = []
        for other in found.others:
            both = [(here & (other == k)).sum() / (here | (other == k)).sum() for k in np.unique(other)]
            best.append(float(max(both)))
        steady[c] = float(np.mean(best)) if best else float("nan")
    return steady


def features_of(here: Bools, patient: Index, x: Floats, names: Sequence[str]) -> list[tuple[str, float]]:
    """The features by whose mean a cluster differs most from all others, and how far.

    Left out are those of which 1 to 10 patients of the cluster, or of the others, have another value than the
    usual one: their mean is theirs.

    Args:
        here: its samples, (n,).
        patient: (n,).
        x: features, NaN = missing, (n, F).
        names: (F,).
    """
    apart = _means(x[here]) - _means(x[~here])
    found: list[tuple[str, float]] = []
    for j in np.argsort(-np.abs(np.nan_to_num(apart)), kind="stable").tolist():
        if len(found) == NAMED or not np.isfinite(apart[j]):
            break
        column = x[:, j]
        values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
        seen, usual = ~np.isnan(column), column == values[counts.argmax()]
        sides = [side & seen & rows for side in (here, ~here) for rows in (usual, ~usual, seen)]
        # What two of many values have tells of nobody: the usual one is asked for where there are two.
        sides = sides if len(values) <= 2 else [s for i, s in enumerate(sides) if i % 3]
        if not any(is_small(patients_of(patient, rows)) for rows in sides):
            found.append((names[j], float(apart[j])))
    return found


def shown_shares(found: Clustered, has: Floats) -> dict[int, tuple[float, float]]:
    """Cluster -> share of its samples that have something, and of those of the other clusters.

    How many there are in all, with it and without it, is known; clusters add up to that.

    Args:
        found: the clusters.
        has: 1 = has it, 0 = has not, NaN = not known, (n,).
    """
    seen = ~np.isnan(has)
    parts = [seen, *(seen & (found.cluster == c) for c in found.names)]
    counts: list[int] = []
    few: list[int] = []
    sums = []
    for rows in parts:
        at = len(counts)
        for members in (rows, rows & (has == 1), rows & (has == 0)):
            few += [len(counts)] if is_small(patients_of(found.patient, members)) else []
            counts.append(int(members.sum()))
        sums.append(Sum(at, [at + 1, at + 2]))
    sums += [Sum(j, range(3 + j, len(counts), 3)) for j in range(3)]
    together = [range(at, at + 3) for at in range(3, len(counts), 3)]
    if any(at in few for at in range(3)):
        return {}  # with the share of a cluster without any, that of the others would tell them
    masked = hidden(counts, sums, of_few=few, known=range(3), rows=together)
    shares: dict[int, tuple[float, float]] = {}
    for i, c in enumerate(found.names, start=1):
        n, events = counts[3 * i], counts[3 * i + 1]
        if n and counts[0] > n and not masked[3 * i : 3 * i + 3].any():
            rest = (counts[1] - events) / (counts[0] - n)
            shares[c] = (round(events / n, _DIGITS), round(rest, _DIGITS))
    return shares


def _means(x: Floats) -> npt.NDArray[np.float64]:
    seen = ~np.isnan(x)
    n = seen.sum(axis=0)
    total = np.where(seen, x, 0).sum(axis=0, dtype=np.float64)
    means = np.full(x.shape[1], np.nan)
    np.divide(total, n, out=means, where=n > 0)
    return means


def _rounded(value: float) -> float | None:
    return round(value, _DIGITS) if np.isfinite(value) else None


def _row(cluster: int, what: str, name: str, value: float | None, rest: float | None = None) -> Row:
    number = None if value is None else float(value)
    return {"cluster": cluster, "what": what, "name": name, "value": number, "rest": rest}
