"""Task definitions: what ships, what a user may write, and what is said about mistakes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from m3h_pipeline.config import validate
from m3h_pipeline.errors import InputError, TaskError
from m3h_pipeline.tasks.criteria import Diagnosis
from m3h_pipeline.tasks.definitions import TaskDefinition, load_definitions, select
from m3h_pipeline.tasks.diagnoses import judge_codes
from m3h_pipeline.tasks.event_criteria import EventWithin

ROOT = Path(__file__).resolve().parents[2]
M3H = ROOT / "resources/tasks/m3h.yaml"
SHIPPED = sorted((ROOT / "resources/tasks").glob("*.yaml"))

GOOD = """
tasks:
  sarcoidosis:
    title: Sarcoidosis
    department: Pulmonary Diseases
    class: binary
    criterion:
      kind: diagnosis
      icd:
        10: [D86]
        9: ["135"]
"""


def write(folder: Path, text: str, name: str = "tasks.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_paper_has_41_tasks() -> None:
    for variant in ("published", "corrected"):
        tasks = load_definitions([M3H], variant)
        assert Counter(task.problem_class for task in tasks.values()) == {
            "binary": 38,
            "multiclass": 1,
            "regression": 1,
            "clustering": 1,
        }
        assert Counter(task.criterion.kind for task in tasks.values())["diagnosis"] == 37
        assert len({task.title for task in tasks.values()}) == 41
        assert {task.metric for task in tasks.values()} == {"auroc", "macro_auroc", "r2", "silhouette"}
        assert tasks["phenotype"].describe("phenotype")["clusters"] == 15
        assert len(tasks["thoracic_pathology"].criterion.class_names) == 8
    diagnoses = [
        t
        for t in load_definitions([M3H]).values()
        if t.department not in {"Thoracic Testing", "Hospital Operations", "Patient Phenotyping"}
    ]
    assert len(diagnoses) == 36
    assert len({task.department for task in diagnoses}) == 15


def test_variants_differ_where_the_paper_slipped_and_nowhere_else() -> None:
    published, corrected = load_definitions([M3H], "published"), load_definitions([M3H])
    assert list(published) == list(corrected)
    assert {name for name in corrected if published[name] != corrected[name]} == {
        "breast_cancer",
        "bacterial_intestinal_infections",
        "inflammatory_bowel_disease",
        "hospital_acquired_infection",
        "major_depressive_disorder",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_definitions_survive_the_way_through_json(path: Path) -> None:
    for name, task in load_definitions([path]).items():
        dumped = json.loads(json.dumps(task.model_dump(mode="json", exclude_none=True)))
        assert validate(TaskDefinition, dumped, where=name) == task


def test_a_user_adds_a_task_by_yaml(tmp_path: Path) -> None:
    tasks = load_definitions([M3H, write(tmp_path, GOOD)])
    assert len(tasks) == 42
    assert list(tasks)[-1] == "sarcoidosis"
    described = tasks["sarcoidosis"].describe("sarcoidosis", permuted=True)
    assert described == {
        "id": "sarcoidosis",
        "title": "Sarcoidosis",
        "department": "Pulmonary Diseases",
        "problem_class": "binary",
        "metric": "auroc",
        "unit": "",
        "classes": [],
        "clusters": 0,
        "note": "",
        "permuted": True,
    }


def test_exclusions_of_the_file_act_on_titles_and_never_on_lists(tmp_path: Path) -> None:
    text = """
exclude: {titles: ['family history'], icd: {10: [Z00-Z99]}}
tasks:
  gout: {title: Gout, department: D, class: binary, criterion: {kind: diagnosis, titles: [gout],
    icd: {10: [Z99.1]}, exclude: {titles: [pseudogout]}, groups: {other: {titles: [tophus]}}}}
"""
    criterion = load_definitions([write(tmp_path, text)])["gout"].criterion
    assert isinstance(criterion, Diagnosis)
    codes = pa.table(
        {
            "icd_code": ["M109", "Z8269", "Z991", "Z992", "M112", "X1", "M1A"],
            "icd_version": pa.array([10] * 7, pa.int8()),
            "long_title": [
                "Gout",
                "Family history of gout",
                "Family history on the list",
                "Status gout",
                "Pseudogout",
                "",
                "Tophus, family history",
            ],
        }
    )
    verdicts = judge_codes(criterion, codes)
    assert verdicts.counted.tolist() == [True, False, True, False, False, False, False]
    assert verdicts.excluded.tolist() == [False, True, False, True, True, False, True]
    assert verdicts.group == ["", "", "", "", "", "", "other"]
    assert verdicts.by == [
        "/gout/",
        "not “Family history”",
        "Z99.1",
        "not Z00-Z99",
        "not “Pseudogout”",
        "",
        "not “family history”",
    ]


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


MISTAKES = {
    "unknown key": (edited("title: S", "titel: S"), ["unknown key `titel`", "did you mean `title`?"]),
    "missing key": (edited("    department: Pulmonary Diseases\n", ""), ["`department` is missing"]),
    "unknown kind": (edited("kind: diagnosis", "kind: diagnoses"), ["did you mean `diagnosis`?"]),
    "no kind": (edited("      kind: diagnosis\n", ""), ["`kind` is missing", "criterion"]),
    "unknown key of the criterion": (edited("icd:", "icds:"), ["unknown key `icds`", "did you mean `icd`?"]),
    "unknown class": (edited("class: binary", "class: ternary"), ["'binary', 'multiclass'", "ternary"]),
    "class that does not fit": (edited("class: binary", "class: regression"), ["makes a binary task"]),
    "ICD typo": (edited("[D86]", "[D-86-1]"), ["`D-86-1` is no ICD-10 code", "write codes like"]),
    "ICD typo with a neighbour": (edited("[D86]", "[D86.O]"), ["`D86.O`", "did you mean `D86.0`?"]),
    "code of the other version": (edited('"135"', "D86"), ["this is an ICD-10 code"]),
    "number instead of a code": (edited('"135"', "038.11"), ["38.11 is a number to YAML", "quotes"]),
    "unknown version": (edited("9:", "8:"), ["`8` is no ICD version"]),
    "broken pattern": (edited("icd:", "titles: ['(']\n      icd:"), ["no regular expression"]),
    "pattern for everything": (edited("icd:", "titles: ['x*']\n      icd:"), ["matches every title"]),
    "nothing to match": (edited("10: [D86]", "10: []").replace('["135"]', "[]"), ["nothing could match"]),
    "unknown variant": (
        edited("    criterion:", "    variants: {publishd: {}}\n    criterion:"),
        ["no variant `publishd`", "did you mean `published`?"],
    ),
    "mistake in the variant not asked for": (
        edited(
            "    criterion:",
            "    variants: {published: {criterion: {kind: diagnosis, icd: {10: [I5]}}}}\n    criterion:",
        ),
        ["`I5` is no ICD-10", "variants.published"],
    ),
    "task id": (edited("sarcoidosis:", "sarcoid osis:"), ["sarcoid osis"]),
    "task twice": (GOOD + GOOD.split("tasks:\n")[1], ["`sarcoidosis` stands here a second time", "line 1"]),
    "no tasks": ("tasks: {}\n", ["tasks"]),
    "other top": ("task:\n  x: 1\n", ["unknown key `task`", "did you mean `tasks`?"]),
    "list": ("- 1\n", ["must be a mapping"]),
    "empty": ("", ["must be a mapping"]),
    "no YAML": ("tasks: [\n", ["no valid YAML", "line 2"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name: str, tmp_path: Path) -> None:
    text, parts = MISTAKES[name]
    path = write(tmp_path, text)
    with pytest.raises(TaskError) as caught:
        load_definitions([path])
    message = str(caught.value)
    assert [part for part in [str(path), *parts] if part not in message] == []
    if "sarcoidosis:" in text and "stands here" not in message and "sarcoid osis" not in text:
        assert "task `sarcoidosis`" in message


def test_files_and_variants_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_definitions([tmp_path / "absent.yaml"])
    with pytest.raises(TaskError, match="did you mean `corrected`"):
        load_definitions([M3H], "correct")
    one, two = write(tmp_path, GOOD), write(tmp_path, GOOD, "again.yaml")
    with pytest.raises(TaskError, match=r"defined twice") as caught:
        load_definitions([one, two])
    assert str(one) in str(caught.value)
    assert str(two) in str(caught.value)


def test_selection_keeps_the_order_of_the_definitions() -> None:
    tasks = load_definitions([M3H])
    assert list(select(tasks)) == list(tasks)
    assert list(select(tasks, ["stroke", "anemia", "gout"], ["gout"])) == ["anemia", "stroke"]
    with pytest.raises(TaskError, match="did you mean `stroke`") as caught:
        select(tasks, ["strokes"])
    assert caught.value.where == "tasks.include"
    with pytest.raises(TaskError, match="did you mean `copd`"):
        select(tasks, "all", ["cpd"])
    with pytest.raises(TaskError, match="no task is left"):
        select(tasks, ["gout"], ["gout"])


def test_the_columns_a_criterion_reads() -> None:
    tasks = load_definitions([M3H])
    assert tasks["anemia"].criterion.columns == []
    assert tasks["phenotype"].criterion.columns == []
    assert tasks["length_of_stay"].criterion.columns == ["img_length_of_stay"]
    assert tasks["mortality_48h"].criterion.columns == ["img_length_of_stay", "death_status"]
    assert "Enlarged Cardiomediastinum" in tasks["thoracic_pathology"].criterion.columns
    assert isinstance(tasks["mortality_48h"].criterion, EventWithin)
