"""The verb ``participants``: flow, Table 1 and outcomes by part, and a word where the parts differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import pyarrow as pa

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.contracts import SPLIT
from m3h_pipeline.contracts.reported import FLOW, PARTICIPANTS
from m3h_pipeline.disclosure import LEAST, is_small, may_be_listed
from m3h_pipeline.disclosure.suppression import Sum, hidden
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.participants.alike import TOLD, Bools, Floats, Index, Parts, alike
from m3h_pipeline.evaluation.performance.told import told_groups
from m3h_pipeline.evaluation.shown import patients_of
from m3h_pipeline.files import (
    read_features,
    read_json,
    read_labels,
    read_samples,
    read_table,
    replacing,
    write_table,
)
from m3h_pipeline.inference.resampled import subgroup_rows
from m3h_pipeline.layout import CohortFiles, EvaluationFiles, LabelFiles
from m3h_pipeline.split import patient_index
from m3h_pipeline.tasks.assessed import Task, read_tasks

Row = dict[str, Any]
#: Sources with more features than this have no row per feature.
MOST_FEATURES: Final = 30
#: Differences that are told one by one.
MOST_TOLD: Final = 10
#: Significant digits of means and deviations.
_DIGITS: Final = 4


@dataclass(frozen=True)
class People:
    """The samples of a study.

    Attributes:
        patient: number of each sample's patient, (n,).
        test: whether a sample is in the test part, (n,).
        fold: -1 in the test part, (n,).
        groups: subgroup -> its samples, (n,).
    """

    patient: Index
    test: Bools
    fold: Index
    groups: Mapping[str, Bools]


def describe_participants(cohort: Path, labels: Path, split: Path, out: Path, screen: TextIO) -> None:
    """Write ``flow.parquet`` (FLOW), ``participants.parquet`` (PARTICIPANTS), and the latter for people.

    Args:
        cohort: folder of the cohort.
        labels: folder of the labels.
        split: the split file.
        out: folder of the evaluation.
        screen: where differences between the parts are told.

    Raises:
        InputError: a file is absent or unreadable, or the folder cannot be written.
        ContractError: files do not fit each other.
    """
    people = read_people(cohort, split)
    rows = participant_rows(people, cohort, labels)
    files = EvaluationFiles(out)
    for path, schema, content in (
        (files.flow, FLOW, flow_rows(people)),
        (files.participants, PARTICIPANTS, rows),
    ):
        write_table(pa.Table.from_pylist(content, schema=schema), path, schema)
    table = [PARTICIPANTS.names, *([_text(row[name]) for name in PARTICIPANTS.names] for row in rows)]
    with replacing(files.participants_summary) as temporary:
        temporary.write_text(tsv(table), encoding="utf-8")
    screen.write("".join(f"warning: {line}\n" for line in differences(rows)))


def read_people(cohort: Path, split: Path) -> People:
    """Patients, parts and subgroups.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: files do not fit each other.
    """
    samples = read_samples(CohortFiles(cohort).samples)
    fold = read_table(split, SPLIT).column("fold").to_numpy()
    if len(samples) != len(fold):
        raise ContractError(f"{len(fold):,} rows for {len(samples):,} samples", where=str(split))
    patient = patient_index(samples.column("patient_id").to_numpy(zero_copy_only=False))
    return People(patient, fold < 0, fold, subgroup_rows(samples))


def flow_rows(people: People) -> list[Row]:
    """Rows of contracts.reported.FLOW: the cohort, its parts and folds, none that tells of few."""
    steps = {"cohort": np.ones(len(people.fold), dtype=bool), "training part": ~people.test}
    steps |= {f"fold {k}": people.fold == k for k in np.unique(people.fold[~people.test]).tolist()}
    steps["test part"] = people.test
    counts = [int(rows.sum()) for rows in steps.values()]
    counts += [len(np.unique(people.patient[rows])) for rows in steps.values()]
    n = len(steps)
    sums = [
        each
        for start in (0, n)
        for each in (Sum(start, [start + 1, start + n - 1]), Sum(start + 1, range(start + 2, start + n - 1)))
    ]
    # Samples of few patients are few.
    masked = hidden(counts, sums, of_few=[i for i in range(n) if 0 < counts[n + i] < LEAST])
    return [
        {
            "step": step,
            "samples": None if masked[i] else counts[i],
            "patients": None if masked[n + i] else counts[n + i],
        }
        for i, step in enumerate(steps)
    ]


def participant_rows(people: People, cohort: Path, labels: Path) -> list[Row]:
    """Rows of contracts.reported.PARTICIPANTS.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: files do not fit each other.
    """
    rows = list(_of_subgroups(people))
    summary = read_json(CohortFiles(cohort).summary)["sources"]
    for source, known in summary.items():
        path = CohortFiles(cohort).features(source)
        if path.is_file():
            rows += _of_source(people, source, *read_features(path), int(known["features"]))
    for name, task in read_tasks(LabelFiles(labels).tasks).items():
        y = read_labels(LabelFiles(labels).labels_of(name))[0]
        if task.problem_class != "clustering":
            rows += ({**row, "control": task.control} for row in _of_outcome(people, task, y))
    return rows


def differences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between the parts by more than chance explains well, the largest difference first.

    Args:
        rows: of contracts.reported.PARTICIPANTS.
    """
    found = [row for row in rows if row["group"] is None and abs(row["deviations"] or 0) > TOLD]
    looked = sum(row["group"] is None and row["deviations"] is not None for row in rows)
    lines = []
    for row in sorted(found, key=lambda row: -abs(row["deviations"])):
        level = f" {row['level']}" if row["level"] else ""
        numbers = (
            f"{100 * row['test']:.1f} % in the test part, {100 * row['train']:.1f} % in training"
            if row["measure"] == "share"
            else f"mean {row['test']:.4g} in the test part, {row['train']:.4g} in training"
        )
        lines.append(f"{row['name']}{level}: {numbers} ({row['deviations']:+.1f} SD of chance)")
    if lines:
        more = [f"and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD else []
        lines[MOST_TOLD:] = [
            *more,
            f"{len(lines)} of {looked} values differ by more than {TOLD:g} SD; by chance alone 1 of 22 does",
        ]
    return lines


def _of_subgroups(people: People) -> Iterator[Row]:
    shown = [set(told_groups([part], people.patient, people.groups)) for part in (~people.test, people.test)]
    for name, members in people.groups.items():
        if all(name in names for names in shown):
            value = members.astype(np.float64)
            yield _row("subgroup", name, None, None, "share", alike(value, people.test, people.patient))


def _of_source(people: People, source: str, x: Floats, names: Sequence[str], width: int) -> Iterator[Row]:
    none: Bools = np.asarray(np.isnan(x).all(axis=1))
    if not tells_of_few([none], people):
        found = alike(none.astype(np.float64), people.test, people.patient)
        yield _row("source", f"{source} not observed", None, None, "share", found)
    if width > MOST_FEATURES:
        return
    for j, name in enumerate(names):
        value = x[:, j].astype(np.float64)
        if np.isnan(value).all() or tells_of_few(levels(value), people):
            continue
        missing = _missing(people, value)
        yield _row("feature", name, None, None, "mean", alike(value, people.test, people.patient), missing)


def _of_outcome(people: People, task: Task, y: Floats) -> Iterator[Row]:
    """An outcome for all samples and in every subgroup: its share by class, or its mean."""
    seen = ~np.isnan(y)
    kinds: dict[str | None, Floats] = {None: np.asarray(y, dtype=np.float64)}
    if task.problem_class == "multiclass":
        kinds = {name: np.where(seen, y == c, np.nan) for c, name in enumerate(task.classes)}
    elif task.problem_class == "survival":
        kinds = {None: np.where(seen, time_and_event(y)[1], np.nan)}
    regression = task.problem_class == "regression"
    classes = levels(kinds[None]) if regression else [np.asarray(value == 1) for value in kinds.values()]
    if task.problem_class in {"binary", "survival"}:
        classes.append(seen & ~classes[0])
    measure = "mean" if regression else "share"
    parts = (~people.test, people.test)
    shown = [
        set(told_groups([part & rows for rows in (*classes, ~seen)], people.patient, people.groups))
        for part in parts
    ]
    if not tells_of_few(classes, people):
        missing = _missing(people, y)
        for level, value in kinds.items():
            found = alike(value, people.test, people.patient)
            yield _row("outcome", task.id, level, None, measure, found, missing)
    for group, members in people.groups.items():
        if all(group in names for names in shown):
            inside = members & seen
            if any(len(np.unique(people.patient[inside & part])) < LEAST for part in parts):
                continue
            missing = tuple(float(np.isnan(y[members & part]).mean()) for part in parts)
            for level, value in kinds.items():
                found = alike(np.where(members, value, np.nan), people.test, people.patient)
                yield _row("outcome", task.id, level, group, measure, found, missing)


def levels(value: Floats) -> list[Bools]:
    """The sets of samples that a mean and a deviation of a value may tell the sizes of, (n,) each.

    Of few different values that is each of them: of three, mean, deviation and the number of all say how
    many have each. Of many it is who has another value than most.

    Args:
        value: NaN = missing; (n,).
    """
    seen = ~np.isnan(value)
    values, counts = np.unique(value[seen], return_counts=True)
    if may_be_listed(len(values)):
        return [seen, *(value == one for one in values)]
    return [seen, seen & (value != values[counts.argmax()])]


def tells_of_few(sets: Sequence[Bools], people: People) -> bool:
    """Whether one of some sets of samples, (n,) each, has 1 to 10 patients in a part."""
    parts = (people.test, ~people.test)
    return any(is_small(patients_of(people.patient, rows & part)) for rows in sets for part in parts)


def _missing(people: People, value: Floats) -> tuple[float, ...]:
    """Share without a value in the training and in the test part; NaN where one tells of few."""
    gone = np.isnan(value)
    if tells_of_few([gone, ~gone], people):
        return (np.nan, np.nan)
    return tuple(float(gone[part].mean()) for part in (~people.test, people.test))


def _row(
    what: str,
    name: str,
    level: str | None,
    group: str | None,
    measure: str,
    parts: Parts,
    missing: Sequence[float] = (np.nan, np.nan),
) -> Row:
    numbers = {
        "train": parts.train,
        "train_sd": parts.train_deviation if measure == "mean" else np.nan,
        "train_missing": missing[0],
        "test": parts.test,
        "test_sd": parts.test_deviation if measure == "mean" else np.nan,
        "test_missing": missing[1],
        "standardised": parts.standardised,
        "deviations": parts.deviations,
    }
    return {
        "what": what,
        "name": name,
        "control": "",
        "level": level,
        "group": group,
        "measure": measure,
        **{k: float(f"{v:.{_DIGITS}g}") if np.isfinite(v) else None for k, v in numbers.items()},
    }


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
