"""Small cohorts for the tests of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from m3h_pipeline.contracts import DIAGNOSES, samples_schema
from m3h_pipeline.files import write_table

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
