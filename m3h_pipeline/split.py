"""Patients into a test part and folds: no patient straddles, several tasks are balanced at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.config import Split
from m3h_pipeline.contracts import SPLIT
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import read_labels, read_samples, write_table
from m3h_pipeline.files.leftovers import remove_leftovers

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Values that are few and whole numbers are classes; others are balanced by quantile.
_MAX_CLASSES = 20
_QUANTILES = 4


def split_cohort(
    samples: Path | str,
    labels: Mapping[str, Path],
    output: Path | str,
    settings: Split,
    every: Mapping[str, Path] | None = None,
) -> None:
    """Split a cohort and write ``split.parquet``.

    Args:
        samples: ``cohort/samples.parquet``.
        labels: the tasks to stratify by -> ``labels/<task>.parquet``.
        output: ``split.parquet``.
        settings: test fraction, folds, seed, candidates.
        every: likewise every task, by which one of several candidates is taken; None: those of ``labels``.

    Raises:
        InputError: there are fewer patients than parts and folds need.
        ContractError: labels are not row-aligned with the samples.
    """
    table = read_samples(samples)
    stratify, classes = _read(labels, table.num_rows)
    values, more = _read(every if settings.candidates > 1 and every else {}, table.num_rows)
    remove_leftovers(Path(output).parent)
    made = make_split(table, stratify, settings, values, {**classes, **more})
    write_table(made, output, SPLIT)


def _read(labels: Mapping[str, Path], rows: int) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """What is balanced of tasks, (n,) each, and their problem classes; clustering tasks are left out."""
    found: dict[str, npt.NDArray[Any]] = {}
    classes: dict[str, str] = {}
    for task, path in labels.items():
        y, description = read_labels(path)
        if len(y) != rows:
            raise ContractError(f"{len(y)} labels for {rows} samples", where=str(path))
        classes[task] = str(description.get("problem_class"))
        if classes[task] == "survival":
            # Parts share events and censored times; their times are left to chance.
            found[task] = np.where(np.isnan(y), np.nan, time_and_event(y)[1].astype(np.float64))
        elif classes[task] != "clustering":
            found[task] = y
    return found, classes


def make_split(
    samples: pa.Table,
    labels: Mapping[str, npt.NDArray[Any]],
    settings: Split,
    every: Mapping[str, npt.NDArray[Any]] | None = None,
    problem_classes: Mapping[str, str] | None = None,
) -> pa.Table:
    """Give every sample a part and a fold.

    Patients are placed one after another, those with the rarest label first and those with many samples
    before those with few, into the part or fold where they move the counts of all labels (observed ones, and
    by class) and of samples closest to their targets; then exchanges of two patients mend what is left. Parts
    and folds have their exact share of patients. The result depends on the patients' names, their labels and
    the seed, not on the order of rows. Of several candidates, which differ by the order of patients that are
    alike, the one with the least :func:`imbalance` over every task is taken, the first of equal ones.

    Args:
        samples: columns ``sample_id`` and ``patient_id``, one row per sample.
        labels: task -> (n,) labels, NaN = not observed; few whole numbers are classes, others are binned.
        settings: test fraction, folds, seed, candidates.
        every: likewise of every task, by which a candidate is taken; None: those of ``labels``.
        problem_classes: task -> its class; means of regression tasks are balanced, else shares of classes.

    Returns:
        A table of schema :data:`m3h_pipeline.contracts.SPLIT`, in the order of ``samples``.

    Raises:
        InputError: there are fewer patients than parts and folds need.
    """
    ids = np.asarray(samples["patient_id"].to_pylist(), dtype=str)
    names, patient = np.unique(ids, return_inverse=True)
    if len(names) <= settings.folds:
        raise InputError(
            f"{len(names)} patients cannot fill a test part and {settings.folds} folds",
            where="split",
            hint="lower `split.folds`, or use a larger cohort",
        )
    share = np.array(
        [settings.test_fraction] + [(1 - settings.test_fraction) / settings.folds] * settings.folds
    )
    capacity = _capacities(len(names), share)
    counts = _counts(patient, len(names), labels)
    residuals = _residuals(patient, len(names), every or labels, problem_classes or {})
    best, row = np.inf, np.zeros(0, dtype=np.int64)
    for number in range(settings.candidates):
        # The first is what the seed alone gives.
        order = _order(names, counts, f"{settings.seed}/{number}" if number else str(settings.seed))
        place = np.empty(len(names), dtype=np.int64)
        place[order] = _assign(counts[order], share, capacity)
        place[order] = _exchange(counts[order], place[order], share)
        found = imbalance(place, residuals) if settings.candidates > 1 else 0.0
        if found < best - 1e-12:
            best, row = found, place[patient]
    part = np.where(row == 0, "test", "train")
    return pa.Table.from_arrays(
        [
            samples["sample_id"].combine_chunks() if samples.num_rows else pa.array([], pa.string()),
            pa.array(part.tolist(), pa.string()),
            pa.array(row - 1, pa.int16()),
        ],
        schema=SPLIT,
    )


def imbalance(place: IntArray, residuals: Sequence[FloatArray]) -> float:
    """How far the worst task of the worst part or fold is from the mean of all, in deviations of chance.

    Of a place with a share f of the patients the sum of residuals has, where patients are drawn into places,
    the variance f (1 - f) times the sum of the patients' squared sums. The test part and the rest are one
    comparison, each fold and the rest another.

    Args:
        place: of each patient, 0 = test part; (patients,).
        residuals: per task the patients' sums of label less its mean, (patients, classes).

    Examples:
        >>> place, ill = np.array([0, 1, 2, 0, 1, 2]), np.array([[0.5], [-0.5], [0.5], [-0.5], [0.5], [-0.5]])
        >>> imbalance(place, [ill])
        0.0
        >>> round(imbalance(place, [ill[[0, 1, 2, 0, 1, 1]]]), 3)
        1.732
    """
    worst = 0.0
    for task in residuals:
        spread = (task**2).sum(axis=0)
        for k in np.unique(place):
            inside = place == k
            f = float(inside.mean())
            apart = np.abs(task[inside].sum(axis=0)) / np.sqrt(f * (1 - f) * spread)
            worst = max(worst, float(apart.max()))
    return worst


def _residuals(
    patient: IntArray, n: int, labels: Mapping[str, npt.NDArray[Any]], problem_classes: Mapping[str, str]
) -> list[FloatArray]:
    """Per task the patients' sums of values less their mean: of classes but one, else of the value itself."""
    found = []
    for task, y in sorted(labels.items()):
        values = np.asarray(y, dtype=np.float64)
        seen = ~np.isnan(values)
        classes = np.unique(values[seen])
        if len(classes) < 2:
            continue
        columns = [values]
        if problem_classes.get(task) == "multiclass":
            columns = [np.where(seen, values == c, np.nan) for c in classes]
        sums = [np.bincount(patient, np.where(seen, x - x[seen].mean(), 0.0), n) for x in columns]
        found.append(np.stack(sums, axis=1).astype(np.float64))
    return found


def _capacities(patients: int, share: FloatArray) -> IntArray:
    """Patients of the test part and of each fold: the shares, rounded so that none is empty."""
    capacity = np.maximum(1, np.floor(patients * share + 1e-9)).astype(np.int64)
    while (difference := patients - int(capacity.sum())) != 0:
        gap = patients * share - capacity
        if difference > 0:
            capacity[int(np.argmax(gap))] += 1
        else:
            capacity[int(np.argmin(np.where(capacity > 1, gap, np.inf)))] -= 1
    return capacity


def _counts(patient: IntArray, n: int, labels: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
    """What is balanced: per patient the samples, and per task the observed ones and those of each class.

    Shape:
        (patients, 1 + strata).
    """
    columns = [np.bincount(patient, minlength=n)]
    for _, y in sorted(labels.items()):
        values = np.asarray(y, dtype=np.float64)
        observed = ~np.isnan(values)
        if not observed.any():
            continue
        if not observed.all():
            columns.append(np.bincount(patient[observed], minlength=n))
        classes = np.unique(values[observed])
        if len(classes) > _MAX_CLASSES or np.any(classes != np.round(classes)):
            edges = np.unique(np.quantile(values[observed], np.linspace(0, 1, _QUANTILES + 1)[1:-1]))
            values = np.where(observed, np.searchsorted(edges, values), np.nan)
            classes = np.unique(values[observed])
        if len(classes) > 1:
            columns += [np.bincount(patient[values == c], minlength=n) for c in classes]
    return np.stack(columns, axis=1).astype(np.float64)


def _order(names: npt.NDArray[np.str_], counts: FloatArray, seed: str) -> npt.NDArray[np.intp]:
    """Patients with the rarest stratum first, then those with more of it, ties by a hash of seed and name."""
    total = counts.sum(axis=0)
    rarest = np.where(counts > 0, total, np.inf).min(axis=1)
    tie = [hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest() for name in names]
    return np.lexsort((np.array(tie), -(counts / total).max(axis=1), rarest))


def _assign(counts: FloatArray, share: FloatArray, capacity: IntArray) -> IntArray:
    """Place patients in the order given; place 0 is the test part."""
    target = share[:, None] * counts.sum(axis=0)
    have = np.zeros_like(target)
    left = capacity.copy()
    place = np.empty(len(counts), dtype=np.int64)
    for i, added in enumerate(counts):
        # Change of the sum over strata of (have - target)^2 / target: a chi-square that rare strata dominate.
        cost = ((2 * (have - target) + added) * added / target).sum(axis=1)
        cost[left == 0] = np.inf
        # Equal costs (the first patients of all): fill what is emptiest for its size.
        best = np.flatnonzero(cost <= cost.min() + 1e-12)
        place[i] = best[np.argmax(left[best] / capacity[best])]
        have[place[i]] += added
        left[place[i]] -= 1
    return place


def _exchange(counts: FloatArray, place: IntArray, share: FloatArray, rounds: int = 100) -> IntArray:
    """Exchange two patients of different places while that lowers the same cost; sizes stay as they are.

    Each round takes the stratum and place furthest from target and tries all exchanges of its patients with
    one other place, on a limited number of candidates a side.
    """
    place = place.copy()
    target = share[:, None] * counts.sum(axis=0)
    have = np.stack([counts[place == k].sum(axis=0) for k in range(len(share))])
    tabu: set[tuple[int, int]] = set()
    for _ in range(rounds):
        excess = (have - target) ** 2 / target
        for k, stratum in tabu:
            excess[k, stratum] = 0
        a, stratum = (int(index) for index in np.unravel_index(int(np.argmax(excess)), excess.shape))
        if excess[a, stratum] < 1e-9:
            break
        best: tuple[float, int, int] = (-1e-9, -1, -1)
        for b in range(len(share)):
            if b == a:
                continue
            mine, other = (_distinct(counts, np.flatnonzero(place == k), stratum) for k in (a, b))
            moved = counts[other][None] - counts[mine][:, None]
            gain = ((2 * (have[a] - target[a]) + moved) * moved / target[a]).sum(axis=2)
            gain += ((2 * (have[b] - target[b]) - moved) * -moved / target[b]).sum(axis=2)
            i, j = np.unravel_index(int(np.argmin(gain)), gain.shape)
            if gain[i, j] < best[0]:
                best = (float(gain[i, j]), int(mine[i]), int(other[j]))
        if best[1] < 0:
            tabu.add((a, stratum))
            continue
        tabu.clear()
        _, one, two = best
        have[place[one]] += counts[two] - counts[one]
        have[place[two]] += counts[one] - counts[two]
        place[one], place[two] = place[two], place[one]
    return place


def _distinct(
    counts: FloatArray, rows: npt.NDArray[np.intp], stratum: int, most: int = 40
) -> npt.NDArray[Any]:
    """One patient of each distinct profile, those with and without the stratum in turn."""
    _, first = np.unique(counts[rows], axis=0, return_index=True)
    chosen = rows[np.sort(first)]
    with_it, without = chosen[counts[chosen, stratum] > 0], chosen[counts[chosen, stratum] == 0]
    return np.concatenate([with_it[: most // 2], without[: most // 2]])


def patient_index(patients: Sequence[str] | npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Number the patients of the rows from 0, in the order of their sorted identifiers.

    Shape:
        (n_rows,) -> (n_rows,)

    Examples:
        >>> patient_index(["p9", "p2", "p9"]).tolist()
        [1, 0, 1]
    """
    inverse = np.unique(np.asarray(patients), return_inverse=True)[1]
    return np.asarray(inverse, dtype=np.intp).reshape(-1)
