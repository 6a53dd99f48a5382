"""Cohort, labels and split made anew: what is equal, and what is not, file by file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.cohort.ingest import ingest
from m3h_pipeline.cohort.synthetic.simulate import haim_source, simulate
from m3h_pipeline.config import Study, SyntheticSource, validate
from m3h_pipeline.files import (
    parquet_writer,
    read_features,
    write_features,
    write_labels,
    write_table,
)
from m3h_pipeline.files.sealed import seal
from m3h_pipeline.hashes import digest_of
from m3h_pipeline.layout import Layout
from m3h_pipeline.remade import NotRemadeError, remade, same
from m3h_pipeline.split import split_cohort
from m3h_pipeline.tasks.assess import assess
from m3h_pipeline.tasks.definitions import tasks_of
from m3h_pipeline.tasks.labels import label_task
from tests.conftest import ROOT
from tests.end_to_end.small_study import STUDY


def _study() -> Study:
    tasks = {**STUDY["tasks"], "definitions": [str(ROOT / "resources/tasks/m3h.yaml")]}
    source = {"kind": "synthetic", "samples": 300}
    return validate(Study, STUDY | {"tasks": tasks, "source": source, "data": "."}, "the study")


def _definitions(study: Study) -> dict[str, str]:
    found = tasks_of(study.tasks)
    return {name: digest_of(one.model_dump(mode="json", exclude_none=True)) for name, one in found.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """What a synthetic study has before anything is trained."""
    study, layout = _study(), Layout(tmp_path_factory.mktemp("made"))
    assert isinstance(study.source, SyntheticSource)
    simulate(study.source, study.seed, layout.input)
    source = haim_source(study.source, layout.input)
    ingest(source, ["demographics", "ts_lab"], layout.cohort.folder)
    tasks = tasks_of(study.tasks)
    labels = {name: layout.labels.labels_of(name) for name in tasks}
    for name, definition in tasks.items():
        label_task(name, definition, layout.cohort.folder, labels[name], layout.labels.audit_of(name))
    stratify = {name: labels[name] for name in study.split.stratify_by}
    split_cohort(layout.cohort.samples, stratify, layout.split, study.split)
    assess(labels, layout.split, layout.cohort.samples, layout.labels.folder, study.tasks)
    return layout


def _differing(layout: Layout, study: Study | None = None) -> list[str]:
    study = study or _study()
    found = remade(layout, study, _definitions(study))
    return [path.relative_to(layout.folder).as_posix() for path, equal in found if not equal]


def test_every_file_is_made_anew_and_equal(made: Layout) -> None:
    files = {path for path in made.folder.rglob("*") if path.is_file()}
    study = _study()
    found = dict(remade(made, study, _definitions(study)))
    assert set(found) == files
    assert all(found.values())
    assert not list(made.folder.glob(".verify*"))


def test_what_differs_is_named(made: Layout) -> None:
    features, labels = made.cohort.features("ts_lab"), made.labels.labels_of("heart_failure")
    before = {path: path.read_bytes() for path in (features, labels, made.labels.prevalence)}
    x, names = read_features(features)
    write_features(np.nextafter(x, np.float32(np.inf)), names, features)
    write_labels(np.zeros(len(x), np.float32), labels, {"id": "heart_failure", "problem_class": "binary"})
    made.labels.prevalence.unlink()
    try:
        assert _differing(made) == [
            *("cohort/features/ts_lab.parquet", "labels/heart_failure.parquet", "labels/prevalence.tsv"),
        ]
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def test_the_same_table_in_other_bytes_is_equal(made: Layout) -> None:
    """As another version of a library writes it."""
    path = made.cohort.columns
    before, table = path.read_bytes(), pq.read_table(path)
    with parquet_writer(path, table.schema, compression="none") as writer:
        writer.write_table(table)
    seal(path)
    try:
        assert path.read_bytes() != before
        assert _differing(made) == []
    finally:
        path.write_bytes(before)


def test_missing_numbers_are_equal(tmp_path: Path) -> None:
    x = np.array([[1, np.nan], [np.nan, 0]], np.float32)
    for name, level in (("a", 1), ("b", 19)):
        table = pa.table({"x": np.tile(x.reshape(-1), 500), "id": [str(i) for i in range(2000)]})
        write_table(table, tmp_path / f"{name}.parquet", compression_level=level)
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    assert a.read_bytes() != b.read_bytes()
    assert same(a, b)
    write_table(pa.table({"x": np.ones(2000, np.float32), "id": [str(i) for i in range(2000)]}), b)
    assert not same(a, b)


def test_what_cannot_be_made_anew_is_said(made: Layout, tmp_path: Path) -> None:
    study = _study()
    seen: list[tuple[Path, bool]] = []
    with pytest.raises(NotRemadeError, match="definitions have changed"):
        seen.extend(remade(made, study, {"another": "0"}))
    assert (made.cohort.samples, True) in seen
    source = {"kind": "haim", "table": "none.csv", "key_ids": "none.csv"}
    gone = validate(Study, STUDY | {"source": source, "data": str(tmp_path)}, "the study")
    with pytest.raises(NotRemadeError, match="cannot be made here"):
        list(remade(made, gone, {}))
