"""Bundles of `haim` and `mimic` studies: predicted and scored from files as their sources read them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from m3h_pipeline.bundle.external import evaluate_files
from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.predict import predict_files
from m3h_pipeline.cli import main
from m3h_pipeline.config import load_study
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_labels, read_samples
from tests.conftest import ROOT
from tests.end_to_end.in_process import Whole
from tests.end_to_end.small_study import STUDY, write_inputs

TASKS = ["length_of_stay", "sepsis"]


def _finished(folder: Path, data: Path, source: dict[str, Any]) -> Whole:
    """A study of two sources and two tasks, as short as it can be."""
    content = {
        **STUDY,
        "data": str(data),
        "source": source,
        "tasks": {
            "definitions": [str(ROOT / "resources/tasks/m3h.yaml")],
            "include": TASKS,
            "min_per_fold": 2,
        },
        "split": {"folds": 2, "stratify_by": ["sepsis"]},
        "training": {"epochs": 1, "batch_sizes": [64], "learning_rates": [1e-3]},
        "evaluation": {"replicates": 1, "draws": 20, "baselines": []},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    whole = Whole(load_study(folder / "study.yaml"), folder / "results")
    with redirect_stderr(io.StringIO()):
        whole.run()
    return whole


@pytest.fixture(scope="module")
def haim(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("haim")
    write_inputs(folder)
    return _finished(folder, folder / "data", STUDY["source"])


@pytest.fixture(scope="module")
def mimic(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Whole:
    return _finished(
        tmp_path_factory.mktemp("mimic"), real_data, {"kind": "mimic", "folder": "mimic-iv-demo"}
    )


@pytest.fixture(scope="module")
def table(haim: Whole) -> pd.DataFrame:
    """The study's own table, as text, without the two broken lines at its end."""
    return pd.read_csv(_data(haim) / "table.csv", dtype=str, keep_default_na=False, on_bad_lines="skip")


def _data(whole: Whole) -> Path:
    return whole.folder.parent / "data"


def _bundle(whole: Whole) -> Bundle:
    return Bundle.load(whole.folder / "bundle")


def _predicted(whole: Whole, path: Path, folder: Path, absent: Sequence[str] = ()) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    predict_files(_bundle(whole), [path], folder / "out.parquet", absent=absent, stream=io.StringIO())
    return pd.read_parquet(folder / "out.parquet").set_index("sample_id").drop(columns="flags")


def _scored(
    whole: Whole, paths: Sequence[Path], out: Path, absent: Sequence[str] = ()
) -> tuple[dict[tuple[str, str, str], dict[str, str]], str]:
    """The table of the report, and what was said."""
    said = io.StringIO()
    evaluate_files(_bundle(whole), [str(path) for path in paths], out, absent=absent, draws=20, stream=said)
    with out.with_suffix(".tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {(row["task"], row["group"], row["measure"]): row for row in rows}, said.getvalue()


def _as_the_study_had_it(whole: Whole, found: pd.DataFrame) -> None:
    """Raw files give what the cohort's own features give."""
    bundle = _bundle(whole)
    ids = read_samples(whole.cohort / "samples.parquet")["sample_id"].to_pylist()
    assert sorted(found.index) == ids
    known = _predicted(whole, whole.cohort, whole.folder)
    for name in bundle.tasks:
        np.testing.assert_allclose(found.loc[ids, name], known.loc[ids, name], rtol=1e-6)


def _score_of_predictions(whole: Whole, found: pd.DataFrame, row: dict[str, str]) -> None:
    """The report's score is that of the predictions against the labels."""
    y = read_labels(whole.labels / "length_of_stay.parquet")[0]
    ids = read_samples(whole.cohort / "samples.parquet")["sample_id"].to_pylist()
    said, seen = found.loc[ids, "length_of_stay.raw"].to_numpy(), ~np.isnan(y)
    r2 = 1 - ((y - said)[seen] ** 2).sum() / ((y[seen] - y[seen].mean()) ** 2).sum()
    assert float(row["value"]) == pytest.approx(r2, abs=1e-4)


def test_haim_s_table_is_predicted_in_any_order(haim: Whole, table: pd.DataFrame, tmp_path: Path) -> None:
    whole = _predicted(haim, _data(haim) / "table.csv", tmp_path / "whole")
    _as_the_study_had_it(haim, whole)
    # Another order of rows and columns, and what spreadsheets add.
    moved = tmp_path / "moved.csv"
    table.iloc[::-1, ::-1].to_csv(moved, index=False, encoding="utf-8-sig", lineterminator="\r\n")
    pd.testing.assert_frame_equal(_predicted(haim, moved, tmp_path / "moved"), whole, atol=1e-9, rtol=0)
    table.iloc[[7]].drop(columns=["discharge_location", "death_status"]).to_csv(moved, index=False)
    alone = _predicted(haim, moved, tmp_path / "alone")
    pd.testing.assert_frame_equal(alone, whole.loc[alone.index], atol=1e-9, rtol=0)


def test_haim_s_outcomes_are_scored(haim: Whole, table: pd.DataFrame, tmp_path: Path) -> None:
    data = _data(haim)
    files = [data / "table.csv", data / "keys.csv", data / "hosp"]
    rows, said = _scored(haim, files, tmp_path / "page.html")
    assert "malformed lines set aside: <11" in said
    predicted = _predicted(haim, files[0], tmp_path / "whole")
    _score_of_predictions(haim, predicted, rows["length_of_stay", "", "r2"])
    assert rows["sepsis", "", "auroc"]["value"]
    rows, _ = _scored(haim, files[1::-1], tmp_path / "page.html")
    assert rows["sepsis", "", ""]["remark"].startswith("the task is defined by diagnosis codes")
    with pytest.raises(InputError, match=r"the key ids \(haim_id, .*not among the files(?s:.*)give it, too"):
        _scored(haim, files[:1], tmp_path / "page.html")
    with pytest.raises(InputError, match="the table is not among the files"):
        _scored(haim, files[1:], tmp_path / "page.html")


def test_of_haim_a_source_may_be_absent(haim: Whole, table: pd.DataFrame, tmp_path: Path) -> None:
    """Its columns may lack then, in what is predicted and in what is scored."""
    data, bare = _data(haim), tmp_path / "bare.csv"
    table.loc[:, ~table.columns.str.startswith("ts_le_")].to_csv(bare, index=False)
    with pytest.raises(InputError, match="33 columns of source `ts_lab` are absent"):
        _predicted(haim, bare, tmp_path / "out")
    found = _predicted(haim, bare, tmp_path / "out", ["ts_lab"])
    rows, _ = _scored(haim, [bare, data / "keys.csv"], tmp_path / "page.html", ["ts_lab"])
    _score_of_predictions(haim, found, rows["length_of_stay", "", "r2"])
    with pytest.raises(InputError, match="every source is absent"):
        _scored(haim, [bare, data / "keys.csv"], tmp_path / "page.html", ["ts_lab", "demographics"])


#: What is done to HAIM's table, and what is said of it.
BROKEN: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no id of the stay": (lambda t: t.drop(columns="haim_id"), "column.s. missing: haim_id"),
    "no id at all": (
        lambda t: t.drop(columns=["haim_id", "img_id"]),
        "this is tables, and the study's source",
    ),
    "a column twice": (lambda t: pd.concat([t, t[["de_1"]]], axis=1), "`demographics` stand twice: `de_1`"),
    "no row": (lambda t: t.iloc[:0], "there is no row after the header"),
    "truths": (lambda t: t.assign(de_1="TRUE"), "text in the numeric column `de_1`"),
    "commas": (lambda t: t.assign(de_1="1,5"), "text in the numeric column `de_1`"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_refused(name: str, haim: Whole, table: pd.DataFrame, tmp_path: Path) -> None:
    change, sentence = BROKEN[name]
    change(table).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(InputError, match=sentence):
        _predicted(haim, tmp_path / "new.csv", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_one_table_is_read(haim: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = _data(haim)
    files = [str(data / "table.csv"), str(data / "keys.csv")]
    assert main(["predict", str(haim.folder / "bundle"), *files, "--out", str(tmp_path / "out.csv")]) == 2
    assert "give it alone; neither key ids nor diagnoses are needed" in capsys.readouterr().err


@pytest.mark.real_data
def test_mimic_s_release_is_predicted_and_scored(mimic: Whole, real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "mimic-iv-demo"
    found = _predicted(mimic, folder, tmp_path)
    _as_the_study_had_it(mimic, found)
    rows, _ = _scored(mimic, [folder], tmp_path / "page.html")
    _score_of_predictions(mimic, found, rows["length_of_stay", "", "r2"])
    assert rows["sepsis", "", "auroc"]["value"]
    rows, _ = _scored(mimic, [folder], tmp_path / "page.html", ["ts_lab"])
    bare = _predicted(mimic, folder, tmp_path, ["ts_lab"])
    _score_of_predictions(mimic, bare, rows["length_of_stay", "", "r2"])
    with pytest.raises(InputError, match="the file is given twice"):
        _scored(mimic, [folder, folder], tmp_path / "page.html")
    with pytest.raises(InputError, match="reads one folder, as MIMIC-IV is distributed"):
        _scored(mimic, [folder, folder / "hosp"], tmp_path / "page.html")
    with pytest.raises(InputError, match="this is tables, and the study's source reads a folder as MIMIC-IV"):
        _predicted(mimic, folder / "hosp", tmp_path)
