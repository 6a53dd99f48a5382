"""Licences and sizes of what the package depends on; the page that lists them."""

from __future__ import annotations

import re
import tomllib

import pytest

from m3h_pipeline import errors
from tests.conftest import ROOT
from tests.package.dependencies import (
    EXTRAS,
    PAGE,
    PROJECT,
    closure,
    is_gpl,
    licence,
    megabytes,
    page,
    shares,
    unused,
)
from tests.package.lock import pins

CORE = closure([PROJECT])
CONSTRAINTS = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
PARTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def test_the_core_holds_no_gpl_part_and_every_licence_is_known() -> None:
    found = {name: licence(one.distribution) for name, one in CORE.items()}
    assert [name for name, text in found.items() if is_gpl(text)] == []
    assert [name for name, text in found.items() if text in {"", "?"} or len(text) > 80] == []
    assert len(CORE) > 70


def test_gpl_parts_are_found_where_they_are() -> None:
    """The test above could not fail if nothing were ever taken for GPL."""
    found = closure([f"{PROJECT}[examples]"])
    assert {name for name, one in found.items() if is_gpl(licence(one.distribution))} == {
        "ecos",
        "scikit-survival",
    }


def test_what_few_need_is_not_in_the_core() -> None:
    assert not {"duckdb", "numba", "llvmlite", "umap-learn", "transformers", "gensim", "pytest"} & CORE.keys()


def _table(text: str) -> list[tuple[str, ...]]:
    found = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in text.splitlines()
        if line[:1] == "|"
    ]
    return [row for row in found if row[0] not in {"package", "---"}]


def _head(text: str) -> str:
    return re.sub(r"\d+ MB", "", "\n".join(line for line in text.splitlines() if line[:1] != "|"))


def test_the_page_is_as_generated() -> None:
    """Other builds differ in size: what is written may be off by a quarter."""
    written, now = PAGE.read_text(encoding="utf-8"), page()
    said = "run `python -m tests.package.dependencies`"
    assert _head(written) == _head(now), said
    columns = (0, 1, 2, 4)
    listed = {tuple(row[i] for i in columns): float(row[3]) for row in _table(written)}
    for row in _table(now):
        key = tuple(row[i] for i in columns)
        assert key in listed, f"{row}: {said}"
        assert float(row[3]) == pytest.approx(listed[key], rel=0.25, abs=1.0), f"{row}: {said}"
    assert len(listed) == len(_table(now)), said


def test_what_bounds_the_size_is_all_of_it() -> None:
    """Every package of the core counts once; without what PyTorch could spare it is below what was meant."""
    whole = sum(megabytes(one.distribution) for name, one in CORE.items() if name != PROJECT)
    assert sum(shares().values()) == pytest.approx(whole)
    assert min(shares().values()) > 1
    assert 50 < unused() < megabytes(CORE["torch"].distribution) / 3
    if "+cpu" in CORE["torch"].distribution.version:
        assert whole - unused() < 1200


def test_versions_are_those_the_project_is_tested_with() -> None:
    listed = {row[0]: row[1] for row in _table(PAGE.read_text(encoding="utf-8"))}
    assert {name for name, version in listed.items() if CONSTRAINTS.get(name) != version} <= {"setuptools"}


def test_a_runtime_is_not_much_larger_than_pytorch() -> None:
    """All but PyTorch, whose builds differ: 0.6 GB; docs/install.md has the measured whole."""
    assert (
        sum(megabytes(one.distribution) for name, one in CORE.items() if name not in {"torch", PROJECT}) < 650
    )


@pytest.mark.parametrize("module", errors.EXTRAS)
def test_an_absent_package_is_told_with_the_part_that_brings_it(module: str) -> None:
    part = errors.EXTRAS[module]
    assert part in {*EXTRAS}
    said = str(errors.absent(module, "this", "there"))
    package = re.search(r"takes the package ([\w-]+), which is not installed", said)
    assert package is not None
    assert any(line.startswith(package[1]) for line in PARTS[part]), said
    assert f"pip install 'm3h-pipeline[{part}]'" in said
