"""Labels from a cohort: diagnoses of stays, permutation, audit tables, messages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.errors import ContractError, InputError, TaskError
from m3h_pipeline.files import read_labels
from m3h_pipeline.tasks.audit import AUDIT_COLUMNS
from m3h_pipeline.tasks.column_criteria import Values
from m3h_pipeline.tasks.criteria import Codes, Diagnosis, NoLabel
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.event_criteria import EventWithin
from m3h_pipeline.tasks.labels import label_task
from m3h_pipeline.tasks.permuted import permute_between_patients
from tests.tasks.cohorts import audit_rows, write_cohort

GOUT = TaskDefinition(
    title="Gout",
    department="Rheumatology",
    problem_class="binary",
    criterion=Diagnosis(icd={9: ["274"]}, titles=["gout"], exclude=Codes(titles=["history"])),
)
RECEPTOR = TaskDefinition(
    title="ER",
    department="R",
    problem_class="binary",
    criterion=Values(column="er", positive=["pos"], negative=["neg"]),
)
PHENOTYPE = TaskDefinition(
    title="P", department="P", problem_class="clustering", criterion=NoLabel(clusters=3)
)


def labels(
    tmp_path: Path, definition: TaskDefinition, cohort: Path, seed: int | None = None
) -> tuple[Float32Array, list[dict[str, str]]]:
    output, audit = tmp_path / "labels/t.parquet", tmp_path / "labels/t.audit.tsv"
    label_task("t", definition, cohort, output, audit, seed)
    y, description = read_labels(output)
    assert description == definition.describe("t", permuted=seed is not None)
    return y, audit_rows(audit)


def test_stays_with_without_and_lacking_diagnoses(tmp_path: Path) -> None:
    cohort = write_cohort(
        tmp_path / "cohort",
        [("p1", "a"), ("p1", "a"), ("p1", "b"), ("p2", "c"), ("p3", "d"), ("p3", None), ("p4", "e")],
        [
            ("a", "M109", 10, "Gout, unspecified"),
            ("a", "I10", 10, "Essential hypertension"),
            ("b", "I10", 10, "Essential hypertension"),
            ("c", "Z8269", 10, "Family history of gout"),
            ("e", "2749", 9, ""),
            ("z", "M109", 10, "Gout, unspecified"),
        ],
    )
    y, audit = labels(tmp_path, GOUT, cohort)
    # d has no diagnosis at all, one sample has no stay: not observed. z is no stay of the samples.
    assert np.array_equal(y, np.array([1, 1, 0, 0, np.nan, np.nan, 1], np.float32), equal_nan=True)
    assert list(audit[0]) == list(AUDIT_COLUMNS)
    assert [(r["version"], r["code"], r["status"], r["by"], r["samples"]) for r in audit] == [
        ("9", "2749", "counted", "274", "1"),
        ("10", "M109", "counted", "/gout/", "2"),
        ("10", "Z8269", "excluded", "not “history”", "1"),
        ("", "", "positive", "", "3"),
        ("", "", "negative", "", "2"),
        ("", "", "missing", "", "2"),
    ]
    assert [r["title"] for r in audit[3:]] == [
        "a code that counts",
        "no code that counts",
        "no diagnosis recorded",
    ]


def test_the_same_code_in_the_other_version_is_another_disease(tmp_path: Path) -> None:
    cohort = write_cohort(
        tmp_path / "cohort", [("p", "a"), ("q", "b")], [("a", "2740", 10, "Else"), ("b", "2740", 9, "Gouty")]
    )
    assert labels(tmp_path, GOUT, cohort)[0].tolist() == [0, 1]


def test_audit_counts_samples_stays_and_patients_as_they_are(tmp_path: Path) -> None:
    stays: list[tuple[str, str | None]] = [(f"p{i // 2}", f"a{i}") for i in range(24) for _ in range(3)]
    found = [(f"a{i}", "M109", 10, "Gout\nof\tall kinds") for i in range(24)]
    cohort = write_cohort(
        tmp_path / "cohort",
        stays,
        [*found, ("a0", "2749", 9, "Gout"), ("a0", "M109", 10, "Gout\nof\tall kinds")],
    )
    rows = {row["code"]: row for row in labels(tmp_path, GOUT, cohort)[1]}
    assert [rows["M109"][c] for c in ("samples", "stays", "patients")] == ["72", "24", "12"]
    assert rows["M109"]["title"] == "Gout of all kinds"
    assert [rows["2749"][c] for c in ("samples", "stays", "patients")] == ["3", "1", "1"]


NINE_AND_TEN = [
    ("a", "F329", 10, "Major depressive disorder, single episode, unspecified"),
    ("b", "I10", 10, "Essential hypertension"),
    ("c", "311", 9, "Depressive disorder, not elsewhere classified"),
    ("d", "29620", 9, "Major depressive affective disorder, single episode, unspecified"),
    ("e", "311", 9, "Depressive disorder, not elsewhere classified"),
    ("e", "I10", 10, "Essential hypertension"),
    ("f", "29620", 9, "Major depressive affective disorder, single episode, unspecified"),
    ("f", "F329", 10, "Major depressive disorder, single episode, unspecified"),
]


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ({"titles": ["major depressive"], "versions": [10]}, [1, 0, None, None, 0, 1]),
        ({"icd": {10: ["F32"]}}, [1, 0, None, None, 0, 1]),
        ({"icd": {10: ["F32"], 9: []}}, [1, 0, None, None, 0, 1]),
        ({"icd": {10: ["F32"], 9: ["296.2"]}}, [1, 0, 0, 1, 0, 1]),
        ({"titles": ["major depressive"]}, [1, 0, 0, 1, 0, 1]),
        ({"icd": {9: ["296.2"]}}, [None, None, 0, 1, 0, 1]),
        (
            {"groups": {"x": {"icd": {10: ["F32"], 9: ["296"]}}, "y": {"icd": {10: ["F33"]}}}},
            [1, 0, None, None, 0, 1],
        ),
        ({"icd": {10: ["F32"]}, "versions": [9, 10]}, [1, 0, 0, 0, 0, 1]),
    ],
)
def test_a_version_that_cannot_express_the_task_tells_nothing(
    criterion: dict[str, Any], expected: list[float | None], tmp_path: Path
) -> None:
    """Of both versions (e, f) those that can tell decide."""
    cohort = write_cohort(tmp_path / "cohort", [(f"p{s}", s) for s in "abcdef"], NINE_AND_TEN)
    definition = TaskDefinition(
        title="D", department="P", problem_class="binary", criterion=Diagnosis.model_validate(criterion)
    )
    y, audit = labels(tmp_path, definition, cohort)
    np.testing.assert_equal(y, np.array([np.nan if value is None else value for value in expected]))
    told = {row["title"]: row["status"] for row in audit if not row["code"]}
    alone = "codes of ICD-9 alone, which cannot tell"
    if expected[2] is None:
        assert told[alone] == "missing"
        assert all(row["version"] == "10" for row in audit if row["code"])
    else:
        assert alone not in told


def test_a_code_without_title_is_not_negative_where_titles_decide(tmp_path: Path) -> None:
    stays: list[tuple[str, str | None]] = [("p1", "a"), ("p2", "b"), ("p3", "c"), ("p4", "d")]
    rows = [("a", "M109", 10, "Gout"), ("b", "I10", 10, "Hypertension"), ("b", "X999", 10, "")]
    rows += [("c", "I10", 10, "Hypertension"), ("d", "Z8269", 10, ""), ("a", "X999", 10, "")]
    cohort = write_cohort(tmp_path / "cohort", stays, rows)
    excluding = Diagnosis(titles=["gout"], exclude=Codes(icd={10: ["Z00-Z99"]}))
    definition = TaskDefinition(title="G", department="R", problem_class="binary", criterion=excluding)
    y, audit = labels(tmp_path, definition, cohort)
    np.testing.assert_equal(y, np.array([1, np.nan, 0, 0]))
    assert ("a code without title, which cannot be judged", "missing") in [
        (r["title"], r["status"]) for r in audit
    ]
    listed = TaskDefinition(
        title="G", department="R", problem_class="binary", criterion=Diagnosis(icd={10: ["M10"]})
    )
    assert labels(tmp_path, listed, cohort)[0].tolist() == [1, 0, 0, 0]


def test_what_versions_contradict_is_refused() -> None:
    with pytest.raises(ValueError, match="lists ICD-9 codes, and `versions` leaves them out"):
        Diagnosis(icd={9: ["296.2"], 10: ["F32"]}, versions=[10])
    with pytest.raises(ValueError, match="no version of ICD has codes in every group"):
        Diagnosis.model_validate({"groups": {"x": {"icd": {10: ["F32"]}}, "y": {"icd": {9: ["296"]}}}})


def test_column_tasks_write_what_became_of_every_value(tmp_path: Path) -> None:
    stays: list[tuple[str, str | None]] = [(f"p{i}", None) for i in range(40)]
    er = ["pos"] * 25 + ["neg"] * 12 + [None] * 3
    cohort = write_cohort(tmp_path / "cohort", stays, columns={"er": er})
    y, audit = labels(tmp_path, RECEPTOR, cohort)
    assert Counter(np.nan_to_num(y, nan=-1).tolist()) == {1: 25, 0: 12, -1: 3}
    assert [(r["code"], r["title"], r["status"], r["samples"], r["patients"]) for r in audit] == [
        ("er", "pos", "positive", "25", "25"),
        ("er", "neg", "negative", "12", "12"),
        ("er", "empty", "missing", "3", "3"),
    ]


def test_every_sample_takes_part_in_clustering(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", [("p", None), ("q", None)])
    y, audit = labels(tmp_path, PHENOTYPE, cohort)
    assert y.tolist() == [0, 0]
    assert audit == []


patients = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40)


@settings(deadline=None)
@given(patients, st.integers(0, 5))
def test_permutation_keeps_the_values_and_repeats_itself(names: list[str], seed: int) -> None:
    y = np.arange(len(names), dtype=np.float32)
    y[::3] = np.nan
    shuffled = permute_between_patients(y, names, seed, "t")
    assert sorted(np.nan_to_num(shuffled, nan=-1)) == sorted(np.nan_to_num(y, nan=-1))
    again = permute_between_patients(y, names, seed, "t")
    assert np.array_equal(shuffled, again, equal_nan=True)


def test_permutation_breaks_the_relation_between_patients_not_within() -> None:
    generator = np.random.default_rng(0)
    names = [f"p{i:04d}" for i in generator.integers(0, 700, 3000)]
    trait = {name: float(generator.random() < 0.3) for name in set(names)}
    y = np.array([trait[name] for name in names], np.float32)
    shuffled = permute_between_patients(y, names, 1, "t")
    assert abs(np.corrcoef(y, shuffled)[0, 1]) < 0.1
    spread = {name: {s for n, s in zip(names, shuffled, strict=True) if n == name} for name in trait}
    pure = np.mean([len(values) == 1 for values in spread.values()])
    rows = y.copy()
    generator.shuffle(rows)
    by_row = {name: {s for n, s in zip(names, rows, strict=True) if n == name} for name in trait}
    assert pure > 1.5 * np.mean([len(values) == 1 for values in by_row.values()])
    other = permute_between_patients(y, names, 1, "another")
    assert not np.array_equal(shuffled, other)
    assert not np.array_equal(shuffled, permute_between_patients(y, names, 2, "t"))


def test_permuted_labels_say_so(tmp_path: Path) -> None:
    stays: list[tuple[str, str | None]] = [(f"p{i}", None) for i in range(40)]
    cohort = write_cohort(tmp_path / "cohort", stays, columns={"er": ["pos"] * 20 + ["neg"] * 20})
    y, audit = labels(tmp_path, RECEPTOR, cohort, seed=3)
    assert y.sum() == 20
    assert y[:20].sum() < 20
    assert audit[0]["samples"] == "20"
    with pytest.raises(TaskError, match="no labels to permute"):
        labels(tmp_path, PHENOTYPE, cohort, seed=3)


def refused(
    tmp_path: Path, definition: TaskDefinition, cohort: Path, kind: type[Exception] = TaskError
) -> str:
    with pytest.raises(kind) as caught:
        label_task("t", definition, cohort, tmp_path / "out/t.parquet", tmp_path / "out/t.audit.tsv")
    assert not (tmp_path / "out").exists(), "nothing may be left behind"
    return str(caught.value)


def test_what_the_cohort_lacks_is_named(tmp_path: Path) -> None:
    bare = write_cohort(tmp_path / "bare", [("p", "a")])
    message = refused(tmp_path, GOUT, bare)
    assert "the cohort has none" in message
    assert "task `t`" in message
    assert "source.hosp" in message
    assert "no columns for labels" in refused(tmp_path, RECEPTOR, bare)
    other = write_cohort(tmp_path / "other", [("p", "a")], columns={"err": ["pos"]})
    assert "did you mean `err`?" in refused(tmp_path, RECEPTOR, other)
    long = write_cohort(tmp_path / "long", [("p", "a")], columns={"er": ["pos", "neg"]})
    assert "2 rows for 1 samples" in refused(tmp_path, RECEPTOR, long)
    untitled = write_cohort(tmp_path / "untitled", [("p", "a")], [("a", "M109", 10, "")])
    assert "no code of the cohort has one" in refused(tmp_path, GOUT, untitled)
    assert "does not exist" in refused(tmp_path, GOUT, tmp_path / "absent", InputError)
    event = EventWithin(time="t", event="er", horizon=1)
    survival = TaskDefinition(title="S", department="S", problem_class="binary", criterion=event)
    mixed = write_cohort(tmp_path / "mixed", [("p", "a")], columns={"t": ["soon"], "er": ["1"]})
    assert "holds `soon`" in refused(tmp_path, survival, mixed)


def test_a_broken_cohort_is_refused(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", [("p", "a")])
    (cohort / "diagnoses.parquet").write_bytes((cohort / "samples.parquet").read_bytes())
    assert "missing: icd_code" in refused(tmp_path, GOUT, cohort, ContractError)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = write_cohort(tmp_path / "cohort", [("p", None)], columns={"er": ["pos"]})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    with pytest.raises(InputError, match="No space left"):
        label_task("t", RECEPTOR, cohort, tmp_path / "out/t.parquet", tmp_path / "out/t.audit.tsv")
    assert list((tmp_path / "out").iterdir()) == []
