"""Definitions that name a class or a criterion of the user's own by its dotted path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.config import validate
from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.columns import Column, Labelled
from m3h_pipeline.tasks.criteria import ColumnCriterion
from m3h_pipeline.tasks.definitions import TaskDefinition, load_definitions
from m3h_pipeline.tasks.labels import label_task
from tests.tasks.cohorts import write_cohort

HERE = __name__


class Own:
    """What a definition looks at; the class itself is tested in tests/model/test_own.py."""

    name = "regression"
    metric = "r2"


class Measured(Own):
    metric = f"{HERE}.measure"


class Nameless:
    metric = "r2"


class Unknown(Own):
    metric = "rmse"


class NotThere(Own):
    metric = f"{HERE}.measures"


class Constant(Own):
    metric = f"{HERE}.HERE"


def measure(y: object, prediction: object, weights: object) -> float:
    return 0.0


class Doubled(ColumnCriterion):
    makes = "regression"
    column: str
    times: float = 2

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        return columns[self.column].numbers() * self.times, []


class Mute(ColumnCriterion):
    pass


def definitions(folder: Path, kind: str, criterion: str) -> dict[str, TaskDefinition]:
    text = f"tasks:\n  t: {{title: T, department: D, class: {kind}, criterion: {{{criterion}}}}}\n"
    (folder / "tasks.yaml").write_text(text)
    return load_definitions([folder / "tasks.yaml"])


NUMBER = "kind: number, column: x"


@pytest.mark.parametrize(("name", "metric"), [("Own", "r2"), ("Measured", f"{HERE}.measure")])
def test_a_class_of_ones_own_is_described_beside_the_shipped_one(
    tmp_path: Path, name: str, metric: str
) -> None:
    task = definitions(tmp_path, f"{HERE}.{name}", NUMBER)["t"]
    described = task.describe("t")
    assert described["problem_class"] == "regression"
    assert described["own_class"] == f"{HERE}.{name}"
    assert described["metric"] == metric
    dumped = json.loads(json.dumps(task.model_dump(mode="json", exclude_none=True)))
    assert validate(TaskDefinition, dumped, where="t") == task


def test_a_criterion_of_ones_own_labels(tmp_path: Path) -> None:
    task = definitions(tmp_path, "regression", f"kind: {HERE}.Doubled, column: x, times: 3")["t"]
    dumped = json.loads(json.dumps(task.model_dump(mode="json", exclude_none=True)))
    assert dumped["criterion"] == {"kind": f"{HERE}.Doubled", "column": "x", "times": 3.0}
    assert validate(TaskDefinition, dumped, where="t") == task
    cohort = write_cohort(tmp_path / "cohort", [("p1", None), ("p2", None)], columns={"x": [1.5, None]})
    from m3h_pipeline.files import read_labels

    label_task("t", task, cohort, tmp_path / "t.parquet", tmp_path / "t.audit.tsv")
    np.testing.assert_array_equal(read_labels(tmp_path / "t.parquet")[0], [4.5, np.nan])


@pytest.mark.parametrize(
    ("kind", "criterion", "message"),
    [
        (f"{HERE}.Own", "kind: threshold, column: x, below: 1", "makes a binary task, not"),
        (f"{HERE}.Nameless", NUMBER, "not derived from a shipped problem class"),
        (f"{HERE}.Unknown", NUMBER, "its `metric` is 'rmse'"),
        (f"{HERE}.NotThere", NUMBER, "did you mean `measure`"),
        (f"{HERE}.Constant", NUMBER, "is no function"),
        (f"{HERE}.Ownn", NUMBER, "did you mean `Own`"),
        ("no_such_module.Own", NUMBER, "cannot be imported"),
        ("regression", f"kind: {HERE}.measure, column: x", "no subclass"),
        ("regression", f"kind: {HERE}.Mute", "must set `makes`"),
        ("regression", f"kind: {HERE}.Doubled", "`column` is missing"),
        ("regression", f"kind: {HERE}.Doubled, colum: x", "did you mean `column`"),
        ("binary", f"kind: {HERE}.Doubled, column: x", "makes a regression task, not binary"),
    ],
)
def test_mistakes_are_explained_with_their_place(
    tmp_path: Path, kind: str, criterion: str, message: str
) -> None:
    with pytest.raises(TaskError) as caught:
        definitions(tmp_path, kind, criterion)
    assert message in str(caught.value)
    assert "task `t`" in str(caught.value)
