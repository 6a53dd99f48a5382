"""What ships is found beside the package and inside it, after the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3h_pipeline import shipped
from m3h_pipeline.config import load_study
from m3h_pipeline.errors import InputError
from m3h_pipeline.tasks.definitions import tasks_of
from tests.conftest import ROOT


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with nothing of the project in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_a_clone_it_stands_beside_the_package_in_a_wheel_inside_it(tmp_path: Path) -> None:
    package = tmp_path / "m3h_pipeline"
    package.mkdir()
    assert shipped.root(package) == tmp_path
    (package / shipped.INSIDE).mkdir()
    assert shipped.root(package) == package / shipped.INSIDE
    assert shipped.root() == ROOT


def test_the_user_s_own_file_goes_first(elsewhere: Path) -> None:
    name = "resources/tasks/m3h.yaml"
    assert shipped.located(name) == str(ROOT / name)
    (elsewhere / "resources/tasks").mkdir(parents=True)
    (elsewhere / name).write_text("tasks: {}\n")
    assert shipped.located(name) == name


@pytest.mark.parametrize(
    "name", ["README.md", "data/x.csv", "config/none.yaml", "config/../README.md", "config"]
)
def test_nothing_else_is_found(elsewhere: Path, name: str) -> None:
    assert shipped.located(name) == name


def test_a_study_and_its_tasks_are_found_by_their_names_in_a_clone(elsewhere: Path) -> None:
    study = load_study("config/support2.yaml")
    assert study.study == "support2"
    assert set(tasks_of(study.tasks)) >= {"hospital_death"}
    with pytest.raises(InputError, match="No such file"):
        load_study("config/support3.yaml")
