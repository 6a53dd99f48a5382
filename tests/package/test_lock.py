"""The locks agree with constraints.txt and pyproject.toml, and name nothing but packages and digests."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.conftest import ROOT
from tests.package.dependencies import closure
from tests.package.lock import EVERYWHERE, KINDS, OF_CARDS, pins

CONSTRAINTS = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
TEXTS = {kind: (ROOT / f"locks/{kind}.txt").read_text(encoding="utf-8") for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_versions_are_those_the_project_is_tested_with(kind: str) -> None:
    found = {name: v for name, v in pins(TEXTS[kind]).items() if not OF_CARDS.match(name)}
    assert {name: v for name, v in found.items() if CONSTRAINTS.get(name) != v}.keys() <= EVERYWHERE
    # All that the core needs and nothing else: `make lock` where pyproject.toml or constraints.txt changed.
    assert found.keys() == closure(["m3h-pipeline"]).keys() - {"m3h-pipeline"}


def test_both_are_the_same_but_for_what_drives_cards() -> None:
    cpu, gpu = (pins(TEXTS[kind]) for kind in KINDS)
    assert cpu == {name: version for name, version in gpu.items() if not OF_CARDS.match(name)}
    assert {"triton", "nvidia-cublas"} <= gpu.keys()
    assert "torch==2.13.0+cpu " in TEXTS["cpu"] or re.search(r"^torch==\S+\+cpu ", TEXTS["cpu"], re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_package_has_digests_and_no_place(kind: str) -> None:
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", TEXTS[kind], flags=re.MULTILINE).strip())
    for block in blocks:
        assert re.fullmatch(r"[a-z0-9-]+==[a-z0-9.+]+( \\\n {4}--hash=sha256:[0-9a-f]{64})+", block), block[
            :80
        ]
    assert len(blocks) == len(pins(TEXTS[kind])) > 70


def test_the_core_is_what_pyproject_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[<>=~!\[; ]", one)[0].lower() for one in project["dependencies"]}
    assert names <= pins(TEXTS["cpu"]).keys()
