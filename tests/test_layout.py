"""Each path of a study's results stands once, in one module that is light to import."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from m3h_pipeline import layout
from m3h_pipeline.layout import EVALUATION_TABLES, Files, Layout
from tests.conftest import ROOT

#: Arguments of the methods that name a file.
_NAMES = {
    "task": "some_task",
    "source": "some_source",
    "modality": "some_modality",
    "pack": "0001",
    "kind": "scores",
    "number": 2,
    "name": "some_name",
    "suffix": "csv",
    "job": "some_job",
    "network": "some_network",
    "key": "some_key",
    "model": "some_model",
}


def _paths(files: Files, place: str = "") -> Iterator[tuple[str, Path]]:
    """Every path that an object names, with the expression that names it."""
    for name in dir(files):
        if name.startswith("_") or name == "folder":
            continue
        value = getattr(files, name)
        if callable(value):
            parameters = list(inspect.signature(value).parameters)
            value = value(*(_NAMES[parameter] for parameter in parameters))
        if isinstance(value, Files):
            # A stage by its folder stands for the others of its kind.
            if name not in ("stage", "final", "tim"):
                yield from _paths(value, f"{place}{name}.")
        elif isinstance(value, Path):
            yield place + name, value


def test_no_two_files_are_one() -> None:
    paths = dict(_paths(Layout(Path("root"))))
    assert len(paths) > 50
    by_path: dict[Path, list[str]] = {}
    for name, path in paths.items():
        assert path.is_relative_to("root")
        by_path.setdefault(path, []).append(name)
    assert [names for names in by_path.values() if len(names) > 1] == []


def test_paths_without_a_root_are_relative_to_it() -> None:
    assert Layout(Path()).labels.tasks.as_posix() == "labels/tasks.json"
    assert Layout(Path("a")).labels.tasks.relative_to("a") == Layout(Path()).labels.tasks


def test_names_may_be_wildcards() -> None:
    files = Layout(Path("r"))
    assert (
        files.stage("{stage}").of_pack("{pack}", "scores").as_posix()
        == "r/{stage}/packs/{pack}.scores.parquet"
    )
    assert files.round("{round}") == files.stage("search/round_{round}")
    assert files.networks.fits_of("{network}") == files.stage("search/networks/{network}")


@pytest.mark.parametrize(("page", "least"), [("README.md", 2), ("docs/outcome.md", 15)])
def test_the_pages_name_files_that_there_are(page: str, least: int) -> None:
    """Their tables of results, row by row."""
    text = (ROOT / page).read_text(encoding="utf-8")
    known = {path.as_posix() for _, path in _paths(Layout(Path()))}
    known |= {path.as_posix() for path in Layout(Path()).tables()}
    known.add(Layout(Path()).networks.comparison("tsv").as_posix())
    named = [
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w/]+\.(?:parquet|tsv|json))`", line.split("|")[1])
    ]
    assert len(named) > least
    assert [name for name in named if name not in known] == []


def test_the_module_needs_the_standard_library_alone() -> None:
    tree = ast.parse(inspect.getsource(layout))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {"__future__", "dataclasses", "pathlib", "typing"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


def _literals(path: Path) -> Iterator[str]:
    """Texts in the code of a module, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield node.value


PATHS = {
    *(path.as_posix() for path in Layout(Path()).tables()),
    *(path.name for path in Layout(Path()).tables()),
    *(f"{name}.parquet" for name in EVALUATION_TABLES),
    *("plan.json", "diagnoses.parquet", "pairs.parquet", "heads.parquet", "provenance.json"),
    *("genes.parquet", "gene_sets.parquet", "network.graphml", "comparison.tsv", "search/store"),
}
MODULES = sorted((ROOT / "m3h_pipeline").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_other_module_spells_a_path(path: Path) -> None:
    if path.parent.name != "layout":
        assert sorted(PATHS.intersection(_literals(path))) == []


def test_no_rule_spells_a_path() -> None:
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'"[^"\s]*\.(parquet|json|tsv|csv|graphml|log)"', text), path
