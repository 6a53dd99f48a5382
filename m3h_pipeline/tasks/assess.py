"""Which tasks can be evaluated on this cohort and split, and how labels spread over parts and folds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.coding import Float32Array, time_and_event
from m3h_pipeline.config import TaskSelection
from m3h_pipeline.contracts import SPLIT
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.errors import ContractError, TaskError
from m3h_pipeline.files import read_audit, read_labels, read_samples, read_table, replacing, write_json
from m3h_pipeline.layout import LabelFiles
from m3h_pipeline.tasks.assessed import PERMUTED_LABELS, PLANTED_NOISE
from m3h_pipeline.tasks.audit import AUDIT_COLUMNS, VALUES_COLUMNS, values_told
from m3h_pipeline.tasks.prevalence import PREVALENCE_COLUMNS, Slice, prevalence

BoolArray = npt.NDArray[np.bool_]


def assess(
    labels: Mapping[str, Path],
    split: Path | str,
    samples: Path | str,
    output: Path | str,
    settings: TaskSelection,
    noise: Collection[str] = (),
) -> dict[str, Any]:
    """Judge every task and write ``tasks.json``, ``audit.tsv``, ``values.tsv`` and ``prevalence.tsv``.

    Args:
        labels: task -> ``labels/<task>.parquet``; its audit table lies beside it.
        split: ``split.parquet``.
        samples: ``cohort/samples.parquet``.
        output: folder to write to, ``labels/``.
        settings: ``min_per_fold`` and ``unevaluable`` are used.
        noise: tasks that the source of the cohort made of nothing.

    Returns:
        The content of ``tasks.json``: the description, ``status`` (``ok`` or ``dropped``), ``reason`` and
        ``control`` (``permuted labels``, ``planted noise`` or empty) of every task, in the order given.

    Raises:
        TaskError: no task can be evaluated, or one cannot and ``unevaluable`` is ``refuse``: then nothing is
            written.
        ContractError: files are not row-aligned.
        InputError: a file is missing.
    """
    cohort = read_samples(samples)
    slices = list(_slices(read_table(split, SPLIT), cohort, str(split)))
    patients = np.unique(np.asarray(cohort["patient_id"].to_pylist(), dtype=str), return_inverse=True)[1]
    tasks: dict[str, Any] = {}
    spread: list[tuple[str, ...]] = []
    for task, path in labels.items():
        y, description = read_labels(path)
        if len(y) != cohort.num_rows:
            raise ContractError(f"{len(y)} labels for {cohort.num_rows} samples", where=str(path))
        reason = unevaluable(y, description, slices, settings.min_per_fold)
        judged = {"status": "dropped" if reason else "ok", "reason": reason}
        tasks[task] = {**description, **judged, "control": _control(description, task in noise)}
        classes = dict(_classes(y, description))
        shown = [name for name in classes if description["problem_class"] != "binary" or name == "positive"]
        spread += prevalence(task, classes, shown, slices, patients)
    _refuse(tasks, settings)
    audits = [_audit(task, path) for task, path in labels.items()]
    files = LabelFiles(Path(output))
    for path, rows in (
        (files.audit, [AUDIT_COLUMNS, *chain.from_iterable(audits)]),
        (files.values, [VALUES_COLUMNS, *chain.from_iterable(map(values_told, audits))]),
        (files.prevalence, [PREVALENCE_COLUMNS, *spread]),
    ):
        with replacing(path) as temporary:
            temporary.write_text(tsv(rows), encoding="utf-8")
    result = {"tasks": tasks}
    write_json(result, files.tasks)
    return result


def unevaluable(
    y: Float32Array, description: Mapping[str, Any], slices: list[Slice], min_per_fold: int
) -> str:
    """Why a task cannot be evaluated, with the numbers; empty if it can.

    A binary or multiclass task needs ``min_per_fold`` samples of every class in every fold and in the test
    part; a survival task as many events, and one more sample with a time; a regression task as many observed
    values, and not all the same; a clustering task more samples than clusters.
    """
    observed = ~np.isnan(y)
    if not observed.any():
        return "no label is observed"
    judged = [s for s in slices if s.fold or s.part == "test"]
    kind = description["problem_class"]
    if kind in {"binary", "multiclass"}:
        present = [name for name, rows in _classes(y, description) if rows.any()]
        if len(present) < 2:
            return f"every observed label is {present[0]}"
        lacking = [
            _lacking(name, [(s.name, int((rows & s.rows).sum())) for s in judged], min_per_fold)
            for name, rows in _classes(y, description)
        ]
        return "; ".join(text for text in lacking if text)
    if kind == "survival":
        event = time_and_event(y)[1]
        lack = _lacking("events", [(s.name, int((event & s.rows).sum())) for s in judged], min_per_fold)
        counts = [(s.name, int((observed & s.rows).sum())) for s in judged]
        return lack or _lacking("observed", counts, min_per_fold + 1)
    least = min_per_fold if kind == "regression" else max(min_per_fold, int(description["clusters"]) + 1)
    counts = [(s.name, int((observed & s.rows).sum())) for s in judged]
    if lack := _lacking("observed", counts, least):
        return lack
    constant = [s.name for s in judged if kind == "regression" and np.ptp(y[observed & s.rows]) == 0]
    return f"all values are the same in {_and(constant)}" if constant else ""


def _control(description: Mapping[str, Any], noise: bool) -> str:
    """Why nothing can be learned of a task; empty: it is an outcome."""
    if description.get("permuted"):
        return PERMUTED_LABELS
    return PLANTED_NOISE if noise else ""


def _lacking(what: str, counts: list[tuple[str, int]], least: int) -> str:
    few = [f"{small_count(n)} in {place}" for place, n in counts if n < least]
    return f"{what}: {_and(few)}, at least {least} needed" if few else ""


def _and(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def _classes(y: Float32Array, description: Mapping[str, Any]) -> Iterator[tuple[str, BoolArray]]:
    """Name and rows of every class; events and censored times of a survival task; for regression one class
    "observed", for clustering one "included"."""
    kind = description["problem_class"]
    if kind == "binary":
        yield "negative", y == 0
        yield "positive", y == 1
    elif kind == "multiclass":
        for i, name in enumerate(description["classes"]):
            yield str(name), y == i
    elif kind == "survival":
        event = time_and_event(y)[1]
        yield "event", event
        yield "censored", ~event & ~np.isnan(y)
    else:
        yield "observed" if kind == "regression" else "included", ~np.isnan(y)


def _slices(split: pa.Table, samples: pa.Table, where: str) -> Iterator[Slice]:
    """The whole cohort, both parts, every fold."""
    if not split["sample_id"].equals(samples["sample_id"]):
        raise ContractError("its samples are not those of the cohort, in that order", where=where)
    part = np.asarray(split["part"].to_pylist(), dtype=str)
    fold = split["fold"].to_numpy()
    yield Slice("the cohort", "all", "", np.ones(len(part), dtype=bool))
    yield Slice("the training part", "train", "", part == "train")
    for k in np.unique(fold[part == "train"]):
        yield Slice(f"fold {k}", "train", str(k), (part == "train") & (fold == k))
    yield Slice("the test part", "test", "", part == "test")


def _refuse(tasks: Mapping[str, Mapping[str, Any]], settings: TaskSelection) -> None:
    dropped = [f"{name}: {task['reason']}" for name, task in tasks.items() if task["status"] != "ok"]
    if dropped and settings.unevaluable == "refuse":
        count = f"{len(dropped)} task{'s' if len(dropped) > 1 else ''}"
        raise TaskError(
            f"{count} cannot be evaluated:\n    " + "\n    ".join(dropped),
            where="tasks.unevaluable: refuse",
            hint="name them in `tasks.exclude`, lower `tasks.min_per_fold` or `split.folds`",
        )
    if len(dropped) == len(tasks):
        raise TaskError(
            "no task can be evaluated:\n    " + "\n    ".join(dropped),
            where="labels, split",
            hint="check the definitions and the cohort's label columns, or lower `tasks.min_per_fold`",
        )


def _audit(task: str, labels: Path) -> list[list[str]]:
    """The lines of a task's audit table."""
    lines = read_audit(LabelFiles(labels.parent).audit_of(task), labels).splitlines()
    return [line.split("\t") for line in lines[1:]]
