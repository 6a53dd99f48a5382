"""Which aggregates of the test part may be shown: none that tells of 1 to 10 patients, or lets one tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.disclosure import LEAST, is_small
from m3h_pipeline.disclosure.suppression import Sum, hidden

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.integer[Any]]


def patients_of(patient: Index, rows: Bools) -> int:
    """How many different patients some rows are of."""
    return len(np.unique(patient[rows]))


def few_patients(y: Floats, patient: Index, rows: Bools) -> bool:
    """Whether a rate over some rows tells of few: of those in them, with the event, or without it.

    Args:
        y: 1 = event, 0 = none; (n,).
        patient: (n,).
        rows: (n,).
    """
    counts = [patients_of(patient, rows & (y == event)) for event in (0, 1)]
    return patients_of(patient, rows) < LEAST or any(map(is_small, counts))


def shown_cells(
    y: Floats, patient: Index, groups: Mapping[str, Bools], places: Mapping[str, Index]
) -> set[tuple[str, str, int]]:
    """The cells (model, group, quantile) whose number of samples and event rate may be shown.

    A reader knows that groups which do not overlap, and the rest, add up to all; that quantiles add up to the
    same total whatever the model; and that samples are those with and those without the event.

    Args:
        y: 1 = event, 0 = none; (n,).
        patient: (n,).
        groups: name -> its samples, (n,); ``all`` among them.
        places: model -> quantile of each sample, (n,), or empty where the model has none.
    """
    events = (y == 1, y == 0)
    counts: list[int] = []
    sums: list[Sum] = []
    few: list[int] = []
    rows: list[list[int]] = []
    known: list[int] = []
    unsaid: list[int] = []

    def add(members: Bools) -> list[int]:
        """Places of a cell's counts: samples, with the event, without it."""
        at = list(range(len(counts), len(counts) + 3))
        parts = [members & event for event in events]
        counts.extend(int(m.sum()) for m in (members, *parts))
        few.extend(i for i, m in zip(at, (members, *parts), strict=True) if is_small(patients_of(patient, m)))
        sums.append(Sum(at[0], at[1:]))
        return at

    cells: dict[tuple[str, str, int], list[int]] = {}
    totals = {name: add(members) for name, members in groups.items()}
    for at in totals.values():
        # How many have the outcome is in the tables of prevalences and of participants.
        known.extend(at)
    for model, place in places.items():
        for q in np.unique(place).tolist():
            for name, members in groups.items():
                cell = cells[model, name, q] = add(members & (place == q))
                rows.append(cell)
                # Quantiles of all samples are made so that they may be shown.
                known.extend(cell if name == "all" else [])
            for family in families(groups):
                rest = ~np.any([groups[name] for name in family], axis=0)
                others = add(rest & (place == q))
                unsaid.extend(others)
                parts = [*(cells[model, name, q] for name in family), others]
                sums.extend(
                    Sum(total, [part[k] for part in parts]) for k, total in enumerate(cells[model, "all", q])
                )
        if len(place):
            for name, at in totals.items():
                mine = [cell for (m, g, _), cell in cells.items() if m == model and g == name]
                sums.extend(Sum(total, [cell[k] for cell in mine]) for k, total in enumerate(at))
    masked = hidden(counts, sums, of_few=few, known=known, unsaid=unsaid, rows=rows)
    return {key for key, at in cells.items() if counts[at[0]] and not masked[at].any()}


def _grid(place: Index, patient: Index) -> dict[tuple[int, int], tuple[int, int]]:
    """Cell -> its numbers of samples and of patients."""
    cells, at = np.unique(place, axis=0, return_inverse=True)
    samples = np.bincount(at.reshape(-1), minlength=len(cells))
    pairs = np.unique(np.stack([at.reshape(-1), patient], axis=1), axis=0)
    people = np.bincount(pairs[:, 0], minlength=len(cells))
    return {(int(i), int(j)): (int(n), int(p)) for (i, j), n, p in zip(cells, samples, people, strict=True)}


def share_shown(place: Index, patient: Index) -> float:
    """Share of the samples in cells of at least :data:`LEAST` patients.

    Args:
        place: cell of each sample, (n, 2).
        patient: (n,).
    """
    cells = _grid(place, patient).values()
    return sum(n for n, people in cells if people >= LEAST) / max(1, len(place))


def shown_grid(places: Mapping[str, Index], patient: Index) -> dict[str, dict[tuple[int, int], int]]:
    """The cells of every model's grid that may be shown, with their numbers of samples.

    A reader knows how many samples there are, and that a column (samples with the same first place) is the
    same for all models: who sees all of it for one model knows what is hidden of it for another.

    Args:
        places: model -> cell of each sample, (n, 2).
        patient: (n,).
    """
    grids = {model: _grid(place, patient) for model, place in places.items()}
    counts = {model: {cell: n for cell, (n, _) in grid.items()} for model, grid in grids.items()}
    shown = {
        model: {cell for cell, (_, people) in grid.items() if people >= LEAST}
        for model, grid in grids.items()
    }
    columns = sorted({i for grid in grids.values() for i, _ in grid})
    of_column = {
        model: {i: [cell for cell in grid if cell[0] == i] for i in columns} for model, grid in grids.items()
    }

    def telling(model: str, cells: list[tuple[int, int]]) -> bool:
        """Whether what is hidden among cells whose sum is known is one cell, or few samples."""
        dark = [cell for cell in cells if cell not in shown[model]]
        return len(dark) == 1 or is_small(sum(counts[model][cell] for cell in dark))

    def smallest(cells: list[tuple[str, tuple[int, int]]]) -> bool:
        """Hide the smallest of some cells that are shown; whether there was one."""
        open_ = [(counts[model][cell], model, cell) for model, cell in cells if cell in shown[model]]
        if open_:
            _, model, cell = min(open_)
            shown[model].discard(cell)
        return bool(open_)

    changed = True
    while changed:
        changed = False
        for model, grid in grids.items():
            if telling(model, list(grid)):
                changed |= smallest([(model, cell) for cell in grid])
        known = {i for i in columns for m in grids if set(of_column[m][i]) <= shown[m]}
        # All but one are known: so is that one.
        known |= set(columns) - known if len(columns) - len(known) == 1 else set()
        for i in sorted(known):
            for model in grids:
                if telling(model, of_column[model][i]):
                    changed |= smallest([(m, cell) for m in grids for cell in of_column[m][i]])
    return {model: {cell: n for cell, n in counts[model].items() if cell in shown[model]} for model in grids}


def shown_number(n: int, whole: int) -> int | None:
    """A number of samples or patients of a known whole; None where it, or the rest, is small."""
    return None if is_small(n) or is_small(whole - n) else n


def shown_groups(patient: Index, event: Bools, group: Index) -> list[tuple[int | None, int | None]]:
    """Sizes and numbers of events of groups that make up all samples; None where hidden.

    Args:
        patient: (n,).
        event: (n,).
        group: number of each sample's group, from 0; (n,).
    """
    parts = [np.ones(len(group), dtype=bool), *(group == g for g in range(int(group.max(initial=-1)) + 1))]
    counts: list[int] = []
    few: list[int] = []
    sums: list[Sum] = []
    for k, part in enumerate(parts):
        for members in (part, part & event, part & ~event):
            few.extend([len(counts)] if is_small(patients_of(patient, members)) else [])
            counts.append(int(members.sum()))
        sums.append(Sum(3 * k, [3 * k + 1, 3 * k + 2]))
    sums.extend(Sum(j, range(3 + j, len(counts), 3)) for j in range(3))
    masked = hidden(counts, sums, of_few=few, known=range(3))
    return [
        (None if masked[at] else counts[at], None if masked[at : at + 3].any() else counts[at + 1])
        for at in range(3, len(counts), 3)
    ]


def shown_times(time: Floats, event: Bools, patient: Index, at: Floats) -> list[int]:
    """Which of some times a curve may have: between two of them no patient has the event, or at least 11.

    Args:
        time, event, patient: (n,) of a group.
        at: increasing times; the first is before all events.
    """

    def passed(first: float, last: float) -> int:
        return patients_of(patient, event & (time > first) & (time <= last))

    kept = [0]
    for i in range(1, len(at)):
        if not is_small(passed(at[kept[-1]], at[i])):
            kept.append(i)
    # What is left is told by the number of all events.
    while len(kept) > 1 and is_small(passed(at[kept[-1]], np.inf)):
        kept.pop()
    return kept


def families(groups: Mapping[str, Bools]) -> list[list[str]]:
    """The subgroups in families of which no two overlap."""
    found: list[list[str]] = []
    for name, members in groups.items():
        if name == "all":
            continue
        for family in found:
            if not any((members & groups[other]).any() for other in family):
                family.append(name)
                break
        else:
            found.append([name])
    return found
