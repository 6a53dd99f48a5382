"""Labels from raw tables against those from a HAIM file of the same stays; and what is wrong with tables."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.cohort.haim.ingest import ingest_haim
from m3h_pipeline.cohort.ingest import render_summary
from m3h_pipeline.cohort.mimic import ingest as ingest_module
from m3h_pipeline.cohort.mimic.ingest import ingest_mimic
from m3h_pipeline.config import HaimSource, MimicSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_labels, read_samples
from m3h_pipeline.tasks.definitions import load_definitions
from m3h_pipeline.tasks.labels import label_task
from tests.cohort.mimic.conftest import text, write

NOTES = {"kind": "language", "model": "m", "notes": "n.csv"}
ALL = ["demographics", "ts_chart", "ts_lab", "ts_procedure"]
TASKS = Path(__file__).resolve().parents[3] / "resources/tasks/m3h.yaml"
pytestmark = pytest.mark.real_data


def haim_files(demo: Path, folder: Path) -> HaimSource:
    """The demo's stays at 48 h as HAIM's code would publish them, computed here from the raw tables."""
    stays = text(demo, "icu/icustays").merge(text(demo, "hosp/admissions"), on=["subject_id", "hadm_id"])
    taken = pd.to_datetime(stays.intime) + pd.Timedelta(hours=48)
    stays = stays[taken <= pd.to_datetime(stays.outtime)].reset_index(drop=True)
    taken = pd.to_datetime(stays.intime) + pd.Timedelta(hours=48)
    left = (pd.to_datetime(stays.dischtime) - taken).dt.total_seconds() / 3600
    with (folder / "haim.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        columns = ["img_charttime", "img_deltacharttime", "discharge_location", "img_length_of_stay"]
        writer.writerow(["haim_id", "img_id", *columns, "death_status", "de_0", "de_1"])
        for i, place in enumerate(stays.discharge_location):
            values = [place, left[i], int(place == "DIED"), 50, 1]
            writer.writerow([i, 0, taken[i], 48.0, *values])
    keys = stays[["subject_id", "hadm_id", "stay_id"]].assign(haim_id=stays.index)
    keys.to_csv(folder / "keys.csv", index=False)
    return HaimSource(
        table=str(folder / "haim.csv"),
        key_ids=str(folder / "keys.csv"),
        hosp=str(demo / "hosp"),
        blocks={"demographics": "de_"},
        subgroups={},
    )


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_labels_equal_those_of_a_haim_file_of_the_same_stays(
    variant: str, demo: Path, tmp_path: Path
) -> None:
    ingest_haim(haim_files(demo, tmp_path), ["demographics"], tmp_path / "haim", stream=io.StringIO())
    source = MimicSource(folder=str(demo), variant=variant)
    ingest_mimic(source, ["demographics"], tmp_path / "mimic", stream=io.StringIO())
    definitions = load_definitions([TASKS], variant)
    del definitions["thoracic_pathology"]  # it needs images
    stays = [
        read_samples(tmp_path / f"{name}/samples.parquet")["stay_id"].to_pylist()
        for name in ("haim", "mimic")
    ]
    assert len(stays[0]) == 74
    order = [stays[0].index(stay) for stay in stays[1]]
    positives = 0
    for task, definition in definitions.items():
        found = []
        for name in ("haim", "mimic"):
            path = tmp_path / f"{name}.{task}.parquet"
            label_task(task, definition, tmp_path / name, path, path.with_suffix(".tsv"))
            found.append(read_labels(path)[0])
        if definition.problem_class == "regression":
            np.testing.assert_allclose(found[1], found[0][order], rtol=1e-6, err_msg=task)
        else:
            np.testing.assert_array_equal(found[1], found[0][order], err_msg=task)
        positives += int(np.nansum(found[1]))
    assert len(definitions) == 40
    assert positives > 200


Change = Callable[[Path], None]


def without_table(folder: Path) -> None:
    (folder / "hosp/labevents.csv.gz").unlink()


def without_folder(folder: Path) -> None:
    (folder / "icu").rename(folder / "ICU-tables")


def without_column(folder: Path) -> None:
    table = text(folder, "icu/chartevents")
    write(table.rename(columns={"valuenum": "value_num"}), folder / "icu/chartevents.csv.gz")


def truncated(folder: Path) -> None:
    path = folder / "icu/chartevents.csv.gz"
    path.write_bytes(path.read_bytes()[:-2000])


def damaged(folder: Path) -> None:
    path = folder / "hosp/admissions.csv.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def ragged(folder: Path) -> None:
    path = folder / "icu/procedureevents.csv.gz"
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    lines[3] = lines[3].rpartition(",")[0]
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def text_for_numbers(folder: Path) -> None:
    table = text(folder, "icu/chartevents")
    table.loc[table.itemid == "220045", "valuenum"] = "SECRET"
    write(table, folder / "icu/chartevents.csv.gz")


def numbers_for_times(folder: Path) -> None:
    table = text(folder, "icu/icustays")
    table["intime"] = "43210.5"
    write(table, folder / "icu/icustays.csv.gz")


def fractions_for_ids(folder: Path) -> None:
    table = text(folder, "hosp/patients")
    table["anchor_age"] = table.anchor_age + ".25"
    write(table, folder / "hosp/patients.csv.gz")


def twice(folder: Path) -> None:
    table = text(folder, "hosp/patients")
    write(pd.concat([table, table.iloc[:1]]), folder / "hosp/patients.csv.gz")


def orphans(folder: Path) -> None:
    write(text(folder, "hosp/admissions").iloc[:3], folder / "hosp/admissions.csv.gz")


def nothing_but_a_header(folder: Path) -> None:
    write(text(folder, "icu/icustays").iloc[:0], folder / "icu/icustays.csv.gz")


def other_items(folder: Path) -> None:
    table = text(folder, "hosp/labevents")
    table["itemid"] = "1"
    write(table, folder / "hosp/labevents.csv.gz")


def other_dictionary(folder: Path) -> None:
    write(text(folder, "icu/d_items").assign(label="x"), folder / "icu/d_items.csv.gz")


def no_diagnosis(folder: Path) -> None:
    table = text(folder, "hosp/diagnoses_icd")
    write(table.assign(hadm_id="9"), folder / "hosp/diagnoses_icd.csv.gz")


@pytest.mark.parametrize(
    ("change", "said", "where"),
    [
        (without_table, "`labevents.csv` or `labevents.csv.gz` is absent", "hosp"),
        (without_folder, "the folder `icu` is absent", "mimic"),
        (without_column, "column(s) missing: valuenum", "chartevents.csv.gz, line 1"),
        (truncated, "truncated or damaged", "chartevents.csv.gz"),
        (damaged, "truncated or damaged", "admissions.csv.gz"),
        (ragged, "fields instead of", "procedureevents.csv.gz"),
        (text_for_numbers, "values of column `valuenum` are not a number", "chartevents.csv.gz"),
        (numbers_for_times, "values of column `intime` are not a date and time", "icustays.csv.gz"),
        (fractions_for_ids, "values of column `anchor_age` are not a whole number", "patients.csv.gz"),
        (twice, "<11 values of `subject_id` stand there more than once", "patients.csv.gz"),
        (orphans, "ICU stays have no admission or no patient", "mimic"),
        (nothing_but_a_header, "there is no row after the header", "icustays.csv.gz"),
        (other_items, "has not one event of the series", "labevents.csv.gz"),
        (other_dictionary, "names none of the series", "d_items.csv.gz"),
        (no_diagnosis, "no admission of the cohort has a diagnosis", "diagnoses_icd.csv.gz"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    change: Change, said: str, where: str, own: Path, tmp_path: Path
) -> None:
    change(own)
    out = tmp_path / "out/cohort"
    with pytest.raises(InputError) as caught:
        ingest_mimic(MimicSource(folder=str(own)), ALL, out, stream=io.StringIO())
    assert said in caught.value.what
    assert where in str(caught.value.where)
    assert caught.value.hint or said.endswith("header")
    assert "SECRET" not in str(caught.value)
    assert not out.exists()
    assert list(tmp_path.rglob("out/*")) == []


@pytest.mark.parametrize("column", ["race", "ethnicity"])
def test_tables_of_version_1_are_read_from_the_folder_core(
    column: str, own: Path, tenth: Path, tmp_path: Path
) -> None:
    (own / "core").mkdir()
    for name in ("admissions", "patients"):
        table = text(own, f"hosp/{name}").rename(columns={"race": column})
        write(table, own / f"core/{name}.csv.gz")
        (own / f"hosp/{name}.csv.gz").unlink()
    source = MimicSource(folder=str(own))
    assert str(own / "core/patients.csv.gz") in source.paths()
    cohorts = []
    for folder, where in ((tenth, "later"), (own, "core")):
        ingest_mimic(MimicSource(folder=str(folder)), ALL, tmp_path / where, stream=io.StringIO())
        cohorts.append({p.name: p.read_bytes() for p in (tmp_path / where).rglob("*") if p.is_file()})
    assert cohorts[0] == cohorts[1]
    (own / "core/patients.csv.gz").unlink()
    with pytest.raises(InputError, match=r"`patients.csv` or `patients.csv.gz` is absent"):
        ingest_mimic(source, ALL, tmp_path / "out", stream=io.StringIO())


@pytest.mark.parametrize("lost", ["admission", "subject_id", "hadm_id", "stay_id"])
def test_stays_without_a_key_are_set_aside_and_counted(lost: str, own: Path, tmp_path: Path) -> None:
    stays = text(own, "icu/icustays")
    whole = ingest_mimic(MimicSource(folder=str(own)), ALL, tmp_path / "whole", stream=io.StringIO())
    first = stays.iloc[[0]]
    if lost == "admission":
        table = text(own, "hosp/admissions")
        write(table[table.hadm_id != first.hadm_id.item()], own / "hosp/admissions.csv.gz")
        gone = int((stays.hadm_id == first.hadm_id.item()).sum())
    else:
        write(
            stays.mask((stays.index == 0)[:, None] & (stays.columns == lost), ""), own / "icu/icustays.csv.gz"
        )
        gone = 1
    summary = ingest_mimic(MimicSource(folder=str(own)), ALL, tmp_path / "out", stream=io.StringIO())
    assert summary["ignored"]["without_key"] == gone
    assert whole["rows"] - gone <= summary["rows"] <= whole["rows"]
    assert "rows without id or patient set aside" in render_summary(summary)
    with pytest.raises(InputError, match="ICU stays have no admission or no patient"):
        ingest_mimic(
            MimicSource(folder=str(own), max_malformed=gone - 1), ALL, tmp_path / "few", stream=io.StringIO()
        )


def test_no_stay_lasts_that_long(tenth: Path, tmp_path: Path) -> None:
    source = MimicSource(folder=str(tenth), hours=5000)
    with pytest.raises(InputError, match="no ICU stay lasts long enough"):
        ingest_mimic(source, ALL, tmp_path / "out", stream=io.StringIO())


def test_an_interrupted_ingestion_leaves_an_earlier_cohort_as_it_was(
    tenth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "cohort"
    ingest_mimic(MimicSource(folder=str(tenth)), ALL, out, stream=io.StringIO())
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ingest_module, "block_features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ingest_mimic(MimicSource(folder=str(tenth), hours=24), ALL, out, stream=io.StringIO())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_progress_and_summary_for_people(tenth: Path, tmp_path: Path) -> None:
    stream = io.StringIO()
    summary = ingest_mimic(MimicSource(folder=str(tenth)), ALL, tmp_path / "out", stream=stream)
    assert "MB of events read" in stream.getvalue()
    assert "samples in" in stream.getvalue()
    shown = render_summary(summary)
    assert "icu/chartevents:" in shown
    assert "ICU stays without a sample: <11" in shown
    assert summary["sources"]["ts_lab"]["features"] == 242


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": "per_image"}, "needs `cxr`"),
        ({"subgroups": {"a": {"column": "anchor_age"}}}, "valid: gender, race"),
        ({"embeddings": {"ts_lab": NOTES}}, "computed from the tables"),
        ({"embeddings": {"xray": {"kind": "vision_dense", "model": "m"}}}, "needs `cxr`"),
        ({"embeddings": {"n": {**NOTES, "notes": None}}}, "`notes` is needed"),
    ],
)
def test_a_contradictory_section_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MimicSource(folder="x", **settings)
