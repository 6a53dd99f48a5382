"""Memory and time that jobs ask for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from m3h_pipeline.config import Study
from m3h_pipeline.config.networks import networks
from m3h_pipeline.files import read_json, write_json
from m3h_pipeline.jobs import outputs
from m3h_pipeline.jobs.resources import TrainingResources, by_input, growing, shape_of, trains_on_gpu
from m3h_pipeline.layout import Layout, StageFiles
from m3h_pipeline.search import rates, sizing
from tests.jobs.studies import study
from tests.search.studies import write_tasks

COMPARED = study(
    networks={"own": "own", "others": {"wide": {"model": {"encoder": [2048, 1024]}}}},
    compute__device="auto",
)


def test_retries_get_more() -> None:
    memory, limit = by_input(1000, 2), growing(30)
    files = SimpleNamespace(size_mb=50)
    assert [memory(None, files, attempt) for attempt in (1, 2)] == [1100, 2200]
    assert [limit(None, attempt) for attempt in (1, 3)] == [30, 90]


@pytest.mark.parametrize(
    ("device", "asked", "gpu"),
    [
        ("cpu", {"gpu": 1}, False),
        ("cuda", {}, True),
        ("auto", {}, False),
        ("auto", {"slurm_partition": "long", "mem_mb": 3}, False),
        ("auto", {"gpu": 1}, True),
        ("auto", {"slurm_extra": "--gpus=1"}, True),
    ],
)
def test_who_asks_for_a_gpu_gets_one(device: str, asked: dict[str, Any], gpu: bool) -> None:
    resources = {name: SimpleNamespace(value=value) for name, value in asked.items()}
    assert trains_on_gpu(study(compute__device=device), resources) is gpu


def _asking(gpu: bool) -> dict[str, Any]:
    return {"gpu": SimpleNamespace(value=1)} if gpu else {}


@pytest.fixture
def files(tmp_path: Path) -> Layout:
    files = Layout(tmp_path)
    summary = {"rows": 20_000, "sources": {name: {"features": 300} for name in outputs.sources(COMPARED)}}
    write_json(summary, files.cohort.summary)
    write_tasks(files.labels.tasks, ["a", "b", "c"])
    _plan(files.round(1), 4)
    return files


def _plan(stage: StageFiles, replicates: int) -> None:
    entry = {"combination": ["a", "b"], "folds": [0, 1, 2], "settings": [[64, 0.001]]}
    packs = {"0000": [entry | {"replicates": list(range(replicates))}], "0001": [entry | {"replicates": [0]}]}
    write_json({"stage": "x", "packs": packs}, stage.plan)


def _asked(
    resources: TrainingResources, stage: StageFiles, attempt: int = 1, network: str | None = None
) -> tuple[int, int, int]:
    wildcards = {"network": network} if network else {"stage": "x"}
    given = SimpleNamespace(plan=stage.plan)
    found = (resources.memory_mb(), resources.memory_mb(kept=True), resources.runtime())
    one, two, three = (function(wildcards, given, attempt) for function in found)
    return one, two, three


def _expected(files: Layout, of: Study, gpu: bool) -> tuple[int, int, int]:
    shape, packs = shape_of(files, of), list(read_json(files.round(1).plan)["packs"].values())
    return (
        sizing.memory_mb(shape, packs, gpu, 1),
        sizing.memory_mb(shape, packs, gpu, 1, kept=True),
        sizing.runtime_minutes(shape, packs, gpu, 1),
    )


@pytest.mark.parametrize("gpu", [False, True])
def test_training_jobs_get_what_sizing_says_of_the_largest_pack(files: Layout, gpu: bool) -> None:
    resources = TrainingResources(files, COMPARED, networks(COMPARED), _asking(gpu))
    first = _asked(resources, files.round(1))
    assert first == _expected(files, COMPARED, gpu)
    for attempt, times in ((2, 2), (4, 4), (5, 4), (9, 4)):
        assert _asked(resources, files.round(1), attempt) == tuple(times * value for value in first)


def test_the_limit_goes_by_the_card_that_is_asked_for(files: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two measured cards the slow one is 100,000 times slower than the estimate."""
    slow = {
        name: 100_000 * getattr(rates.ESTIMATE, name) for name in ("per_operation", "per_byte", "per_row")
    }
    known = {"NVIDIA A100": replace(rates.ESTIMATE, **slow), "NVIDIA H100": rates.ESTIMATE}
    monkeypatch.setattr(rates, "cards", lambda: known)
    limits = {}
    for model in ("a100", "h100", None):
        asked = _asking(True) | ({"gpu_model": SimpleNamespace(value=model)} if model else {})
        resources = TrainingResources(files, COMPARED, networks(COMPARED), asked)
        _, _, limits[model] = _asked(resources, files.round(1))
    assert limits["h100"] < limits["a100"] == limits[None]


def test_each_network_gets_what_it_needs(files: Layout) -> None:
    of = networks(COMPARED)
    resources = TrainingResources(files, COMPARED, of, {})
    for name in of:
        assert _asked(resources, files.round(1), network=name) == _expected(files, of[name], False)
    own, wide = (_asked(resources, files.round(1), network=name) for name in ("own", "wide"))
    assert wide[2] > own[2]


def test_a_plan_is_read_again_when_it_is_made_again(files: Layout) -> None:
    resources = TrainingResources(files, COMPARED, {}, {})
    before = _asked(resources, files.round(1))
    _plan(files.round(1), 400)
    os.utime(files.round(1).plan, ns=(1, 1))
    after = _asked(resources, files.round(1))
    assert after == _expected(files, COMPARED, False)
    assert after[2] > before[2]
