"""The forecast of training agrees with the plans that the workflow makes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from m3h_pipeline.config import Networks, Search, Tim, load_study
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.forecast import WORTH, Stage, forecast, hint_of_precision, render
from m3h_pipeline.search import rates
from m3h_pipeline.search.plan import plan_round
from m3h_pipeline.search.sizing import combinations_per_job, memory_mb, pack_seconds, runtime_minutes
from m3h_pipeline.tasks.assessed import read_tasks
from tests.conftest import ROOT
from tests.search.studies import write_tasks
from tests.search.test_sizing import TASKS, published

STUDY = load_study(ROOT / "config/haim_mimic_mm.yaml")


@pytest.fixture(autouse=True)
def _no_card_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cards the documentation comes to know, these are tests of the estimate."""
    monkeypatch.setattr(rates, "cards", dict)


def stages(tasks: Path, search: Search, tim: Tim, gpu: bool = True) -> dict[str, Stage]:
    found = forecast(published("cuda"), read_tasks(tasks), search, tim, STUDY.training, 5, 0, gpu)
    return {stage.name: stage for stage in found}


@pytest.mark.parametrize("round_number", [1, 2])
@pytest.mark.parametrize("gpu", [True, False])
def test_rounds_are_those_that_are_planned(tmp_path: Path, round_number: int, gpu: bool) -> None:
    study = published("cuda")
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    found = stages(tasks, STUDY.search, STUDY.tim, gpu)[f"round {round_number}"]
    if round_number == 1:
        plan = tmp_path / "plan.json"
        plan_round(
            *(1, tasks, [], plan, STUDY.search, STUDY.tim, STUDY.training, study.folds),
            lambda entries: combinations_per_job(study, entries),
        )
        packs = json.loads(plan.read_text())["packs"].values()
        assert found.jobs == len(packs)
        assert found.memory == memory_mb(study, packs, gpu, 1)
        assert found.limit == runtime_minutes(study, packs, gpu, 1)
        assert found.hours == pytest.approx(sum(pack_seconds(study, p, gpu) for p in packs) / 3600)
    combinations = {1: 41, 2: 820}[round_number]
    assert found.combinations == combinations
    # Four settings, halved over the first two of five folds; two more replicates at the one that is left.
    assert found.fits == combinations * (4 + 2 + 3 + 2 * 5)


def test_the_search_is_forecast_as_far_as_it_goes(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    deep = stages(tasks, Search(beam=3), Tim())
    assert deep["round 3, at most"].combinations == deep["triples, at most"].combinations == 41 * 3 * 39
    # The first instalment of a race: two of five folds, four settings and two.
    assert deep["round 3, at most"].fits == 41 * 3 * 39 * (4 + 2)
    assert deep["triples, at most"].fits == 41 * 3 * 39 * (4 + 2 + 3)
    assert "round 3, at most" not in stages(tasks, Search(race=None), Tim())
    assert not {"round 3, at most", "triples, at most"} & stages(tasks, Search(max_size=2), Tim()).keys()
    alone = stages(tasks, Search(max_size=1), Tim(controls=0))
    assert "round 2" not in alone
    # TIM trains its pairs itself where the search has none.
    assert alone["TIM, at most"].combinations == 820
    assert "TIM, at most" not in stages(tasks, Search(beam=3), Tim(controls=0))
    # Permuted companions, each alone and beside every task, are what the search has not.
    assert deep["TIM, at most"].combinations == 3 + 3 * 41
    # Each fold, and the whole training part.
    assert deep["final fits of pairs"].fits == 2 * 41 * 5 * 6


def test_an_impossible_tim_is_found_out(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    with pytest.raises(ConfigError, match="exact"):
        stages(tasks, Search(), Tim(mode="exact"))


def test_the_table_says_all_of_it(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    found = stages(tasks, STUDY.search, STUDY.tim)
    *lines, whose = render(found.values(), gpu=True).splitlines()
    assert whose == f"  rates: {rates.ESTIMATE.said}"
    assert render(found.values(), gpu=False).splitlines()[-1] == f"  rates: {rates.CPU.said}"
    assert len({len(line) for line in lines}) == 1
    assert "GPU hours" in lines[0]
    for line, stage in zip(lines[1:], found.values(), strict=True):
        assert stage.name in line
        assert f"{stage.fits:,}" in line


def test_bfloat16_is_a_hint_where_it_saves_a_quarter() -> None:
    """Wide networks are arithmetic, narrow ones are not; without instructions for it there is none."""
    wide = published("cpu")
    said = hint_of_precision(wide, TASKS, True)
    assert "`compute.precision: bfloat16`" in said
    share = int(re.search(r"about (\d+) % less", said)[1])  # type: ignore[index]
    assert 100 * WORTH < share < 60
    assert hint_of_precision(wide, TASKS, False) == ""
    chosen = wide.compute.model_copy(update={"precision": "bfloat16"})
    assert hint_of_precision(replace(wide, compute=chosen), TASKS, True) == ""
    small = wide.model.model_copy(update={"encoder": [32], "shared": [32], "task": [16]})
    narrow = replace(wide, widths=dict.fromkeys(wide.widths, 10), model=small)
    assert hint_of_precision(narrow, TASKS, True) == ""


def test_networks_that_are_compared_are_forecast(tmp_path: Path) -> None:
    tasks = read_tasks(write_tasks(tmp_path / "tasks.json", TASKS))
    shape = published("cuda")
    training = STUDY.training.model_copy(update={"batch_sizes": [256], "learning_rates": [1e-3]})
    sections = (Search(max_size=1), Tim(), STUDY.training, 5, 0, True)
    for alone, combinations in ((True, 42), (False, 1)):
        section = Networks(replicates=3, alone=alone)
        found = forecast(shape, tasks, *sections, {"other": (shape, training)}, section)
        (stage,) = [stage for stage in found if stage.name == "network other"]
        assert stage.combinations == combinations
        assert stage.fits == combinations * 3 * (shape.folds + 1)
