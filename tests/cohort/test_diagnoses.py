"""Diagnoses of admissions from hosp tables."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from m3h_pipeline.cohort.diagnoses import STAYS, read_hosp_diagnoses
from m3h_pipeline.contracts import DIAGNOSES
from m3h_pipeline.errors import InputError
from tests.cohort.admissions import admissions
from tests.cohort.haim.files import write_csv, write_hosp

CODES = ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")


def stays(*rows: tuple[str, str, str]) -> pa.Table:
    return pa.Table.from_arrays([pa.array([r[i] for r in rows], pa.string()) for i in range(3)], schema=STAYS)


def test_codes_and_titles(tmp_path: Path) -> None:
    table = read_hosp_diagnoses(write_hosp(tmp_path), stays(("100", "301", "201"), ("100", "302", "202")))
    assert table.schema.equals(DIAGNOSES)
    first = {"patient_id": "100", "stay_id": "301"}
    assert table.to_pylist()[:2] == [
        first | {"icd_code": "V707", "icd_version": 9, "long_title": ""},
        first | {"icd_code": "I509", "icd_version": 10, "long_title": "Heart failure, unspecified"},
    ]
    assert table["stay_id"].to_pylist() == ["301", "301", "302", "302"]


def test_two_stays_of_one_admission_share_its_codes(tmp_path: Path) -> None:
    table = read_hosp_diagnoses(write_hosp(tmp_path), stays(("100", "1", "201"), ("100", "2", "201")))
    by_stay = {s: [r["icd_code"] for r in table.to_pylist() if r["stay_id"] == s] for s in ("1", "2")}
    assert by_stay == {"1": ["V707", "I509"], "2": ["V707", "I509"]}


def test_gzip_and_further_columns_and_another_order(tmp_path: Path) -> None:
    plain = read_hosp_diagnoses(write_hosp(tmp_path / "a"), stays(("100", "301", "201")))
    folder = tmp_path / "b"
    folder.mkdir()
    for name in ("diagnoses_icd", "d_icd_diagnoses"):
        with (tmp_path / "a" / f"{name}.csv").open(newline="") as stream:
            rows = list(csv.reader(stream))
        with gzip.open(folder / f"{name}.csv.gz", "wt", newline="") as target:
            csv.writer(target).writerows([["note", *reversed(row)] for row in [rows[0], *reversed(rows[1:])]])
    assert read_hosp_diagnoses(folder, stays(("100", "301", "201"))).equals(plain)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("100,201,9,I10,11", "neither 9 nor 10"),
        ("777,201,9,I10,10", "another patient"),
        ("100,201,9", "3 fields instead of 5"),
    ],
)
def test_wrong_tables_are_refused_without_their_content(tmp_path: Path, line: str, message: str) -> None:
    folder = write_hosp(tmp_path)
    with (folder / "diagnoses_icd.csv").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(InputError, match=message) as error:
        read_hosp_diagnoses(folder, stays(("100", "301", "201")))
    assert "777" not in str(error.value)


@pytest.mark.parametrize("lines", [1, 5, 60_000, 200_000])
def test_the_line_of_a_broken_record_is_true(tmp_path: Path, lines: int) -> None:
    good = ["1,2,3,4,10"] * lines
    good[lines // 2] = '1,2,3,"a\nb",10'
    path = write_csv(tmp_path / "diagnoses_icd.csv", [*good, "1,2,3"], CODES)
    write_csv(tmp_path / "d_icd_diagnoses.csv", ["4,10,x"], ("icd_code", "icd_version", "long_title"))
    with pytest.raises(InputError, match="3 fields instead of 5") as error:
        read_hosp_diagnoses(tmp_path, stays(("1", "1", "2")))
    # The record's number; a line end inside quotes makes the line one more.
    assert error.value.where == f"{path}, record {lines + 2}"


def test_absent_table_and_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`diagnoses_icd.csv` or `diagnoses_icd.csv.gz` is absent"):
        read_hosp_diagnoses(tmp_path, stays(("1", "1", "2")))
    write_csv(
        tmp_path / "diagnoses_icd.csv", ["1,2,3,4"], ("subject_id", "hadm_id", "icd_cod", "icd_version")
    )
    with pytest.raises(InputError, match=r"(?s)column\(s\) missing: icd_code.*did you mean `icd_cod`"):
        read_hosp_diagnoses(tmp_path, stays(("1", "1", "2")))


def test_truncated_gzip(tmp_path: Path) -> None:
    write_hosp(tmp_path)
    whole = gzip.compress((tmp_path / "diagnoses_icd.csv").read_bytes())
    (tmp_path / "diagnoses_icd.csv").unlink()
    (tmp_path / "diagnoses_icd.csv.gz").write_bytes(whole[:-9])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_hosp_diagnoses(tmp_path, stays(("100", "301", "201")))


@pytest.mark.real_data
def test_every_admission_of_the_mimic_demo(real_data: Path) -> None:
    hosp = real_data / "mimic-iv-demo" / "hosp"
    every = admissions(hosp)
    assert every.num_rows == 275
    table = read_hosp_diagnoses(hosp, every)
    with gzip.open(hosp / "diagnoses_icd.csv.gz", "rt", newline="") as stream:
        truth = {(r["hadm_id"], r["icd_code"].strip(), r["icd_version"]) for r in csv.DictReader(stream)}
    rows = table.to_pylist()
    assert {(r["stay_id"], r["icd_code"], str(r["icd_version"])) for r in rows} == truth
    assert len(rows) == len(truth)
    assert all(r["long_title"] for r in rows)
