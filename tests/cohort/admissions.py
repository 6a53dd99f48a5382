"""Admissions of MIMIC-IV as stays, for tests that look at diagnoses alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from m3h_pipeline.cohort.diagnoses import STAYS


def admissions(hosp: Path) -> pa.Table:
    """Every admission of a ``hosp`` folder as a stay of its own, whose ``stay_id`` is the ``hadm_id``."""
    frame = pd.read_csv(hosp / "admissions.csv.gz", dtype=str, usecols=["subject_id", "hadm_id"])
    columns = [pa.array(frame[name], pa.string()) for name in ("subject_id", "hadm_id", "hadm_id")]
    return pa.Table.from_arrays(columns, schema=STAYS)
