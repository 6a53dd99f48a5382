"""The worked example of docs/bring_your_own_hospital.md on the MIMIC-IV demo turned into OMOP."""

from __future__ import annotations

import io
import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.cohort.mimic.ingest import ingest_mimic
from m3h_pipeline.cohort.mimic.series import EVENT_TABLES
from m3h_pipeline.config import MimicSource
from m3h_pipeline.files import read_features, read_samples, read_table
from tests.cohort.mimic.conftest import text
from tests.conftest import ROOT

pytestmark = pytest.mark.real_data
NAMES = ["demographics", "ts_chart", "ts_lab", "ts_procedure"]


def omop(demo: Path, folder: Path) -> None:
    """The CDM's tables that the example reads."""
    (folder / "omop").mkdir(parents=True)

    def save(name: str, **columns: object) -> None:
        pd.DataFrame(columns).to_parquet(folder / f"omop/{name}.parquet")

    def time(values: pd.Series) -> pd.Series:
        return pd.to_datetime(values, format="ISO8601")

    def number(values: pd.Series) -> pd.Series:
        return pd.to_numeric(values).astype("Int64")

    patients, stays = text(demo, "hosp/patients"), text(demo, "icu/icustays")
    admissions = text(demo, "hosp/admissions")
    race = admissions.drop_duplicates("subject_id").set_index("subject_id").race
    save(
        "person",
        person_id=number(patients.subject_id),
        gender_concept_id=patients.gender.map({"F": 8532, "M": 8507}),
        year_of_birth=number(patients.anchor_year) - number(patients.anchor_age),
        race_source_value=patients.subject_id.map(race).str.lower(),
    )
    save(
        "visit_occurrence",
        visit_occurrence_id=number(admissions.hadm_id),
        visit_start_datetime=time(admissions.admittime),
        visit_end_datetime=time(admissions.dischtime),
        discharged_to_source_value=admissions.discharge_location.replace("", None),
    )
    save(
        "visit_detail",
        visit_detail_id=number(stays.stay_id),
        visit_occurrence_id=number(stays.hadm_id),
        person_id=number(stays.subject_id),
        visit_detail_concept_id=32037,
        visit_detail_start_datetime=time(stays.intime),
        visit_detail_end_datetime=time(stays.outtime),
        visit_detail_source_value=stays.first_careunit,
    )
    chart, lab = text(demo, "icu/chartevents"), text(demo, "hosp/labevents")
    events = pd.concat([chart, lab[lab.hadm_id != ""]], ignore_index=True)
    save(
        "measurement",
        visit_occurrence_id=number(events.hadm_id),
        visit_detail_id=number(events.stay_id),
        measurement_concept_id=number(events.itemid),
        measurement_datetime=time(events.charttime),
        value_as_number=pd.to_numeric(events.valuenum),
    )
    procedures = text(demo, "icu/procedureevents")
    save(
        "procedure_occurrence",
        visit_detail_id=number(procedures.stay_id),
        procedure_concept_id=number(procedures.itemid),
        procedure_datetime=time(procedures.starttime),
        procedure_end_datetime=time(procedures.endtime),
    )
    codes = text(demo, "hosp/d_icd_diagnoses")
    codes["concept_id"] = np.arange(len(codes)) + 45_000_000
    given = text(demo, "hosp/diagnoses_icd").merge(codes, on=["icd_code", "icd_version"])
    dotted = codes.icd_code.str[:3] + "." + codes.icd_code.str[3:]
    save(
        "concept",
        concept_id=codes.concept_id,
        concept_code=dotted.str.rstrip("."),
        concept_name=codes.long_title,
        vocabulary_id=codes.icd_version.map({"9": "ICD9CM", "10": "ICD10CM"}),
    )
    save(
        "condition_occurrence",
        person_id=number(given.subject_id),
        visit_occurrence_id=number(given.hadm_id),
        condition_source_concept_id=given.concept_id,
    )
    rows = []
    for kind, events_, name in zip(
        ("chart", "lab", "procedure"),
        EVENT_TABLES,
        ("icu/d_items", "hosp/d_labitems", "icu/d_items"),
        strict=True,
    ):
        items = text(demo, name)
        items = items[items.label.isin(events_.series)]
        if kind == "lab":
            items = items[items.fluid == "Blood"]
        rows.append(pd.DataFrame({"concept_id": items.itemid, "kind": kind, "label": items.label}))
    pd.concat(rows).to_csv(folder / "map.csv", index=False)


def test_the_worked_example(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/bring_your_own_hospital.md").read_text()
    (script,) = re.findall(r"```sql\n(.*?)```", page, flags=re.DOTALL)
    own = tmp_path / "own"
    omop(demo, own)
    for name in ("hosp", "icu"):
        (own / name).mkdir()
    monkeypatch.chdir(own)
    with duckdb.connect() as connection:
        connection.execute(script)
    found, expected = tmp_path / "found", tmp_path / "expected"
    ingest_mimic(MimicSource(folder=str(own)), NAMES, found, stream=io.StringIO())
    ingest_mimic(MimicSource(folder=str(demo)), NAMES, expected, stream=io.StringIO())
    assert read_samples(found / "samples.parquet").equals(read_samples(expected / "samples.parquet"))
    for name in ("columns", "diagnoses"):
        assert read_table(found / f"{name}.parquet").equals(read_table(expected / f"{name}.parquet")), name
    x, y = (read_features(folder / "features/ts_chart.parquet")[0] for folder in (found, expected))
    np.testing.assert_array_equal(x, y)
    # Visible an hour after it was drawn is not when the demo's were stored, but nearly.
    x, y = (read_features(folder / "features/ts_lab.parquet")[0] for folder in (found, expected))
    assert np.isclose(x, y, equal_nan=True).mean() > 0.8
    x, _ = read_features(found / "features/ts_procedure.parquet")
    assert np.isfinite(x).any()
