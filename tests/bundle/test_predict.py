"""`m3h predict`: raw files give what the evaluation had; each sample by itself; all or nothing."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from m3h_pipeline.bundle import explain
from m3h_pipeline.bundle.drift import Drift
from m3h_pipeline.bundle.explain import contributions
from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.predict import predict_files
from m3h_pipeline.cli import main
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_samples
from m3h_pipeline.inference.resampled import TEST
from tests.bundle.studies import SUPERVISED, Finished, patients

OUTCOMES = ["ill", "grade", "stay", "died", "days", "theirs", "ward"]


def _predicted(bundle: Bundle, frame: pd.DataFrame, folder: Path, **options: Any) -> pd.DataFrame:
    """What is written of the samples of a table, without outcomes, by sample."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.drop(columns=OUTCOMES, errors="ignore").to_csv(folder / "new.csv", index=False)
    predict_files(bundle, [folder / "new.csv"], folder / "out.parquet", stream=io.StringIO(), **options)
    return pd.read_parquet(folder / "out.parquet").set_index("sample_id")


def _drift(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "out.drift.csv").open(newline="") as file:
        return {row["feature"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def whole(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return _predicted(bundle, patients(), tmp_path_factory.mktemp("whole"))


def test_the_test_part_s_raw_files_give_the_evaluation_s_numbers(
    bundle: Bundle, finished: Finished, tmp_path: Path
) -> None:
    rows = finished.test_rows()
    ids = read_samples(finished.results.cohort / "samples.parquet")["sample_id"].to_pylist()
    names = [ids[row] for row in rows]
    frame = finished.table.set_index("sample", drop=False).loc[names[::-1]]
    found = _predicted(bundle, frame, tmp_path).loc[names]
    candidates = finished.candidates()
    for name in SUPERVISED:
        task = bundle.tasks[name]
        said = candidates[name].predictions(task.chosen, TEST, candidates[name].cohort.folds)
        assert said is not None
        columns = _raw_columns(bundle, name)
        np.testing.assert_allclose(found[columns].to_numpy(), said[0], atol=1e-6, rtol=0)


def _raw_columns(bundle: Bundle, name: str) -> list[str]:
    task = bundle.tasks[name]
    if task.problem_class == "multiclass":
        return [f"{name}.raw.{c}" for c in task.classes]
    times = [f"{name}.raw.survival.{t:g}" for t in task.times]
    return [f"{name}.raw", *(times if task.problem_class == "survival" else [])]


def test_one_patient_alone_and_any_order_give_the_same(
    bundle: Bundle, whole: pd.DataFrame, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    frame = patients()
    moved = frame.iloc[rng.permutation(len(frame)), rng.permutation(frame.shape[1])]
    numbers = whole.columns.drop("flags")
    found = _predicted(bundle, moved, tmp_path / "moved")
    assert list(found.index) == list(moved["sample"])
    pd.testing.assert_frame_equal(found.loc[whole.index, numbers], whole[numbers], atol=1e-9, rtol=0)
    pd.testing.assert_series_equal(found.loc[whole.index, "flags"], whole["flags"])
    alone = _predicted(bundle, frame.iloc[[7]], tmp_path / "alone")
    pd.testing.assert_frame_equal(alone[numbers], whole.loc[alone.index, numbers], atol=1e-9, rtol=0)


def test_a_new_category_moves_no_other_patient(bundle: Bundle, whole: pd.DataFrame, tmp_path: Path) -> None:
    frame = patients()
    changed = frame["diag"] == "flu"
    frame["diag"] = frame["diag"].replace("flu", "Zoo")
    found = _predicted(bundle, frame, tmp_path)
    stayed = frame["sample"][~changed]
    # The bits, as every row stands where it stood.
    pd.testing.assert_frame_equal(found.loc[stayed], whole.loc[stayed], check_exact=True)
    assert found.loc[frame["sample"][changed], "flags"].str.contains("value of diag never seen").all()


def test_flags_and_drift_say_what_is_strange(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients().iloc[:200].copy()
    frame["age"] += 40
    frame.loc[frame.index[3], ["b0", "b1", "b2"]] = np.nan
    found = _predicted(bundle, frame, tmp_path)
    flags = found["flags"]
    assert "no lab" in flags.iloc[3]
    assert flags.str.contains("out of range: age").sum() > 20
    drift = _drift(tmp_path)
    assert drift["age"]["shifted"] == "1"
    assert float(drift["age"]["psi"]) > float(drift["age"]["limit"]) >= 0.2
    assert drift["b1"]["shifted"] == "0"
    same = _predicted(bundle, patients(), tmp_path / "same")
    drift = _drift(tmp_path / "same")
    assert {row["samples"] for row in drift.values()} == {str(len(same))}
    assert {row["shifted"] for row in drift.values()} <= {"0", ""}


def test_drift_is_the_same_in_any_batches(bundle: Bundle) -> None:
    rng = np.random.default_rng(1)
    x = {name: rng.normal(60, 30, (90, len(f))).astype(np.float32) for name, f in bundle.sources.items()}
    once, twice = (Drift(bundle.sketches, bundle.sources) for _ in range(2))
    once.add(x)
    for part in (slice(0, 7), slice(7, 90)):
        twice.add({name: values[part] for name, values in x.items()})
    assert str(list(once.rows())) == str(list(twice.rows()))


def test_a_source_that_nobody_has_is_missing_throughout(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients().iloc[:50]
    columns = bundle.sources["lab"]
    _predicted(bundle, frame.drop(columns=columns), tmp_path, absent=["lab"])
    drift = _drift(tmp_path)
    assert {drift[name]["missing"] for name in columns} == {"1"}
    _predicted(bundle, frame.assign(**dict.fromkeys(columns)), tmp_path / "empty")
    assert drift == _drift(tmp_path / "empty")


@pytest.mark.parametrize("name", ["out.csv", "out.drift.csv"])
def test_nothing_that_is_read_is_written_over(bundle: Bundle, tmp_path: Path, name: str) -> None:
    patients().to_csv(tmp_path / name, index=False)
    before = (tmp_path / name).read_bytes()
    (tmp_path / "linked").symlink_to(tmp_path)
    with pytest.raises(InputError, match="this would be written over what is read"):
        predict_files(bundle, [tmp_path / name], tmp_path / "linked/out.csv", stream=io.StringIO())
    assert (tmp_path / name).read_bytes() == before


def test_attention_and_contributions_sum_to_what_is_said(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients().iloc[:30]
    found = _predicted(bundle, frame, tmp_path, with_attention=True, with_contributions=True)
    for name in SUPERVISED:
        parts = [c for c in found.columns if c.startswith(f"{name}.contribution.")]
        assert sorted(parts) == [f"{name}.contribution.{s}" for s in ("lab", "nothing", "person")]
        total = found[parts].sum(axis=1).to_numpy()
        kind = bundle.tasks[name].problem_class
        expected: Any
        if kind == "binary":
            expected = np.log(found[name] / (1 - found[name]))
        elif kind == "multiclass":
            p = found[[f"{name}.{c}" for c in bundle.tasks[name].classes]].max(axis=1)
            expected = np.log(p / (1 - p))
        else:
            expected = found[name if kind == "regression" else f"{name}.raw"]
        np.testing.assert_allclose(total, expected, atol=1e-6)
        shares = [c for c in found.columns if c.startswith(f"{name}.attention.")]
        if bundle.tasks[name].candidates[bundle.tasks[name].chosen].kind == "network":
            np.testing.assert_allclose(found[shares].sum(axis=1), 1, atol=1e-9)
        else:
            assert not shares


def test_contributions_are_those_of_plain_enumeration(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    x: dict[str, npt.NDArray[Any] | None] = {}
    for name, columns in bundle.sources.items():
        # Features of categories stay 0.
        values = np.zeros((40, len(columns)))
        at = [i for i, column in enumerate(columns) if column in ("age", "b0", "b1", "b2")]
        values[:, at] = np.where(rng.random((40, len(at))) < 0.2, np.nan, rng.normal(50, 20, (40, len(at))))
        values[rng.random(40) < 0.3] = np.nan
        x[name] = values.astype(np.float32)
    monkeypatch.setattr(explain, "_PAIRS", 30)
    done: list[int] = []
    found = contributions(bundle, x, SUPERVISED, done.append)
    assert len(done) > 1
    assert sum(done) == 40
    for name, values in explain.enumerated(bundle, bundle.checked(x)[0], SUPERVISED).items():
        nothing, one, other, both = values.T
        first, second = explain.players(bundle)
        expected = {
            first: (one - nothing + both - other) / 2,
            second: (other - nothing + both - one) / 2,
            "nothing": nothing,
        }
        for what, column in expected.items():
            np.testing.assert_allclose(found[f"{name}.contribution.{what}"], column, atol=1e-10, rtol=0)


def test_a_task_without_attention_is_named(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = finished.export_of("linear", tmp_path / "b", monkeypatch)
    patients().iloc[:20].drop(columns=OUTCOMES).to_csv(tmp_path / "new.csv", index=False)
    stream = io.StringIO()
    options: Any = {"tasks": ["sick"], "with_attention": True, "with_contributions": True, "stream": stream}
    predict_files(other, [tmp_path / "new.csv"], tmp_path / "out.csv", **options)
    said = stream.getvalue()
    assert "no attention, which networks alone have: sick (predicted by a reference model)" in said
    assert "contributions of each source, 2 in all: each sample is predicted up to 4 times" in said


def test_a_folder_is_said_to_be_one(bundle: Bundle, tmp_path: Path) -> None:
    patients().iloc[:20].to_csv(tmp_path / "new.csv", index=False)
    for name in ("out.csv", "out"):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="this is a folder, and a file is to be written"):
            predict_files(bundle, [tmp_path / "new.csv"], tmp_path / name, stream=io.StringIO())


def test_a_missing_source_contributes_nothing(bundle: Bundle) -> None:
    x: dict[str, npt.NDArray[Any] | None] = {
        "person": np.zeros((3, len(bundle.sources["person"])), dtype=np.float32),
        "lab": np.full((3, len(bundle.sources["lab"])), np.nan, dtype=np.float32),
    }
    found = contributions(bundle, x, ["sick"])
    np.testing.assert_allclose(found["sick.contribution.lab"], 0, atol=1e-12)
    assert np.abs(found["sick.contribution.person"]).max() > 0


def test_the_command_line(
    bundle: Bundle, whole: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patients().drop(columns=OUTCOMES).to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "out.csv"
    words = ["predict", str(bundle.folder), str(tmp_path / "new.csv"), "--out", str(out)]
    assert main([*words, "--tasks", "sick", "stay"]) == 0
    assert f"{len(whole):,} samples in {out}" in capsys.readouterr().err
    found = pd.read_csv(out).set_index("sample_id")
    assert [c for c in found.columns if not c.startswith("stay")] == ["sick", "sick.raw", "flags"]
    np.testing.assert_allclose(found["sick"], whole.loc[found.index, "sick"], atol=1e-12)
    assert main([*words, "--tasks", "sik"]) == 2
    assert "did you mean `sick`?" in capsys.readouterr().err
    out.unlink()
    patients().drop(columns=["age", "b1"]).to_csv(tmp_path / "new.csv", index=False)
    assert main(words) == 2
    assert "2 things keep these files from being read" in capsys.readouterr().err
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "out.drift.csv"]


def test_only_tables_are_written(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"written as \.csv or \.parquet"):
        predict_files(bundle, ["new.csv"], tmp_path / "out.xlsx", stream=io.StringIO())
