"""Shipped studies, changed here and there, and all that their jobs are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from m3h_pipeline.config import Study, validate
from m3h_pipeline.config.networks import networks
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.jobs.settings import JobSettings
from m3h_pipeline.tasks.definitions import TaskDefinition, tasks_of
from tests.conftest import ROOT


def content(name: str = "config") -> dict[str, Any]:
    """What a shipped configuration file says."""
    text = (ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def study(name: str = "config", **changes: Any) -> Study:
    """A shipped study with other values: ``search__beam=2``."""
    values = content(name)
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return validate(Study, values, name)


def tasks(of: Study) -> dict[str, TaskDefinition]:
    """The study's task definitions."""
    return tasks_of(of.tasks, lambda path: os.fspath(ROOT / path))


def told(of: Study, definitions: dict[str, TaskDefinition] | None = None) -> dict[str, str]:
    """Job -> its settings, for one job of each kind, and for each label and figure."""
    definitions = tasks(of) if definitions is None else definitions
    settings = JobSettings(of, definitions)
    plain = (
        *("simulate", "embed", "ingest", "split", "assess", "train", "select", "plan_tim", "tim"),
        *("plan_final", "evaluate", "phenotypes", "missing", "performance", "export_bundle"),
        *("gene_pairs", "draw_gene_pairs"),
        *("compare_networks", "draw_networks"),
    )
    found = {name: getattr(settings, name)() for name in plain}
    found |= {f"label {name}": settings.label(name) for name in definitions}
    found |= {f"baselines {name}": settings.baselines(name) for name in definitions}
    found |= {f"figure {name}": settings.figure(name) for name in FIGURES}
    found |= {f"plan_round {number}": settings.plan_round(number) for number in (1, 2, 3, 4)}
    found |= {f"embed_genes {name}": settings.embed_genes(name) for name in of.modalities}
    for name in networks(of):
        found |= {f"plan_network {name}": settings.plan_network(name), f"train {name}": settings.train(name)}
    found["record"] = settings.record({})
    return found


def changed(one: Study, other: Study) -> set[str]:
    """Jobs that are told something else, the record left out, which is told everything."""
    before, after = told(one), told(other)
    assert before.keys() == after.keys()
    return {name for name, text in before.items() if text != after[name]} - {"record"}


def definitions_of(path: Path) -> dict[str, TaskDefinition]:
    """Every task of one file of definitions."""
    from m3h_pipeline.tasks.definitions import load_definitions

    return load_definitions([path])
