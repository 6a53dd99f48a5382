"""The report's captions: Jinja and docutils accept them, and what they say is what the study does."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from docutils.core import publish_parts  # type: ignore[import-untyped]

from m3h_pipeline.config import Study, read_yaml
from m3h_pipeline.figures.registry import FIGURES

PROJECT = Path(__file__).parents[2]
REPORT = PROJECT / "workflow" / "report"
FILES = sorted(path.stem for path in REPORT.glob("*.rst"))
CAPTIONS = sorted({*FILES, *FIGURES} - {"figure"})
STUDIES = sorted((PROJECT / "config").glob("*.yaml"))


def _text(name: str, config: dict[str, Any]) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    # All figures share one file, and are told apart by their wildcard.
    file = "figure" if name in FIGURES else name
    template = environment.from_string((REPORT / f"{file}.rst").read_text(encoding="utf-8"))
    wildcards = SimpleNamespace(figure=name, task="er")
    return template.render(snakemake=SimpleNamespace(config=config, wildcards=wildcards))


def _html(text: str) -> str:
    strict = {"halt_level": 2, "report_level": 2, "raw_enabled": False}
    return str(publish_parts(text, writer="html", settings_overrides=strict)["html_body"])


def test_every_figure_has_a_caption_of_its_own() -> None:
    texts = {name: _text(name, {"study": "s"}) for name in FIGURES}
    assert len(set(texts.values())) == len(FIGURES)
    assert all(len(text) > 200 for text in texts.values())
    assert not _text("tim", {"study": "s"}).startswith(("\n", " "))


def test_every_caption_that_the_workflow_names_exists() -> None:
    rules = "".join(path.read_text() for path in (PROJECT / "workflow").rglob("*.smk"))
    named = set(re.findall(r"report/(\w+)\.rst", rules + (PROJECT / "workflow/Snakefile").read_text()))
    assert named
    assert named == set(FILES)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_sections_of_the_report_s_first_page_stand_apart(path: Path) -> None:
    html = _html(_text("workflow", read_yaml(path)))
    numbers = re.findall(r"<strong>(\d)\. ", html)
    assert numbers == list("1234567")
    assert re.findall(r"<p><strong>(\d)\. ", html) == numbers


def test_all_that_the_report_shows_has_a_name_and_every_figure_is_there_once() -> None:
    rules = [path.read_text() for path in (PROJECT / "workflow/rules").glob("*.smk")]
    shown = [text.split("caption=", 1)[1] for rule in rules for text in re.split(r"\breport\(", rule)[1:]]
    assert len(shown) >= 10
    assert all("labels=" in text[:400] for text in shown)
    # Of several formats of one figure the first is shown.
    several = [rule for rule in rules if "for suffix in STUDY.figures.formats" in rule]
    assert len(several) == 3
    assert all("if suffix == STUDY.figures.formats[0]" in rule for rule in several)


def test_the_report_s_looks_are_mended_by_what_snakemake_loads_by_itself() -> None:
    folder = PROJECT / "workflow/profiles/default"
    assert (folder / read_yaml(folder / "config.yaml")["report-stylesheet"]).exists()


@pytest.mark.parametrize("name", CAPTIONS)
def test_docutils_accepts_it_for_every_shipped_study(name: str) -> None:
    for path in STUDIES:
        config = read_yaml(path)
        for given in (config, {"study": config["study"]}):
            text = _text(name, given)
            html = _html(text)
            assert config["study"] in html
            assert "{{" not in text
            assert "{%" not in text


@pytest.mark.parametrize("name", sorted(set(FIGURES)))
def test_a_figure_caption_says_which_part_and_what_not_to_conclude(name: str) -> None:
    text = _text(name, {"study": "s"})
    assert "**test part**" in text or "**out-of-fold**" in text or "**out of fold**" in text
    cautions = ("not", "no ", "never")
    assert any(word in text.strip().rsplit("\n\n", 1)[-1] for word in cautions)


def test_defaults_in_captions_are_those_of_the_configuration() -> None:
    """A study that leaves a key out is described with the value it ran with."""
    sections = {name: field.default for name, field in Study.model_fields.items()}
    sections["attention"] = sections["model"].attention
    seen = 0
    pattern = re.compile(r"(\w+)\.get\(\"(\w+)\", ((?:\"[^\"]*\")|(?:\[[^\]]*\])|[\d.]+)\)")
    for name in FILES:
        text = (REPORT / f"{name}.rst").read_text(encoding="utf-8")
        text = re.sub(r"(?:snakemake\.config|c)\.get\(\"(\w+)\", \{\}\)\.get", r"\1.get", text)
        for section, key, default in pattern.findall(text):
            if section in {"c", "source"}:
                continue
            value = getattr(sections[section], key)
            assert jinja2.Environment().compile_expression(default)() == value, (name, section, key)
            seen += 1
    assert seen > 25


def test_captions_follow_the_configuration() -> None:
    config = {
        "study": "mine",
        "evaluation": {"replicates": 7, "draws": 123, "baselines": []},
        "tim": {"mode": "sampled", "sets": 31, "fdr": 0.1},
        "tasks": {"permute": ["anemia"], "unevaluable": "refuse"},
        "source": {"kind": "synthetic"},
        "model": {"attention": {"alpha": 0.4, "normalise": "published"}},
    }
    assert "7 times" in _text("improvement", config)
    assert "123 bootstrap draws" in _text("improvement", config)
    assert "31 random sets" in _text("tim", config)
    assert "0.1 over all" in _text("tim", config)
    story = _text("workflow", config)
    assert "synthetic" in story
    assert "anemia were shuffled" in story
    assert "refused" in story
    assert "this study has none" in story
    assert "published normalisation" in _text("attention", config)
    assert "References" not in _text("comparison", config)
    given = config | {"evaluation": {"baselines": ["linear"], "given": {"their_model": {}}}}
    assert "References on the same rows: linear, their model." in _text("comparison", given)
    assert "Of their model, which came with the data," in " ".join(_text("comparison", given).split())
    assert "linear and their model" in _text("workflow", given)
    clinical = config | {"evaluation": {"baselines": ["linear"], "clinical": ["person"]}}
    assert "Clinical: a linear model of person alone." in _text("comparison", clinical)
    assert "linear and clinical" in _text("workflow", clinical)
