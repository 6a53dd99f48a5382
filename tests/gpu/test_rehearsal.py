"""``make gpu`` rehearsed on a CPU at reduced size, as on a bare machine; its checks can fail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from m3h_pipeline.training.trainer import Trainer
from tests.conftest import ROOT
from tests.gpu import correct, rates, study
from tests.gpu.__main__ import PARTS, main
from tests.gpu.card import FORMAT, described, slug
from tests.gpu.test_bare import BLOCKED, run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file of this processor after all parts, on a machine without what a bare one lacks."""
    out = tmp_path_factory.mktemp("rehearsal")
    code = f"""
import contextlib, io, json
from tests.gpu.__main__ import main
with contextlib.redirect_stdout(io.StringIO()) as screen:
    status = main(["--device", "cpu", "--out", {str(out)!r}])
print(json.dumps([status, screen.getvalue()]))
"""
    status, screen = run(BLOCKED + code)
    assert status == 0, screen
    (path,) = out.iterdir()
    assert path.stem == slug(described(CPU)["device"]["name"])
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_part_says_when_and_what_it_measured(rehearsed: dict[str, Any]) -> None:
    assert rehearsed["format"] == FORMAT
    assert rehearsed["device"]["type"] == "cpu"
    assert set(rehearsed["parts"]) == set(PARTS)
    for part in rehearsed["parts"].values():
        assert len(part["date"]) == 10
        assert part["commit"]
        assert part["seconds"] >= 0


def test_a_cpu_computes_alone_what_it_computes_in_a_stack(rehearsed: dict[str, Any]) -> None:
    part = rehearsed["parts"]["correct"]
    assert part["failures"] == []
    assert part["comparisons"] > 100
    assert 0 < part["largest"]["float64: parameters, scores, attention"] < 1e-9
    # Another precision was another arithmetic.
    assert part["largest"]["bfloat16: first losses"] > 10 * part["largest"]["float32: first losses"] > 0


def test_every_column_has_a_number_or_a_reason(rehearsed: dict[str, Any]) -> None:
    part = rehearsed["parts"]["rates"]
    assert set(part["roofline"]) == {"copy", "float32", "tf32", "bfloat16"}
    assert [table["precision"] for table in part["tables"]] == ["float32", "bfloat16"]
    for table in part["tables"]:
        assert table["captured"] == rates.ABSENT
        assert all(table[name] > 0 for name in ("loader", "indexed", "parameters"))
        assert list(table["stacks"]) == ["1", "4"]
        for row in table["stacks"].values():
            assert row["graph"] == row["peak_mb"] == rates.ABSENT
            assert row["stack"] > 0
            assert row["vmap"] > 0
            assert row["planned_mb"] > 0
    assert part["sizing"]["points"] == 4
    assert part["sizing"]["per_step"] == 0
    # Of another precision only where arithmetic is enough of the time; of stacks as small as these it is in
    # one run and not in the next.
    lower = rates.pair_of(part["tables"][1], part["batch"])
    assert lower is not None
    told = part["sizing"]["per_operation"] * lower.products >= rates._PART * lower.seconds
    assert set(part["sizing"]["speed"]) == ({"float32", "bfloat16"} if told else {"float32"})


def test_the_slice_is_extrapolated(rehearsed: dict[str, Any]) -> None:
    part = rehearsed["parts"]["study"]
    assert part["pairs_of_study"] == 820
    assert part["fits_of_study"] == 820 * 5 * 4
    assert part["fits"] == part["pairs"] * 20
    assert part["diverged"] == 0
    wanted = part["seconds"] / part["fits"] * part["fits_of_study"] / 60
    assert part["minutes_of_study"] == pytest.approx(wanted, abs=0.02, rel=0.01)


def test_the_slice_has_the_tasks_of_the_published_study() -> None:
    tasks = yaml.safe_load((ROOT / "resources/tasks/m3h.yaml").read_text(encoding="utf-8"))["tasks"]
    assert Counter(task["class"] for task in tasks.values()) == study.TASKS
    (several,) = (task for task in tasks.values() if task["class"] == "multiclass")
    assert len(several["criterion"]["classes"]) == study.CLASSES
    (clustered,) = (task for task in tasks.values() if task["class"] == "clustering")
    assert clustered["criterion"]["clusters"] == study.CLUSTERS
    assert study.Size().share >= 0.05
    assert sum(rates.WIDTHS["published"][0].values()) == 4845


def test_a_wrong_number_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fit of a stack that learns a little faster, and nothing else, is noticed."""
    first = Trainer.step

    def step(self: Trainer, *arguments: Any) -> Tensor:
        losses = first(self, *arguments)
        if self.prepared.models > 1:
            with torch.no_grad():
                self.prepared.parameters[0].value.view(-1)[0] += 1e-8
        return losses

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(correct, "SIGNATURES", {"binary": [("anemia",), ("gout",)]})
    assert main(["correct", "--device", "cpu", "--out", str(tmp_path)]) == 1
    (path,) = tmp_path.iterdir()
    (failure,) = json.loads(path.read_text())["parts"]["correct"]["failures"]
    assert failure["what"] == "float64: parameters, scores, attention"
    assert 1e-9 < failure["error"] < 1e-6


def test_a_check_that_ends_in_an_error_is_a_failure_and_keeps_nothing_from_being_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps(*_: Any) -> None:
        raise NotImplementedError("no such kernel\non this card")

    monkeypatch.setattr(correct.Checks, "steps", steps)
    monkeypatch.setattr(correct, "SIGNATURES", {"binary": [("anemia",), ("gout",)]})
    assert main(["correct", "--device", "cpu", "--out", str(tmp_path)]) == 1
    (path,) = tmp_path.iterdir()
    part = json.loads(path.read_text())["parts"]["correct"]
    (failure,) = part["failures"]
    assert failure["what"] == "ended in an error (NotImplementedError)"
    assert failure["where"] == "binary, sum, max_abs: no such kernel"
    assert part["comparisons"] > 5


def test_several_processes_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    case = correct.Case("binary", "sum", "max_abs")
    monkeypatch.setattr(correct.Checks, "rows", lambda _: [(case, ("first_losses",)), (case, ("draws",))])
    said: list[str] = []
    one, two = (correct.Checks(correct.REHEARSAL, CPU, said.append).run(workers) for workers in (1, 2))
    assert one["comparisons"] == 3
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert not said


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_time_did_not_allow_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(correct, "workers_of", lambda _: workers)
    assert main(["correct", "--device", "cpu", "--out", str(tmp_path), "--budget", "-1"]) == 1
    (path,) = tmp_path.iterdir()
    part = json.loads(path.read_text())["parts"]["correct"]
    assert part["comparisons"] == part["failed"] == 0
    assert part["not_reached"] == 2 * len(correct.SIGNATURES)


def test_a_card_s_rates_follow_from_its_graphs_and_its_host_from_small_stacks() -> None:
    """Of two widths, where other shapes were not reached; a bound from the device's own rates."""
    own = {"float32": 50_000.0, "copy": 4000.0}
    tables: list[dict[str, Any]] = []
    for parameters, products in ((90_000, 90_000), (1_600_000, 1_500_000)):
        work = 6e6 * products * 256 / 5e13 + 36e6 * parameters / 4e12 + 1e6 * 512 * 4e-8
        stacks = {
            str(k): {"stack": max(9000.0 / k, work), "graph": work if k > 8 else 2 * work}
            for k in (1, 8, 32, 256)
        }
        one = {"parameters": parameters, "products": products, "precision": "float32", "stacks": stacks}
        tables.append(one | {"widths": str(parameters)})
    found = rates.sizing({"roofline": own, "tables": tables, "batch": 256})
    assert found["per_step"] == pytest.approx(9e-3)
    assert [found[name] for name in ("per_operation", "per_byte", "per_row", "per_task")] == pytest.approx(
        [2e-14, 2.5e-13, 0.0, 4e-8]
    )
    assert found["error"] < 1e-9
    # bfloat16 computes ten times as fast, which only a stack that fills the card shows.
    wide = tables[1]
    quick = {k: {name: each / 3 for name, each in row.items()} for k, row in wide["stacks"].items()}
    lower = wide | {"precision": "bfloat16", "stacks": quick}
    part = {"roofline": own, "tables": [*tables, lower], "batch": 256}
    assert rates.sizing(part)["speed"]["bfloat16"] > 3
    late = {"stack": rates.LATE, "graph": rates.LATE}
    lower["stacks"] = quick | {"32": late, "256": late}
    assert set(rates.sizing(part)["speed"]) == {"float32"}


WAITS: dict[str, Callable[[Tensor], object]] = {
    "a number": lambda x: x.sum().item(),
    "a condition": lambda x: bool((x > 0).any()),
    "rows by a mask": lambda x: x[x > 0],
    "a mask that is set": lambda x: x.index_put((x > 0,), torch.zeros(())),
    "places": lambda x: torch.nonzero(x),
    "counts": lambda x: x.repeat_interleave(torch.ones(3, dtype=torch.int64)),
    "numbers of the host": lambda x: torch.tensor([1.0, 2.0]),
}


@pytest.mark.parametrize("what", WAITS)
def test_what_makes_the_host_wait_is_seen(what: str) -> None:
    x = torch.arange(3.0)
    with pytest.raises(RuntimeError, match="makes the host wait"), correct.no_waiting(CPU):
        WAITS[what](x)
    with correct.no_waiting(CPU):
        torch.where(x > 0, x, 0.0).cumsum(0)[torch.arange(2)].repeat_interleave(2)


def test_differences_are_seen_whatever_they_are_of() -> None:
    chosen = correct.Case("all classes", "sum", "max_abs").settings("float64", 1)
    specs = correct.Case("all classes", "sum", "max_abs").specs()[:1]
    (a,), (b,) = (correct.trained(specs, chosen, CPU).results for _ in range(2))
    assert correct.differences(a, b) == {"exact": 0.0, "recorded": 0.0}
    assert b.parameters is not None
    assert b.attention is not None
    b.attention[0, 0] += 1e-6
    assert correct.differences(a, b)["exact"] == pytest.approx(1e-6)
    b.attention[0, 0] = np.nan
    assert correct.differences(a, b)["exact"] == np.inf
    b.predictions["stay"] = b.predictions["stay"] + 1
    assert correct.differences(a, b)["recorded"] > 1e-3
    b.epochs += 1
    assert correct.differences(a, b) == {"exact": np.inf, "recorded": np.inf}


def test_rates_that_made_the_times_are_found() -> None:
    """Points made from known rates give these rates back, those of another precision too."""
    true = {"products": 5e-14, "traffic": 1e-12, "rows": 1e-7, "tasks": 4e-8}
    points = [
        rates.Point(p, rows, rows * tasks, bytes_, precision, 0.0)
        for (p, bytes_), (rows, tasks) in zip(
            [(2e9, 5e7), (3e8, 3e6), (1e9, 5e7), (2e8, 3e6), (6e9, 5e7)],
            [(256.0, 2), (256.0, 2), (128.0, 3), (512.0, 1), (512.0, 4)],
            strict=True,
        )
        for precision in ("float32", "bfloat16")
    ]
    timed = [
        rates.Point(
            *(p.products, p.rows, p.tasks, p.traffic, p.precision),
            p.products * true["products"] / (4 if p.precision == "bfloat16" else 1)
            + p.traffic * true["traffic"]
            + p.rows * true["rows"]
            + p.tasks * true["tasks"],
        )
        for p in points
    ]
    found = rates.fitted(timed)
    names = ("per_operation", "per_byte", "per_row", "per_task")
    assert [found[name] for name in names] == pytest.approx(list(true.values()), rel=1e-6)
    assert found["speed"] == {"float32": 1.0, "bfloat16": pytest.approx(4.0, rel=1e-3)}
    assert found["error"] == 0
    assert rates.fitted(timed[:4]) == {"points": 2}


def test_without_a_card_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    assert main(["study"]) == 2
    assert "rehearse with DEVICE=cpu" in capsys.readouterr().err
