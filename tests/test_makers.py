"""The rule that a message names for a file is the one that makes it, as the workflow itself says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from m3h_pipeline.files.makers import MAKERS, again, maker
from m3h_pipeline.jobs.outputs import simulated
from m3h_pipeline.layout import EVALUATION_TABLES, GENE_PAIR_FIGURES, Layout
from tests.conftest import ROOT

RESULTS = Path("results/study")
RULE = re.compile(r"^ *(?:use )?(?:rule|checkpoint) (?:\w+ as )?(\w+)(?: with)?:\n", flags=re.MULTILINE)
OUTPUT = re.compile(r"^( +)output:\n((?:\1 +.*\n|\n)+)", flags=re.MULTILINE)
#: A path as the rules say it, such as `FILES.labels.labels_of("{task}")`.
SAID = re.compile(r"FILES(?:\.\w+(?:\([^()]*\))?)+")


def _rules() -> Iterator[tuple[str, list[str]]]:
    """Each rule that makes something, and how it says what."""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        heads = list(RULE.finditer(text))
        ends = [*(head.start() for head in heads[1:]), len(text)]
        for head, end in zip(heads, ends[: len(heads)], strict=True):
            if found := OUTPUT.search(text[head.end() : end]):
                yield head[1], SAID.findall(found[2])


def _files(expression: str) -> list[Path]:
    """The files that an expression stands for, of any name where the rule has a list of them."""
    found = []
    for name in GENE_PAIR_FIGURES if "name" in expression else ("",):
        for suffix in ("svg", "png") if "suffix" in expression else ("",):
            value = eval(expression, {"FILES": Layout(RESULTS), "name": name, "suffix": suffix})
            found += value if isinstance(value, list) else [value]
    stages = ("search/round_12", "search/tim")
    return [Path(str(path).replace("{stage}", stage)) for path in found for stage in stages]


RULES = dict(_rules())
#: Outputs that rules say without `FILES`, through lists of the package.
LISTED = {
    "simulate": simulated(Layout(RESULTS)),
    "ingest": [Layout(RESULTS).cohort.features("lab")],
    "gene_pairs": [
        getattr(Layout(RESULTS).gene_pairs("a"), name)
        for name in ("pairs", "genes", "heads", "network", "gene_sets")
    ],
}
#: Rules that make folders.
FOLDERS = {"train_final": ["4f.safetensors"], "baselines": ["linear.safetensors"]}
FOLDERS["export_bundle"] = [
    "bundle.json",
    "MODEL_CARD.md",
    "networks/4f.safetensors",
    "references/a.linear.safetensors",
]


def test_the_rules_are_found() -> None:
    assert len(RULES) > 20
    assert {"simulate", "train_network", "plan_final", "record", "draw_gene_pairs"} <= set(RULES)
    assert sum(map(len, RULES.values())) > 35


@pytest.mark.parametrize("rule", RULES)
def test_each_output_of_a_rule_is_known_as_its(rule: str) -> None:
    paths = [path for said in RULES[rule] for path in _files(said)] + LISTED.get(rule, [])
    assert paths
    for path in paths:
        if path.suffix:
            assert maker(path) == (rule, path)
        else:
            for name in FOLDERS[rule]:
                assert maker(path / name) == (rule, path)


def test_each_rule_that_is_named_is_one() -> None:
    assert {rule for _, rule, _ in MAKERS} == set(RULES)


def test_names_of_tables_that_the_workflow_lists_elsewhere() -> None:
    for name in EVALUATION_TABLES:
        assert maker(RESULTS / f"evaluation/{name}.parquet") == (
            "evaluate",
            RESULTS / f"evaluation/{name}.parquet",
        )


def test_a_network_may_be_called_as_a_stage() -> None:
    files = Layout(RESULTS)
    for name in ("tim", "final", "packs"):
        assert maker(files.networks.fits_of(name).plan) is not None
        assert maker(files.networks.fits_of(name).plan)[0] == "plan_network"  # type: ignore[index]
        table = files.networks.fits_of(name).of_pack("0000", "scores")
        assert maker(table) == ("train_network", table)


def test_what_is_to_be_done_is_said() -> None:
    folder = RESULTS / "final/models/0003"
    assert again(folder / "a.safetensors") == (
        f"delete the folder {folder}; rule `train_final` makes it again: "
        f"`snakemake -- {folder}`, then `snakemake`"
    )
    assert "its fits are trained again" in again(RESULTS / "search/store/ab.parquet")
    assert again("elsewhere/x.parquet") == "delete it and run again"
