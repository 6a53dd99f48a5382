"""`m3h evaluate-bundle`: other patients' outcomes, scored as the study's own were, beside its numbers."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from m3h_pipeline.bundle.external import COLUMNS, evaluate_files
from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.cli import main
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, read_samples, write_json
from tests.bundle.studies import MARK, Finished, patients

Table = dict[tuple[str, str, str], dict[str, str]]


def _evaluated(bundle: Bundle, frame: pd.DataFrame, folder: Path) -> Table:
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "other.csv", index=False)
    evaluate_files(bundle, [str(folder / "other.csv")], folder / "page.html", draws=50, stream=io.StringIO())
    with (folder / "page.tsv").open(newline="") as file:
        return {
            (row["task"], row["group"], row["measure"]): row for row in csv.DictReader(file, delimiter="\t")
        }


def test_the_test_part_scores_what_the_study_says(bundle: Bundle, finished: Finished, tmp_path: Path) -> None:
    ids = read_samples(finished.results.cohort / "samples.parquet")["sample_id"].to_pylist()
    names = {ids[row] for row in finished.test_rows()}
    found = _evaluated(bundle, finished.table[finished.table["sample"].isin(names)], tmp_path)
    for name in ("sick", "grade", "stay", "death"):
        row = found[name, "", bundle.tasks[name].metric]
        assert float(row["value"]) == pytest.approx(float(row["study"]), abs=2e-4)
        slope = found[name, "", "calibration slope, as the model says"]
        assert float(slope["value"]) == pytest.approx(float(slope["study"]), abs=2e-3)
    assert float(found["sick", "south", "auroc"]["value"]) == pytest.approx(
        float(found["sick", "south", "auroc"]["study"]), abs=2e-4
    )
    covered = found["stay", "", "coverage of 90 % intervals"]
    assert float(covered["low"]) <= float(covered["value"]) <= float(covered["high"])
    assert found["kind", "", ""]["remark"] == "phenotypes have no outcome to be compared with"


def test_scores_are_those_of_scikit_learn(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients(seed=8)
    found = _evaluated(bundle, frame, tmp_path)
    said = _said(bundle, frame, tmp_path)
    y = (frame.set_index("sample")["ill"] == "yes").loc[said.index]
    row = found["sick", "", "auroc"]
    assert float(row["value"]) == pytest.approx(roc_auc_score(y, said["sick.raw"]), abs=1e-4)
    brier = float(np.mean((said["sick"] - y) ** 2))
    assert float(found["sick", "", "brier"]["value"]) == pytest.approx(brier, abs=1e-4)
    assert float(row["low"]) < float(row["value"]) < float(row["high"])


def _said(bundle: Bundle, frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    from m3h_pipeline.bundle.predict import predict_files

    predict_files(bundle, [folder / "other.csv"], folder / "out.parquet", stream=io.StringIO())
    return pd.read_parquet(folder / "out.parquet").set_index("sample_id")


def test_nothing_tells_of_few(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients(seed=8).iloc[:150].copy()
    frame["ill"] = np.where(np.arange(len(frame)) < 6, "yes", "no")
    found = _evaluated(bundle, frame, tmp_path)
    row = found["sick", "", "auroc"]
    assert row["value"] == ""
    assert row["remark"] == "fewer than 11 patients have the outcome, or do not have it"
    assert not any(task == "sick" and group for task, group, _ in found)
    for name in ("page.html", "page.tsv"):
        assert MARK not in (tmp_path / name).read_text()
    assert all(int(row["patients"].replace(",", "")) >= 11 for row in found.values() if row["patients"])


def test_no_difference_of_numbers_tells_of_few(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients(seed=8)
    who = frame["patient"].unique()
    frame.loc[frame["patient"].isin(who[:4]), "ill"] = ""
    found = _evaluated(bundle, frame, tmp_path)
    assert found["stay", "", "r2"]["patients"] == str(len(who))
    # With the number of all it would tell the four without the outcome.
    assert found["sick", "", "auroc"]["value"]
    assert found["sick", "", "auroc"]["patients"] == ""
    # Groups and the number of all would tell who is in none of them.
    groups = [row for (_, group, _), row in found.items() if group]
    assert groups
    assert {row["patients"] for row in groups} == {""}


def test_a_share_of_intervals_tells_of_no_few(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients(seed=8).drop_duplicates("patient").iloc[:90].copy()
    frame.to_csv(tmp_path / "other.csv", index=False)
    frame["stay"] = _said(bundle, frame, tmp_path).loc[frame["sample"], "stay"].to_numpy() + np.where(
        np.arange(len(frame)) < 5, 1000.0, 0.001 * np.arange(len(frame))
    )
    row = _evaluated(bundle, frame, tmp_path)["stay", "", "coverage of 90 % intervals"]
    assert row["value"] == ""
    assert row["remark"] == "values of fewer than 11 patients are in the intervals, or out of them"


def test_what_is_scored_is_not_written_over(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "other.tsv"
    patients(seed=8).to_csv(path, index=False, sep="\t")
    before = path.read_bytes()
    with pytest.raises(InputError, match="this would be written over what is read"):
        evaluate_files(bundle, [str(path)], tmp_path / "other.html", draws=20, stream=io.StringIO())
    assert path.read_bytes() == before


def test_no_value_of_few_is_repeated_on_the_page(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = patients(seed=8)
    frame.loc[frame.index[:3], "ill"] = "zebra"
    frame.to_csv(tmp_path / "other.csv", index=False)
    out = tmp_path / "page.html"
    words = ["evaluate-bundle", str(bundle.folder), str(tmp_path / "other.csv"), "--out", str(out)]
    assert main([*words, "--tasks", "sick", "stay", "--draws", "20"]) == 0
    assert "`zebra` (<11)" in capsys.readouterr().err
    for path in (out, out.with_suffix(".tsv")):
        text = path.read_text()
        assert "column `ill` holds values that the criterion does not name" in text
        assert "zebra" not in text


def test_a_task_without_outcomes_is_named(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = patients(seed=8)
    frame["grade"] = ""
    found = _evaluated(bundle, frame, tmp_path)
    assert found["grade", "", ""]["remark"] == "the criterion matches no row: every label is missing"
    assert found["sick", "", "auroc"]["value"]
    out = tmp_path / "again.html"
    words = ["evaluate-bundle", str(bundle.folder), str(tmp_path / "other.csv"), "--out", str(out)]
    assert main([*words, "--tasks", "grade"]) == 2
    assert "no task has outcomes in these files" in capsys.readouterr().err
    assert main([*words, "--tasks", "sick", "--draws", "20"]) == 0
    page = out.read_text()
    assert page.startswith("<!doctype html>")
    assert "http" not in page
    assert out.with_suffix(".tsv").read_text().split("\n")[0].split("\t") == list(COLUMNS)
    frame.drop(columns="ill").to_csv(tmp_path / "other.csv", index=False)
    assert main(words) == 2
    assert "`ill`" in capsys.readouterr().err


def test_every_column_that_outcomes_lack_is_named(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = patients(seed=8).drop(columns=["ill", "patient"]).rename(columns={"grade": "Grade"})
    frame.to_csv(tmp_path / "other.csv", index=False)
    words = [str(bundle.folder), str(tmp_path / "other.csv"), "--out", str(tmp_path / "p.html")]
    assert main(["evaluate-bundle", *words]) == 2
    said = capsys.readouterr().err
    assert "are told are absent: `grade`, `ill`, `patient`" in said
    assert "is `Grade` meant for `grade`? Then name it so" in said


def test_a_task_that_is_not_scored_is_said_on_the_screen(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = patients(seed=8)
    frame["grade"] = ""
    frame.to_csv(tmp_path / "other.csv", index=False)
    words = [str(bundle.folder), str(tmp_path / "other.csv"), "--out", str(tmp_path / "p.html")]
    assert main(["evaluate-bundle", *words, "--draws", "20"]) == 0
    assert "grade is not scored: the criterion matches no row" in capsys.readouterr().err


def test_columns_of_an_absent_source_may_lack(bundle: Bundle, tmp_path: Path) -> None:
    frame = patients(seed=8)
    path, bare = tmp_path / "whole.csv", tmp_path / "bare.csv"
    frame.to_csv(path, index=False)
    frame.drop(columns=["b0", "b1", "b2"]).to_csv(bare, index=False)
    rows = [
        evaluate_files(
            bundle, [str(one)], tmp_path / "p.html", absent=["lab"], draws=20, stream=io.StringIO()
        )
        for one in (path, bare)
    ]
    assert str(rows[0]) == str(rows[1])
    none = ["lab", "person"]
    with pytest.raises(InputError, match="every source is absent"):
        evaluate_files(bundle, [str(bare)], tmp_path / "p.html", absent=none, stream=io.StringIO())


def test_a_cohort_s_folder_will_do(bundle: Bundle, finished: Finished, tmp_path: Path) -> None:
    cohort = finished.results.cohort
    evaluate_files(bundle, [str(cohort)], tmp_path / "p.html", draws=20, stream=io.StringIO())
    assert "sick" in (tmp_path / "p.tsv").read_text()
    with pytest.raises(InputError, match=r"written as \.html"):
        evaluate_files(bundle, [str(cohort)], tmp_path / "p.pdf", draws=20, stream=io.StringIO())


def test_titles_are_text_on_the_page(bundle: Bundle, finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    path = tmp_path / "bundle/bundle.json"
    content = read_json(path)
    content["tasks"]["sick"]["title"] = "<script>alert(1)</script>"
    write_json(content, path, sort_keys=False)
    changed = Bundle.load(tmp_path / "bundle")
    frame = patients(seed=8)
    _evaluated(changed, frame, tmp_path)
    assert "<script>" not in (tmp_path / "page.html").read_text()
