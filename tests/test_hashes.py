"""Digests of inputs: of what is in the files, read again only where a file may have changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline import hashes
from m3h_pipeline.errors import InputError
from m3h_pipeline.hashes import digest_of, hashed, input_files, sha256

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_equal_values_and_no_others_have_equal_digests(one: Any, other: Any) -> None:
    assert digest_of(one) == digest_of(json.loads(json.dumps(one)))
    # As JSON, where true is not 1 and classes have an order.
    assert (digest_of(one) == digest_of(other)) == (json.dumps(one) == json.dumps(other))


@given(st.dictionaries(st.text(max_size=2), st.integers(), min_size=2, max_size=3))
def test_the_order_of_a_mapping_counts(one: dict[str, int]) -> None:
    assert digest_of(one) != digest_of(dict(reversed(one.items())))


def test_a_file_is_read_again_only_if_its_size_or_time_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cache = tmp_path / "table.csv", tmp_path / "logs/inputs.json"
    cache.parent.mkdir()
    read: list[str] = []

    def counted(path: Path | str) -> str:
        read.append(Path(path).name)
        return sha256(path)

    monkeypatch.setattr(hashes, "sha256", counted)

    def digest(text: str, time: int) -> str:
        file.write_text(text)
        os.utime(file, ns=(time, time))
        found = hashed({"table": file}, cache)["table"]
        assert found["bytes"] == len(text)
        return str(found["sha256"])

    first = digest("a,b\n", 1_000)
    assert first == hashlib.sha256(b"a,b\n").hexdigest()
    assert digest("a,b\n", 1_000) == first
    assert read == ["table.csv"]
    # Copied again: read, and the same. Edited within its size: read, and another.
    assert digest("a,b\n", 2_000) == first
    assert digest("a,c\n", 3_000) != first
    assert digest("a,b,c\n", 3_000) not in {first, ""}
    assert len(read) == 4
    assert hashed({"table": file}, tmp_path / "no/folder/inputs.json")["table"]["bytes"] == 6


@pytest.mark.parametrize("content", ["", "[1]", '{"table": 3}', '{"table": [1, 2]}'])
def test_a_cache_that_is_none_is_read_as_empty(content: str, tmp_path: Path) -> None:
    file, cache = tmp_path / "table.csv", tmp_path / "inputs.json"
    file.write_text("a\n")
    cache.write_text(content)
    assert hashed({"table": file}, cache)["table"]["sha256"] == sha256(file)
    assert json.loads(cache.read_text())["table"][2] == sha256(file)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    for ask in (sha256, lambda path: hashed({"table": path}, tmp_path / "cache.json")):
        with pytest.raises(InputError, match="cannot read the file") as error:
            ask(tmp_path / "absent.csv")
        assert error.value.where == str(tmp_path / "absent.csv")


def test_inputs_are_named_from_the_study_s_folder_and_never_by_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, hosp, elsewhere = tmp_path / "study/data", tmp_path / "study/data/hosp", tmp_path / "other"
    for folder in (hosp, elsewhere):
        folder.mkdir(parents=True)
    for path in (data / "table.csv", elsewhere / "panel.txt", *(hosp / name for name in hashes.TABLES[:2])):
        path.write_text("x\n")
    (hosp / "labevents.csv").write_text("x\n")
    paths = [str(p) for p in (data / "table.csv", hosp, elsewhere / "panel.txt", data / "absent.csv")]
    names = {"table.csv", *(f"hosp/{name}" for name in hashes.TABLES[:2]), "panel.txt"}
    assert set(input_files(paths, str(data))) == names
    monkeypatch.chdir(tmp_path / "study")
    relative = input_files(["data/table.csv", "../other/panel.txt"], ".")
    assert set(relative) == {"data/table.csv", "panel.txt"}
