"""Stays and samples: who is predicted for, from when, and what label definitions may read about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.cohort.diagnoses import find_table
from m3h_pipeline.cohort.mimic.database import load_file, run, unique
from m3h_pipeline.config.mimic import CHEXPERT, CXR_TABLES, MimicSource, folder_of
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.textfile import open_bytes, read_header, split_header

if TYPE_CHECKING:
    import duckdb

_DESCRIPTIONS = ("PerformedProcedureStepDescription", "ViewPosition")
_COLUMNS = {
    "icustays": {
        "subject_id": "BIGINT",
        "hadm_id": "BIGINT",
        "stay_id": "BIGINT",
        "intime": "TIMESTAMP",
        "outtime": "TIMESTAMP",
        "first_careunit": "VARCHAR",
    },
    "admissions": {
        "subject_id": "BIGINT",
        "hadm_id": "BIGINT",
        "admittime": "TIMESTAMP",
        "dischtime": "TIMESTAMP",
        "discharge_location": "VARCHAR",
        "insurance": "VARCHAR",
        "language": "VARCHAR",
        "marital_status": "VARCHAR",
        "race": "VARCHAR",
    },
    "patients": {"subject_id": "BIGINT", "gender": "VARCHAR", "anchor_age": "BIGINT"},
}


@dataclass(frozen=True)
class Samples:
    """The samples in their final order, which is that of their stays.

    Attributes:
        table: one row per sample: identifiers, columns of label definitions, groups, demographics.
        stay: (n,) number of the sample's stay, ascending from 0.
        time: (n,) microseconds since the epoch (of MIMIC's shifted calendar): nothing known later is used.
        columns: the columns that label definitions may read.
        stays: number of stays that have samples; ``without``: number of those that have none.
        keyless: rows of ``icustays`` that were left out: they lack an id, the admission or the patient.
    """

    table: pa.Table
    stay: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    columns: tuple[str, ...]
    stays: int
    without: int
    keyless: int


def build_samples(db: duckdb.DuckDBPyConnection, source: MimicSource) -> Samples:
    """Read stays, admissions and patients, and make the samples.

    The database keeps the tables ``admissions``, ``patients`` and ``stays`` (``stay``, a number from 0;
    ``stay_id``, ``hadm_id``, ``latest``, the time of the stay's last sample).

    Raises:
        InputError: a table is absent or malformed, too many stays have no admission or patient, or there is
            no sample.
    """
    root = Path(source.folder)
    keyless = 0
    for name, folder in (("icustays", "icu"), ("admissions", "hosp"), ("patients", "hosp")):
        path = table_file(root, f"{folder}/{name}")
        _load(db, name, path)
        if name == "icustays":
            # Of nobody: without these ids a stay has neither sample nor patient.
            keyless = _count(db, "SELECT count(*) FROM icustays WHERE stay_id IS NULL OR subject_id IS NULL")
            run(db, "DELETE FROM icustays WHERE stay_id IS NULL OR subject_id IS NULL")
        unique(db, name, [{"icustays": "stay_id", "admissions": "hadm_id"}.get(name, "subject_id")], path)
    run(
        db,
        "CREATE TABLE joined AS SELECT i.*, a.* EXCLUDE (subject_id, hadm_id), p.gender, p.anchor_age,"
        " a.hadm_id IS NOT NULL AND p.subject_id IS NOT NULL AS whole"
        " FROM icustays i LEFT JOIN admissions a USING (subject_id, hadm_id)"
        " LEFT JOIN patients p USING (subject_id)",
    )
    keyless += _count(db, "SELECT count(*) FROM joined WHERE NOT whole")
    if keyless > source.max_malformed:
        raise InputError(
            f"{small_count(keyless)} ICU stays have no admission or no patient",
            where=str(root),
            hint="do `hosp` and `icu` come from the same release? Else raise `source.max_malformed` if these "
            "stays may be left out",
        )
    run(db, "DELETE FROM icustays WHERE stay_id IN (SELECT stay_id FROM joined WHERE NOT whole)")
    run(db, "DELETE FROM joined WHERE NOT whole")
    more: tuple[str, ...] = ()
    if source.samples == "per_image":
        _images(db, Path(str(source.cxr)))
        more = (*CHEXPERT, *_DESCRIPTIONS)
    run(db, f"CREATE TABLE moments AS {_moments(source)}")
    if not _count(db, "SELECT count(*) FROM moments"):
        raise InputError(
            "no ICU stay lasts long enough for a sample"
            if source.samples != "per_image"
            else "no chest X-ray was taken during an ICU stay",
            where=str(root),
            hint="check `source.samples` and `source.hours`",
        )
    run(
        db,
        "CREATE TABLE stays AS SELECT (row_number() OVER (ORDER BY stay_id) - 1)::INTEGER AS stay,"
        " stay_id, any_value(hadm_id) AS hadm_id, max(t) AS latest"
        " FROM moments JOIN icustays USING (stay_id) GROUP BY stay_id ORDER BY stay_id",
    )
    width = max(8, _count(db, "SELECT max(length(stay_id::VARCHAR)) FROM stays"))
    suffix = "''" if source.samples == "per_stay" else "'-' || lpad(k::VARCHAR, 4, '0')"
    extra = "".join(f', m."{name}"' for name in more)
    table = db.sql(
        f"SELECT lpad(j.stay_id::VARCHAR, {width}, '0') || {suffix} AS sample_id,"
        " j.subject_id::VARCHAR AS patient_id, j.stay_id::VARCHAR AS stay_id, j.hadm_id::VARCHAR AS hadm_id,"
        " j.subject_id, s.stay, epoch_us(m.t) AS t,"
        " epoch_us(m.t - j.admittime) / 3.6e9 AS img_deltacharttime, j.discharge_location,"
        " epoch_us(j.dischtime - m.t) / 3.6e9 AS img_length_of_stay,"
        " (j.discharge_location IS NOT DISTINCT FROM 'DIED')::DOUBLE AS death_status,"
        " j.gender, j.race, j.insurance, j.language, j.marital_status, j.first_careunit, j.anchor_age"
        f"{extra} FROM moments m JOIN joined j USING (stay_id)"
        " JOIN stays s USING (stay_id) ORDER BY sample_id"
    ).to_arrow_table()
    stays = _count(db, "SELECT count(*) FROM stays")
    return Samples(
        table,
        table["stay"].to_numpy().astype(np.int64),
        table["t"].to_numpy(),
        ("img_deltacharttime", "discharge_location", "img_length_of_stay", "death_status", *more),
        stays,
        _count(db, "SELECT count(*) FROM icustays") - stays,
        keyless,
    )


def _load(db: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """A table of :data:`_COLUMNS`; what MIMIC-IV 1.0 calls `ethnicity` is `race` since."""
    columns = _COLUMNS[name]
    with open_bytes(path) as stream:
        header = split_header(read_header(stream, path)[0], path)
    if "race" in columns and "race" not in header and "ethnicity" in header:
        columns = {{"race": "ethnicity"}.get(column, column): kind for column, kind in columns.items()}
    load_file(db, name, path, columns)
    if "ethnicity" in columns:
        run(db, f"ALTER TABLE {name} RENAME COLUMN ethnicity TO race")


def table_file(root: Path, name: str) -> Path:
    """The file of a table such as ``icu/icustays``.

    Raises:
        InputError: there is none.
    """
    folder = folder_of(root, name)
    if not folder.is_dir():
        raise InputError(
            f"the folder `{folder.name}` is absent",
            where=str(root),
            hint="`source.folder` is the folder of a MIMIC-IV release, with `hosp` and `icu` in it",
        )
    try:
        return find_table(folder, Path(name).name)
    except InputError as error:
        raise InputError(
            error.what, where=error.where, hint="give MIMIC-IV (and MIMIC-CXR-JPG) as distributed"
        ) from None


def _moments(source: MimicSource) -> str:
    """SQL of the table stay, number of the sample within it, time."""
    step = round(source.hours * 3.6e9)
    if source.samples == "per_stay":
        return (
            f"SELECT stay_id, 1 AS k, intime + to_microseconds({step}) AS t FROM icustays"
            f" WHERE intime + to_microseconds({step}) <= outtime"
        )
    if source.samples == "every":
        most = f"least({source.max_per_stay}, n)" if source.max_per_stay else "n"
        return (
            f"SELECT stay_id, k, intime + to_microseconds(k * {step}) AS t FROM (SELECT stay_id, intime,"
            f" unnest(range(1, {most} + 1)) AS k FROM (SELECT *, epoch_us(outtime - intime) // {step} AS n"
            " FROM icustays WHERE outtime > intime))"
        )
    return (
        "SELECT stay_id, row_number() OVER (PARTITION BY stay_id ORDER BY taken, dicom_id) AS k,"
        " taken AS t, images.* EXCLUDE (subject_id, study_id, taken)"
        " FROM images JOIN icustays USING (subject_id) WHERE taken BETWEEN intime AND outtime"
    )


def image_table(db: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """The table ``images``: patient, study, and when each was taken (to the minute, as published).

    Raises:
        InputError: the metadata are absent or malformed.
    """
    path = table_file(folder, CXR_TABLES[0])
    columns = {"dicom_id": "VARCHAR", "subject_id": "BIGINT", "study_id": "BIGINT"}
    columns |= {"StudyDate": "BIGINT", "StudyTime": "DOUBLE"} | dict.fromkeys(_DESCRIPTIONS, "VARCHAR")
    load_file(db, "metadata", path, columns)
    unique(db, "metadata", ["dicom_id"], path)
    run(
        db,
        "CREATE TABLE images AS SELECT * EXCLUDE (StudyDate, StudyTime), date_trunc('minute', try_strptime("
        "StudyDate::VARCHAR || lpad(floor(StudyTime)::BIGINT::VARCHAR, 6, '0'), '%Y%m%d%H%M%S')) AS taken"
        " FROM metadata",
    )
    if wrong := _count(db, "SELECT count(*) FROM images WHERE taken IS NULL"):
        raise InputError(
            f"{small_count(wrong)} images have no valid StudyDate and StudyTime", where=str(path)
        )


def _images(db: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """The table ``images``, with what was found on them."""
    image_table(db, folder)
    path = table_file(folder, CXR_TABLES[1])
    columns = {"subject_id": "BIGINT", "study_id": "BIGINT"} | dict.fromkeys(CHEXPERT, "DOUBLE")
    load_file(db, "findings", path, columns)
    unique(db, "findings", ["study_id"], path)
    run(
        db,
        "CREATE OR REPLACE TABLE images AS"
        " SELECT * FROM images LEFT JOIN findings USING (subject_id, study_id)",
    )


def _count(db: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(run(db, query)[0][0] or 0)
