"""Kept digests: computed once per content of the sources, by whatever process, and never out of date."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from m3h_pipeline.digest.kept import Kept


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "room").mkdir(parents=True)
    for name in ("__init__.py", "one.py", "room/__init__.py", "room/two.py"):
        (folder / name).write_text(f"# {name}\n")
    return folder


class Computed:
    """Counts how often it computes; each time the answer is another one."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *modules: str) -> str:
        self.asked.append(modules)
        return f"{'+'.join(modules)} {len(self.asked)}"


def test_another_process_finds_what_was_computed(package: Path) -> None:
    compute = Computed()
    first = Kept(package)
    assert first.get(("a",), compute) == first.get(("a",), compute) == "a 1"
    assert first.get(("a", "b"), compute) == "a+b 2"
    second = Kept(package)
    assert [second.get(names, compute) for names in (("a",), ("a", "b"))] == ["a 1", "a+b 2"]
    assert len(compute.asked) == 2


def test_what_two_processes_keep_adds_up(package: Path) -> None:
    compute = Computed()
    one, two = Kept(package), Kept(package)
    one.get(("a",), compute)
    two.get(("b",), compute)
    one.get(("c",), compute)
    third = Kept(package)
    assert [third.get((name,), compute) for name in "abc"] == ["a 1", "b 2", "c 3"]


def _edit(package: Path) -> None:
    path = package / "room/two.py"
    before = path.stat()
    path.write_text(path.read_text().replace("two", "six"))
    # Neither its time nor its size tells.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def _add(package: Path) -> None:
    (package / "room/three.py").touch()


def _remove(package: Path) -> None:
    (package / "one.py").unlink()


def _move(package: Path) -> None:
    (package / "one.py").rename(package / "room/one.py")


@pytest.mark.parametrize("change", [_edit, _add, _remove, _move])
def test_changed_sources_are_computed_anew(package: Path, change: object) -> None:
    compute = Computed()
    Kept(package).get(("a",), compute)
    assert callable(change)
    change(package)
    assert Kept(package).get(("a",), compute) == "a 2"


def test_touched_sources_are_the_same(package: Path) -> None:
    compute = Computed()
    Kept(package).get(("a",), compute)
    os.utime(package / "one.py", (0, 0))
    assert Kept(package).get(("a",), compute) == "a 1"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sources": 1}', "\0"])
def test_a_damaged_file_is_no_answer(package: Path, content: str) -> None:
    compute = Computed()
    kept = Kept(package)
    kept.get(("a",), compute)
    kept.file.write_text(content)
    assert Kept(package).get(("a",), compute) == "a 2"
    assert Kept(package).get(("a",), compute) == "a 2"


def test_where_nothing_can_be_kept_digests_are_computed(package: Path, tmp_path: Path) -> None:
    compute = Computed()
    (tmp_path / "file").touch()
    for number in (1, 2):
        assert Kept(package, tmp_path / "file/digests.json").get(("a",), compute) == f"a {number}"
