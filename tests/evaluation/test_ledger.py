"""The test part's ledger: every opening, none lost, and another set of models is counted and said."""

from __future__ import annotations

import io
import re
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.errors import InputError
from m3h_pipeline.evaluation.ledger import OPENING, looks, opened, openings
from m3h_pipeline.files import read_json, write_table
from tests.conftest import ROOT

NOON = datetime(2026, 5, 1, 12, 30, 5, tzinfo=UTC)


def scores(path: Path, *fits: tuple[str, int, str]) -> Path:
    usual = {
        "combination": "a",
        "task": "a",
        "replicate": 3,
        "batch_size": 64,
        "learning_rate": 0.1,
        "metric": "auroc",
        "value": 0.7,
        "n_scored": 50,
        "epochs": 3,
        "seconds": 1.0,
    }
    rows = [usual | {"fit_key": key, "fold": fold, "status": status} for key, fold, status in fits]
    write_table(pa.Table.from_pylist(rows, schema=SCORES), path, SCORES)
    return path


def test_the_same_models_are_one_look_however_often_and_others_are_said(tmp_path: Path) -> None:
    first = scores(tmp_path / "first.parquet", ("one", -1, "ok"), ("two", -1, "ok"))
    # In another order and other packs, of other folds, with a fit that diverged: the same models.
    packs = [
        scores(tmp_path / "a.parquet", ("two", -1, "ok"), ("fold", 0, "ok")),
        scores(tmp_path / "b.parquet", ("one", -1, "ok"), ("gone", -1, "diverged")),
    ]
    other = scores(tmp_path / "other.parquet", ("one", -1, "ok"), ("three", -1, "ok"))
    ledger, screen = tmp_path / "ledger", io.StringIO()
    assert opened(ledger, "evaluate", [first], "{}", screen) == 1
    assert opened(ledger, "evaluate", packs, "{}", screen) == 1
    assert screen.getvalue() == ""
    assert opened(ledger, "missing", [other], "{}", screen) == 1
    assert opened(ledger, "evaluate", [other], "{}", screen) == 2
    assert "opened with set 2 of models" in screen.getvalue()
    assert opened(ledger, "evaluate", [first], "{}", screen) == 2
    assert len(list(ledger.iterdir())) == 5
    assert openings(ledger) == {"evaluate": 2, "missing": 1}
    assert openings(tmp_path / "none") == {}


def test_other_references_are_other_models(tmp_path: Path) -> None:
    fits = scores(tmp_path / "fits.parquet", ("one", -1, "ok"))
    files = [tmp_path / "linear", tmp_path / "trees"]
    for path in files:
        path.write_text(path.name)
    ledger, screen = tmp_path / "ledger", io.StringIO()
    assert opened(ledger, "evaluate", [fits], "{}", screen, files[:1]) == 1
    assert opened(ledger, "evaluate", [fits], "{}", screen, files[:1]) == 1
    assert opened(ledger, "evaluate", [fits], "{}", screen, files) == 2
    assert opened(ledger, "evaluate", [fits], "{}", screen, files[::-1]) == 2


def test_an_entry_says_when_what_and_by_which_settings_and_names_nobody(tmp_path: Path) -> None:
    fits = scores(tmp_path / "fits.parquet", ("one", -1, "ok"))
    for settings in ("{}", '{"seed": 1}'):
        opened(tmp_path / "ledger", "phenotypes", [fits], settings, io.StringIO(), now=NOON)
    entries = [read_json(path) for path in (tmp_path / "ledger").iterdir()]
    assert {entry["time"] for entry in entries} == {"2026-05-01T12:30:05Z"}
    assert {entry["verb"] for entry in entries} == {"phenotypes"}
    assert len({entry["models"] for entry in entries}) == 1
    assert len({entry["settings"] for entry in entries}) == 2
    for entry in entries:
        digests = [entry[name] for name in ("models", "references", "settings")]
        assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests)


def test_a_damaged_entry_is_an_opening_nobody_knows(tmp_path: Path) -> None:
    fits = scores(tmp_path / "fits.parquet", ("one", -1, "ok"))
    ledger = tmp_path / "ledger"
    opened(ledger, "evaluate", [fits], "{}", io.StringIO())
    entry = next(ledger.iterdir())
    entry.with_name(entry.name.replace("-evaluate-", "-evaluate-0")).write_text(entry.read_text()[:-9])
    assert looks(ledger, "evaluate") == 2


def _open(place: tuple[Path, Path, int]) -> int:
    ledger, fits, number = place
    return opened(ledger, OPENING[number % 3], [fits], "{}", io.StringIO(), now=NOON)


def test_no_entry_of_writers_at_once_is_lost(tmp_path: Path) -> None:
    fits = scores(tmp_path / "fits.parquet", ("one", -1, "ok"))
    ledger = tmp_path / "ledger"
    with ProcessPoolExecutor(4) as pool:
        found = list(pool.map(_open, [(ledger, fits, number) for number in range(24)]))
    assert set(found) == {1}
    assert len(list(ledger.iterdir())) == 24
    assert set(openings(ledger).values()) == {1}


def test_a_ledger_that_cannot_be_written_stops_the_opening(tmp_path: Path) -> None:
    fits = scores(tmp_path / "fits.parquet", ("one", -1, "ok"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        opened(tmp_path / "file" / "ledger", "evaluate", [fits], "{}", io.StringIO())


@pytest.mark.parametrize("verb", OPENING)
def test_every_verb_that_opens_it_has_to_say_where_that_is_noted(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([verb])
    assert "--ledger" in capsys.readouterr().err
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    call = rules[rules.index(f'"m3h --log {{log:q}} {verb} ') :]
    assert " --ledger {params.ledger:q}" in call[: call.index("\n\n")]
    outputs = re.findall(r"^( +)output:\n((?:\1 +.*\n)+)", rules, flags=re.MULTILINE)
    assert len(outputs) > 20
    assert "ledger" not in "".join(found for _, found in outputs)


def test_entries_are_sealed(tmp_path: Path) -> None:
    fits = scores(tmp_path / "fits.parquet", ("one", -1, "ok"))
    opened(tmp_path, "evaluate", [fits], "{}", io.StringIO(), now=NOON)
    path = next(tmp_path.glob("*.json"))
    path.write_text(path.read_text().replace("2026", "2025"))
    with pytest.raises(InputError):
        read_json(path)
