"""Conda and Apptainer install what `make install` does: one list of pins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from m3h_pipeline.config import environments
from tests.conftest import ROOT

PINS = {
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")
}


@pytest.mark.parametrize("path", environments.generated(), ids=lambda path: path.name)
def test_the_file_is_as_generated(path: Path) -> None:
    text = environments.generated()[path]
    assert path.read_text() == text, "run `python -m m3h_pipeline.config.environments`"


def test_conda_lists_the_same_pins() -> None:
    environment = yaml.safe_load((ROOT / "workflow/envs/m3h.yaml").read_text())
    (listed,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert set(listed) - {"../.."} == PINS
    assert len(listed) == len(PINS) + 1


def test_apptainer_lists_the_same_pins() -> None:
    text = (ROOT / "workflow/envs/m3h.def").read_text()
    found = re.search(r"<<'PINS'\n(.*?)\nPINS\n", text, flags=re.DOTALL)
    assert found is not None
    assert set(found[1].splitlines()) == PINS


def test_apptainer_copies_what_the_package_is_built_from() -> None:
    text = (ROOT / "workflow/envs/m3h.def").read_text()
    section = text.partition("%files\n")[2].partition("\n\n")[0]
    for line in section.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


def test_every_pin_is_exact() -> None:
    assert len(PINS) > 50
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!]+", pin) for pin in PINS)
