"""Which tasks can be evaluated, and how labels spread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.coding import signed_time
from m3h_pipeline.config import TaskSelection
from m3h_pipeline.contracts import SPLIT
from m3h_pipeline.errors import ContractError, InputError, TaskError
from m3h_pipeline.files import write_labels, write_table
from m3h_pipeline.tasks.assess import assess
from m3h_pipeline.tasks.audit import AUDIT_COLUMNS, RARE, VALUES_COLUMNS, values_told
from m3h_pipeline.tasks.prevalence import PREVALENCE_COLUMNS
from tests.tasks.cohorts import audit_rows, write_cohort

PER_FOLD = 30
#: Three folds and the test part, of equal size, one patient per sample.
FOLD = np.repeat([0, 1, 2, -1], PER_FOLD)
N = len(FOLD)


class Study:
    """A cohort of four equal slices, and labels to be judged."""

    def __init__(self, folder: Path) -> None:
        self.labels, self.split = folder / "labels", folder / "split.parquet"
        write_cohort(folder, [(f"p{i:04d}", None) for i in range(N)])
        self.samples = folder / "samples.parquet"
        split = pa.table(
            {
                "sample_id": [f"s{i:05d}" for i in range(N)],
                "part": np.where(FOLD < 0, "test", "train").tolist(),
                "fold": pa.array(FOLD, pa.int16()),
            },
            schema=SPLIT,
        )
        write_table(split, self.split, SPLIT)

    def add(self, task: str, y: npt.ArrayLike, kind: str = "binary", **more: Any) -> None:
        described: dict[str, Any] = {"id": task, "title": task, "department": "D", "classes": []}
        audit = "\t".join(AUDIT_COLUMNS) + f"\n{task}" + "\tx" * 6 + "\t7" * 3 + "\n"
        described |= {"problem_class": kind, "clusters": 0, **more}
        write_labels(np.asarray(y, np.float32), self.labels / f"{task}.parquet", described, audit)
        (self.labels / f"{task}.audit.tsv").write_text(audit)

    def assess(self, **settings: Any) -> dict[str, Any]:
        chosen = TaskSelection(**settings)
        labels = {path.stem: path for path in sorted(self.labels.glob("*.parquet"))}
        tasks: dict[str, Any] = assess(labels, self.split, self.samples, self.labels, chosen)["tasks"]
        assert json.loads((self.labels / "tasks.json").read_text())["tasks"] == tasks
        return tasks


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study(tmp_path)
    made.add("common", np.arange(N) % 2)
    return made


def few(fold: int, n: int, others: int = 10) -> npt.NDArray[np.float64]:
    """Ten positives (``others``) in every slice but one, which has ``n``."""
    y = np.zeros(N)
    for k in np.unique(FOLD):
        y[np.flatnonzero(k == FOLD)[: n if k == fold else others]] = 1
    return y


def test_reasons(study: Study) -> None:
    gaps = np.where(FOLD == 1, np.nan, np.arange(N) % 2)
    study.add("none", np.full(N, np.nan))
    study.add("one_class", np.where(np.arange(N) % 3 == 0, np.nan, 0))
    study.add("no_negative", np.ones(N))
    study.add("few_in_fold", few(2, 4))
    study.add("enough", few(2, 5))
    study.add("few_in_test", few(-1, 0))
    study.add("few_negatives", 1 - few(0, 3))
    study.add("not_in_fold", gaps)
    study.add("three", np.arange(N) % 3, "multiclass", classes=["a", "b", "c"])
    study.add("third_missing", np.arange(N) % 2, "multiclass", classes=["a", "b", "c"])
    study.add("days", np.arange(N) / 7, "regression")
    study.add("constant", np.where(FOLD == 1, 3, np.arange(N)), "regression")
    study.add("few_days", np.where((FOLD == 0) & (np.arange(N) > 3), np.nan, np.arange(N)), "regression")
    times = np.arange(1, N + 1)
    study.add("death", signed_time(times, np.arange(N) % 2), "survival")
    study.add("rare_death", signed_time(times, few(2, 4)), "survival")
    study.add("all_die", np.where((FOLD == 1) & (np.arange(N) % 30 > 4), np.nan, times), "survival")
    study.add("groups", np.zeros(N), "clustering", clusters=15)
    study.add("many_groups", np.zeros(N), "clustering", clusters=30)
    tasks = study.assess()
    reasons = {task: description["reason"] for task, description in tasks.items()}
    assert reasons == {
        "common": "",
        "none": "no label is observed",
        "one_class": "every observed label is negative",
        "no_negative": "every observed label is positive",
        "few_in_fold": "positive: <11 in fold 2, at least 5 needed",
        "enough": "",
        "few_in_test": "positive: 0 in the test part, at least 5 needed",
        "few_negatives": "negative: <11 in fold 0, at least 5 needed",
        "not_in_fold": "negative: 0 in fold 1, at least 5 needed; positive: 0 in fold 1, at least 5 needed",
        "three": "",
        "third_missing": "c: 0 in fold 0, 0 in fold 1, 0 in fold 2 and 0 in the test part, at least 5 needed",
        "days": "",
        "constant": "all values are the same in fold 1",
        "few_days": "observed: <11 in fold 0, at least 5 needed",
        "death": "",
        "rare_death": "events: <11 in fold 2, at least 5 needed",
        "all_die": "observed: <11 in fold 1, at least 6 needed",
        "groups": "",
        "many_groups": "observed: 30 in fold 0, 30 in fold 1, 30 in fold 2 and 30 in the test part, "
        "at least 31 needed",
    }
    assert {t: d["status"] for t, d in tasks.items()} == {
        t: "dropped" if r else "ok" for t, r in reasons.items()
    }


def test_the_least_number_is_configured(study: Study) -> None:
    study.add("few", few(2, 4))
    assert study.assess(min_per_fold=4)["few"]["status"] == "ok"
    assert study.assess(min_per_fold=5)["few"]["status"] == "dropped"


def test_refusing_writes_nothing(study: Study) -> None:
    study.add("rare", few(1, 0))
    with pytest.raises(
        TaskError, match=r"1 task cannot be evaluated:\n    rare: positive: 0 in fold 1"
    ) as caught:
        study.assess(unevaluable="refuse")
    assert "tasks.exclude" in str(caught.value)
    assert not list(study.labels.glob("*.json"))
    assert not (study.labels / "prevalence.tsv").exists()


def test_nothing_left_to_learn(study: Study) -> None:
    study.add("common", np.zeros(N))
    with pytest.raises(TaskError, match="no task can be evaluated"):
        study.assess()


def test_prevalence_counts_by_part_and_fold_and_hides_small_numbers(study: Study) -> None:
    study.add("rare", few(2, 4, 12))
    study.add("three", np.arange(N) % 3, "multiclass", classes=["a", "b", "c"])
    study.assess()
    rows = audit_rows(study.labels / "prevalence.tsv")
    assert list(rows[0]) == list(PREVALENCE_COLUMNS)
    rare = {(r["part"], r["fold"]): r for r in rows if r["task"] == "rare"}
    assert list(rare) == [
        ("all", ""),
        ("train", ""),
        ("train", "0"),
        ("train", "1"),
        ("train", "2"),
        ("test", ""),
    ]
    assert {key: (r["n"], r["share"], r["observed"], r["samples"]) for key, r in rare.items()} == {
        ("all", ""): ("40", f"{40 / 120:.4f}", "120", "120"),
        ("train", ""): ("28", f"{28 / 90:.4f}", "90", "90"),
        # 28 less two folds would be the third: a second one is hidden.
        ("train", "0"): ("hidden", "", "30", "30"),
        ("train", "1"): ("12", f"{12 / 30:.4f}", "30", "30"),
        ("train", "2"): ("<11", "", "30", "30"),
        ("test", ""): ("12", f"{12 / 30:.4f}", "30", "30"),
    }
    three = [r["class"] for r in rows if r["task"] == "three" and r["part"] == "test"]
    assert three == ["a", "b", "c"]


def test_no_count_tells_how_few_the_others_are(study: Study) -> None:
    """26 of 30 positive would give the four others away, and 26 of 30 labelled the four that are not."""
    study.add("frequent", 1 - few(2, 4, 12))
    partly = np.arange(N) % 2.0
    partly[np.flatnonzero(FOLD == 0)[:4]] = np.nan
    study.add("partly", partly)
    study.assess()
    rows = audit_rows(study.labels / "prevalence.tsv")
    shown = {(r["task"], r["part"], r["fold"]): (r["n"], r["share"], r["observed"]) for r in rows}
    assert shown["frequent", "train", "2"] == ("hidden", "", "30")
    assert shown["frequent", "train", "1"] == ("18", f"{18 / 30:.4f}", "30")
    assert shown["partly", "train", "0"][2] == "hidden"
    assert shown["partly", "train", ""][2] == shown["partly", "all", ""][2] == "hidden"
    assert shown["partly", "test", ""] == ("15", "0.5000", "30")


def test_many_samples_of_few_patients_are_few(study: Study, tmp_path: Path) -> None:
    """Thirty samples of two patients are no group that is shown."""
    people = ["p0000" if i < 20 else "p0001" if i < 30 else f"p{i:04d}" for i in range(N)]
    write_cohort(tmp_path, [(patient, None) for patient in people])
    study.add("theirs", np.arange(N) < 30)
    study.assess()
    rows = [row for row in audit_rows(study.labels / "prevalence.tsv") if row["task"] == "theirs"]
    assert [(row["n"], row["share"], row["patients"]) for row in rows if row["part"] == "all"] == [
        ("hidden", "", "<11")
    ]


def test_audit_tables_become_one(study: Study) -> None:
    study.add("second", np.arange(N) % 2)
    study.assess()
    lines = (study.labels / "audit.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(AUDIT_COLUMNS)
    assert [line.split("\t")[0] for line in lines[1:]] == ["common", "second"]
    assert [line.split("\t")[-1] for line in lines[1:]] == ["7", "7"]
    lines = (study.labels / "values.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(VALUES_COLUMNS)
    assert [(row[0], row[4]) for row in (line.split("\t") for line in lines[1:])] == [
        ("common", RARE),
        ("second", RARE),
    ]


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1), st.sampled_from(["positive", "missing"]), st.integers(0, 40)),
        max_size=12,
    )
)
def test_values_of_few_patients_are_one_row_without_a_count(rows: list[tuple[str, str, int]]) -> None:
    audit = [["t", "", "", "c", value, status, "", *[str(n)] * 3] for value, status, n in rows]
    told = list(values_told(audit))
    assert all(len(row) == len(VALUES_COLUMNS) and not any(map(str.isdecimal, row)) for row in told)
    assert [row[4:6] for row in told if row[4] != RARE] == [(v, s) for v, s, n in rows if n == 0 or n >= 11]
    assert {row[5] for row in told if row[4] == RARE} == {s for _, s, n in rows if 0 < n < 11}


def test_files_that_do_not_fit(study: Study, tmp_path: Path) -> None:
    study.add("short", np.zeros(3))
    with pytest.raises(ContractError, match="3 labels for 120 samples"):
        study.assess()
    study.add("short", np.arange(N) % 2)
    (study.labels / "short.audit.tsv").unlink()
    with pytest.raises(InputError, match="cannot read the audit table"):
        study.assess()
    write_cohort(tmp_path, [(f"p{i}", None) for i in range(3)])
    with pytest.raises(ContractError, match="not those of the cohort"):
        study.assess()
