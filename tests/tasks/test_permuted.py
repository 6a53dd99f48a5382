"""Permuted companions: everything of a task but its relation to the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from m3h_pipeline.coding import is_permuted, labelled_by
from m3h_pipeline.config.base import Name
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import write_labels
from m3h_pipeline.inference.resampled import load_cohort
from m3h_pipeline.tasks.assessed import Task, read_tasks
from m3h_pipeline.tasks.permuted import (
    permuted_companions,
    permuted_labels,
    read_task_labels,
)
from m3h_pipeline.training.data import load_study_data
from tests.tim.studies import binary_labels, make_study


def tasks(*names: str, kind: str = "binary") -> dict[str, Task]:
    return {name: Task(name, kind, "auroc", title=name.upper()) for name in names}


@given(st.integers(0, 10_000), st.integers(2, 60))
def test_labels_stay_in_their_fold_and_leave_their_patient(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    patient = np.sort(rng.integers(0, n, 4 * n))
    fold = rng.integers(-1, 3, n)[patient]
    y = rng.normal(size=4 * n).astype(np.float32)
    y[rng.random(4 * n) < 0.2] = np.nan
    names = [f"p{i}" for i in patient]
    found = permuted_labels(y, names, fold, seed, "a~1")
    for number in np.unique(fold):
        here = fold == number
        np.testing.assert_array_equal(np.sort(found[here]), np.sort(y[here]))
    np.testing.assert_array_equal(found, permuted_labels(y, names, fold, seed, "a~1"))


def test_nothing_of_the_signal_is_left_and_companions_are_unlike() -> None:
    """Correlations with the label, and between companions of one task, are those of chance."""
    rng = np.random.default_rng(0)
    n = 20_000
    y = rng.normal(size=n).astype(np.float32)
    fold, names = rng.integers(-1, 5, n), [f"p{i}" for i in range(n)]
    found = [
        permuted_labels(y, names, fold, seed, name) for seed, name in ((1, "a~1"), (1, "a~2"), (2, "a~1"))
    ]
    correlation = np.corrcoef([y, *found])
    assert np.abs(correlation - np.eye(4)).max() < 5 / np.sqrt(n)


def test_labels_of_a_patient_stay_together() -> None:
    """Rows of patients with two rows each and one label: still one label a patient."""
    y = np.repeat(np.arange(50), 2).astype(np.float32)
    names = [f"p{i // 2:02d}" for i in range(100)]
    found = permuted_labels(y, names, np.zeros(100), 3, "a~1")
    assert (found[::2] == found[1::2]).all()
    assert (found != y).mean() > 0.8


def test_which_tasks_are_permuted_is_a_draw_that_others_hardly_change() -> None:
    names = [f"t{i}" for i in range(20)]
    known = tasks(*names)
    drawn = permuted_companions(known, 3, 7)
    assert len(drawn) == 3
    assert len({labelled_by(name) for name in drawn}) == 3
    for gone in names:
        fewer = permuted_companions({n: t for n, t in known.items() if n != gone}, 3, 7)
        assert len(set(fewer) & set(drawn)) >= (2 if f"{gone}~1" in drawn else 3)
    seen = {labelled_by(name) for seed in range(60) for name in permuted_companions(known, 3, seed)}
    assert len(seen) == 20


def test_tasks_without_labels_are_not_permuted_and_few_are_several_times() -> None:
    known = tasks("a", "b") | tasks("z", kind="clustering")
    drawn = permuted_companions(known, 5, 0)
    assert sorted(labelled_by(name) for name in drawn) in (list("aaabb"), list("aabbb"))
    assert all(
        is_permuted(name) and task.id == name and "permuted" in task.title for name, task in drawn.items()
    )
    assert len({task.title for task in drawn.values()}) == 5
    assert permuted_companions(known, 0, 0) == permuted_companions(tasks("a"), 3, 0) == {}
    assert permuted_companions(tasks("y", "z", kind="clustering"), 3, 0) == {}


def test_no_task_of_a_study_can_have_such_a_name() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(next(iter(permuted_companions(tasks("a", "b"), 1, 0))))


def test_labels_are_read_from_the_tasks_own_file(tmp_path: Path) -> None:
    y = np.arange(30, dtype=np.float32)
    write_labels(y, tmp_path / "a.parquet", {"problem_class": "regression"})
    names, fold = [f"p{i}" for i in range(30)], np.arange(30) % 3
    plain, said = read_task_labels(tmp_path, "a", None, fold, 5)
    np.testing.assert_array_equal(plain, y)
    found, again = read_task_labels(tmp_path, "a~2", names, fold, 5)
    assert said == again
    np.testing.assert_array_equal(found, permuted_labels(y, names, fold, 5, "a~2"))
    with pytest.raises(ContractError, match="30 labels for 29 samples"):
        read_task_labels(tmp_path, "a~2", names[:29], fold[:29], 5)


def test_training_and_resampling_shuffle_alike(tmp_path: Path) -> None:
    """What a fit learns of a permuted companion is what its scores are resampled by; a fit's key has it."""
    study = make_study(tmp_path, binary_labels(["a", "b"], 200))
    files = tmp_path / "labels", tmp_path / "split.parquet"
    for name, y in study.labels.items():
        write_labels(y, files[0] / f"{name}.parquet", {"id": name, "problem_class": "binary"})
    known = permuted_companions(read_tasks(study.tasks), 2, 5)
    one, other = (load_study_data(tmp_path, *files, known, {}, grouped=True, seed=seed) for seed in (5, 6))
    drawn = load_cohort(known, *files, tmp_path / "samples.parquet", 10, train=1, permuted=5)
    for name in known:
        np.testing.assert_array_equal(one.labels[name], drawn.labels[name])
        assert one.label_digest(name) != other.label_digest(name)
        assert not np.array_equal(one.labels[name], study.labels[labelled_by(name)])
