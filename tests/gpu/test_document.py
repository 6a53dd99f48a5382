"""docs/gpu.md says what was measured, and nothing else."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import document
from tests.gpu.rates import ABSENT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What was measured, without cards."""
    shutil.copytree(document.MEASURED / "cpu", tmp_path / "cpu")
    return tmp_path


def processor(folder: Path) -> dict[str, Any]:
    path = next(path for path in (folder / "cpu").glob("*.json") if path.stem != document.SCORES)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_the_page_is_written_from_what_was_measured() -> None:
    text = document.PAGE.read_text(encoding="utf-8")
    assert document.page(text) == text, "run `python -m tests.gpu.document`"


def test_without_a_card_nothing_is_claimed(folder: Path) -> None:
    assert document.blocks(folder)["cards"] == document.NOTHING
    assert not any(character.isdigit() for character in document.NOTHING.replace("m3h", ""))


def test_a_card_has_its_section(folder: Path) -> None:
    content = copy.deepcopy(processor(folder))
    content["device"] = {"type": "cuda", "name": "NVIDIA T1", "driver": "580.1", "cuda": "13.0"}
    part = content["parts"]["rates"]
    row = part["tables"][0]["stacks"]["1"]
    row |= {"stack": 4.0, "graph": "failed: RuntimeError: no", "peak_mb": 12.0, "compiled": 3.5}
    part["tables"][0]["indexed"] = 1000.0
    content["parts"]["correct"] = {
        "date": "2026-01-02",
        "commit": "abc",
        "comparisons": 3,
        "failed": 1,
        "not_reached": 2,
        "steps": 60,
        "largest": {"a": 1e-11, "b": 2.0},
        "failures": [{"what": "b"}],
    }
    content["parts"]["study"] = {
        "date": "2026-01-02",
        "commit": "abc",
        "fits": 820,
        "fits_of_study": 16400,
        "rows": 34537,
        "features": 4845,
        "epochs": 15,
        "precision": "float32",
        "seconds": 60.0,
        "minutes_of_study": 20.0,
    }
    (folder / "card.json").write_text(json.dumps(content))
    text = document.blocks(folder)["cards"]
    assert "### NVIDIA T1" in text
    assert "driver 580.1, CUDA 13.0" in text
    assert "1 failed; 2 kinds of fits were not reached in the time given." in text
    assert "| b | 2 | failed |" in text
    assert "| a | 1e-11 | passed |" in text
    assert "| 1 | 4.0 | 250.00 | failed: RuntimeError: no | 3.5 |" in text
    assert "820 of 16,400 fits" in text
    assert "in 20.0 minutes" in text
    text = document.page(document.PAGE.read_text(encoding="utf-8"), folder)
    assert "Nothing was measured" not in text


def test_bounds_are_of_the_same_run(folder: Path) -> None:
    part = processor(folder)["parts"]["rates"]
    one = part["tables"][0]
    assert part["batch"] == 256
    traffic, products = document.bounds(one, part)
    assert traffic * part["roofline"]["copy"] * 1e3 == pytest.approx(36 * one["parameters"])
    assert products * part["roofline"][one["precision"]] * 1e3 == pytest.approx(6 * one["products"] * 256)
    assert one["captured"] == ABSENT
