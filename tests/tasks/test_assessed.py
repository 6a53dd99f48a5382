"""The reader of ``labels/tasks.json``: what ``assess`` says of tasks; what is no list of tasks is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3h_pipeline.coding import SURVIVAL_TIMES
from m3h_pipeline.errors import ContractError, InputError, TaskError
from m3h_pipeline.files import write_json
from m3h_pipeline.tasks.assessed import Task, read_assessed, read_tasks

GRADE = {
    "id": "grade",
    "title": "Grade",
    "department": "Ward",
    "problem_class": "multiclass",
    "metric": "macro_auroc",
    "unit": "",
    "classes": ["severe", "mild", "none"],
    "clusters": 0,
    "note": "",
    "permuted": False,
    "status": "ok",
    "reason": "",
}
DAYS = GRADE | {"problem_class": "regression", "metric": "r2", "unit": "d", "classes": [], "title": "Days"}
RARE = GRADE | {"problem_class": "binary", "metric": "auroc", "classes": []}
DROPPED = RARE | {"status": "dropped", "reason": "positive: 3 in fold 1, at least 20 needed"}


def test_tasks_are_read_as_they_were_assessed(tmp_path: Path) -> None:
    write_json({"tasks": {"rare": DROPPED, "grade": GRADE, "days": DAYS}}, tmp_path / "tasks.json")
    found = read_assessed(tmp_path / "tasks.json")
    assert {name: task.learned for name, task in found.items()} == {
        "rare": False,
        "grade": True,
        "days": True,
    }
    assert found["rare"].reason == DROPPED["reason"]
    # The order of classes is that of their indices, and no other.
    assert found["grade"].classes == ("severe", "mild", "none")
    assert found["days"] == Task("days", "regression", "r2", "Days", "Ward", "d")
    assert list(read_tasks(tmp_path / "tasks.json")) == ["days", "grade"]


def test_a_task_knows_how_wide_its_predictions_are() -> None:
    grade = Task("g", "multiclass", "macro_auroc", classes=("a", "b", "c"))
    assert (grade.width, grade.n_classes) == (3, 3)
    # Names of the two classes of a binary task are no classes of a multiclass one.
    named = Task("b", "binary", "auroc", classes=("no", "yes"))
    assert (named.width, named.n_classes) == (1, 0)
    assert Task("s", "survival", "concordance").width == 1 + SURVIVAL_TIMES
    assert Task("c", "clustering", "silhouette").width == 2


def test_what_says_little_of_a_task_is_enough(tmp_path: Path) -> None:
    least = {"problem_class": "binary", "metric": "auroc", "status": "ok"}
    write_json({"tasks": {"a": least}}, tmp_path / "tasks.json")
    assert read_tasks(tmp_path / "tasks.json") == {"a": Task("a", "binary", "auroc", title="a")}


@pytest.mark.parametrize(
    "content", [{}, {"tasks": [1]}, {"tasks": {"a": 3}}, {"tasks": {"a": {"status": "ok"}}}]
)
def test_what_describes_no_tasks_is_refused(content: dict[str, object], tmp_path: Path) -> None:
    write_json(content, tmp_path / "tasks.json")
    with pytest.raises(ContractError, match="does not describe tasks"):
        read_assessed(tmp_path / "tasks.json")


def test_no_file_and_no_task_left_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_tasks(tmp_path / "tasks.json")
    write_json({"tasks": {"rare": DROPPED}}, tmp_path / "tasks.json")
    with pytest.raises(TaskError, match="no task is left"):
        read_tasks(tmp_path / "tasks.json")
