"""Every job carries the digest of the code that makes its results."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from m3h_pipeline.cli import parser
from m3h_pipeline.digest import Digests
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.jobs.code import CODE, STAGES, code_of, code_of_figure, code_of_stages
from tests.conftest import ROOT

DIGESTS = Digests(ROOT / "m3h_pipeline")
RULES = ROOT / "workflow/rules"
#: Verbs for people that no rule runs.
PEOPLE = set(parser.PEOPLE) - set(CODE)


def _rules() -> Iterator[tuple[str, str]]:
    """Name and text of every rule that runs a verb; one that only uses another's is left out."""
    for path in sorted(RULES.glob("*.smk")):
        parts = re.split(
            r"^ *(?:rule|checkpoint) (\w+):\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if "shell:" in text:
                yield name, text


TEXTS = dict(_rules())


@pytest.mark.parametrize("rule", TEXTS)
def test_a_rule_carries_the_digest_of_its_verb(rule: str) -> None:
    text = TEXTS[rule]
    (verb,) = re.findall(r'"m3h --log \{log:q\} ([a-z-]+) ', text)
    if rule == "train_pack":
        # Together with what all training jobs share.
        text += (RULES / "common.smk").read_text(encoding="utf-8")
    special = {"figure": r"code_of_figure\(wildcards", "ingest": r"code=code_of_source\(SOURCE.kind\)"}
    pattern = special.get(verb, rf'code=\[?code_of\("{verb}"')
    assert len(re.findall(pattern, text)) == 1
    assert verb in {*CODE, "figure"}


@pytest.mark.parametrize("rule", TEXTS)
def test_a_rule_quotes_all_that_it_puts_on_a_command_line(rule: str) -> None:
    # Up to the first line that is no text: what follows belongs to the next rule.
    command = re.split(r"\n(?! *\")", TEXTS[rule].partition("shell:\n")[2])[0]
    fields = re.findall(r"\{[^}]*\}", command)
    assert fields
    assert [field for field in fields if not re.fullmatch(r"\{[a-z_.]+:q\}", field)] == []
    # Settings are as long as the study is wide, and what packs leave behind as many as there are packs.
    assert set(re.findall(r"--settings (\S+)", command)) <= {"@{params.settings:q}", '@{params.settings:q}"'}
    assert not re.findall(
        r"\{input\.(?:scores|predictions|attention|latents|models):q\}", command
    ) or rule in {
        "select",
        "plan_round",
        "plan_tim",
    }


def _verbs() -> Iterator[tuple[str, set[str]]]:
    """Verb -> modules of the package that its function imports, by itself or through helpers of its file."""
    for path in sorted((ROOT / "m3h_pipeline/cli").glob("*.py")):
        functions = {
            node.name: node
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
        for function in functions.values():
            calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            added = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "add_verb"]
            if not added:
                continue
            used = [function, *(f for name, f in functions.items() if name in _called(calls))]
            verb = ast.literal_eval(added[0].args[1])
            yield verb, {module for one in used for module in _imported(one)}


def _called(calls: list[ast.Call]) -> set[str]:
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def _imported(function: ast.FunctionDef) -> set[str]:
    return {
        node.module
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("m3h_pipeline.")
    }


VERBS = dict(_verbs())


def test_every_verb_that_a_rule_runs_is_known() -> None:
    assert {*CODE, "figure"} == VERBS.keys() - PEOPLE
    assert len(VERBS) > 20


@pytest.mark.parametrize("verb", CODE)
def test_the_digest_reaches_all_that_a_verb_calls(verb: str) -> None:
    """What the verb's function imports is among the modules whose code counts."""
    modules = list(CODE[verb])
    if verb == "ingest":
        # A synthetic study is read by the source that its files come from; its rule says so.
        modules += CODE["simulate"]
    _, counted = DIGESTS.reached(modules)
    for module in VERBS[verb]:
        if not module.startswith(("m3h_pipeline.config", "m3h_pipeline.cli", "m3h_pipeline.layout")):
            assert module in counted, f"`{verb}` runs {module}, whose code is not in its digest"


def test_stages_of_the_record_have_the_code_of_every_verb() -> None:
    stages = code_of_stages()
    assert stages["split"] == code_of("split")
    assert stages["figures"] not in {code_of_figure(name) for name in FIGURES}
    assert len(set(stages.values())) == len(stages)
    verbs = [verb for stage in STAGES.values() for verb in stage]
    assert sorted(verbs) == sorted(CODE.keys() - {"train-pack", "record", "report-page"})
