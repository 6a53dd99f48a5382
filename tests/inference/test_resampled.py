"""The cohort with its patients drawn: against a plain reimplementation, patient by patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.coding import METRICS, signed_time
from m3h_pipeline.contracts import PREDICTIONS, SPLIT, samples_schema
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import write_labels, write_table
from m3h_pipeline.inference.bootstrap import patient_counts
from m3h_pipeline.inference.metrics import metric_draws
from m3h_pipeline.inference.resampled import (
    TEST,
    Cohort,
    MeanDraws,
    Wanted,
    load_cohort,
    mean_draws,
    part_seeds,
)
from m3h_pipeline.tasks.assessed import Task
from tests.inference.cohorts import Floats, cohort_of

DRAWS = 40
TASKS = {name: Task(name, kind, METRICS[kind]) for name, kind in (("ill", "binary"), ("kind", "clustering"))}


def write_cohort(folder: Path, patient: list[int], fold: list[int], y: Floats) -> tuple[Path, Path, Path]:
    """Labels, split and samples; patients' names are not in the order of the rows."""
    n = len(patient)
    ids = [f"s{i:04d}" for i in range(n)]
    sex = pa.array(["female", "male", None] * n)[:n].cast(pa.dictionary(pa.int32(), pa.string()))
    columns = {"sample_id": ids, "patient_id": [f"p{99 - p:02d}" for p in patient], "stay_id": [None] * n}
    samples = pa.table({**columns, "sex": sex}, schema=samples_schema(["sex"]))
    write_table(samples, folder / "samples.parquet")
    part = ["train" if f >= 0 else "test" for f in fold]
    split = pa.table({"sample_id": ids, "part": part, "fold": pa.array(fold, pa.int16())}, schema=SPLIT)
    write_table(split, folder / "split.parquet", SPLIT)
    write_labels(y.astype(np.float32), folder / "labels/ill.parquet", {"id": "ill"})
    write_labels(np.full(n, np.nan, np.float32), folder / "labels/kind.parquet", {"id": "kind"})
    return folder / "labels", folder / "split.parquet", folder / "samples.parquet"


#: Forty patients with one to three samples: 8 in the test part, 16 in each of two folds.
PATIENT = [p for p in range(40) for _ in range(1 + p % 3)]
FOLD = [{0: TEST, 1: 0, 2: 1, 3: 0, 4: 1}[p % 5] for p in PATIENT]
Y = np.array([float(p % 7 == 0) for p in PATIENT])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_cohort(tmp_path_factory.mktemp("cohort"), PATIENT, FOLD, Y)


@pytest.fixture(scope="module")
def cohort(files: tuple[Path, Path, Path]) -> Cohort:
    return load_cohort(TASKS, files[0], files[1], files[2], DRAWS, **part_seeds(3))


def test_every_row_has_the_count_of_its_patient(cohort: Cohort) -> None:
    """Parts against dictionaries: patients of a part by name, each with its count in every draw."""
    seeds = part_seeds(3)
    assert cohort.folds == [0, 1]
    for numbers, seed in (([TEST], seeds["test"]), ([0, 1], seeds["train"])):
        names = sorted({99 - p for p, f in zip(PATIENT, FOLD, strict=True) if f in numbers})
        counts = patient_counts(len(names), DRAWS, seed)
        of = {name: counts[:, i] for i, name in enumerate(names)}
        for number in numbers:
            part = cohort.parts[number]
            assert part.rows.tolist() == [i for i, f in enumerate(FOLD) if f == number]
            found = part.weights[part.unit]
            assert np.array_equal(found, np.stack([of[99 - PATIENT[row]] for row in part.rows]))
            assert len(part.weights) == len({PATIENT[row] for row in part.rows})


def test_both_parts_have_draws_of_their_own(tmp_path: Path) -> None:
    """Parts with equally many patients are not drawn alike: their errors do not go together."""
    patient = list(range(200))
    fold = [TEST if p % 2 else 0 for p in patient]
    labels, split, samples = write_cohort(tmp_path, patient, fold, np.zeros(200))
    found = load_cohort({}, labels, split, samples, 200, **part_seeds(0)).parts
    assert found[TEST].weights.shape == found[0].weights.shape
    together = np.corrcoef(found[TEST].weights.ravel(), found[0].weights.ravel())[0, 1]
    assert abs(together) < 0.05
    other = load_cohort({}, labels, split, samples, 200, **part_seeds(1)).parts
    for number in (TEST, 0):
        again = np.corrcoef(found[number].weights.ravel(), other[number].weights.ravel())[0, 1]
        assert abs(again) < 0.05


def test_only_what_has_a_seed_is_looked_at(files: tuple[Path, Path, Path]) -> None:
    assert set(load_cohort(TASKS, *files, DRAWS, train=1).parts) == {0, 1}
    assert set(load_cohort(TASKS, *files, DRAWS, test=1).parts) == {TEST}
    both = load_cohort(TASKS, *files, DRAWS, train=1, test=1)
    assert np.array_equal(both.parts[0].weights, load_cohort(TASKS, *files, DRAWS, train=1).parts[0].weights)


def test_a_clustering_task_without_labels_is_about_every_sample(cohort: Cohort) -> None:
    assert np.array_equal(cohort.labels["kind"], np.zeros(len(PATIENT)))
    assert cohort.informative("kind", [0, 1]) == 32


def test_samples_of_a_group_are_marked(cohort: Cohort) -> None:
    assert {name: members.sum() for name, members in cohort.subgroups.items()} == {
        "female": len(PATIENT[0::3]),
        "male": len(PATIENT[1::3]),
    }


def test_files_of_different_cohorts_are_refused(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    labels, split, _ = write_cohort(tmp_path, PATIENT[:-1], FOLD[:-1], Y[:-1])
    with pytest.raises(ContractError, match="rows for"):
        load_cohort(TASKS, files[0], split, files[2], DRAWS, train=1)
    with pytest.raises(ContractError, match="labels for"):
        load_cohort(TASKS, labels, files[1], files[2], DRAWS, train=1)
    none = write_cohort(tmp_path, PATIENT, [0] * len(PATIENT), Y)
    with pytest.raises(ContractError, match="no sample is in the test part"):
        load_cohort(TASKS, *none, DRAWS, test=1)


# --- how many patients tell of a task ---


def test_the_rarest_class_says_how_much_is_known() -> None:
    """Its patients, not its samples, and not those of a common class; an absent class does not count."""
    patient = np.repeat(np.arange(60), 3)
    y = np.where(patient < 5, 1.0, 0.0)
    y[patient >= 50] = np.nan
    cohort = cohort_of(y, patient, "binary")
    assert cohort.informative("t", [TEST]) == 5
    graded = np.where(patient < 7, 2.0, np.where(patient < 20, 0.0, 1.0))
    assert cohort_of(graded, patient, "multiclass").informative("t", [TEST]) == 7
    # A patient with samples of two classes tells of both.
    mixed = np.where(np.arange(180) % 3 == 0, 1.0, 0.0)
    assert cohort_of(mixed, patient, "binary").informative("t", [TEST]) == 60
    assert cohort_of(np.full(180, np.nan), patient, "binary").informative("t", [TEST]) == 0


def test_of_numbers_every_patient_tells_and_of_times_those_with_an_event() -> None:
    patient = np.repeat(np.arange(30), 2)
    y = np.where(patient < 10, np.nan, patient * 1.0)
    assert cohort_of(y, patient, "regression").informative("t", [TEST]) == 20
    time = signed_time(1.0 + patient, patient % 10 == 0)
    assert cohort_of(time, patient, "survival").informative("t", [TEST]) == 3


# --- draws ---


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_mean_over_parts_leaves_out_what_a_draw_leaves_undefined(seed: int) -> None:
    g = np.random.default_rng(seed)
    parts = np.where(g.random((3, 20)) < 0.4, np.nan, g.normal(size=(3, 20)))
    draws = MeanDraws(20)
    for part in parts:
        draws.add("a", part)
        draws.add("b", -2 * part)
    expected = [
        np.mean(column[~np.isnan(column)]) if (~np.isnan(column)).any() else np.nan for column in parts.T
    ]
    np.testing.assert_allclose(draws.mean("a"), expected)
    np.testing.assert_allclose(draws.mean("b"), -2 * np.array(expected))
    assert np.isnan(draws.mean("nothing")).all()


def test_out_of_the_bag_are_the_patients_that_were_not_drawn(cohort: Cohort) -> None:
    first, rest = cohort.first(10), cohort.first(10).out_of_bag()
    assert (first.draws, rest.draws, cohort.first(1000).draws) == (10, 10, DRAWS)
    for number, part in cohort.parts.items():
        assert np.array_equal(first.parts[number].weights, part.weights[:, :10])
        assert np.array_equal(rest.parts[number].weights == 1, part.weights[:, :10] == 0)
        assert set(np.unique(rest.parts[number].weights)) <= {0, 1}
        assert np.array_equal(rest.parts[number].unit, part.unit)


def test_stored_predictions_are_averaged_within_their_slots(cohort: Cohort, tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    said = {
        (f"fit{number}{r}", "ill"): g.normal(size=(len(cohort.parts[number].rows), 1)).astype(np.float32)
        for number in cohort.folds
        for r in range(2)
    }
    rows = [
        {"fit_key": key, "task": task, "width": 1, "prediction": p.ravel()} for (key, task), p in said.items()
    ]
    write_table(pa.Table.from_pylist(rows[::-1], schema=PREDICTIONS), tmp_path / "p.parquet", PREDICTIONS)
    wanted = {
        ("fit00", "ill"): Wanted(0, ["a", "both"]),
        ("fit10", "ill"): Wanted(1, ["a", "both"]),
        ("fit01", "ill"): Wanted(0, ["both"]),
    }
    found, left_out = mean_draws([tmp_path / "p.parquet"], wanted, [cohort, cohort.out_of_bag()])

    def by_hand(keys: list[str], out: bool) -> Floats:
        draws = MeanDraws(DRAWS)
        for key in keys:
            part = cohort.parts[int(key[3])]
            weights = part.weights[part.unit].T
            weights = (weights == 0).astype(float) if out else weights
            draws.add("", metric_draws("auroc", Y[part.rows], said[key, "ill"], weights))
        return draws.mean("")

    np.testing.assert_allclose(found.mean("a"), by_hand(["fit00", "fit10"], False))
    np.testing.assert_allclose(found.mean("both"), by_hand(["fit00", "fit10", "fit01"], False))
    np.testing.assert_allclose(left_out.mean("a"), by_hand(["fit00", "fit10"], True))
    wanted = {("fit00", "kind"): Wanted(0, ["a"])}
    with pytest.raises(ContractError, match="1 of 1 predictions are missing"):
        mean_draws([tmp_path / "p.parquet"], wanted, [cohort])
