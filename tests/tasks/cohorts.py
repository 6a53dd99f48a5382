"""Small cohorts for the tests of labels."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource
from m3h_pipeline.contracts import DIAGNOSES, samples_schema
from m3h_pipeline.files import read_labels, write_table
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.kinds import kind_of
from m3h_pipeline.tasks.labels import label_task

Diagnosis = tuple[str, str, int, str]


def write_cohort(
    folder: Path,
    stays: list[tuple[str, str | None]],
    diagnoses: list[Diagnosis] | None = None,
    columns: dict[str, Any] | None = None,
) -> Path:
    """Samples s000, s001, ... of the given (patient, stay); diagnoses are (stay, code, version, title)."""
    samples = pa.table(
        {
            "sample_id": [f"s{i:05d}" for i in range(len(stays))],
            "patient_id": [patient for patient, _ in stays],
            "stay_id": pa.array([stay for _, stay in stays], pa.string()),
        }
    )
    write_table(samples.cast(samples_schema([])), folder / "samples.parquet", samples_schema([]))
    if diagnoses is not None:
        patient = {stay: name for name, stay in stays if stay is not None}
        rows = [
            {
                "patient_id": patient.get(stay, "elsewhere"),
                "stay_id": stay,
                "icd_code": code,
                "icd_version": version,
                "long_title": title,
            }
            for stay, code, version, title in diagnoses
        ]
        write_table(pa.Table.from_pylist(rows, schema=DIAGNOSES), folder / "diagnoses.parquet", DIAGNOSES)
    if columns is not None:
        write_table(pa.table(columns), folder / "columns.parquet")
    return folder


def audit_rows(path: Path) -> list[dict[str, str]]:
    """The lines of an audit table by the names of its columns."""
    head, *lines = path.read_text().splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


def labelled_table(
    table: dict[str, list[Any]], criterion: dict[str, Any], folder: Path, missing_values: Sequence[str] = ()
) -> tuple[Any, list[dict[str, str]]]:
    """A CSV file with a column `id`, ingested and labelled: the labels in its order, and the audit."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])
    kind = kind_of(criterion["kind"])
    definition = TaskDefinition.model_validate(
        {"title": "y", "department": "D", "class": kind.makes, "criterion": criterion}
    )
    features = next(name for name in table if name not in {"id", *definition.criterion.columns})
    source = TableSource.model_validate(
        {
            "kind": "table",
            "files": [{"path": str(folder / "t.csv"), "id": "id"}],
            "blocks": {"x": {"columns": [features]}},
            "columns": definition.criterion.columns,
            "missing_values": list(missing_values),
        }
    )
    ingest_table(source, ["x"], folder / "cohort", stream=io.StringIO())
    label_task("y", definition, folder / "cohort", folder / "y.parquet", folder / "y.tsv")
    y, _ = read_labels(folder / "y.parquet")
    order = np.argsort(np.argsort(np.array(table["id"], dtype=str)))
    return y[order], audit_rows(folder / "y.tsv")
