"""The house as its imports draw it: which room may know which, and how large a room and a file may be.

Imports count wherever they stand: at the top of a file, in a function, or for typing only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import m3h_pipeline
from m3h_pipeline.digest import NEUTRAL
from m3h_pipeline.digest.modules import Package
from tests.conftest import ROOT

FOLDER = Path(m3h_pipeline.__file__).parent
PACKAGE = Package(FOLDER)

# Each row may import the rows above it, and its own where that makes no circle.
ROOMS = [
    {"errors", "progress", "digest", "disclosure", "dotted", "environment", "patterns", "shipped"},
    {"coding", "contracts", "config", "files", "hashes", "layout"},
    {"tables", "embedders", "features"},
    {"cohort", "tasks", "split", "survival"},
    {"genes", "model"},
    {"training"},
    {"inference"},
    {"search"},
    {"references"},
    {"tim", "evaluation"},
    {"gene_pairs", "networks"},
    {"bundle"},
    {"figures"},
    {"jobs"},
    {"check", "cli", "differences", "draft", "forecast", "record", "remade", "report", "reruns", "status"}
    | {"verify"},
    {"api"},
]
#: Rooms that stand side by side: neither knows the other.
APART = [
    *(
        ("tables", "embedders"),
        ("tables", "features"),
        ("embedders", "features"),
        ("cohort", "tasks"),
        ("cohort", "split"),
        ("tasks", "split"),
    ),
    *(("genes", "model"), ("tim", "evaluation"), ("gene_pairs", "networks")),
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(FOLDER.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    return module.split(".")[1]


def imports(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in the file the import stands."""
    return {
        own
        for node in ast.walk(PACKAGE.tree(module))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for _, _, own in PACKAGE.targets(module, node)
    } - {"", FOLDER.name}


#: Module -> the modules it imports: the house.
HOUSE = {module: imports(module) for module in map(module_of, FILES) if "." in module}
#: Room -> the rooms it knows.
PLAN = {
    one: {room(other) for module in HOUSE if room(module) == one for other in HOUSE[module]} - {one}
    for one in map(room, HOUSE)
}


def circle(graph: Mapping[str, Iterable[str]]) -> str:
    """A circle in a graph, as text; empty: there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def test_a_circle_is_seen() -> None:
    assert circle({"a": ["b"], "b": ["c"], "c": []}) == ""
    assert circle({"a": ["b"], "b": ["a"]}) in {"a -> b -> a", "b -> a -> b"}


def test_every_room_has_its_place() -> None:
    assert set(PLAN) == set(LEVEL)


def test_rooms_know_only_what_stands_on_their_left() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in HOUSE.items()
        for other in sorted(others)
        if LEVEL[room(other)] > LEVEL[room(module)]
    ]
    assert not wrong
    assert not [
        (one, other) for one, other in APART if other in PLAN.get(one, ()) or one in PLAN.get(other, ())
    ]


def test_the_package_gives_the_names_of_the_api_and_of_errors() -> None:
    """The package itself stands on the right of all rooms: none of them may ask it for a name."""
    assert {room(module) for module in imports("m3h_pipeline")} == {"api", "errors"}
    assert {room(module) for module in m3h_pipeline._PUBLIC.values()} == {"api", "errors"}
    asked = [
        (module, name.name)
        for module in HOUSE
        for node in ast.walk(PACKAGE.tree(module))
        if isinstance(node, ast.ImportFrom) and node.module == "m3h_pipeline"
        for name in node.names
        if name.name in m3h_pipeline._PUBLIC
    ]
    assert not asked


def test_rooms_make_no_circle() -> None:
    assert circle(PLAN) == ""


def test_modules_make_no_circle() -> None:
    assert circle(HOUSE) == ""


def test_a_file_is_read_in_one_sitting() -> None:
    long = {module_of(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 350}
    assert not long
    assert len((ROOT / "workflow/rules/common.smk").read_text().splitlines()) < 150


def test_one_look_takes_in_a_room() -> None:
    folders = {path.parent for path in FILES}
    count = {folder: len([p for p in folder.glob("*.py") if p.stem != "__init__"]) for folder in folders}
    full = {folder.name: n for folder, n in count.items() if n > 15 and folder.name != "figures"}
    assert not full


def test_no_module_knows_snakemake() -> None:
    for path in FILES:
        for node in ast.walk(PACKAGE.tree(module_of(path))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "snakemake" for name in names), path


def test_what_counts_in_no_digest_is_for_people() -> None:
    """Code that digests leave out may write messages or move files, and nothing that an output holds."""
    said = {
        f"{room(module)}.{name}"
        # Places of files: their own tests say that they are nothing else.
        for module in set(NEUTRAL) - {"m3h_pipeline.layout", "m3h_pipeline.shipped"}
        for name, nodes in PACKAGE.module(module).defined.items()
        if not any(isinstance(node, ast.ClassDef) and name.endswith("Error") for node in nodes)
    }
    assert said == {
        *("errors.EXTRAS", "errors._PACKAGES", "errors.absent", "errors.nearest", "errors.as_list"),
        *("progress.duration", "progress.Progress", "progress.ELSEWHERE"),
        *("files.Maker", "files._makers", "files.MAKERS", "files.maker", "files.again"),
        *("files._NO_SYNC_OF_FOLDERS", "files._SETTLED", "files._settle"),
        *("files.synced", "files.make_folder", "files.moved"),
    }


LIGHT = {
    "m3h_pipeline": {"torch", "sklearn", "matplotlib", "pandas", "pyarrow", "numpy", "pydantic", "yaml"},
    "m3h_pipeline.cli": {"torch", "sklearn", "matplotlib", "pandas", "pyarrow"},
    "m3h_pipeline.figures.registry": {"torch", "sklearn", "matplotlib"},
    "m3h_pipeline.search.plan": {"torch", "sklearn", "matplotlib"},
    "m3h_pipeline.jobs.resources": {"torch", "sklearn", "matplotlib"},
    "m3h_pipeline.jobs.outputs": {"torch", "sklearn", "matplotlib"},
    "m3h_pipeline.tasks.definitions": {"torch", "sklearn", "matplotlib"},
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Module -> which of the heavy packages are loaded after it and those before it in ``LIGHT``."""
    heavy = sorted(set().union(*LIGHT.values()))
    code = f"""
import importlib, sys
for module in {list(LIGHT)}:
    importlib.import_module(module)
    print(module, *[name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {module: set(names) for module, *names in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_nothing_heavy(module: str, loaded: dict[str, set[str]]) -> None:
    assert not loaded[module] & LIGHT[module]
