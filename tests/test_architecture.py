"""Imports point one way, light modules stay light, and the code digest sees code and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import m3h_pipeline
from m3h_pipeline import digest

PACKAGE = Path(m3h_pipeline.__file__).parent

# Each row may import itself and the rows above it.
ROOMS = [
    {"errors", "progress", "digest"},
    {"contracts", "config", "files", "hashes"},
    {"tables", "embedders"},
    {"cohort", "tasks", "split", "statistics", "survival"},
    {"genes", "model"},
    {"training"},
    {"inference"},
    {"search"},
    {"tim", "evaluation"},
    {"gene_pairs", "networks"},
    {"figures"},
    {"check", "cli", "forecast", "record", "verify"},
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
MODULES = sorted(
    ".".join(["m3h_pipeline", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def _room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [m for m in MODULES if "." in m])
def test_imports_point_one_way(module: str) -> None:
    for imported in digest.imports(module):
        if _room(imported) != _room(module):
            assert LEVEL[_room(imported)] <= LEVEL[_room(module)], f"{module} imports {imported}"
    if _room(module) in {"tim", "evaluation"}:
        other = ({"tim", "evaluation"} - {_room(module)}).pop()
        assert not any(_room(name) == other for name in digest.imports(module))


def test_no_package_code_knows_snakemake() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "snakemake" for name in names), path


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("m3h_pipeline.cli", ["torch", "sklearn", "matplotlib", "pandas", "pyarrow"]),
        ("m3h_pipeline.figures.registry", ["torch", "sklearn", "matplotlib"]),
        ("m3h_pipeline.search.plan", ["torch", "sklearn", "matplotlib"]),
        ("m3h_pipeline.tasks.definitions", ["torch", "sklearn", "matplotlib"]),
    ],
)
def test_light_modules_load_nothing_heavy(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _digest_of(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = folder / "m3h_pipeline"
    package.mkdir(exist_ok=True)
    (package / "one.py").write_text(text)
    (package / "two.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(digest, "_PACKAGE", package)
    digest.forget()
    result = digest.code_digest("m3h_pipeline.one")
    digest.forget()
    return result


def test_the_digest_is_blind_to_comments_docstrings_and_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = 'def f(x):\n    """Old."""\n    return x + 1\n'
    same = '"""Module."""\n# a comment\ndef f(x):\n    """New\n    text."""\n\n    return (x +\n        1)\n'
    other = 'def f(x):\n    """Old."""\n    return x + 2\n'
    first = _digest_of(base, tmp_path, monkeypatch)
    assert _digest_of(same, tmp_path, monkeypatch) == first
    assert _digest_of(other, tmp_path, monkeypatch) != first


def test_the_digest_follows_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = "def f():\n    from m3h_pipeline.two import VALUE\n    return VALUE\n"
    first = _digest_of(importing, tmp_path, monkeypatch)
    (tmp_path / "m3h_pipeline" / "two.py").write_text("VALUE = 2\n")
    monkeypatch.setattr(digest, "_PACKAGE", tmp_path / "m3h_pipeline")
    assert digest.code_digest("m3h_pipeline.one") != first
    digest.forget()


def test_the_digest_sees_only_what_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "m3h_pipeline"
    package.mkdir()
    (package / "one.py").write_text("from m3h_pipeline.two import f\n")
    monkeypatch.setattr(digest, "_PACKAGE", package)

    def of(text: str) -> str:
        (package / "two.py").write_text(text)
        digest.forget()
        return digest.code_digest("m3h_pipeline.one")

    base = of("A = 1\nB = 2\nKNOWN = {}\n\ndef f():\n    return A\n")
    assert of("A = 1\nB = 3\nKNOWN = {}\n\ndef f():\n    return A\n") == base
    assert of("A = 4\nB = 2\nKNOWN = {}\n\ndef f():\n    return A\n") != base
    # What a module does when it is imported always counts.
    assert of("A = 1\nB = 2\nKNOWN = {}\nKNOWN['f'] = B\n\ndef f():\n    return A\n") != base
    digest.forget()


def test_the_digest_of_an_unknown_module_is_refused() -> None:
    with pytest.raises(ModuleNotFoundError):
        digest.code_digest("m3h_pipeline.nowhere")
