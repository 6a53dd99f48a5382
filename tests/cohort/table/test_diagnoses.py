"""`source.diagnoses`: codes of any table, one a row or several columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.cohort.ingest import render_summary
from m3h_pipeline.config import TableSource
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.files import read_table
from m3h_pipeline.tasks.criteria import Diagnosis
from m3h_pipeline.tasks.diagnoses import label_stays
from tests.cohort.table.files import Cohort, one, run, table

HEART = Diagnosis(icd={9: ["428"], 10: ["I50"]})
SAMPLES = [["s1", "p1", "n1", 1.0], ["s2", "p1", "n2", 2.0], ["s3", "p2", "n3", 3.0], ["s4", "p3", "n4", 4.0]]


def cohort(tmp_path: Path, diagnoses: dict[str, Any], **more: Any) -> tuple[Cohort, pd.DataFrame]:
    path = table(tmp_path / "t.csv", ["id", "who", "stay", "v"], SAMPLES)
    source = one(path, id="id", blocks={"x": {"columns": ["v"]}}, diagnoses=diagnoses, **more)
    made = run(source, tmp_path / "out")
    return made, read_table(tmp_path / "out" / "diagnoses.parquet").to_pandas()


def labels(tmp_path: Path, criterion: Diagnosis = HEART) -> list[float | None]:
    samples = read_table(tmp_path / "out" / "samples.parquet")
    y, _, _ = label_stays(criterion, samples["stay_id"], read_table(tmp_path / "out" / "diagnoses.parquet"))
    return [None if value != value else value for value in y.tolist()]


@pytest.mark.parametrize(
    ("of", "ids", "more"),
    [
        ("sample", ["s1", "s2", "s3"], {"patient_id": "who"}),
        ("sample", ["s1", "s2", "s3"], {"patient_id": "who", "stay_id": "stay"}),
        ("stay", ["n1", "n2", "n3"], {"stay_id": "stay"}),
    ],
)
def test_a_long_file(of: str, ids: list[str], more: dict[str, Any], tmp_path: Path) -> None:
    rows = [[ids[0], "I50.1", "ICD-10-CM"], [ids[0], "e11.9", "10"], [ids[1], "428.0", "ICD9CM"]]
    rows += [[ids[2], "A41.9", "icd10"], ["stranger", "I10", "10"], [ids[2], "NA", ""], ["", "I10", "10"]]
    path = table(tmp_path / "d.csv", ["id", "code", "v"], rows)
    made, found = cohort(
        tmp_path, {"path": path, "id": "id", "of": of, "code": "code", "version_column": "v"}, **more
    )
    assert labels(tmp_path) == [1, 1, 0, None]
    assert sorted(found["icd_code"]) == ["4280", "A419", "E119", "I501"]
    assert made.summary["diagnoses"] == {
        "rows": 4,
        "codes": 4,
        "codes_without_title": 4,
        "stays_without": 1,
        "left_out": 0,
        "without_id": 1,
        f"of_no_{of}": 1,
    }
    said = render_summary(made.summary)
    assert "codes without a title, which tasks by title cannot judge: <11" in said


def test_codes_of_a_patient_are_those_of_all_stays(tmp_path: Path) -> None:
    path = table(tmp_path / "d.csv", ["who", "code"], [["p1", "I501"], ["p2", "I10"]])
    spec = {"path": path, "id": "who", "of": "patient", "code": "code", "version": 10}
    cohort(tmp_path, spec, patient_id="who")
    assert labels(tmp_path) == [1, 1, 0, None]


def test_a_cohort_without_stays_has_one_for_each_sample(tmp_path: Path) -> None:
    path = table(tmp_path / "d.csv", ["id", "code"], [["s1", "I501"], ["s3", "I10"]])
    made, _ = cohort(tmp_path, {"path": path, "id": "id", "code": "code", "version": "10"})
    assert made.samples["stay_id"].tolist() == ["s1", "s2", "s3", "s4"]
    assert labels(tmp_path) == [1, None, 0, None]


WIDE = {
    "d1": ["250.83", "V57", "401.9", ""],
    "d2": ["428", "?", "38", "?"],
    "d3": ["", "428.0", "E878.1", "?"],
}


@pytest.mark.parametrize("own", [True, False])
def test_wide_columns(own: bool, tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [row[0] for row in SAMPLES], "v": [1.0, 2.0, 3.0, 4.0]} | WIDE)
    frame.to_csv(tmp_path / "t.csv", index=False)
    spec: dict[str, Any] = {"columns": ["d1", "d2", "d3"], "version": 9}
    if not own:
        frame.drop(columns="v").sample(frac=1, random_state=3).to_csv(tmp_path / "d.csv", index=False)
        spec |= {"path": str(tmp_path / "d.csv"), "id": "id"}
    source = one(
        str(tmp_path / "t.csv"),
        id="id",
        missing_values=["?"],
        blocks={"x": {"pattern": "v" if not own else "v|d.*"}},
        diagnoses=spec,
    )
    made = run(source, tmp_path / "out")
    assert labels(tmp_path) == [1, 1, 0, None]
    assert made.names["x"] == ["v"], "a column of codes is no feature of a task by codes"
    codes = read_table(tmp_path / "out" / "diagnoses.parquet")["icd_code"].to_pylist()
    assert sorted(codes) == ["038", "25083", "4019", "428", "4280", "E8781", "V57"]


def test_a_column_of_codes_is_not_listed_as_a_feature(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["v", "d"], [[1, "I10"], [2, "I50"]])
    block = {"x": {"columns": ["v", "d"], "categorical": ["d"]}}
    with pytest.raises(ConfigError, match=r"`source\.columns` or `source\.diagnoses`"):
        run(one(path, blocks=block, diagnoses={"columns": ["d"], "version": 10}), tmp_path / "out")


def test_titles_of_the_file_and_of_a_list(tmp_path: Path) -> None:
    rows = [["s1", "I50.1", "Heart failure"], ["s2", "I50.1", ""], ["s3", "I10", ""], ["s4", "Z99.9", ""]]
    path = table(tmp_path / "d.csv", ["id", "code", "title"], rows)
    listed = [
        ["I10", "10", "Hypertension"],
        ["I501", "10", "of the list"],
        ["I10", "9", "of another version"],
    ]
    titles = table(tmp_path / "titles.csv", ["icd_code", "icd_version", "long_title"], listed)
    spec = {"path": path, "id": "id", "code": "code", "version": 10, "title": "title", "titles": titles}
    made, found = cohort(tmp_path, spec)
    assert found["long_title"].tolist() == ["Heart failure", "Heart failure", "Hypertension", ""]
    assert made.summary["diagnoses"]["codes_without_title"] == 1


@pytest.mark.parametrize(
    ("kind", "refused"), [("float", False), ("int", False), ("float", True), ("int", True)]
)
def test_codes_that_a_file_holds_as_numbers(kind: str, refused: bool, tmp_path: Path) -> None:
    """With a list of all codes each can be told; without one they are refused."""
    numbers = pa.array([42, 4280, 4019], pa.float64() if kind == "float" else pa.int64())
    pq.write_table(pa.table({"id": ["s1", "s2", "s3"], "code": numbers}), tmp_path / "d.parquet")
    listed = [[code, "9", f"title of {code}"] for code in ("042", "4280", "4019", "0091")]
    titles = table(tmp_path / "titles.csv", ["icd_code", "icd_version", "long_title"], listed)
    spec = {"path": str(tmp_path / "d.parquet"), "id": "id", "code": "code", "version": 9}
    if refused:
        with pytest.raises(InputError, match=r"`42` may be 042 or 004\.2 or"):
            cohort(tmp_path, spec)
        assert not (tmp_path / "out").exists()
    else:
        _, found = cohort(tmp_path, spec | {"titles": titles})
        assert found["icd_code"].tolist() == ["042", "4280", "4019"]
        assert labels(tmp_path) == [0, 1, 0, None]


@pytest.mark.parametrize(
    ("rows", "spec", "message", "hint"),
    [
        ([["s1", "I50", "SNOMED"]], {}, "`SNOMED` (<11)", '"SNOMED": 10'),
        ([["s1", "I50", "ICD-10-PCS"], ["s2", "I50", "10"]], {}, "`ICD-10-PCS` (<11)", "versions"),
        ([["s1", "I50", ""]], {}, "<11 rows have no version", "version"),
        ([["s1", "unknown", "10"]], {}, "`unknown` (<11)", 'not_codes: ["unknown"]'),
        ([["x1", "I50", "10"]], {}, "no diagnosis belongs to any sample", "same kind"),
        ([["s1", "I50", "10"]], {"id": "ids"}, "column `ids` of `source.diagnoses.id`", "did you mean `id`"),
        ([["s1", "I50", "10"]], {"code": "kode"}, "column `kode` of `source.diagnoses.code`", "did you mean"),
    ],
)
def test_what_is_wrong_and_what_to_do(
    rows: list[list[str]], spec: dict[str, Any], message: str, hint: str, tmp_path: Path
) -> None:
    path = table(tmp_path / "d.csv", ["id", "code", "v"], rows)
    with pytest.raises(InputError) as error:
        cohort(tmp_path, {"path": path, "id": "id", "code": "code", "version_column": "v"} | spec)
    assert message in str(error.value.what)
    assert hint in str(error.value.hint)
    assert not (tmp_path / "out").exists()


def test_what_is_no_code_can_be_named_and_is_counted(tmp_path: Path) -> None:
    rows = [["s1", "I50", "10"], ["s2", "see notes", "10"], ["s3", "73211009", "SNOMED"], ["s4", "I10", "GM"]]
    path = table(tmp_path / "d.csv", ["id", "code", "v"], rows)
    spec = {"path": path, "id": "id", "code": "code", "version_column": "v", "not_codes": ["see notes"]}
    made, _ = cohort(tmp_path, spec | {"versions": {"SNOMED": None, "GM": 10}})
    assert labels(tmp_path) == [1, None, None, 0]
    assert made.summary["diagnoses"]["left_out"] == 2
    assert "left out" in render_summary(made.summary)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"version": 10}, "give `code`"),
        ({"code": "c", "columns": ["d"], "path": "p", "id": "i", "version": 9}, "not both"),
        ({"columns": ["d"]}, "give `version`"),
        ({"columns": ["d"], "version": 9, "version_column": "v"}, "not both"),
        ({"code": "c", "version": 9}, "give its `path`"),
        ({"code": "c", "path": "p", "version": 9}, "give `id`"),
    ],
)
def test_a_contradiction_is_said_before_anything_is_read(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableSource.model_validate(
            {
                "kind": "table",
                "files": [{"path": "t.csv"}],
                "blocks": {"x": {"pattern": "v"}},
                "diagnoses": spec,
            }
        )


def test_files_of_codes_are_inputs_of_the_study() -> None:
    source = TableSource.model_validate(
        {
            "kind": "table",
            "files": [{"path": "t.csv"}],
            "blocks": {"x": {"pattern": "v"}},
            "diagnoses": {"path": "d.csv", "id": "i", "code": "c", "version": 9, "titles": "titles.csv"},
        }
    ).located("data")
    assert source.paths() == ["data/t.csv", "data/d.csv", "data/titles.csv"]
    assert source.has_diagnoses


def test_the_small_hospitals_codes(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "small-hospital"
    source = one(
        str(folder / "vitals.csv"),
        id="encounter_id",
        blocks={"x": {"columns": ["hr"]}},
        diagnoses={
            "path": str(folder / "diagnoses.csv"),
            "id": "encounter_id",
            "code": "icd10",
            "version_column": "vocabulary",
        },
    )
    made = run(source, tmp_path / "out")
    assert made.summary["diagnoses"]["rows"] == 2277
    given = pd.read_csv(folder / "diagnoses.csv")
    heart = set(given[given["icd10"].str.startswith("I50")]["encounter_id"])
    expected = [float(name in heart) for name in made.samples["sample_id"]]
    assert labels(tmp_path) == expected


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".parquet", ".pq"])
@pytest.mark.parametrize("versions", [["9", "10", "9", "10"], ["ICD-9-CM", "ICD-10-CM", "ICD9CM", "icd10"]])
def test_one_table_of_codes_means_the_same_in_every_format(
    ending: str, versions: list[str], tmp_path: Path
) -> None:
    frame = pd.DataFrame(
        {"id": ["s1", "s2", "s3", "s3"], "v": versions, "code": ["038.11", "I50.1", "V57", " e11.9"]}
    )
    path = tmp_path / f"d{ending}"
    if "p" in ending.split(".")[1]:
        if versions[0] == "9":
            frame = frame.astype({"v": "int64"})
        frame.astype({"code": "category"}).to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    cohort(tmp_path, {"path": str(path), "id": "id", "code": "code", "version_column": "v"})
    found = read_table(tmp_path / "out" / "diagnoses.parquet").to_pylist()
    assert [(row["stay_id"], row["icd_version"], row["icd_code"]) for row in found] == [
        ("s1", 9, "03811"),
        ("s2", 10, "I501"),
        ("s3", 9, "V57"),
        ("s3", 10, "E119"),
    ]
