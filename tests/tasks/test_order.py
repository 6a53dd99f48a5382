"""What a mapping says by its order arrives: a task's classes as in the YAML file, wherever they travel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import settings as sections
from m3h_pipeline.files import read_labels
from m3h_pipeline.hashes import digest_of
from m3h_pipeline.tasks.definitions import TaskDefinition, load_definitions
from m3h_pipeline.tasks.labels import label_task
from tests.tasks.cohorts import write_cohort

GRADES = ("well", "intermediate", "poor", "unknown to the alphabet")
GROUPS = ("renal", "cardiac", "hepatic")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample i has grade i, as a value and as the one positive column, and one diagnosis."""
    n = len(GRADES)
    columns = {"grade": list(GRADES)} | {
        f"is_{grade}": [float(i == j) for i in range(n)] for j, grade in enumerate(GRADES)
    }
    stays: list[tuple[str, str | None]] = [(f"p{i}", f"s{i}") for i in range(n)]
    codes = [(f"s{i}", "N179", 10, "Acute kidney failure") for i in range(n)]
    return write_cohort(tmp_path_factory.mktemp("order") / "cohort", stays, codes, columns)


def definition(kind: str, order: tuple[str, ...], folder: Path) -> TaskDefinition:
    """A task as a user writes it."""
    criterion: dict[str, object] = {"kind": kind}
    if kind == "classes":
        criterion |= {"column": "grade", "classes": {name: [name] for name in order}}
    else:
        criterion |= {"classes": {name: f"is_{name}" for name in order}}
    task = {"title": "Grade", "department": "Pathology", "class": "multiclass", "criterion": criterion}
    file = folder / "tasks.yaml"
    file.write_text(yaml.safe_dump({"tasks": {"grade": task}}, sort_keys=False))
    return load_definitions([file])["grade"]


def travelled(one: TaskDefinition) -> TaskDefinition:
    """A definition as the verb ``label`` gets it, in the JSON of its ``--settings``."""
    text = json.dumps({"definition": one.model_dump(mode="json", exclude_none=True)})
    return sections(text, definition=TaskDefinition)["definition"]


@pytest.mark.parametrize("kind", ["classes", "exactly_one"])
@given(order=st.permutations(GRADES))
@settings(deadline=None, max_examples=12)
def test_classes_are_numbered_as_the_file_lists_them(kind: str, order: list[str], cohort: Path) -> None:
    folder = cohort.parent
    given_one = definition(kind, tuple(order), folder)
    for one in (given_one, travelled(given_one)):
        label_task("grade", one, cohort, folder / "grade.parquet", folder / "grade.audit.tsv")
        y, description = read_labels(folder / "grade.parquet")
        assert description["classes"] == order
        # Whatever the numbers are, each sample keeps its class.
        assert [description["classes"][int(i)] for i in y] == list(GRADES)
        assert np.array_equal(y, [order.index(name) for name in GRADES])


@given(order=st.permutations(GRADES))
@settings(deadline=None, max_examples=12)
def test_another_order_of_classes_is_another_definition(
    order: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The record of a study tells them apart."""
    folder = tmp_path_factory.getbasetemp()
    first, other = (
        digest_of(definition("classes", names, folder).model_dump(mode="json", exclude_none=True))
        for names in (GRADES, tuple(order))
    )
    assert (first == other) == (tuple(order) == GRADES)


@given(order=st.permutations(GROUPS))
@settings(deadline=None, max_examples=6)
def test_a_code_of_several_groups_counts_for_the_first(order: list[str], cohort: Path) -> None:
    folder = cohort.parent
    groups = {name: {"icd": {10: ["N17-N19"]}} for name in order}
    task = {"title": "Organ", "department": "D", "class": "binary"}
    file = folder / "groups.yaml"
    criterion = {"kind": "diagnosis", "groups": groups}
    file.write_text(yaml.safe_dump({"tasks": {"organ": {**task, "criterion": criterion}}}, sort_keys=False))
    one = travelled(load_definitions([file])["organ"])
    label_task("organ", one, cohort, folder / "organ.parquet", folder / "organ.audit.tsv")
    line = (folder / "organ.audit.tsv").read_text().splitlines()[1]
    assert line.split("\t")[1] == order[0]
    assert read_labels(folder / "organ.parquet")[0].tolist() == [1.0] * len(GRADES)
