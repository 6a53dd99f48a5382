"""The names that the package gives: loaded when they are asked for, documented, and those of the page."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys

import pytest

import m3h_pipeline as m3h
from m3h_pipeline.api.bundles import LoadedBundle
from tests.conftest import ROOT

PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
#: What the variables of the page are.
OWNERS = {"m3h": m3h, "study": m3h.Study, "model": m3h.MultitaskModel, "bundle": LoadedBundle}
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_names_are_loaded_when_they_are_asked_for() -> None:
    code = (
        "import sys, m3h_pipeline as m3h\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'numpy', 'matplotlib', 'pyarrow', 'pydantic', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "m3h.Study, m3h.plot\n"
        "print('torch' in sys.modules, 'pandas' in sys.modules)\n"
        "m3h.MultitaskModel\n"
        "print('torch' in sys.modules)\n"
        "print([name for name in m3h.__all__ if getattr(m3h, name) is None])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "False True", "True", "[]"]


def test_names_are_listed() -> None:
    assert sorted(m3h.__all__) == sorted(m3h._PUBLIC)
    assert set(m3h.__all__) <= set(dir(m3h))
    with pytest.raises(AttributeError, match="has no attribute 'Studi'"):
        m3h.Studi  # type: ignore[attr-defined]  # noqa: B018


def test_everything_public_is_documented() -> None:
    for name in m3h.__all__:
        thing = getattr(m3h, name)
        assert inspect.getdoc(thing), name
        assert f"`{name}" in PAGE or f"m3h.{name}" in PAGE, name
        if inspect.isclass(thing) or inspect.ismodule(thing):
            for inner, value in vars(thing).items():
                own = getattr(value, "__module__", "").startswith("m3h_pipeline.api") or isinstance(
                    value, property
                )
                if own and not inner.startswith("_") and not inspect.isclass(value):
                    assert inspect.getdoc(value), f"{name}.{inner}"


def test_the_page_names_what_there_is() -> None:
    assert BLOCKS
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            owner = OWNERS.get(node.value.id)
            if owner is not None and not node.attr.endswith("_"):
                assert hasattr(owner, node.attr), f"{node.value.id}.{node.attr}"
