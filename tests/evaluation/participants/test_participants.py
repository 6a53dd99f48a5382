"""Who is in which part: numbers by brute force, warnings that chance does not raise, nothing of few."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from m3h_pipeline.contracts.reported import FLOW, PARTICIPANTS
from m3h_pipeline.errors import ContractError
from m3h_pipeline.evaluation.participants.alike import alike
from m3h_pipeline.evaluation.participants.stage import (
    People,
    describe_participants,
    differences,
    flow_rows,
    participant_rows,
)
from m3h_pipeline.files import read_json, read_table, write_features, write_json, write_table
from tests.evaluation.studies import Study, predictor, study

Rows = list[dict[str, Any]]


def test_deviations_are_a_t_statistic_where_every_patient_has_one_sample() -> None:
    rng = np.random.default_rng(0)
    value, test = rng.gamma(2, size=3000), rng.random(3000) < 0.2
    found = alike(value, test, np.arange(3000))
    assert found.deviations == pytest.approx(stats.ttest_ind(value[test], value[~test]).statistic, rel=0.03)
    pooled = np.sqrt((value[test].var() + value[~test].var()) / 2)
    assert found.standardised == pytest.approx((value[test].mean() - value[~test].mean()) / pooled)
    share = (value > 3).astype(np.float64)
    binomial = np.sqrt(share.mean() * (1 - share.mean()) * (1 / test.sum() + 1 / (~test).sum()))
    found = alike(share, test, np.arange(3000))
    assert found.deviations == pytest.approx((share[test].mean() - share[~test].mean()) / binomial, rel=0.02)


def test_patients_drawn_into_parts_differ_by_2_deviations_one_time_in_22_however_alike_their_samples() -> (
    None
):
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(300), rng.integers(1, 6, 300))
    right, naive = [], []
    for _ in range(1500):
        value = (rng.random(300) < 0.3)[patient].astype(np.float64)
        value[rng.random(len(value)) < 0.1] = np.nan
        test = (rng.permutation(300) < 60)[patient]
        right.append(alike(value, test, patient).deviations)
        naive.append(alike(value, test, np.arange(len(value))).deviations)
    assert np.std(right) == pytest.approx(1, abs=0.07)
    assert 0.03 < np.mean(np.abs(right) > 2) < 0.065
    assert np.std(naive) > 1.5


def test_values_that_are_missing_or_constant_differ_by_nothing_known() -> None:
    test = np.arange(40) < 10
    assert np.isnan(alike(np.where(test, np.nan, 1.0), test, np.arange(40)).deviations)
    same = alike(np.ones(40), test, np.arange(40))
    assert (same.standardised, same.deviations, same.told) == (0.0, 0.0, False)


def cohort(one: Study, x: np.ndarray) -> None:
    """What the verb reads beside labels and split."""
    write_features(x.astype(np.float32), ["age", "rare", "score"], one.path("features/person.parquet"))
    write_json({"sources": {"person": {"features": 3}}}, one.path("summary.json"))
    (one.path("labels") / "tasks.json").write_bytes(one.path("tasks.json").read_bytes())


@pytest.fixture
def described(tmp_path: Path) -> tuple[Study, np.ndarray, Rows, Rows, str]:
    one = study(tmp_path, 3000)
    rng = np.random.default_rng(4)
    x = np.stack([rng.normal(60, 10, 3000), np.zeros(3000), rng.integers(0, 2, 3000)], axis=1)
    x[rng.random(3000) < 0.1, 0] = np.nan
    x[[5, 900, 1500], 1] = 7.0
    # The test part is older, and iller.
    x[one.fold == -1, 0] += 3
    one.labels["ill"][(one.fold == -1) & (rng.random(3000) < 0.15)] = 1
    one.write(predictor(one))
    cohort(one, x)
    screen, out = io.StringIO(), one.path("out")
    describe_participants(one.folder, one.path("labels"), one.path("split.parquet"), out, screen)
    tables = (
        read_table(out / f"{n}.parquet", s) for n, s in (("flow", FLOW), ("participants", PARTICIPANTS))
    )
    flow, rows = (table.to_pylist() for table in tables)
    return one, x, flow, rows, screen.getvalue()


def test_tables_hold_what_is_there_and_say_where_parts_differ(
    described: tuple[Study, np.ndarray, Rows, Rows, str],
) -> None:
    one, x, flow, rows, screen = described
    test, people = one.fold == -1, one.patient
    for row in flow:
        here = {"cohort": test | ~test, "training part": ~test, "test part": test}
        here |= {f"fold {k}": one.fold == k for k in range(3)}
        members = here[row["step"]]
        assert (row["samples"], row["patients"]) == (members.sum(), len(np.unique(people[members])))
    found = {(r["what"], r["name"], r["level"], r["group"]): r for r in rows}
    age = found["feature", "age", None, None]
    assert age["test"] == pytest.approx(np.nanmean(x[test, 0].astype(np.float32)), rel=1e-3)
    assert age["train_sd"] == pytest.approx(np.nanstd(x[~test, 0]), rel=1e-3)
    assert age["train_missing"] == pytest.approx(np.isnan(x[~test, 0]).mean(), rel=1e-3)
    # Three patients who differ from all others are told by a mean.
    assert ("feature", "rare", None, None) not in found
    y, male = one.labels["ill"], np.array(one.sex, dtype=object) == "male"
    for group, members in ((None, test | ~test), ("male", male)):
        row = found["outcome", "ill", None, group]
        for part, inside in (("train", ~test), ("test", test)):
            assert row[part] == pytest.approx(np.nanmean(y[members & inside]), rel=1e-3)
            assert row[f"{part}_missing"] == pytest.approx(np.isnan(y[members & inside]).mean(), rel=1e-3)
    grade = found["outcome", "grade", "severe", None]
    seen = ~np.isnan(one.labels["grade"]) & test
    assert grade["test"] == pytest.approx((one.labels["grade"][seen] == 2).mean(), rel=1e-3)
    relapse = found["outcome", "relapse", None, None]
    times = one.labels["relapse"]
    assert relapse["train"] == pytest.approx((~np.signbit(times[~test & ~np.isnan(times)])).mean(), rel=1e-3)
    assert found["outcome", "days", None, None]["measure"] == "mean"
    assert found["subgroup", "male", None, None]["test"] == pytest.approx(male[test].mean(), rel=1e-3)
    assert not [row for row in rows if row["name"] == "kind"]
    lines = screen.splitlines()
    assert lines[0].startswith("warning: ill: ")
    assert " % in the test part, " in lines[0]
    assert lines[1].startswith("warning: age: mean 6")
    assert "values differ by more than 2 SD" in lines[-1]
    text = one.path("out/participants.tsv").read_text().splitlines()
    assert len(text) == 1 + len(rows)
    assert text[0].split("\t") == PARTICIPANTS.names


def test_controls_are_marked(tmp_path: Path) -> None:
    one = study(tmp_path, 900)
    one.write(predictor(one))
    cohort(one, np.random.default_rng(0).normal(size=(900, 3)))
    tasks = read_json(one.path("labels/tasks.json"))
    tasks["tasks"]["ill"]["control"] = "planted noise"
    write_json(tasks, one.path("labels/tasks.json"))
    out = one.path("out")
    describe_participants(one.folder, one.path("labels"), one.path("split.parquet"), out, io.StringIO())
    rows = read_table(out / "participants.parquet", PARTICIPANTS).to_pylist()
    assert {row["what"] for row in rows} >= {"feature", "outcome", "subgroup"}
    for row in rows:
        mine = (row["what"], row["name"]) == ("outcome", "ill")
        assert row["control"] == ("planted noise" if mine else "")
    assert any(row["control"] for row in rows)
    assert "planted noise" in out.joinpath("participants.tsv").read_text()


def test_many_differences_are_counted_not_listed() -> None:
    row = {"name": "x", "level": None, "group": None, "measure": "mean", "test": 2.0, "train": 1.0}
    lines = differences([{**row, "deviations": 3.0}] * 14 + [{**row, "deviations": 0.1}] * 20)
    assert len(lines) == 12
    assert lines[-2:] == [
        "and 4 more",
        "14 of 34 values differ by more than 2 SD; by chance alone 1 of 22 does",
    ]
    assert differences([{**row, "deviations": 1.9}]) == []


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_no_share_is_of_few_patients(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Small parts, rare outcomes, small groups: what is told is of 0 or of 11 and more patients."""
    rng = np.random.default_rng(seed)
    one = study(tmp_path_factory.mktemp("few"), 600, seed=seed)
    one.sex = [str(g) for g in rng.choice(["a", "b", "c"], 600, p=[0.6, 0.34, 0.06])]
    # Many have the event in some studies, few in others; a few, or more, have no label.
    one.labels["ill"] = (rng.random(600) < rng.choice([0.4, 0.1])).astype(np.float32)
    one.labels["ill"][rng.random(600) < rng.choice([0.0, 0.03, 0.2])] = np.nan
    one._write_cohort(600)
    cohort(one, rng.integers(0, 30, (600, 3)) // 28)
    groups = {g: np.array(one.sex) == g for g in "abc"}
    people = People(one.patient, one.fold == -1, one.fold, groups)
    rows = participant_rows(people, one.folder, one.path("labels"))
    y, parts = one.labels["ill"], {"train": one.fold != -1, "test": one.fold == -1}
    for row in rows:
        if (row["what"], row["name"]) == ("outcome", "ill"):
            members = groups[row["group"]] if row["group"] else np.ones(600, dtype=bool)
            for part in parts.values():
                for rows_of in (y == 0, y == 1, *([np.isnan(y)] if row["group"] else [])):
                    assert not 0 < len(np.unique(one.patient[members & part & rows_of])) < 11
                    if row["group"]:
                        rest = ~members & part & rows_of
                        assert not 0 < len(np.unique(one.patient[rest])) < 11
        if row["what"] == "subgroup":
            for part in parts.values():
                assert not 0 < len(np.unique(one.patient[groups[row["name"]] & part])) < 11
    for row in flow_rows(people):
        assert row["patients"] is None or row["patients"] >= 11


def few_by_moments(n: int, row: dict[str, Any], part: str) -> np.ndarray:
    """How often 0, 1 and 2 stand among ``n`` values of that mean and deviation."""
    mean, deviation = row[part], row[f"{part}_sd"]
    powers = np.array([np.ones(3), np.arange(3), np.arange(3) ** 2])
    return np.linalg.solve(powers, n * np.array([1, mean, mean**2 + deviation**2])).round()


@pytest.mark.parametrize("few", [3, 40])
def test_mean_and_deviation_tell_no_count_of_a_value_that_few_have(tmp_path: Path, few: int) -> None:
    one = study(tmp_path, 900)
    rng = np.random.default_rng(few)
    test = np.flatnonzero(one.fold == -1)
    x = rng.integers(0, 2, (900, 3)).astype(np.float32)
    x[rng.choice(test, few, replace=False), 0] = 2
    x[rng.choice(np.flatnonzero(one.fold >= 0), 90, replace=False), 0] = 2
    one.labels["days"] = x[:, 0]
    one._write_cohort(900)
    cohort(one, x)
    people = People(one.patient, one.fold == -1, one.fold, {})
    rows = {row["name"]: row for row in participant_rows(people, one.folder, one.path("labels"))}
    assert {"rare", "score"} <= set(rows)
    assert ("age" in rows) == ("days" in rows) == (few >= 11)
    if few >= 11:
        assert (
            few_by_moments(len(test), rows["age"], "test").tolist()
            == np.bincount(x[test, 0].astype(int)).tolist()
        )


@pytest.mark.parametrize("few", [5, 40])
def test_a_mean_tells_no_number_of_those_who_have_another_value_than_most(tmp_path: Path, few: int) -> None:
    one = study(tmp_path, 900)
    rng = np.random.default_rng(few)
    test, train = (np.flatnonzero(part) for part in (one.fold == -1, one.fold >= 0))
    x = np.zeros((900, 3), dtype=np.float32)
    x[:, 0], x[:, 2] = rng.normal(size=(2, 900))
    some = np.concatenate([rng.choice(test, few, replace=False), rng.choice(train, 60, replace=False)])
    x[some, 1] = rng.normal(10, 1, len(some))
    one._write_cohort(900)
    cohort(one, x)
    people = People(one.patient, one.fold == -1, one.fold, {})
    names = {row["name"] for row in participant_rows(people, one.folder, one.path("labels"))}
    assert {"age", "score"} <= names
    assert ("rare" in names) == (few >= 11)


def test_files_that_do_not_fit_are_named(described: tuple[Study, np.ndarray, Rows, Rows, str]) -> None:
    one = described[0]
    split = read_table(one.path("split.parquet"))
    write_table(split.slice(0, 100), one.path("short.parquet"))
    with pytest.raises(ContractError, match="100 rows for 3,000 samples"):
        describe_participants(
            one.folder, one.path("labels"), one.path("short.parquet"), one.path("out"), io.StringIO()
        )
