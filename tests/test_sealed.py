"""Seals: a flipped bit, a lost end, an older file and an older digest are refused, in words that help."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import (
    read_audit,
    read_features,
    read_json,
    read_labels,
    read_table,
    write_features,
    write_json,
    write_labels,
    write_table,
)
from m3h_pipeline.files.sealed import KEY, UNSEALED, check_seal, seal
from m3h_pipeline.hashes import check_digests, write_digests

EXAMPLES = int(os.environ.get("M3H_EXAMPLES", "40"))
TABLE = pa.table({"task": [f"t{i % 7}" for i in range(400)], "value": np.arange(400) / 7})


def _parquet(path: Path) -> None:
    write_table(TABLE, path)


def _json(path: Path) -> None:
    write_json({"b": [1, 2, {"ä": "x"}], "a": None}, path)


def _safetensors(path: Path) -> None:
    save_file({"x": np.arange(300.0)}, path, metadata={KEY: UNSEALED})
    seal(path)


def _features(path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 9)).astype(np.float32)
    write_features(x, [f"g{i}" for i in range(9)], path)


def _labels(path: Path) -> None:
    write_labels(np.arange(90, dtype=np.float32) % 2, path, {"id": "a", "problem_class": "binary"}, "audit")


#: Ending, what writes such a file, and what reads it.
KINDS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], Any]]] = {
    "table": (".parquet", _parquet, read_table),
    "features": (".parquet", _features, read_features),
    "labels": (".parquet", _labels, read_labels),
    "json": (".json", _json, read_json),
    "safetensors": (".safetensors", _safetensors, check_seal),
}


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[Path], Any]]:
    suffix, write, read = KINDS[request.param]
    path = tmp_path / f"file{suffix}"
    write(path)
    read(path)
    return path, read


def test_every_flipped_bit_is_seen(file: tuple[Path, Callable[[Path], Any]]) -> None:
    path, read = file
    content = path.read_bytes()
    draw = random.Random(0)
    # Where formats keep what they need to find the rest, and anywhere.
    ends = [*range(16), *range(len(content) - 16, len(content))]
    digest = content.index(b"m3h-sha256:")
    places = [*ends, *range(digest, digest + 75), *draw.sample(range(len(content)), EXAMPLES)]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(InputError) as refused:
            read(path)
        assert str(path) in str(refused.value)
        assert "delete it" in str(refused.value)
    path.write_bytes(content)
    read(path)


@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_edit_of_bytes_goes_unseen(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lost, doubled, moved and other bytes, in any kind of file."""
    suffix, write, read = KINDS[data.draw(st.sampled_from(sorted(KINDS)))]
    path = tmp_path_factory.mktemp("edits") / f"file{suffix}"
    write(path)
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 200)))
    put = data.draw(st.one_of(st.binary(max_size=80), st.just(content[start:stop] * 2)))
    changed = content[:start] + put + content[stop:]
    path.write_bytes(changed)
    if changed == content:
        read(path)
    else:
        with pytest.raises(InputError):
            read(path)


def test_a_file_of_an_older_version_is_not_used(tmp_path: Path) -> None:
    """It reads as well as ever, and carries no digest."""
    pq.write_table(TABLE, tmp_path / "selection.parquet")
    (tmp_path / "plan.json").write_text('{"packs": {}}\n')
    for path, read in ((tmp_path / "selection.parquet", read_table), (tmp_path / "plan.json", read_json)):
        with pytest.raises(InputError) as refused:
            read(path)
        assert "carries no digest" in str(refused.value)
        assert "older version" in str(refused.value)


def test_a_table_that_another_program_wrote_again_is_not_used(tmp_path: Path) -> None:
    """Edited with pandas or polars it has no digest, or that of what it was."""
    write_table(TABLE, tmp_path / "split.parquet")
    table = pq.read_table(tmp_path / "split.parquet")
    table = table.set_column(1, "value", pa.array(np.zeros(400)))
    noted: dict[bytes, bytes] = pq.read_metadata(tmp_path / "split.parquet").metadata
    for metadata in ({}, noted):
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "split.parquet")
        with pytest.raises(InputError) as refused:
            read_table(tmp_path / "split.parquet")
        assert "rule `split` makes it again" in str(refused.value)


def test_the_same_content_is_the_same_bytes_and_reads_as_ever(file: tuple[Path, Any], tmp_path: Path) -> None:
    path, _ = file
    suffix = path.suffix
    for name, (ending, write, _) in KINDS.items():
        if ending == suffix:
            first, second = tmp_path / f"{name}1{suffix}", tmp_path / f"{name}2{suffix}"
            write(first)
            write(second)
            assert first.read_bytes() == second.read_bytes()
    if suffix == ".parquet":
        assert b"digest" not in (pq.read_schema(path).metadata or {})
    if suffix == ".safetensors":
        np.testing.assert_array_equal(load_file(path)["x"], np.arange(300.0))


def test_what_is_read_and_written_again_is_sealed_again(tmp_path: Path) -> None:
    _features(tmp_path / "x.parquet")
    table = read_table(tmp_path / "x.parquet")
    write_table(table, tmp_path / "y.parquet", row_group_size=50)
    assert read_features(tmp_path / "y.parquet")[1] == read_features(tmp_path / "x.parquet")[1]
    assert (tmp_path / "y.parquet").read_bytes().count(b"m3h-sha256:") == 1
    write_json(read_json_of(tmp_path), tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def read_json_of(folder: Path) -> dict[str, Any]:
    _json(folder / "a.json")
    return read_json(folder / "a.json")


def test_a_seal_needs_room_and_is_put_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="no room"):
        seal(tmp_path / "a.json")
    _json(tmp_path / "b.json")
    with pytest.raises(ValueError, match="is sealed"):
        seal(tmp_path / "b.json")


@pytest.mark.parametrize("names", [b"{", b"3", b'["a"]', b"\xff"])
def test_metadata_that_cannot_be_read_is_a_sentence(names: bytes, tmp_path: Path) -> None:
    """Of a file whose digest is right: another program, or a bug, wrote it."""
    path = tmp_path / "cohort/features/lab.parquet"
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4, np.float32)), 2)
    write_table(pa.table({"x": column}).replace_schema_metadata({"names": names}), path)
    with pytest.raises(ContractError) as refused:
        read_features(path)
    assert "rule `ingest` makes it again" in str(refused.value)


def test_labels_without_their_description_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels/a.parquet"
    write_table(pa.table({"y": pa.array([0, 1], pa.float32())}), path)
    with pytest.raises(ContractError, match="metadata `task` cannot be read"):
        read_labels(path)


def test_an_audit_table_is_the_one_of_its_labels(tmp_path: Path) -> None:
    labels, audit = tmp_path / "labels/a.parquet", tmp_path / "labels/a.audit.tsv"
    write_labels(np.zeros(3, np.float32), labels, {"id": "a"}, "task\tn\na\tä\n")
    audit.write_text("task\tn\na\tä\n", encoding="utf-8")
    assert read_audit(audit, labels) == "task\tn\na\tä\n"
    for content in ("task\tn\na\tb\n", ""):
        audit.write_text(content)
        with pytest.raises(InputError, match="content is not what was written") as refused:
            read_audit(audit, labels)
        assert "rule `label` makes it again" in str(refused.value)
    audit.unlink()
    with pytest.raises(InputError, match="cannot read the audit table"):
        read_audit(audit, labels)


def test_files_of_a_folder_are_those_that_were_written(tmp_path: Path) -> None:
    folder = tmp_path / "input"
    (folder / "hosp").mkdir(parents=True)
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "hosp/codes.csv.gz").write_bytes(b"\x1f\x8b")
    write_digests(folder)
    check_digests(folder)
    for name in ("table.csv", "hosp/codes.csv.gz", "digests.json"):
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        (copy / name).write_bytes(content)
        with pytest.raises(InputError) as refused:
            check_digests(copy)
        assert name in str(refused.value)
        shutil.rmtree(copy)
    (folder / "table.csv").unlink()
    with pytest.raises(InputError, match="cannot read"):
        check_digests(folder)
