"""Whose rates a forecast goes by: a measured card's, those of the nearest one, or an estimate."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.config import Compute, Modality, Model, Training
from m3h_pipeline.errors import ContractError
from m3h_pipeline.search import rates, sizing
from tests.gpu import study as slice_
from tests.gpu.rates import WIDTHS
from tests.search.test_sizing import entry, published


def card(folder: Path, name: str, faster: float, parts: dict[str, Any] | None = None) -> None:
    """A file as ``make gpu`` writes it, of a card so many times as fast as the estimate."""
    base = rates.ESTIMATE
    sizing_ = {
        "per_operation": base.per_operation / faster,
        "per_byte": base.per_byte / faster,
        "per_row": base.per_row / faster,
        "per_task": base.per_task / faster,
        "speed": {"float32": 1.0, "bfloat16": 5.0},
        "points": 9,
        "per_step": base.per_step / faster,
    }
    content = {
        "format": 1,
        "device": {"name": name},
        "parts": {"rates": {"date": "2026-01-02", "sizing": sizing_}} if parts is None else parts,
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_a_measured_card_is_what_a_study_is_forecast_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = [entry(pair) for pair in itertools.combinations("abcd", 2)]
    card(tmp_path, "NVIDIA A100-SXM4-40GB", 2)
    card(tmp_path, "NVIDIA H100 80GB HBM3", 8)
    known = rates.cards(tmp_path)
    monkeypatch.setattr(rates, "cards", dict)
    before = sizing.pack_seconds(published("cuda"), pack, gpu=True)
    monkeypatch.setattr(rates, "cards", lambda: known)
    for asked, faster in ((None, 2), ("a100", 2), ("h100", 8), ("NVIDIA H100 80GB HBM3", 8), ("l40s", 2)):
        study = replace(published("cuda"), card=asked)
        assert sizing.pack_seconds(study, pack, gpu=True) == pytest.approx(before / faster)
        assert sizing.pack_seconds(study, pack, gpu=False) > before
    assert rates.rates_of(True, "h100").said == "as measured on NVIDIA H100 80GB HBM3 on 2026-01-02"
    assert rates.rates_of(True, "l40s").said.endswith("A100-SXM4-40GB on 2026-01-02, the nearest to l40s")
    assert rates.rates_of(True, "h100").arithmetic(1e12, "bfloat16") == pytest.approx(1e12 / 10e12 / 8 / 5)


def test_without_a_card_the_estimate_is_called_one(tmp_path: Path) -> None:
    card(tmp_path, "NVIDIA H100", 2, {"correct": {"date": "2026-01-02"}})
    card(tmp_path, "NVIDIA H200", 2, {"rates": {"date": "2026-01-02", "sizing": {"points": 2}}})
    known = rates.cards(tmp_path)
    assert known == {}
    assert rates.rates_of(True, None, known) is rates.ESTIMATE
    assert "estimate" in rates.ESTIMATE.said
    assert rates.rates_of(False, None, known) is rates.CPU


@pytest.mark.parametrize(
    "content",
    [
        {"device": {"name": "x"}},
        {"device": {"name": "x"}, "parts": {"rates": {"sizing": {"per_byte": "fast"}}}},
        [],
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ContractError, match="no file of a card") as error:
        rates.cards(tmp_path)
    assert str(path) in str(error.value)


def test_the_host_is_waited_for_by_small_stacks_only() -> None:
    """A card takes for a few models what the host needs to start their kernels, for many what they take."""
    study = replace(published("cuda"), card="a card")
    pair, pairs = [entry(("a", "b"))], [entry(pair) for pair in itertools.combinations("abcdefghij", 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "cards", lambda: {"a card": replace(rates.ESTIMATE, per_step=0.0)})
        alone, many = (sizing.pack_seconds(study, pack, gpu=True) for pack in (pair, pairs))
        step = max(sizing.step_seconds(study, ("a", "b"), size, gpu=True) for size in (256, 512))
        patch.setattr(rates, "cards", lambda: {"a card": replace(rates.ESTIMATE, per_step=200 * step)})
        waited, worked = (sizing.pack_seconds(study, pack, gpu=True) for pack in (pair, pairs))
    fits = len(pair[0]["folds"]) * len(pair[0]["settings"])
    assert many == pytest.approx(45 * alone) == pytest.approx(worked)
    assert waited > 200 / fits * alone


@pytest.mark.parametrize("path", sorted(rates.MEASURED.glob("*.json")), ids=lambda path: path.stem)
def test_a_measured_slice_is_forecast_within_the_limit_of_a_job(path: Path) -> None:
    """By the rates of `rates` the slice of `study` takes about what it took; limits are 2.5 times as long."""
    content = json.loads(path.read_text())
    part, size = content["parts"]["study"], slice_.Size()
    assert (part["rows"], part["epochs"]) == (size.rows, size.epochs)
    kinds = {f"{kind}{i:02d}": kind for kind, count in slice_.TASKS.items() for i in range(count)}
    widths, hidden = WIDTHS["published"]
    study = sizing.Study(
        size.rows,
        widths,
        Model(encoder=list(hidden), shared=list(hidden)),
        Training(epochs=size.epochs),
        Compute(device="cuda", precision=part["precision"]),
        {name: Modality(sources=[name]) for name in widths},
        slice_.FOLDS,
        0.2,
        kinds,
        content["device"]["name"],
    )
    grid = list(itertools.product(study.training.batch_sizes, study.training.learning_rates))
    pairs = slice_.slice_of(list(itertools.combinations(sorted(kinds), 2)), size.share)
    said, trained = 0.0, 0
    for first in range(4):
        pack = [
            {"combination": pair, "replicates": [0], "folds": list(range(slice_.FOLDS)), "settings": grid}
            for pair in pairs[first::4]
        ]
        if trained < part["pairs"]:
            said, trained = said + sizing.pack_seconds(study, pack, gpu=True), trained + len(pack)
    assert trained == part["pairs"]
    assert said / 2.5 < part["seconds"] < said * 2.5
