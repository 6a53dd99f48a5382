"""The verdict on hundreds of real codes, and on the whole dictionary and hosp tables if they are at hand."""

from __future__ import annotations

import csv
from bisect import bisect_left
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from m3h_pipeline.cohort.diagnoses import read_hosp_diagnoses
from m3h_pipeline.contracts import DIAGNOSES, samples_schema
from m3h_pipeline.files import read_labels, write_table
from m3h_pipeline.tasks.criteria import Diagnosis
from m3h_pipeline.tasks.definitions import TaskDefinition, load_definitions
from m3h_pipeline.tasks.diagnoses import judge_codes
from m3h_pipeline.tasks.icd import first_match, parse_icd
from m3h_pipeline.tasks.labels import label_task
from tests.cohort.admissions import admissions
from tests.tasks.cohorts import audit_rows

HERE = Path(__file__).resolve().parent
M3H = HERE.parents[1] / "resources/tasks/m3h.yaml"
DEFINITIONS = {variant: load_definitions([M3H], variant) for variant in ("published", "corrected")}
with (HERE / "icd_expectations.tsv").open(newline="") as file:
    EXPECTED = list(csv.DictReader(file, delimiter="\t"))
GROUPS = sorted({(row["task"], row["variant"]) for row in EXPECTED})


#: What any textbook lists for these diseases, as plain prefixes: a referee without titles or patterns.
PREFIXES: dict[str, dict[int, tuple[str, ...]]] = {
    "diabetes": {10: ("E08", "E09", "E10", "E11", "E13"), 9: ("249", "250", "3572", "3620", "36641")},
    "heart_failure": {10: ("I50", "I110", "I130", "I132", "I0981", "I9713"), 9: ("428", "40291", "40491")},
    "hiv_aids": {10: ("B20", "Z21"), 9: ("042", "V08")},
    "gout": {10: ("M10", "M1A"), 9: ("2740", "27410", "27419", "2748", "2749")},
    "ischemic_heart_disease": {
        10: ("I20", "I21", "I22", "I23", "I24", "I25"),
        9: ("410", "411", "412", "413", "414"),
    },
    "asthma": {10: ("J45",), 9: ("493",)},
    "leukemia": {10: ("C91", "C92", "C93", "C94", "C95", "C901"), 9: ("204", "205", "206", "207", "208")},
}


def codes_table(rows: list[dict[str, str]]) -> pa.Table:
    return pa.table(
        {
            "icd_code": [row["code"] for row in rows],
            "icd_version": pa.array([int(row["version"]) for row in rows], pa.int8()),
            "long_title": [row["title"] for row in rows],
        }
    )


def diagnosis(definition: TaskDefinition) -> Diagnosis:
    assert isinstance(definition.criterion, Diagnosis)
    return definition.criterion


@pytest.mark.parametrize(("task", "variant"), GROUPS)
def test_verdicts(task: str, variant: str) -> None:
    rows = [row for row in EXPECTED if (row["task"], row["variant"]) == (task, variant)]
    counted = judge_codes(diagnosis(DEFINITIONS[variant][task]), codes_table(rows)).counted
    wrong = [
        f"{row['version']} {row['code']} {row['title']}: expected {row['counts']}"
        for row, yes in zip(rows, counted, strict=True)
        if yes != (row["counts"] == "yes")
    ]
    assert wrong == []


def test_every_diagnosis_task_has_both_verdicts_in_the_table() -> None:
    for task, definition in DEFINITIONS["corrected"].items():
        if definition.criterion.kind == "diagnosis":
            verdicts = {r["counts"] for r in EXPECTED if r["task"] == task and r["variant"] == "corrected"}
            assert verdicts == {"yes", "no"}, task


@pytest.fixture(scope="module")
def dictionary(real_data: Path) -> pa.Table:
    path = real_data / "mimic-iv-demo/hosp/d_icd_diagnoses.csv.gz"
    kinds = {"icd_code": pa.string(), "icd_version": pa.int8(), "long_title": pa.string()}
    options = pacsv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
    return pacsv.read_csv(path, convert_options=options)


@pytest.mark.real_data
def test_the_table_quotes_the_dictionary(dictionary: pa.Table) -> None:
    titles = {
        (str(version), code): title
        for code, version, title in zip(*(c.to_pylist() for c in dictionary.columns), strict=True)
    }
    assert [r for r in EXPECTED if titles[r["version"], r["code"]] != r["title"]] == []


@pytest.mark.real_data
@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_every_listed_code_exists_but_for_the_papers_slip(dictionary: pa.Table, variant: str) -> None:
    versions = dictionary["icd_version"].to_numpy()
    codes = {v: sorted(dictionary["icd_code"].filter(pa.array(versions == v)).to_pylist()) for v in (9, 10)}
    absent = set()
    for task, definition in DEFINITIONS[variant].items():
        if not isinstance(definition.criterion, Diagnosis):
            continue
        for rule in definition.criterion.rules().values():
            for pattern in rule.patterns():
                known = codes[pattern.version]
                if not any(map(pattern.matches, known[bisect_left(known, pattern.low.split("?")[0]) :][:50])):
                    absent.add((task, pattern.text))
    # 587 has no subdivision.
    slip = {("hospital_acquired_infection", "587.0")}
    assert absent == (slip if variant == "published" else set())


@pytest.mark.real_data
def test_no_factor_newborn_or_poisoning_code_counts(dictionary: pa.Table) -> None:
    codes, versions = dictionary["icd_code"], dictionary["icd_version"]
    chapters = [parse_icd(text, 10) for text in ("P00-P96", "T36-T50", "Z00-Z99")]
    chapters += [parse_icd(text, 9) for text in ("760-779", "960-979", "E000-E999", "V01-V91")]
    dictionary = dictionary.filter(pa.array(first_match(chapters, codes, versions) >= 0))
    # HIV infection, carriers of hepatitis B and C, and resistance are the factors that mean the disease.
    wanted = {"Z21", "Z2251", "Z2252", "V08", "V0261", "V0262"}
    for task, definition in DEFINITIONS["corrected"].items():
        if not isinstance(definition.criterion, Diagnosis):
            continue
        counted = judge_codes(definition.criterion, dictionary).counted
        for row in dictionary.filter(pa.array(counted)).to_pylist():
            code = row["icd_code"]
            resistance = task == "antimicrobial_resistance" and code[:3] in {"Z16", "V09"}
            assert code in wanted or resistance, (task, row)


@pytest.mark.real_data
def test_all_41_tasks_label_the_demo(real_data: Path, tmp_path: Path) -> None:
    """Every admission of the demo is a sample; hours and findings, which it lacks, are drawn."""
    hosp = real_data / "mimic-iv-demo/hosp"
    diagnoses = read_hosp_diagnoses(hosp, admissions(hosp))
    stays = diagnoses.group_by(["patient_id", "stay_id"], use_threads=False).aggregate([])
    stays = stays.sort_by("stay_id").append_column("sample_id", stays.sort_by("stay_id")["stay_id"])
    schema = samples_schema([])
    samples = stays.select(schema.names).cast(schema)
    n = samples.num_rows
    assert n == 275
    write_table(samples, tmp_path / "cohort/samples.parquet", schema)
    write_table(diagnoses, tmp_path / "cohort/diagnoses.parquet", DIAGNOSES)
    generator = np.random.default_rng(0)
    definitions = DEFINITIONS["corrected"]
    findings = {
        name: generator.choice([1.0, 0.0, -1.0, np.nan], n)
        for name in definitions["thoracic_pathology"].criterion.columns
    }
    others = {
        "img_length_of_stay": generator.exponential(90, n),
        "death_status": generator.integers(0, 2, n).astype(float),
    }
    write_table(pa.table(findings | others), tmp_path / "cohort/columns.parquet")
    positives = {}
    for task, definition in definitions.items():
        output, audit = tmp_path / f"{task}.parquet", tmp_path / f"{task}.audit.tsv"
        label_task(task, definition, tmp_path / "cohort", output, audit)
        y, described = read_labels(output)
        assert y.shape == (n,)
        assert described["id"] == task
        positives[task] = int(np.nansum(y == 1))
        for row in audit_rows(audit):
            for count in (row["samples"], row["stays"], row["patients"]):
                assert count.isdecimal()
    codes = [(r["stay_id"], r["icd_code"], r["icd_version"]) for r in diagnoses.to_pylist()]
    for task, prefixes in PREFIXES.items():
        carriers = {stay for stay, code, version in codes if code.startswith(prefixes[version])}
        assert positives[task] == len(carriers) > 0, task
    absent = {"tuberculosis", "parkinsons_disease", "melanoma", "prostate_cancer"}
    binary = {t for t, d in definitions.items() if d.problem_class == "binary"}
    assert {task for task in binary if positives[task] == 0} == absent
