"""Sizing: what it estimates agrees with the trainer's own counts and clock, packs are as long as said."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import Compute, Modality, Model, Search, Split, Tim, Training, load_study
from m3h_pipeline.errors import ContractError
from m3h_pipeline.model.footprint import footprint
from m3h_pipeline.search import rates, sizing
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.stacks import architecture_of, positions_of
from tests.conftest import ROOT
from tests.search.studies import write_tasks
from tests.training import studies

#: Features of HAIM-MIMIC-MM by source, as published.
PUBLISHED = {
    "demographics": 6,
    "vision_dense": 1024,
    "vision_probabilities": 18,
    "vision_dense_multi": 1024,
    "vision_probabilities_multi": 18,
    "ts_chart": 99,
    "ts_lab": 242,
    "ts_procedure": 110,
    "note_ecg": 768,
    "note_echo": 768,
    "note_radiology": 768,
}
TASKS = [f"task{i:02d}" for i in range(41)]


@pytest.fixture(autouse=True)
def _no_card_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cards the documentation comes to know, these are tests of the estimate."""
    monkeypatch.setattr(rates, "cards", dict)


def published(device: str = "auto") -> sizing.Study:
    study = load_study(ROOT / "config/haim_mimic_mm.yaml")
    summary = {"rows": 34537, "sources": {name: {"features": n} for name, n in PUBLISHED.items()}}
    tasks = {name: Task(name, "binary", "auroc") for name in TASKS}
    compute = Compute(device=device)
    return sizing.study_of(
        summary, tasks, study.modalities, study.model, study.training, compute, study.split
    )


def entry(combination: tuple[str, ...], replicates: int = 1, final: bool = False) -> dict[str, Any]:
    chosen = [[256, 5e-4], [256, 1e-3], [512, 5e-4], [512, 1e-3]]
    return {
        "combination": list(combination),
        "replicates": list(range(replicates)),
        "folds": [-1] if final else list(range(5)),
        "settings": chosen[:1] if final else chosen,
    }


def test_the_shape_is_that_of_the_models() -> None:
    data, chosen = studies.study(), studies.settings(width=8)
    shape = sizing.Study(
        data.n,
        {name: int(used.sum()) for name, used in data.columns.items()},
        chosen.model,
        chosen.training,
        chosen.compute,
        chosen.modalities,
        3,
        0.2,
        {name: str(task["problem_class"]) for name, task in data.tasks.items()},
    )
    for combination in [
        ("anemia",),
        ("anemia", "stay"),
        ("gout", "phenotype"),
        ("anemia", "gout", "subtype"),
    ]:
        _, signature = positions_of(combination, data, Model())
        found, trained = (
            footprint(one)
            for one in (sizing.architecture(shape, combination), architecture_of(signature, data, chosen))
        )
        assert found == trained


def test_the_published_study_is_a_few_hundred_jobs_of_5_to_30_minutes(tmp_path: Path) -> None:
    study = published("cuda")
    pairs = list(itertools.combinations(TASKS, 2))
    triples = list(itertools.combinations(TASKS, 3))[:4797]
    jobs = 0
    rounds: list[Sequence[tuple[str, ...]]] = [[(task,) for task in TASKS], pairs, triples, triples]
    for round_number, combinations in enumerate(rounds, 1):
        entries = [entry(c, replicates=3 if round_number <= 2 else 1) for c in combinations]
        each = sizing.combinations_per_job(study, entries)
        jobs += math.ceil(len(entries) / each)
        assert 5 <= sizing.pack_seconds(study, entries[:each], gpu=True) / 60 <= 30
    assert 50 < jobs < 300
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    split = load_study(ROOT / "config/haim_mimic_mm.yaml").split
    plan_round(
        *(1, tasks, [], tmp_path / "plan.json", Search(), Tim(), Training(), split.folds),
        lambda entries: sizing.combinations_per_job(study, entries),
    )
    packs = json.loads((tmp_path / "plan.json").read_text())["packs"]
    for pack in packs.values():
        assert sizing.pack_seconds(study, pack, gpu=True) < 30 * 60


def test_a_cpu_gets_smaller_packs() -> None:
    entries = [entry(pair) for pair in itertools.combinations(TASKS, 2)]
    slow = sizing.combinations_per_job(published("cpu"), entries)
    assert slow < sizing.combinations_per_job(published("cuda"), entries)
    assert sizing.pack_seconds(published("cpu"), entries[:slow], gpu=False) < 30 * 60
    assert sizing.combinations_per_job(published(), []) == 1


def test_an_explicit_number_wins(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    search = Search(combinations_per_job=10)
    plan_round(
        *(1, tasks, [], tmp_path / "plan.json", search, Tim(), Training(), 2),
        lambda entries: pytest.fail("asked although the study says how many"),
    )
    packs = json.loads((tmp_path / "plan.json").read_text())["packs"]
    assert [len(pack) for pack in packs.values()] == [10, 10, 10, 10, 1]


@settings(deadline=None, max_examples=50)
@given(
    rows=st.integers(100, 100_000),
    width=st.integers(8, 512),
    stack=st.floats(0.5, 64),
    count=st.integers(1, 40),
    gpu=st.booleans(),
)
def test_more_of_anything_asks_for_no_less(
    rows: int, width: int, stack: float, count: int, gpu: bool
) -> None:
    def study(rows: int, width: int, stack: float) -> sizing.Study:
        model = Model(encoder=[width], shared=[width])
        modalities = {"m": Modality(sources=["s"])}
        compute = Compute(memory_gb=stack)
        return sizing.Study(rows, {"m": 50}, model, Training(), compute, modalities, 5, 0.2, {})

    def asked(study: sizing.Study, count: int, attempt: int = 1) -> tuple[int, int]:
        packs = [[entry(("a", "b"))] * count]
        return (
            sizing.memory_mb(study, packs, gpu, attempt),
            sizing.runtime_minutes(study, packs, gpu, attempt),
        )

    base = asked(study(rows, width, stack), count)
    for more in (
        asked(study(2 * rows, width, stack), count),
        asked(study(rows, 2 * width, stack), count),
        asked(study(rows, width, 2 * stack), count),
        asked(study(rows, width, stack), 2 * count),
    ):
        assert more[0] >= base[0]
        assert more[1] >= base[1]
    assert asked(study(rows, width, stack), count, attempt=2) == (2 * base[0], 2 * base[1])


def test_the_time_limit_leaves_room_for_a_slower_machine() -> None:
    study = published("cuda")
    pack = [entry(("a", "b"))] * 100
    seconds = sizing.pack_seconds(study, pack, gpu=True)
    assert 60 * sizing.runtime_minutes(study, [pack, pack[:3]], True, 1) > 2 * seconds
    assert sizing.runtime_minutes(study, [[]], True, 1) == 20


def test_kept_models_and_double_precision_need_more_memory() -> None:
    packs = [[entry(("a", "b"), 5, final=True)] * 40]
    plain = sizing.memory_mb(published(), packs, False, 1)
    assert sizing.memory_mb(published(), packs, False, 1, kept=True) > plain
    double = replace(published(), compute=Compute(precision="float64"))
    assert sizing.memory_mb(double, packs, False, 1) > plain


def test_the_estimate_is_of_the_order_of_the_clock() -> None:
    """Within a factor of 8 either way on whatever machine this is: enough to tell minutes from hours."""
    data = studies.study(n=2400, folds=2, widths={"alpha": 60, "beta": 60}, missing=False)
    chosen = studies.settings(width=64, modalities=("alpha", "beta"), epochs=3)
    combination = ("anemia", "sepsis")
    specs = [studies.spec(*combination, replicate=r, batch=128) for r in range(4)]
    started = time.process_time()
    run_fits(specs, data, chosen, code="none")
    spent = time.process_time() - started
    widths = {"alpha": 60, "beta": 60}
    shape = sizing.Study(
        data.n, widths, chosen.model, chosen.training, chosen.compute, chosen.modalities, 2, 1 / 6, {}
    )
    work = sizing.fit_work(shape, combination, 0, 128, gpu=False)
    said = 4 * (work.steps * work.step + work.scoring)
    assert said / 8 < spent < said * 8 + 1


def test_a_summary_of_something_else_is_refused() -> None:
    modalities = {"m": Modality(sources=["absent"])}
    summary = {"rows": 3, "sources": {}}
    with pytest.raises(ContractError, match="lacks"):
        sizing.study_of(summary, {}, modalities, Model(), Training(), Compute(), Split())
