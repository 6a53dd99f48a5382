"""The notebook of the documentation runs, cell by cell, and is kept without what it printed."""

from __future__ import annotations

import ast
import json
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.conftest import ROOT

NOTEBOOK = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; what its last expression is, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


@pytest.fixture(scope="module")
def shown() -> list[Any]:
    """What each cell shows."""
    names: dict[str, Any] = {"__name__": "__main__"}
    return [run("".join(cell["source"]), names) for cell in CELLS]


def test_it_runs(shown: list[Any]) -> None:
    tables = [value for value in shown if isinstance(value, pd.DataFrame)]
    assert [list(tables[0]), tables[1].shape, len(tables[2])] == [
        ["days", "died", "relapse", "sepsis"],
        (5, 2),
        # Every pair of four tasks, and each beside and below three permuted companions.
        12 + 2 * 4 * 3,
    ]
    (figure,) = (value for value in shown if isinstance(value, Figure))
    assert "Source task" in {text.get_text() for text in figure.texts}
    (scores,) = (value for value in shown if isinstance(value, pd.Series))
    assert scores["sepsis"] > 0.7


def test_it_takes_ten_lines() -> None:
    (source,) = ("".join(cell["source"]) for cell in CELLS if "MultitaskModel(" in "".join(cell["source"]))
    assert len([line for line in source.splitlines() if line]) <= 10


def test_it_is_kept_without_outputs() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)
    assert set(NOTEBOOK["metadata"]) == {"kernelspec", "language_info"}
