"""Diagnosis codes of hospital admissions, from the MIMIC-IV ``hosp`` tables (versions 2.x and 3.x)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.contracts import DIAGNOSES
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import check_schema
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.textfile import stream_text

#: The stays whose diagnoses are wanted, and the hospital admission of each.
STAYS = pa.schema(
    [
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("stay_id", pa.string(), nullable=False),
        pa.field("hadm_id", pa.string(), nullable=False),
    ]
)


def find_table(folder: Path | str, name: str) -> Path:
    """The file ``<name>.csv`` or ``<name>.csv.gz`` of a folder of MIMIC-IV tables.

    Raises:
        InputError: there is neither.
    """
    for suffix in (".csv", ".csv.gz"):
        path = Path(folder) / f"{name}{suffix}"
        if path.is_file():
            return path
    raise InputError(
        f"`{name}.csv` or `{name}.csv.gz` is absent",
        where=str(folder),
        hint="give the `hosp` folder of MIMIC-IV as distributed",
    )


def normal_code(codes: pa.Array) -> pa.Array:
    """ICD codes without dots and blanks (old releases pad them), in upper case.

    Examples:
        >>> normal_code(pa.array(["j18.9", "0090 "])).to_pylist()
        ['J189', '0090']
    """
    return pc.replace_substring(pc.utf8_upper(pc.utf8_trim_whitespace(codes)), pattern=".", replacement="")


def read_hosp_diagnoses(hosp: Path | str, stays: pa.Table) -> pa.Table:
    """The distinct diagnosis codes of the hospital admission of every stay.

    Codes are without dots and in upper case; the title is that of code *and* version in ``d_icd_diagnoses``
    (the same code means different things in ICD-9 and ICD-10), empty if the dictionary lacks it. A stay whose
    admission has no recorded diagnosis has no row.

    Args:
        hosp: folder with ``diagnoses_icd`` and ``d_icd_diagnoses``, ``.csv`` or ``.csv.gz``.
        stays: table of schema :data:`STAYS`.

    Returns:
        A table of schema :data:`m3h_pipeline.contracts.DIAGNOSES`, sorted by patient, stay, version and code.

    Raises:
        InputError: a table is absent or malformed, a version is neither 9 nor 10, or an admission's patient
            differs from that of ``stays``.
    """
    stays = check_schema(stays, STAYS, "stays")
    path = find_table(hosp, "diagnoses_icd")
    wanted = pc.unique(stays["hadm_id"])
    parts: list[pa.RecordBatch] = []
    for batch in stream_text(path, ["subject_id", "hadm_id", "icd_code", "icd_version"]):
        hadm = normal_ids(batch["hadm_id"])
        keep = pc.is_in(hadm, value_set=wanted)
        if not pc.any(keep).as_py():
            continue
        parts.append(
            pa.record_batch(
                [
                    pc.filter(normal_ids(batch["subject_id"]), keep),
                    pc.filter(hadm, keep),
                    pc.filter(normal_code(batch["icd_code"]), keep),
                    _version(pc.filter(batch["icd_version"], keep), path),
                ],
                names=["subject_id", "hadm_id", "icd_code", "icd_version"],
            )
        )
    if not parts:
        return DIAGNOSES.empty_table()
    codes = pa.Table.from_batches(parts).group_by(["subject_id", "hadm_id", "icd_code", "icd_version"])
    table = codes.aggregate([]).join(stays, "hadm_id", join_type="inner")
    wrong = pc.sum(pc.cast(pc.not_equal(table["subject_id"], table["patient_id"]), pa.int64())).as_py()
    if wrong:
        raise InputError(
            f"{small_count(wrong)} diagnoses belong to an admission that the cohort gives to another patient",
            where=str(path),
            hint="do the cohort and the `hosp` folder come from the same release?",
        )
    table = table.join(_titles(hosp), ["icd_code", "icd_version"], join_type="left outer")
    table = table.set_column(
        table.column_names.index("long_title"), "long_title", pc.fill_null(table["long_title"], "")
    )
    table = table.select(DIAGNOSES.names).group_by(DIAGNOSES.names, use_threads=False).aggregate([])
    order = [(name, "ascending") for name in ("patient_id", "stay_id", "icd_version", "icd_code")]
    return check_schema(table.sort_by(order).cast(DIAGNOSES), DIAGNOSES, str(path))


def diagnosed(hosp: Path | str, stays: pa.Table, total: int) -> tuple[pa.Table, dict[str, int]]:
    """The diagnoses of a cohort, as :func:`read_hosp_diagnoses` gives them, and what there is of them.

    Args:
        hosp: folder of the tables.
        stays: table of schema :data:`STAYS`.
        total: number of the cohort's stays, with those whose admission is unknown.

    Returns:
        The table, and what :func:`described` says of it.

    Raises:
        InputError: as there; or there is no diagnosis at all.
    """
    table = read_hosp_diagnoses(hosp, stays)
    if not table.num_rows:
        raise InputError(
            "no admission of the cohort has a diagnosis",
            where=str(find_table(hosp, "diagnoses_icd")),
            hint="is this the whole file, and of the same release as the cohort?",
        )
    return table, described(table, total)


def described(diagnoses: pa.Table, total: int) -> dict[str, int]:
    """What there is of diagnoses.

    Args:
        diagnoses: schema :data:`m3h_pipeline.contracts.DIAGNOSES`.
        total: number of the cohort's stays.

    Returns:
        Numbers of ``rows``, ``codes``, ``codes_without_title`` and ``stays_without`` any.
    """
    keys = ["icd_code", "icd_version"]
    untitled = diagnoses.filter(pc.equal(diagnoses["long_title"], ""))
    return {
        "rows": diagnoses.num_rows,
        "codes": diagnoses.select(keys).group_by(keys).aggregate([]).num_rows,
        "codes_without_title": untitled.select(keys).group_by(keys).aggregate([]).num_rows,
        "stays_without": total - len(diagnoses["stay_id"].unique()),
    }


def _titles(hosp: Path | str) -> pa.Table:
    """Title of every code and version; of a code listed twice, the first title in alphabetical order."""
    path = find_table(hosp, "d_icd_diagnoses")
    parts = [
        pa.record_batch(
            [
                normal_code(batch["icd_code"]),
                _version(batch["icd_version"], path),
                pc.utf8_trim_whitespace(batch["long_title"]),
            ],
            names=["icd_code", "icd_version", "long_title"],
        )
        for batch in stream_text(path, ["icd_code", "icd_version", "long_title"])
    ]
    if not parts:
        raise InputError("there is no code in the dictionary", where=str(path))
    table = (
        pa.Table.from_batches(parts).group_by(["icd_code", "icd_version"]).aggregate([("long_title", "min")])
    )
    return table.rename_columns(
        [{"long_title_min": "long_title"}.get(name, name) for name in table.column_names]
    )


def _version(values: pa.Array, path: Path) -> pa.Array:
    text = normal_ids(values)
    known = pc.is_in(text, value_set=pa.array(["9", "10"]))
    if not pc.all(known).as_py():
        wrong = int(np.sum(~known.to_numpy(zero_copy_only=False)))
        raise InputError(
            f"{small_count(wrong)} codes have an `icd_version` that is neither 9 nor 10",
            where=str(path),
            hint="give the table as distributed",
        )
    return pc.cast(text, pa.int8())
