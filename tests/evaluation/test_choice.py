"""The choice: the better model is chosen, blends win where models know different things, ties go to the
simpler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from m3h_pipeline.config import Evaluation
from m3h_pipeline.contracts import BASELINE_PREDICTIONS
from m3h_pipeline.evaluation.arms import Chosen
from m3h_pipeline.evaluation.choice.blend import blended, fit_blend, moved
from m3h_pipeline.evaluation.choice.candidates import TOLERANCE, Candidates, jackknifed
from m3h_pipeline.evaluation.choice.choose import choices
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.resampled import TEST, Cohort, Part
from m3h_pipeline.tasks.assessed import Task
from tests.evaluation.studies import SETTING, Floats, Study, noisy, predictor, study

FOLDS = 4
Float64 = npt.NDArray[np.float64]
Rows = dict[tuple[str, str], dict[str, Any]]


def made(
    quality: Mapping[str, float], seed: int, n: int = 1200, n_test: int = 4000, own: bool = False
) -> tuple[Cohort, dict[str, dict[int, Floats]]]:
    """A binary task and candidates that see its risk with noise; ``own``: the network and the reference see
    different halves of it."""
    rng = np.random.default_rng(seed)
    total = n + n_test
    halves = rng.normal(size=(2, total))
    risk = 1.2 * halves.sum(0)
    y = (risk + rng.logistic(size=total) > 1).astype(np.float32)
    fold = np.where(np.arange(total) < n, np.arange(total) % FOLDS, TEST)
    parts = {}
    for number in (*range(FOLDS), TEST):
        rows = np.flatnonzero(fold == number)
        weights = patient_counts(len(rows), 60, seed + 9 + number).T
        parts[number] = Part(rows, np.arange(len(rows)), np.ascontiguousarray(weights, dtype=np.float32))
    task = Task("ill", "binary", "auroc", "Ill", "Ward", "", ())
    cohort = Cohort({"ill": task}, {"ill": y}, parts, np.arange(total), {}, 60)
    said: dict[str, dict[int, Floats]] = {}
    for name, noise in quality.items():
        seen = 2.4 * halves[int(name in {"alone", "together"})] if own else risk
        logit = seen + noise * rng.normal(size=total) - 1
        each = 1 / (1 + np.exp(-logit))
        said[name] = {number: each[part.rows][:, None].astype(np.float32) for number, part in parts.items()}
    return cohort, said


def chosen_rows(
    cohort: Cohort, said: Mapping[str, Mapping[int, Floats]], blend: bool = True
) -> tuple[str, Rows]:
    """The verb's own path: two replicates of the networks, references without seeds."""
    arms = {
        arm: {number: np.stack([p, p]) for number, p in said[name].items()}
        for arm, name in (("single", "alone"), ("multi", "together"))
    }
    references = {
        ("ill", name): dict(parts) for name, parts in said.items() if name not in {"alone", "together"}
    }
    one = Chosen("ill", "ill+other", SETTING, 0.5, SETTING, 0.5)
    made, rows, _ = choices([one], {"ill": arms}, references, cohort, blend)
    return str(made[0].candidate), {(row["candidate"], row["part"]): row for row in rows}


BASE = {"linear": 3.0, "gradient_boosting": 3.0, "alone": 3.0, "together": 3.0}


@pytest.mark.parametrize("better", ["linear", "gradient_boosting", "alone", "together"])
def test_the_better_model_is_chosen(better: str) -> None:
    found, rows = chosen_rows(*made(BASE | {better: 0.3}, 3), blend=False)
    assert found == better
    assert rows[better, "test"]["chosen"]
    assert rows["chosen", "test"]["value"] == rows[better, "test"]["value"]
    assert {name for (name, _), row in rows.items() if row["chosen"]} == {better, "chosen"}
    if better in {"alone", "together"}:
        for part in ("validation", "test"):
            assert rows["chosen", part]["versus_reference_low"] > 0
    else:
        assert rows[better, "test"]["reference"] == better
        assert rows[better, "test"]["versus_reference"] == 0
        assert rows["alone", "test"]["versus_reference_high"] < 0


def test_numbers_are_those_of_the_predictions() -> None:
    cohort, said = made(BASE | {"together": 1.0}, 1)
    _, rows = chosen_rows(cohort, said, blend=False)
    score = {}
    for name in BASE:
        y, p = cohort.observed("ill", TEST), said[name][TEST][:, 0]
        score[name] = roc_auc_score(y, p)
        assert rows[name, "test"]["value"] == pytest.approx(score[name], abs=1e-6)
        each = [roc_auc_score(cohort.observed("ill", f), said[name][f][:, 0]) for f in range(FOLDS)]
        assert rows[name, "validation"]["value"] == pytest.approx(np.mean(each), abs=1e-6)
    reference = rows["together", "test"]["reference"]
    row = rows["together", "test"]
    assert row["versus_reference"] == pytest.approx(score["together"] - score[reference], abs=1e-6)
    assert row["versus_alone"] == pytest.approx(score["together"] - score["alone"], abs=1e-6)
    assert rows["alone", "test"]["versus_alone"] == rows["alone", "test"]["versus_alone_low"] == 0
    assert row["versus_alone_low"] < row["versus_alone"] < row["versus_alone_high"]


def test_the_test_part_plays_no_role() -> None:
    cohort, said = made(BASE | {"alone": 0.3}, 2)
    upside_down = {name: {**parts, TEST: 1 - parts[TEST]} for name, parts in said.items()}
    assert chosen_rows(cohort, said)[0] == chosen_rows(cohort, upside_down)[0]


def test_a_blend_wins_where_models_know_different_things_and_its_score_is_unbiased() -> None:
    """Over studies, its score out of fold less that on a large test part has mean 0."""
    apart, gains = [], []
    for seed in range(25):
        cohort, said = made(dict.fromkeys(BASE, 0.8), seed, n=600, own=True)
        found, rows = chosen_rows(cohort, said)
        assert found == "blend"
        apart.append(rows["blend", "validation"]["value"] - rows["blend", "test"]["value"])
        gains.append(rows["blend", "test"]["versus_reference"])
    error = np.std(apart, ddof=1) / np.sqrt(len(apart))
    assert abs(np.mean(apart)) < 2.5 * error
    assert error < 0.006
    assert np.mean(gains) > 0.05


def test_models_without_a_difference_leave_the_simplest_and_the_rule_is_not_flattered() -> None:
    """All say the same: linear; else, out of fold, the rule's own score tells the truth."""
    cohort, said = made({"linear": 1.0}, 0)
    same = dict.fromkeys(BASE, said["linear"])
    assert chosen_rows(cohort, same)[0] == "linear"
    apart, flattered = [], []
    for seed in range(30):
        _, rows = chosen_rows(*made(dict.fromkeys(BASE, 2.5), seed, n=400), blend=False)
        own = next(n for (n, part), row in rows.items() if row["chosen"] and n != "chosen" and part == "test")
        apart.append(rows["chosen", "validation"]["value"] - rows["chosen", "test"]["value"])
        flattered.append(rows[own, "validation"]["value"] - rows[own, "test"]["value"])
    error = np.std(apart, ddof=1) / np.sqrt(len(apart))
    assert abs(np.mean(apart)) < 2.5 * error
    # The winner's own score is too good, by more than the rule's.
    assert np.mean(flattered) > np.mean(apart) + 0.004


def test_weights_of_a_fold_are_those_of_the_others() -> None:
    cohort, said = made(dict.fromkeys(BASE, 0.8), 4, own=True)
    candidates = Candidates(
        cohort, "ill", {name: {k: v[None] for k, v in p.items()} for name, p in said.items()}
    )
    fold, others = 1, [0, 2, 3]
    found = candidates.crossed("blend", range(FOLDS))[fold][0]
    (network, reference), _ = candidates.blend_of(others) or (("", ""), None)
    y = np.concatenate([cohort.observed("ill", f) for f in others])
    members = [np.concatenate([said[name][f] for f in others]) for name in (network, reference)]
    numbers = np.concatenate([np.full(len(cohort.parts[f].rows), f) for f in others])
    blend = fit_blend("binary", y, members, fold=numbers, of=candidates.of_rows(others))
    blend = moved("binary", blend, np.array([[y.mean()]]))
    expected = blended("binary", blend, [said[name][fold] for name in (network, reference)])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # What the other folds would choose is not asked of fold 1.
    other = {name: {**parts, fold: np.float32(1) - parts[fold]} for name, parts in said.items()}
    again = Candidates(cohort, "ill", {name: {k: v[None] for k, v in p.items()} for name, p in other.items()})
    assert again.choose(others) == candidates.choose(others)
    assert (again.blend_of(others) or ((), None))[0] == (network, reference)


def test_ties_within_the_tolerance_go_to_the_simpler() -> None:
    cohort, said = made({"linear": 0.5, "alone": 0.5}, 1)
    candidates = Candidates(
        cohort, "ill", {name: {k: v[None] for k, v in p.items()} for name, p in said.items()}
    )
    shift = candidates.score("alone", range(FOLDS)) - candidates.score("linear", range(FOLDS))
    better = "alone" if shift > TOLERANCE["auroc"] else "linear"
    assert candidates.best_of(["linear", "alone"], range(FOLDS)) == better


def test_companions_that_were_chosen_by_luck_go_without_it() -> None:
    """The combination is better; where the search's luck is worth more than that, it is not."""
    quality = {"alone": 1.0, "together": 0.6}
    cohort, said = made(quality, seed=5)
    parts = {name: {n: p[None] for n, p in by.items()} for name, by in said.items()}
    folds = cohort.folds
    fair, lucky = (Candidates(cohort, "ill", parts, blend=False, luck=luck) for luck in (0.0, 0.05))
    gain = fair.score("together", folds) - fair.score("alone", folds)
    assert TOLERANCE["auroc"] < gain < 0.05
    assert fair.choose(folds) == "together"
    assert lucky.choose(folds) == "alone"
    assert lucky.score("together", folds) == pytest.approx(fair.score("together", folds) - 0.05)


def test_a_blend_goes_without_its_share_of_the_luck() -> None:
    cohort, said = made({"linear": 1.0, "together": 1.0}, seed=6, own=True)
    parts = {name: {n: p[None] for n, p in by.items()} for name, by in said.items()}
    fair, lucky = (Candidates(cohort, "ill", parts, luck=luck) for luck in (0.0, 0.01))
    made_of = lucky.blend_of(cohort.folds)
    assert made_of is not None
    assert made_of[0] == ("together", "linear")
    share = made_of[1].weights[0] / made_of[1].weights.sum()
    assert 0.2 < share < 0.8
    less = fair.score("blend", cohort.folds) - lucky.score("blend", cohort.folds)
    assert less == pytest.approx(0.01 * share)


def test_the_jackknife_leaves_one_replicate_out() -> None:
    values = np.arange(12.0).reshape(3, 4, 1)
    found = jackknifed(values, "regression")
    np.testing.assert_allclose(found[0], values.mean(0))
    np.testing.assert_allclose(found[2], values[[0, 2]].mean(0))
    assert len(jackknifed(values[:1], "regression")) == 1


# --- in a study ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Study:
    one = study(tmp_path_factory.mktemp("study"))
    one.write(predictor(one))
    return one


def test_a_study_says_what_to_use(written: Study, capsys: pytest.CaptureFixture[str]) -> None:
    rows = written.evaluate(draws=60)["choice"]
    said = capsys.readouterr().err
    by = {(r["task"], r["candidate"], r["part"]): r for r in rows}
    assert {task for task, _, _ in by} == {"days", "grade", "ill", "relapse"}  # a phenotype has no reference
    # A task that was selected alone has no network but that.
    assert not any(task == "grade" and name == "together" for task, name, _ in by)
    for task in ("days", "grade", "ill", "relapse"):
        picked = {name for (t, name, _), row in by.items() if t == task and row["chosen"]}
        assert len(picked) == 2
        for part in ("validation", "test"):
            row = by[task, "chosen", part]
            assert row["low"] < row["value"] < row["high"]
            assert row["versus_reference_low"] <= row["versus_reference"] <= row["versus_reference_high"]
    why = json.loads(pq.read_schema(written.path("out/choice.parquet")).metadata[b"choice"])
    assert set(why["words"]) == {"days", "grade", "ill", "relapse"}
    lines = written.path("out/summary.tsv").read_text().splitlines()
    summary = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    for row in summary:
        assert row["use"] == why["words"].get(row["task"], "")
        if row["use"]:
            assert f"{row['task']}: {row['use']}" in said
    for task, weights in why["blend"].items():
        assert all(w >= 0 for w in weights.values())
        assert by[task, "blend", "validation"]["value"] is not None


def test_the_summary_shows_every_reference_and_names_the_best(written: Study, tmp_path: Path) -> None:
    """Relapse, say, has a prediction that came with the data, and another task TabM."""
    files = sorted(written.path("baselines").glob("*.parquet"))
    for task, name, like in (("relapse", "support_model", "linear"), ("ill", "tabm", "gradient_boosting")):
        rows = read_table(written.path(f"baselines/{task}.parquet"), BASELINE_PREDICTIONS).to_pylist()
        rows = [row | {"model": name} for row in rows if row["model"] == like]
        table = pa.Table.from_pylist(rows, schema=BASELINE_PREDICTIONS)
        files.append(tmp_path / f"{task}.parquet")
        write_table(table, files[-1], BASELINE_PREDICTIONS)
    tables = written.evaluate(draws=10, out="referred", baselines=files)
    lines = [line.split("\t") for line in written.path("referred/summary.tsv").read_text().splitlines()]
    at = lines[0].index("best reference, validation")
    names = ["linear", "gradient boosting", "tabm", "support model"]
    first = lines[0].index("test, linear")
    shown = slice(first, first + len(names))
    assert lines[0][shown] == [f"test, {name}" for name in names]
    scores = {(r["task"], r["model"]): r["value"] for r in tables["comparison"] if r["part"] == "test"}
    best = {row["task"]: row["reference"] for row in tables["choice"]}
    for line in lines[1:]:
        assert line[at] == (best.get(line[0]) or "").replace("_", " ")
        for name, cell in zip(names, line[shown], strict=True):
            score = scores.get((line[0], name.replace(" ", "_")))
            assert cell == ("" if score is None else f"{score:.3f}")
    filled = {line[0]: [bool(cell) for cell in line[shown]] for line in lines[1:]}
    assert filled["relapse"] == [True, True, False, True]
    assert filled["ill"] == [True, True, True, False]


def test_without_references_networks_are_left_and_without_blends_no_blend(written: Study) -> None:
    rows = written.evaluate(draws=20, out="alone", baselines=[])["choice"]
    assert {row["candidate"] for row in rows} == {"alone", "together", "chosen"}
    assert all(row["versus_reference"] is None and row["reference"] is None for row in rows)
    bare = written.evaluate(draws=20, out="bare", evaluation=Evaluation(draws=20, blend=False))["choice"]
    assert "blend" not in {row["candidate"] for row in bare}


def test_a_network_that_diverged_in_every_fold_is_no_candidate(tmp_path: Path) -> None:
    one = study(tmp_path, 300).without("relapse")
    usual = predictor(one)

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Floats | None:
        return None if key == "days" and fold == 0 else usual(key, task, replicate, fold, rows)

    one.write(usual)
    final = sorted({*one.selected.values(), *one.tasks})
    one._write_fits("final", *one.fits("final", final, range(-1, 3), dict.fromkeys(final, 2), predict))
    mine = [row for row in one.evaluate(draws=20)["choice"] if row["task"] == "days"]
    assert {row["candidate"] for row in mine} == {"linear", "gradient_boosting", "chosen"}
    assert noisy(one, "days", 1.0, 0, np.arange(3)).shape == (3, 1)
