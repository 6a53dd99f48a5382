"""The verb ``evaluate``: known answers, referees, both arms alike, what is missing, what is wrong."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from m3h_pipeline.config import Evaluation
from m3h_pipeline.contracts import SCORES, SELECTION
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.evaluation.arms import final_fits
from m3h_pipeline.files import read_json, read_table, write_json, write_table
from m3h_pipeline.inference.intervals import benjamini_hochberg
from tests.evaluation.studies import FOLDS, SETTING, Floats, Study, noisy, predictor, study

Tables = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Study:
    one = study(tmp_path_factory.mktemp("study"))
    one.write(predictor(one))
    return one


@pytest.fixture(scope="module")
def tables(written: Study) -> Tables:
    return written.evaluate()


def by_task(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["task"]: row for row in rows}


def test_scores_are_those_of_the_mean_prediction_of_all_replicates(written: Study, tables: Tables) -> None:
    test = np.flatnonzero(written.fold == -1)
    found = by_task(tables["evaluation"])
    for arm, key, quality in (("multi", "days+ill", 1.0), ("single", "days", 0.7)):
        mean = np.mean([noisy(written, "days", quality, (key, r, -1), test) for r in range(3)], axis=0)
        seen = ~np.isnan(written.labels["days"][test])
        expected = r2_score(written.labels["days"][test][seen], mean[seen])
        assert found["days"][arm] == pytest.approx(expected, abs=1e-5)
    for arm, key, quality in (("multi", "ill+kind", 1.0), ("single", "ill", 0.7)):
        mean = np.mean([noisy(written, "ill", quality, (key, r, -1), test) for r in range(3)], axis=0)
        seen = ~np.isnan(written.labels["ill"][test])
        expected = roc_auc_score(written.labels["ill"][test][seen], mean[seen])
        assert found["ill"][arm] == pytest.approx(expected, abs=1e-5)
    # Clusters of different seeds have no common names: silhouettes are averaged.
    each = [noisy(written, "kind", 1.0, ("days+kind", r, -1), test)[:, 1].mean() for r in range(3)]
    assert found["kind"]["multi"] == pytest.approx(np.mean(each), abs=1e-5)


def test_planted_improvements_are_found_and_rows_are_consistent(written: Study, tables: Tables) -> None:
    found = by_task(tables["evaluation"])
    for task in ("days", "ill"):
        row = found[task]
        assert row["difference_low"] > 0
        assert row["q"] < 0.05
        assert row["verdict"] == "better"
        assert row["detectable"] > 0
        assert row["difference"] == pytest.approx(row["multi"] - row["single"])
        assert row["relative"] == pytest.approx(row["difference"] / row["single"])
        for name in ("single", "multi", "difference", "relative"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    rows = tables["evaluation"]
    np.testing.assert_allclose(
        [row["q"] for row in rows], benjamini_hochberg(np.array([row["p"] for row in rows]))
    )
    assert {row["task"] for row in rows if np.isnan(row["q"])} == {"grade", "kind"}
    test = written.fold == -1
    seen = test & ~np.isnan(written.labels["ill"])
    assert found["ill"]["n_samples"] == seen.sum()
    assert found["ill"]["n_patients"] == len(set(written.patient[seen]))
    assert found["kind"]["n_samples"] == test.sum()  # a clustering task without labels is about everyone


def test_a_task_selected_alone_has_a_difference_of_exactly_0(tables: Tables) -> None:
    row = by_task(tables["evaluation"])["grade"]
    assert row["combination"] == "grade"
    assert row["multi"] == row["single"]
    assert [row[k] for k in ("difference", "difference_low", "difference_high")] == [0, 0, 0]
    assert [row[k] for k in ("relative", "relative_low", "relative_high")] == [0, 0, 0]
    assert np.isnan([row["p"], row["q"], row["detectable"]]).all()
    assert row["verdict"] == "not tested"
    assert row["single_low"] < row["single"] < row["single_high"]
    # It is one model, and has one interval, on both parts.
    assert (row["multi_low"], row["multi_high"]) == (row["single_low"], row["single_high"])
    for part in ("validation", "test"):
        single, multi = (
            [
                (r["value"], r["low"], r["high"])
                for r in tables["comparison"]
                if (r["task"], r["model"], r["part"]) == ("grade", model, part)
            ]
            for model in ("single", "multi")
        )
        assert single == multi, part


def test_silhouettes_of_two_spaces_are_not_compared(written: Study, tables: Tables) -> None:
    row = by_task(tables["evaluation"])["kind"]
    assert row["multi"] != row["single"]
    names = ("difference", "difference_high", "relative", "relative_low", "p", "q", "detectable")
    assert np.isnan([row[name] for name in names]).all()
    assert row["verdict"] == row["reference_verdict"] == "not tested"


def test_the_strongest_reference_out_of_fold_is_tested_in_the_same_draws(
    written: Study, tables: Tables
) -> None:
    """As the choice compares the same two: its numbers are the referee."""
    choice = {(row["task"], row["candidate"]): row for row in tables["choice"] if row["part"] == "test"}
    found = by_task(tables["evaluation"])
    for task in ("days", "ill", "relapse"):
        other = choice[task, "together"]
        assert found[task]["reference"] == other["reference"]
        for name in ("versus_reference", "versus_reference_low", "versus_reference_high"):
            assert found[task][name] == pytest.approx(other[name], abs=1e-9), (task, name)
    p = np.array([row["reference_p"] for row in tables["evaluation"]])
    q = [row["reference_q"] for row in tables["evaluation"]]
    np.testing.assert_allclose(q, benjamini_hochberg(p))
    # A task that learns alone has no companions to test, but a network and a reference all the same.
    assert np.isfinite(found["grade"]["reference_q"])
    best = {
        row["model"]: row["value"]
        for row in tables["comparison"]
        if row["task"] == "ill" and row["part"] == "validation" and row["model"] not in ("multi", "single")
    }
    assert best[found["ill"]["reference"]] >= max(best.values()) - 0.002


def test_without_references_nothing_is_held_against_any(tmp_path: Path) -> None:
    one = study(tmp_path, 300).without("relapse")
    one.write(predictor(one))
    for row in one.evaluate(draws=30, baselines=[])["evaluation"]:
        assert row["reference"] is None
        assert np.isnan([row["versus_reference"], row["reference_q"]]).all()
        assert row["reference_verdict"] == "not tested"


def test_the_rate_of_false_discoveries_is_a_setting(tmp_path: Path) -> None:
    one = study(tmp_path, 300).without("relapse")
    one.write(predictor(one))
    strict = Evaluation(draws=60, fdr=1e-12)
    found = by_task(one.evaluate(evaluation=strict)["evaluation"])
    assert found["days"]["q"] < 0.05
    assert found["days"]["verdict"] == "not significant"


def test_the_headline_stands_in_a_file_in_the_table_and_on_the_screen(
    written: Study, tables: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    text = written.path("out/headline.txt").read_text(encoding="utf-8")
    capsys.readouterr()
    written.evaluate(out="once_more")
    said = [line for line in capsys.readouterr().err.splitlines() if "resampled" not in line]
    assert said[0] == text.strip()
    metadata = pq.read_schema(written.path("out/evaluation.parquet")).metadata
    assert json.loads(metadata[b"evaluation"])["headline"] == text.strip()
    assert text.startswith("Together is better than alone for ")
    assert "%" not in text.replace("80 %", "")


def test_a_second_look_and_what_was_planted_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = study(tmp_path, 300).without("relapse")
    one.write(predictor(one))
    truth: dict[str, Any] = {"groups": [["days", "ill"]], "conflicts": [], "noise": []}
    write_json(truth, one.path("truth.json"))
    one.evaluate(draws=30, truth=one.path("truth.json"), looks=3)
    said = "1 of 2 in groups found theirs; 0 of 0 controls claimed"
    assert said in one.path("out/planted.tsv").read_text(encoding="utf-8")
    assert f"planted: {said}" in capsys.readouterr().err
    assert "opened with 3 sets of models" in one.path("out/headline.txt").read_text(encoding="utf-8")
    metadata = pq.read_schema(one.path("out/evaluation.parquet")).metadata
    assert json.loads(metadata[b"evaluation"])["looks"] == 3


def test_controls_are_marked_in_every_table_of_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = study(tmp_path)
    one.write(predictor(one))
    tasks = json.loads(one.path("tasks.json").read_text())
    reasons = {"ill": "permuted labels", **dict.fromkeys(("days", "grade", "relapse"), "planted noise")}
    for task, reason in reasons.items():
        tasks["tasks"][task]["control"] = reason
    write_json(tasks, one.path("tasks.json"))
    found = one.evaluate(draws=10)
    for name, rows in found.items():
        assert rows, name
        assert [row["control"] for row in rows] == [reasons.get(row["task"], "") for row in rows]
    for name in ("evaluation", "comparison", "optimism"):
        assert {row["task"] for row in found[name]} == {"kind", *reasons}
    companions = [(row["companion"], row["companion_control"]) for row in found["attention"]]
    assert {task for task, _ in companions} >= {"ill", "kind"}
    assert all(control == reasons.get(task, "") for task, control in companions)
    assert "ill (permuted labels): " in capsys.readouterr().err


def test_the_summary_tells_scores_out_of_fold_that_nobody_chose_by(tmp_path: Path) -> None:
    one = study(tmp_path, 300)
    one.write(predictor(one))
    found = one.evaluate(draws=10)
    shown = {
        row["task"]: row
        for row in csv.DictReader(one.path("out/summary.tsv").read_text().splitlines(), delimiter="\t")
    }
    scores = {
        (row["task"], row["model"]): row["value"]
        for row in found["comparison"]
        if row["part"] == "validation" and row["value"] is not None
    }
    told = [row for row in found["optimism"] if (row["task"], "multi") in scores]
    assert {"days", "ill"} <= {row["task"] for row in told}
    for row in told:
        task, luck = row["task"], max(row["selected"] - row["corrected"], 0.0)
        expected = {
            "selected": row["selected"],
            "BBC-CV": row["corrected"],
            "alone": scores[task, "single"],
            "best of as many alone": row["equal_budget"],
        }
        for name, value in expected.items():
            cell = shown[task][f"validation, {name}"]
            assert (not cell and np.isnan(value)) or float(cell) == pytest.approx(value, abs=6e-4)
        cell = shown[task]["validation, corrected (95 % interval)"]
        value, low, high = map(float, re.findall(r"-?\d\.\d+", cell))
        assert value == pytest.approx(scores[task, "multi"] - luck, abs=6e-4)
        assert low < value < high


def test_equal_arms_of_different_fits_have_no_difference(tmp_path: Path) -> None:
    one = study(tmp_path, 300)

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Floats:
        return noisy(one, task, 0.8, (replicate, fold), rows)

    one.write(predict)
    for row in one.evaluate(draws=50)["evaluation"]:
        if row["task"] == "kind":
            continue
        assert row["difference"] == row["difference_low"] == row["difference_high"] == 0
        # Two models that say the same were tested, one model under two names was not.
        assert row["verdict"] == ("not tested" if row["task"] == "grade" else "not significant")


def test_permuted_labels_are_not_significant(tmp_path: Path) -> None:
    one = study(tmp_path).without("relapse")
    one.write(predictor(one, shared=0.3))
    rng = np.random.default_rng(4)
    one.labels = {name: rng.permutation(y) for name, y in one.labels.items()}
    one._write_cohort(len(one.fold))
    found = by_task(one.evaluate()["evaluation"])
    for task in ("ill", "grade"):
        assert found[task]["verdict"] in ("not significant", "not tested")
        assert found[task]["single_low"] < 0.5 < found[task]["single_high"]


def test_comparison_holds_all_models_out_of_fold_and_on_test(written: Study, tables: Tables) -> None:
    found = {(r["task"], r["model"], r["part"]): r for r in tables["comparison"]}
    parts = ("validation", "test")
    for task in ("days", "grade", "ill", "kind"):
        models = ["multi", "single"] + ["linear", "gradient_boosting"] * (task != "kind")
        expected = {(task, m, p) for m in models for p in parts}
        assert {place for place in found if place[0] == task} == expected
    tested = by_task(tables["evaluation"])["ill"]
    row = found["ill", "multi", "test"]
    ends = (tested["multi"], tested["multi_low"], tested["multi_high"])
    assert (row["value"], row["low"], row["high"]) == ends
    # Out of fold: the mean over folds.
    for model, keys, quality in (
        ("multi", [("ill+kind", r) for r in range(3)], 1.0),
        ("linear", [("linear",)], 0.6),
    ):
        each = []
        for fold in range(FOLDS):
            rows = np.flatnonzero(written.fold == fold)
            values = np.mean([noisy(written, "ill", quality, (*key, fold), rows) for key in keys], axis=0)
            seen = ~np.isnan(written.labels["ill"][rows])
            each.append(roc_auc_score(written.labels["ill"][rows][seen], values[seen]))
        row = found["ill", model, "validation"]
        assert row["value"] == pytest.approx(np.mean(each), abs=1e-5)
        assert row["low"] < row["value"] < row["high"]


def test_attention_is_the_mean_over_replicates_of_the_selected_combination(tables: Tables) -> None:
    weights = {(r["task"], r["companion"]): r["weight"] for r in tables["attention"]}
    assert weights["days", "days"] == pytest.approx(0.8)
    assert weights["days", "ill"] == pytest.approx(0.2)
    assert weights["grade", "grade"] == 1
    assert ("ill", "days") not in weights
    for task in ("days", "grade", "ill", "kind"):
        assert sum(w for (t, _), w in weights.items() if t == task) == pytest.approx(1)


def test_curves_have_both_arms_subgroups_and_most_samples(written: Study, tables: Tables) -> None:
    groups = {(r["model"], r["subgroup"]) for r in tables["calibration"]}
    assert {("single", "all"), ("multi", "all")} <= groups
    assert {group for _, group in groups} <= {"all", "female", "male"}
    assert {r["task"] for r in tables["calibration"]} == {"ill"}
    assert {r["class_name"] for r in tables["roc"]} == {"none", "mild", "severe"}
    seen = int((~np.isnan(written.labels["days"][written.fold == -1])).sum())
    for model in ("single", "multi"):
        cells = [r["n"] for r in tables["agreement"] if r["model"] == model]
        assert 0.4 * seen < sum(cells) <= seen
        assert min(cells) >= 11


def test_a_class_absent_from_the_test_part_is_left_out_of_scores_and_curves(tmp_path: Path) -> None:
    one = study(tmp_path, 400, {"grade": "days+grade"})
    one.labels["grade"][(one.fold == -1) & (one.labels["grade"] == 2)] = np.nan
    one.write(predictor(one))
    found = one.evaluate(draws=50)
    row = by_task(found["evaluation"])["grade"]
    assert np.isfinite([row["single"], row["multi"], row["p"]]).all()
    assert {r["class_name"] for r in found["roc"]} == {"none", "mild"}


def test_one_class_on_the_test_part_keeps_a_row_without_a_score_and_a_note(tmp_path: Path) -> None:
    one = study(tmp_path, 300)
    one.labels["ill"][(one.fold == -1) & (one.labels["ill"] == 1)] = np.nan
    one.write(predictor(one))
    found = one.evaluate(draws=50)
    row = by_task(found["evaluation"])["ill"]
    assert np.isnan([row["single"], row["difference"], row["p"], row["q"], row["multi_low"]]).all()
    assert np.isfinite(by_task(found["evaluation"])["days"]["q"])
    assert "undefined on the test part" in one.path("out/summary.tsv").read_text()
    test = {r["model"]: r["value"] for r in found["comparison"] if r["task"] == "ill" and r["part"] == "test"}
    assert test["multi"] is None


def test_final_fits_are_of_the_folds_and_of_the_whole_training_part(written: Study) -> None:
    final = final_fits([written.path("final.scores.parquet")])
    assert set(final["days+ill", SETTING]) == {-1, 0, 1, 2}
    assert set(final["days+ill", SETTING][-1]) == {0, 1, 2}


def test_a_replicate_that_diverged_in_one_arm_is_left_out_of_both(tmp_path: Path) -> None:
    one = study(tmp_path, 300)
    usual = predictor(one)

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Floats | None:
        dead = fold == -1 and ((key == "days" and replicate == 1) or key == "ill")
        return None if dead else usual(key, task, replicate, fold, rows)

    one.write(predict)
    found = by_task(one.evaluate(draws=50)["evaluation"])
    test = np.flatnonzero(one.fold == -1)
    seen = ~np.isnan(one.labels["days"][test])
    both = [noisy(one, "days", 1.0, ("days+ill", r, -1), test) for r in (0, 2)]
    expected = r2_score(one.labels["days"][test][seen], np.mean(both, axis=0)[seen])
    assert found["days"]["multi"] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(found["ill"]["difference"])
    summary = one.path("out/summary.tsv").read_text()
    assert "2 of 3 replicates" in summary
    assert "in every replicate a fit diverged" in summary


def test_a_replicate_that_diverged_in_a_fold_is_left_out_of_all_folds(tmp_path: Path) -> None:
    """Of both arms out of fold, not on the test part; a task without any has no score out of fold."""
    one = study(tmp_path, 300).without("relapse")
    usual = predictor(one)

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Floats | None:
        dead = (key == "days" and (replicate, fold) == (1, 2)) or (key == "ill" and fold == 0)
        return None if dead else usual(key, task, replicate, fold, rows)

    one.write(usual)
    final = sorted({*one.selected.values(), *one.tasks})
    again = one.fits("final", final, range(-1, FOLDS), dict.fromkeys(final, 3), predict)
    one._write_fits("final", *again)
    found = one.evaluate(draws=50)
    rows = {(r["task"], r["model"], r["part"]): r["value"] for r in found["comparison"]}
    each = []
    for fold in range(FOLDS):
        here = np.flatnonzero(one.fold == fold)
        mean = np.mean([noisy(one, "days", 1.0, ("days+ill", r, fold), here) for r in (0, 2)], axis=0)
        seen = ~np.isnan(one.labels["days"][here])
        each.append(r2_score(one.labels["days"][here][seen], mean[seen]))
    assert rows["days", "multi", "validation"] == pytest.approx(np.mean(each), abs=1e-5)
    assert rows["ill", "multi", "validation"] is rows["ill", "single", "validation"] is None
    test = np.flatnonzero(one.fold == -1)
    seen = ~np.isnan(one.labels["days"][test])
    all_three = np.mean([noisy(one, "days", 1.0, ("days+ill", r, -1), test) for r in range(3)], axis=0)
    expected = r2_score(one.labels["days"][test][seen], all_three[seen])
    assert rows["days", "multi", "test"] == pytest.approx(expected, abs=1e-5)


def test_one_replicate_gives_an_interval_over_patients_and_says_so(tmp_path: Path) -> None:
    one = study(tmp_path, 300)
    one.write(predictor(one), replicates=1)
    row = by_task(one.evaluate(draws=50)["evaluation"])["days"]
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert row["verdict"] == row["reference_verdict"] == "no comparison"
    assert row["q"] is None or np.isnan(row["q"])
    assert "one replicate" in one.path("out/summary.tsv").read_text()


def test_seeds_widen_the_interval(tmp_path: Path) -> None:
    """Two studies with the same mean of three replicates; in the second, some are better than others."""
    width = []
    for spread in (0.0, 3.0):
        one = study(tmp_path / str(spread), 400).without("relapse")

        def predict(key: str, task: str, replicate: int, fold: int, rows: Any, one: Study = one) -> Floats:
            values = noisy(one, task, 1.0 if "+" in key else 0.7, (key, fold), rows)
            shift = np.random.default_rng(len(key)).normal()
            if one.tasks[task].problem_class == "regression":
                values = values + spread * (replicate - 1) * shift  # noqa: B023  # used at once
            return values

        one.write(predict)
        row = by_task(one.evaluate(draws=100)["evaluation"])["days"]
        width.append((row["difference"], row["difference_high"] - row["difference_low"]))
    assert width[0][0] == pytest.approx(width[1][0], abs=1e-4)
    assert width[1][1] > 1.1 * width[0][1]


def test_out_of_fold_scores_count_seeds(tmp_path: Path) -> None:
    """Two studies with the same mean quality of two replicates; in the second, replicates disagree."""
    width = []
    for spread in (0.0, 0.5):
        one = study(tmp_path / str(spread), 300, {"days": "days+ill", "ill": "ill"})
        one.tasks = {name: one.tasks[name] for name in ("days", "ill")}
        one.selected = {name: one.selected[name] for name in one.tasks}

        def predict(
            key: str, task: str, replicate: int, fold: int, rows: Any, one: Study = one, apart: float = spread
        ) -> Floats:
            return noisy(one, task, 0.8 + apart * (replicate - 0.5), (key, fold), rows)

        one.write(predict, replicates=2, search_replicates={1: 2, 2: 2})
        rows = {(r["task"], r["model"], r["part"]): r for r in one.evaluate(draws=50)["comparison"]}
        found = [rows["days", model, "validation"] for model in ("single", "multi")]
        width.append([row["high"] - row["low"] for row in found])
    assert (np.array(width[1]) > 2 * np.array(width[0])).all()


def test_the_same_input_gives_the_same_bytes_and_another_seed_other_draws(tmp_path: Path) -> None:
    one = study(tmp_path, 300)
    one.write(predictor(one))
    first = one.evaluate(draws=20)["evaluation"]
    one.evaluate(draws=20, out="again")
    names = {path.name for path in one.path("out").iterdir()}
    assert "survival.parquet" in names
    for name in names:
        assert (one.path("out") / name).read_bytes() == (one.path("again") / name).read_bytes()
    other = one.evaluate(draws=20, out="other", seed=6)["evaluation"]
    assert [row["multi"] for row in other] == [row["multi"] for row in first]
    assert [row["multi_low"] for row in other] != [row["multi_low"] for row in first]


def test_summary_and_metadata_are_for_people_and_name_no_one(written: Study, tables: Tables) -> None:
    text = written.path("out/summary.tsv").read_text()
    lines = [line.split("\t") for line in text.splitlines()]
    assert [line[0] for line in lines[1:]] == [row["task"] for row in tables["evaluation"]]
    assert len({len(line) for line in lines}) == 1
    metadata = pq.read_schema(written.path("out/evaluation.parquet")).metadata
    how = json.loads(metadata[b"evaluation"])
    assert how["draws"] == 200
    assert how["replicates"] == {"days": 3, "grade": 3, "ill": 3, "kind": 3, "relapse": 3}
    everything = b"".join(path.read_bytes() for path in written.path("out").iterdir())
    assert b"p0000" not in everything
    assert b"s0000" not in everything


def test_small_counts_are_not_written_for_people(tmp_path: Path) -> None:
    one = study(tmp_path, 300)
    test = np.flatnonzero(one.fold == -1)
    one.labels["ill"][test[7:]] = np.nan
    one.labels["ill"][test[:7]] = [0, 1, 0, 1, 0, 1, 0]
    one.write(predictor(one))
    found = one.evaluate(draws=50)
    lines = [line.split("\t") for line in one.path("out/summary.tsv").read_text().splitlines()]
    row = dict(zip(lines[0], next(line for line in lines if line[0] == "ill"), strict=True))
    assert row["test samples"] == row["test patients"] == "hidden"
    assert found["calibration"] == []


def test_problems_are_named_and_leave_nothing_behind(tmp_path: Path, written: Study) -> None:
    out = tmp_path / "out"
    with pytest.raises(ContractError, match="predictions are missing"):
        written.evaluate(draws=10, out=str(out), predictions=[written.path("final.predictions.0.parquet")])
    with pytest.raises(InputError, match="does not exist"):
        written.evaluate(draws=10, out=str(out), predictions=[tmp_path / "none.parquet"])
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match="carries no digest"):
        written.evaluate(draws=10, out=str(out), predictions=[tmp_path / "broken.parquet"])
    with pytest.raises(ContractError, match="column"):
        written.evaluate(draws=10, out=str(out), predictions=[written.path("samples.parquet")])
    empty = tmp_path / "empty.parquet"
    write_table(SCORES.empty_table(), empty, SCORES)
    with pytest.raises(ContractError, match=r"final fits of combination `days\+ill`"):
        written.evaluate(draws=10, out=str(out), scores=[empty])
    write_table(SELECTION.empty_table(), empty, SELECTION)
    with pytest.raises(ContractError, match="no task was selected"):
        written.evaluate(draws=10, out=str(out), selection=empty)
    with pytest.raises(ContractError, match="attention of 3 final fit"):
        written.evaluate(draws=10, out=str(out), attention=[])
    described = read_json(written.path("tasks.json"))
    described["tasks"]["ill"]["status"] = "dropped"
    write_json(described, tmp_path / "tasks.json")
    with pytest.raises(ContractError, match="`ill` is unknown"):
        written.evaluate(draws=10, out=str(out), tasks=tmp_path / "tasks.json")
    described = read_json(written.path("tasks.json"))
    described["tasks"]["grade"]["classes"] = ["none", "some"]
    write_json(described, tmp_path / "tasks.json")
    with pytest.raises(ContractError, match="of task `grade` has 3 numbers a row, not 2"):
        written.evaluate(draws=10, out=str(out), tasks=tmp_path / "tasks.json")
    split = read_table(written.path("split.parquet"))
    write_table(split.slice(0, 100), tmp_path / "split.parquet")
    with pytest.raises(ContractError, match="100 rows for 900 samples"):
        written.evaluate(draws=10, out=str(out), split=tmp_path / "split.parquet")
    fold = np.where(np.arange(900) < 50, 1, split.column("fold").to_numpy()).astype(np.int16)
    moved = split.set_column(2, split.schema.field("fold"), pa.array(fold))
    write_table(moved, tmp_path / "split.parquet")
    with pytest.raises(ContractError, match="rows, its part") as raised:
        written.evaluate(draws=10, out=str(out), split=tmp_path / "split.parquet")
    assert "the split has changed" in str(raised.value)
    assert not out.exists()
