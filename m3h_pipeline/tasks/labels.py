"""Labels of one task: from a cohort and a definition to ``labels/<task>.parquet`` and its audit table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.contracts import DIAGNOSES
from m3h_pipeline.disclosure import may_be_listed, small_count
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.errors import TaskError, nearest
from m3h_pipeline.files import read_samples, read_table, replacing, write_labels
from m3h_pipeline.files.leftovers import remove_leftovers
from m3h_pipeline.layout import CohortFiles
from m3h_pipeline.tasks.audit import AUDIT_COLUMNS
from m3h_pipeline.tasks.columns import Column, Outcome
from m3h_pipeline.tasks.criteria import ColumnCriterion, Diagnosis, NoLabel
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.diagnoses import CodeCount, label_stays
from m3h_pipeline.tasks.permuted import permute_between_patients


def label_task(
    task_id: str,
    definition: TaskDefinition,
    cohort: Path | str,
    output: Path | str,
    audit: Path | str,
    permute_seed: int | None = None,
) -> None:
    """Build one task's labels and its audit table.

    Args:
        task_id: the task.
        definition: its definition.
        cohort: folder with ``samples.parquet`` and, as the criterion needs, ``diagnoses.parquet`` or
            ``columns.parquet``.
        output: ``labels/<task>.parquet``.
        audit: ``labels/<task>.audit.tsv``.
        permute_seed: shuffle the labels between patients (a negative control), from this seed; see
            :mod:`m3h_pipeline.tasks.permuted`. The audit table shows what was there before.

    Raises:
        TaskError: the cohort has not what the criterion needs, or a value that the criterion does not name.
    """
    files = CohortFiles(Path(cohort))
    samples = read_samples(files.samples)
    try:
        y, rows = build_labels(definition, samples, files.folder)
        if permute_seed is not None:
            if isinstance(definition.criterion, NoLabel):
                raise TaskError("it has no labels to permute", hint="take it off `tasks.permute`")
            y = permute_between_patients(y, samples["patient_id"].to_pylist(), permute_seed, task_id)
    except TaskError as error:
        where = f"task `{task_id}`" + (f", {error.where}" if error.where else "")
        raise TaskError(error.what, where=where, hint=error.hint, shown=error.shown) from error
    remove_leftovers(Path(audit).parent, Path(output).parent)
    with replacing(audit) as temporary:
        text = tsv([AUDIT_COLUMNS, *([task_id, *row] for row in rows)])
        temporary.write_text(text, encoding="utf-8")
        # Inside, so that there is no audit table without its labels.
        described = definition.describe(task_id, permuted=permute_seed is not None)
        content = definition.model_dump(mode="json", exclude_none=True)
        write_labels(y, output, described, text, content)


def build_labels(
    definition: TaskDefinition, samples: pa.Table, cohort: Path
) -> tuple[Float32Array, list[list[str]]]:
    """The labels of ``definition`` for ``samples``, and the lines of the audit table without the task.

    A multiclass label is the index of its class. A clustering task has no label: its ``y`` is 0 where a
    sample takes part, which is everywhere.

    Shape:
        (n,) float32 in the row order of ``samples``; NaN = not observed.

    Raises:
        TaskError: the cohort has not what the criterion needs, or a value that the criterion does not name.
    """
    criterion = definition.criterion
    if isinstance(criterion, NoLabel):
        return np.zeros(samples.num_rows, dtype=np.float32), []
    if isinstance(criterion, Diagnosis):
        y, codes, outcomes = label_stays(criterion, samples["stay_id"], _diagnoses(cohort))
        return y, [*(_code_line(code) for code in codes), *_value_lines(outcomes, samples)]
    assert isinstance(criterion, ColumnCriterion)
    labels, outcomes = criterion.label(_columns(criterion.columns, samples, cohort))
    if not np.isfinite(labels).any():
        seen = dict.fromkeys(f"`{one.value}` is {one.status}" for one in outcomes if one.rows.any())
        raise TaskError(
            "the criterion matches no row: every label is missing",
            where=f"column{'s' if len(criterion.columns) > 1 else ''} {', '.join(criterion.columns[:8])}",
            hint="; ".join(seen) if may_be_listed(len(seen)) else "is it the right column?",
        )
    return _as_single(labels), list(_value_lines(outcomes, samples))


#: Largest label: its square, summed over a cohort, is still a number in single precision.
LARGEST = 1e15


def _as_single(labels: npt.NDArray[np.floating[Any]]) -> Float32Array:
    """Labels in single precision.

    Raises:
        TaskError: some are beyond :data:`LARGEST`.
    """
    beyond = int((np.abs(labels) > LARGEST).sum())
    if beyond:
        raise TaskError(
            f"{small_count(beyond)} label(s) are beyond {LARGEST:.0e}, "
            "which training cannot tell from infinity",
            hint="if they stand for a missing value, name it in `source.missing_values` (tables) or leave the"
            " cells empty; else choose another unit (`scale`)",
            shown=f"labels are beyond {LARGEST:.0e}",
        )
    return labels.astype(np.float32)


def _diagnoses(cohort: Path) -> pa.Table:
    path = CohortFiles(cohort).diagnoses
    if not path.is_file():
        raise TaskError(
            "the task is defined by diagnosis codes, and the cohort has none",
            where=str(path),
            hint="name the table of codes as `source.diagnoses` (or MIMIC-IV's hosp tables as "
            "`source.hosp`), or leave the task out",
        )
    return read_table(path, DIAGNOSES)


def _columns(names: list[str], samples: pa.Table, cohort: Path) -> dict[str, Column]:
    path = CohortFiles(cohort).columns
    if not path.is_file():
        raise TaskError(
            f"the task reads the column `{names[0]}`, and the cohort has no columns for labels",
            where=str(path),
            hint="name the columns in `source.columns`",
        )
    table = read_table(path)
    for name in names:
        if name not in table.column_names:
            raise TaskError(
                f"the cohort has no column `{name}`",
                where=str(path),
                hint=f"name it in `source.columns`; {nearest(name, table.column_names)}",
            )
    if table.num_rows != samples.num_rows:
        raise TaskError(f"it has {table.num_rows} rows for {samples.num_rows} samples", where=str(path))
    return {name: Column(name, table[name]) for name in names}


def _code_line(row: CodeCount) -> list[str]:
    status = "counted" if row.counted else "excluded"
    counts = [str(n) for n in (row.samples, row.stays, row.patients)]
    return [row.group, str(row.version), row.code, _one_line(row.title), status, row.by, *counts]


def _value_lines(outcomes: Iterable[Outcome], samples: pa.Table) -> Iterable[list[str]]:
    patients = np.asarray(samples["patient_id"].to_pylist(), dtype=object)
    stays = np.asarray(samples["stay_id"].to_pylist(), dtype=object)
    for outcome in outcomes:
        known = {stay for stay in stays[outcome.rows] if stay is not None}
        n = (int(outcome.rows.sum()), len(known), len(set(patients[outcome.rows])))
        counts = [str(value) for value in n]
        yield ["", "", outcome.column, _one_line(outcome.value), outcome.status, "", *counts]


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
