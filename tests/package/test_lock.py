"""The locks agree with constraints.txt and pyproject.toml, and name nothing but packages and digests."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.conftest import ROOT
from tests.package.dependencies import closure
from tests.package.lock import EVERYWHERE, KINDS, OF_CARDS, for_processors, pins, torch_command

CONSTRAINTS = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
TEXTS = {kind: (ROOT / f"locks/{kind}.txt").read_text(encoding="utf-8") for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_versions_are_those_the_project_is_tested_with(kind: str) -> None:
    found = {name: v for name, v in pins(TEXTS[kind]).items() if not OF_CARDS.match(name)}
    assert {name: v for name, v in found.items() if CONSTRAINTS.get(name) != v}.keys() <= EVERYWHERE
    # All that the core needs and nothing else: `make lock` where pyproject.toml or constraints.txt changed.
    alone = {"m3h-pipeline"} | ({"torch"} if kind == "cpu" else set())
    assert found.keys() == closure(["m3h-pipeline"]).keys() - alone


def test_both_are_the_same_but_for_pytorch() -> None:
    gpu = pins(TEXTS["gpu"])
    assert {"triton", "nvidia-cublas", "torch"} <= gpu.keys()
    assert for_processors(TEXTS["gpu"]) == TEXTS["cpu"]
    assert not {"torch", "triton", "nvidia-cublas"} & pins(TEXTS["cpu"]).keys()


def test_pytorch_for_processors_has_a_line_of_its_own() -> None:
    """Its digests are on an index of its own: where one stands here, nobody has read it there."""
    line = torch_command(CONSTRAINTS["torch"])
    assert f"#   {line}\n" in TEXTS["cpu"]
    assert f"    {line}\n" in (ROOT / "docs/install.md").read_text(encoding="utf-8")


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
    assert names <= pins(TEXTS["cpu"]).keys() | {"torch"}
    assert names <= pins(TEXTS["gpu"]).keys()
