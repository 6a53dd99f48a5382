"""The verb on made-up studies: what it measures, out of what thresholds come, and that it tells of nobody."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from m3h_pipeline.config import Evaluation, Thresholds
from m3h_pipeline.contracts import CALIBRATION
from m3h_pipeline.contracts.reported import CONFUSION, OPERATING_POINTS, PERFORMANCE, SUBGROUPS
from m3h_pipeline.evaluation.performance.stage import Sources, measure_performance
from m3h_pipeline.evaluation.performance.subgroups import observed_to_expected, shown_subgroups
from m3h_pipeline.evaluation.performance.told import Counted
from m3h_pipeline.files import read_json, read_table, write_json
from tests.evaluation.studies import FOLDS, Study, noisy, predictor, study

Rows = list[dict[str, Any]]


def sources(one: Study, out: str = "out") -> Sources:
    return Sources(
        selection=one.path("selection.parquet"),
        tasks=one.path("tasks.json"),
        labels=one.path("labels"),
        split=one.path("split.parquet"),
        samples=one.path("samples.parquet"),
        scores=[one.path("final.scores.parquet")],
        predictions=[one.path(f"final.predictions.{i}.parquet") for i in (0, 1)],
        baselines=sorted(one.path("baselines").glob("*.parquet")),
        evaluation=one.path(out),
    )


def test_controls_are_marked(tmp_path: Path) -> None:
    one = study(tmp_path, 600)
    one.write(predictor(one))
    one.evaluate(draws=10)
    tasks = read_json(one.path("tasks.json"))
    tasks["tasks"]["days"]["control"] = "planted noise"
    write_json(tasks, one.path("tasks.json"))
    performance, subgroups, _ = measured(one, Evaluation(draws=10))
    for rows in (performance, subgroups):
        assert {(row["task"] == "days", row["control"]) for row in rows} == {
            (True, "planted noise"),
            (False, ""),
        }


def measured(
    one: Study, evaluation: Evaluation | None = None, quantiles: int = 5, seed: int = 5
) -> tuple[Rows, Rows, str]:
    screen = io.StringIO()
    settings_ = evaluation or Evaluation(draws=100)
    measure_performance(sources(one), settings_, quantiles, seed, one.path("out"), screen)
    files = ("performance", PERFORMANCE), ("subgroups", SUBGROUPS)
    tables = [read_table(one.path(f"out/{name}.parquet"), schema).to_pylist() for name, schema in files]
    return tables[0], tables[1], screen.getvalue()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Study:
    one = study(tmp_path_factory.mktemp("large"), 4000)
    one.write(predictor(one))
    one.evaluate(draws=10, quantiles=5)
    return one


@pytest.fixture(scope="module")
def written(large: Study) -> tuple[tuple[Rows, Rows, str], Rows, Rows]:
    """What was measured, operating points and confusion, before another test writes into the same folder."""
    found = measured(large)
    files = ("operating_points", OPERATING_POINTS), ("confusion", CONFUSION)
    points, taken = (read_table(large.path(f"out/{name}.parquet"), kind).to_pylist() for name, kind in files)
    return found, points, taken


@pytest.fixture(scope="module")
def tables(written: tuple[tuple[Rows, Rows, str], Rows, Rows]) -> tuple[Rows, Rows, str]:
    return written[0]


def value(rows: Rows, **named: Any) -> dict[str, Any]:
    (row,) = [row for row in rows if all(row[key] == want for key, want in named.items())]
    return row


def said(one: Study, task: str, key: Any, quality: float, fold: int) -> np.ndarray:
    rows = np.flatnonzero(one.fold == fold)
    keys = [(*key, r, fold) for r in range(3)] if len(key) == 1 and key[0] != "linear" else [(*key, fold)]
    return np.asarray(np.mean([noisy(one, task, quality, each, rows) for each in keys], axis=0))


def test_every_candidate_is_measured_before_and_after_on_the_test_part(
    large: Study, tables: tuple[Rows, Rows, str]
) -> None:
    rows = tables[0]
    candidates = {"alone", "together", "linear", "gradient_boosting", "blend"}
    for task, states in (("ill", 2), ("days", 2), ("relapse", 2), ("grade", 2)):
        found = {(row["candidate"], row["state"]) for row in rows if row["task"] == task}
        mine = candidates - ({"together"} if task == "grade" else set())
        assert {c for c, _ in found} - {"treat_all", "treat_none"} == mine
        assert len({(c, s) for c, s in found if c in mine}) == states * len(mine)
        chosen = {row["candidate"] for row in rows if row["task"] == task and row["chosen"]}
        assert len(chosen) == 1
    test = np.flatnonzero(large.fold == -1)
    seen = ~np.isnan(large.labels["ill"][test])
    y = large.labels["ill"][test][seen]
    for candidate, key, quality in (("alone", ("ill",), 0.7), ("linear", ("linear",), 0.6)):
        p = said(large, "ill", key, quality, -1)[seen, 0]
        named = {"task": "ill", "candidate": candidate, "state": "before"}
        brier = value(rows, measure="brier", **named)
        assert brier["value"] == pytest.approx(brier_score_loss(y, p), abs=1e-6)
        assert brier["low"] < brier["value"] < brier["high"]
        auprc = value(rows, measure="auprc", **named)["value"]
        assert auprc == pytest.approx(average_precision_score(y, p), abs=1e-5)
        # Recalibrated by a logistic regression out of fold; isotonic regression needs 1,000 events.
        crossed = [said(large, "ill", key, quality, fold) for fold in range(FOLDS)]
        learned = [large.labels["ill"][large.fold == fold] for fold in range(FOLDS)]
        q, known = np.concatenate(crossed)[:, 0], ~np.isnan(np.concatenate(learned))
        after = value(rows, measure="brier", **(named | {"state": "after"}))["value"]
        model = LogisticRegression(C=np.inf).fit(logit(q[known])[:, None], np.concatenate(learned)[known])
        expected = brier_score_loss(y, model.predict_proba(logit(p)[:, None])[:, 1])
        assert after == pytest.approx(expected, abs=2e-3)
        assert after < brier["value"]


def test_thresholds_are_of_predictions_out_of_fold_and_the_test_part_has_no_say(
    large: Study, tables: tuple[Rows, Rows, str], tmp_path: Path
) -> None:
    other = study(tmp_path, 4000).without("relapse")
    rng = np.random.default_rng(1)
    test = other.fold == -1
    other.labels = {name: y.copy() for name, y in large.labels.items()}
    other.labels["ill"][test] = rng.permutation(other.labels["ill"][test])
    usual = predictor(other)

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Any:
        found: Any = usual(key, task, replicate, fold, rows)
        return found[::-1] if fold == -1 and task == "ill" else found

    other.write(predict)
    other.evaluate(draws=10, quantiles=5)

    def at(rows: Rows) -> dict[tuple[str, str], float]:
        return {
            (row["candidate"], row["rule"]): row["at"]
            for row in rows
            if row["task"] == "ill" and row["rule"] not in (None, "risk")
        }

    one, two = at(tables[0]), at(measured(other)[0])
    both = set(one) & set(two)
    assert len(both) > 8
    assert {place: one[place] for place in both} == {place: two[place] for place in both}
    # They leave the share of alerts that was asked for, about, and find the events.
    found = value(tables[0], task="ill", candidate="alone", rule="top 20 %", measure="alerts_per_100")
    assert found["value"] == pytest.approx(20, abs=3)
    rate = value(tables[0], task="ill", candidate="alone", rule="sensitivity 80 %", measure="sensitivity")
    assert rate["value"] == pytest.approx(0.8, abs=0.08)


def test_a_study_states_its_thresholds_and_horizons(large: Study) -> None:
    asked = Evaluation(
        draws=20, thresholds=Thresholds(alerts=[0.3], sensitivity=[], risks=[0.25]), horizons=[0.5]
    )
    rows = measured(large, asked)[0]
    rules = {row["rule"] for row in rows if row["task"] == "ill"} - {None}
    assert {"youden", "top 30 %", "risk"} <= rules <= {"youden", "top 30 %", "prevalence", "risk"}
    assert {row["at"] for row in rows if row["rule"] == "risk"} == {0.25}
    (horizon,) = {row["at"] for row in rows if row["rule"] == "horizon"}
    assert horizon == pytest.approx(0.5, abs=0.05)


def test_net_benefit_has_its_strategies_without_a_model(tables: tuple[Rows, Rows, str]) -> None:
    for t in Thresholds().risks:
        named = {"task": "ill", "measure": "net_benefit", "at": t}
        assert value(tables[0], candidate="treat_none", **named)["value"] == 0
        everybody = value(tables[0], candidate="treat_all", **named)
        assert everybody["low"] < everybody["value"] < everybody["high"]
        mine = [row for row in tables[0] if row["candidate"] == "together" and row["state"] == "after"]
        if found := [row["value"] for row in mine if row["measure"] == "net_benefit" and row["at"] == t]:
            assert found[0] > max(0, everybody["value"]) - 0.005


def test_numbers_of_the_table_tell_of_no_few_patients(large: Study, tables: tuple[Rows, Rows, str]) -> None:
    """Who knows the test part's size and its events has counts at every threshold of a candidate."""
    test = np.flatnonzero(large.fold == -1)
    seen = ~np.isnan(large.labels["ill"][test])
    y, who = large.labels["ill"][test][seen], large.patient[test][seen]
    risk = said(large, "ill", ("ill",), 0.7, -1)[seen, 0]
    # The places of the sets in the order of the risk, from how many there are in each.
    order = np.argsort(-risk)
    sizes = {0, len(order)}
    for row in tables[0]:
        if (row["task"], row["candidate"], row["measure"]) == ("ill", "alone", "alerts_per_100"):
            sizes.add(round(row["value"] / 100 * len(order)))
    calibrated = read_table(large.path("out/calibration.parquet"), CALIBRATION).to_pylist()
    counts = [
        r["n"] for r in calibrated if r["task"] == "ill" and r["model"] == "single" and r["subgroup"] == "all"
    ]
    sizes |= set(np.cumsum(counts[::-1]).tolist())
    assert len(sizes) > 10
    for first, last in combinations(sorted(sizes), 2):
        between = order[first:last]
        for event in (0, 1):
            people = len(np.unique(who[between][y[between] == event]))
            assert not 0 < people < 11, (first, last)


def test_the_whole_range_has_the_points_of_the_table(
    large: Study, written: tuple[tuple[Rows, Rows, str], Rows, Rows]
) -> None:
    tables, rows, taken = written
    assert {(row["task"], row["state"]) for row in rows} == {("ill", "after")}
    mine = {row["at"]: row for row in rows if row["candidate"] == "alone"}
    assert len(mine) > 10
    for row in tables[0]:
        if (row["task"], row["candidate"], row["state"], row["measure"]) == ("ill", "alone", "after", "ppv"):
            # At one of two thresholds between which nobody is.
            found = [v for at, v in mine.items() if at >= row["at"] and v["ppv"] is not None]
            assert min(found, key=lambda v: v["at"])["ppv"] == pytest.approx(row["value"])
    cells = [row for row in taken if (row["task"], row["candidate"]) == ("grade", "alone")]
    labels = large.labels["grade"][large.fold == -1]
    if all(row["n"] is not None for row in cells):
        assert sum(row["n"] for row in cells) == (~np.isnan(labels)).sum()
    assert not any(row["n"] is not None and 0 < row["n"] < 11 for row in taken)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_sets_that_are_told_differ_by_no_few_patients_of_any_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, who = rng.integers(0, 2, 120), rng.integers(0, 90, 120)
    counted, told = Counted([y == 0, y == 1], who), [np.zeros(120, bool), np.ones(120, bool)]
    cuts = rng.integers(0, 121, 12)
    sets = [np.arange(120) >= c for c in cuts] + [rng.random(120) < 0.5 for _ in range(3)]
    told += [members for members in sets if counted.may_tell(members)]
    assert len(told) > 2 or len(cuts) == 0
    for one, other in combinations(told, 2):
        for event in (0, 1):
            assert not 0 < len(np.unique(who[(one ^ other) & (y == event)])) < 11


def test_subgroups_have_score_calibration_and_gaps(large: Study, tables: tuple[Rows, Rows, str]) -> None:
    test = np.flatnonzero(large.fold == -1)
    y, sex = large.labels["ill"][test], np.array(large.sex, dtype=object)[test]
    p = said(large, "ill", ("ill",), 0.7, -1)[:, 0]
    for group in ("female", "male"):
        here, rest = (sex == group) & ~np.isnan(y), (sex != group) & ~np.isnan(y)
        one, other = (roc_auc_score(y[rows], p[rows]) for rows in (here, rest))
        named = {"task": "ill", "candidate": "alone", "subgroup": group, "state": "before"}
        row = value(tables[1], measure="auroc", **named)
        assert row["value"] == pytest.approx(one, abs=1e-5)
        assert row["gap"] == pytest.approx(one - other, abs=1e-5)
        assert row["low"] < row["value"] < row["high"]
        assert row["gap_low"] < row["gap"] < row["gap_high"]
        ratio = value(tables[1], measure="observed_to_expected", **named)
        assert ratio["value"] == pytest.approx(y[here].sum() / p[here].sum(), abs=1e-5)
        assert ratio["gap"] == pytest.approx(ratio["value"] - y[rest].sum() / p[rest].sum(), abs=1e-5)
    measures = {(row["task"], row["measure"]) for row in tables[1]}
    calibration = {("days", m) for m in ("r2", "slope", "intercept")} | {("grade", "slope")}
    assert calibration | {("relapse", "concordance"), ("relapse", "intercept")} <= measures


def test_a_subgroup_whose_probabilities_are_too_high_is_told_apart_on_the_screen(tmp_path: Path) -> None:
    one = study(tmp_path, 4000, {"ill": "ill", "days": "days", "grade": "grade"}).without("relapse", "kind")
    usual = predictor(one)
    female = np.array(one.sex, dtype=object) == "female"

    def predict(key: str, task: str, replicate: int, fold: int, rows: Any) -> Any:
        found: Any = usual(key, task, replicate, fold, rows)
        if task == "ill":
            noise = np.random.default_rng([fold + 1, replicate]).normal(size=found.shape)
            worse = 1 / (1 + np.exp(-(logit(found) + 2 + 6 * noise)))
            found = np.where(female[rows][:, None], worse, found)
        return found

    one.write(predict)
    one.evaluate(draws=50)
    _, groups, screen = measured(one)
    ratio = value(
        groups,
        task="ill",
        candidate="alone",
        subgroup="female",
        state="before",
        measure="observed_to_expected",
    )
    assert ratio["high"] < 1
    assert ratio["gap_high"] < 0
    score = value(groups, task="ill", candidate="alone", subgroup="female", measure="auroc")
    assert score["gap_high"] < 0
    if score["chosen"]:
        assert "ill: auroc of female is -0." in screen
    assert "ill: alerting the top" in screen


def test_observed_to_expected_counts_patients_not_samples() -> None:
    """Coverage of the interval of right probabilities where a patient's three samples are alike."""
    rng = np.random.default_rng(0)
    held, naive = list[bool](), list[bool]()
    for _ in range(400):
        p = np.repeat(rng.beta(2, 5, 150), 3)
        y = np.repeat(rng.random(150) < p[::3], 3).astype(np.float64)
        for found, who in ((held, np.arange(450) // 3), (naive, np.arange(450))):
            interval = observed_to_expected(y, p, who)
            found.append(interval.low <= 1 <= interval.high)
    assert 0.92 < np.mean(held) < 0.98
    assert np.mean(naive) < 0.85


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_subgroups_leave_no_few_patients_over(seed: int) -> None:
    """Groups that are shown, their rest, their differences, and what a column's groups leave over."""
    rng = np.random.default_rng(seed)
    n = 400
    y = np.where(rng.random(n) < 0.1, np.nan, rng.random(n) < 0.4)
    who = rng.integers(0, 300, n)
    column = rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    other = rng.choice(3, n, p=[0.6, 0.36, 0.04])
    groups = {f"a{k}": column == k for k in range(5)} | {f"b{k}": other == k for k in range(3)}
    kept = shown_subgroups("binary", y, who, groups)
    seen = ~np.isnan(y)
    told = [groups[name] for name in kept] + [seen, np.zeros(n, bool)]
    for letter in "ab":
        told.append(np.any([groups[g] for g in kept if g[0] == letter] or [np.zeros(n, bool)], axis=0))
    for one, two in combinations(told, 2):
        for event in (0, 1):
            assert not 0 < len(np.unique(who[(one ^ two) & seen & (y == event)])) < 11
    if seed % 7 == 0:
        assert "a0" in kept


def test_a_task_with_few_events_and_controls_of_the_files(tmp_path: Path, large: Study) -> None:
    one = study(tmp_path, 600).without("relapse")
    test = np.flatnonzero(one.fold == -1)
    positive = test[one.labels["ill"][test] == 1]
    one.labels["ill"][positive[8:]] = 0
    one.write(predictor(one))
    one.evaluate(draws=20)
    rows, groups, _ = measured(one)
    assert {row["task"] for row in rows} == {"days", "grade"}
    assert "ill" not in {row["task"] for row in groups}


def test_draws_follow_the_seed_and_the_same_input_gives_the_same_bytes(large: Study) -> None:
    few = Evaluation(draws=20)
    first = measured(large, few)[0]
    kept = large.path("out/performance.parquet").read_bytes()
    again = measured(large, few)[0]
    assert kept == large.path("out/performance.parquet").read_bytes()
    other = measured(large, few, seed=6)[0]
    assert first == again
    assert [row["value"] for row in first] == [row["value"] for row in other]
    assert [row["low"] for row in first] != [row["low"] for row in other]


def test_an_unknown_task_is_named(large: Study, tmp_path: Path) -> None:
    from dataclasses import replace

    from m3h_pipeline.errors import ContractError

    write_json({"tasks": {"ill": {"problem_class": "binary"}}}, tmp_path / "tasks.json")
    with pytest.raises(ContractError, match="does not describe tasks"):
        measure_performance(
            replace(sources(large), tasks=tmp_path / "tasks.json"),
            Evaluation(draws=5),
            5,
            1,
            tmp_path,
            io.StringIO(),
        )
