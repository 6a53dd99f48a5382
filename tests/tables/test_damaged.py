"""What damaged files ended in before they ended in a sentence: each was found by ``make fuzz``."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from pathlib import Path

import h5py
import pytest

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables import matrices
from m3h_pipeline.tables.content import read_columns
from m3h_pipeline.tables.formats import open_table
from m3h_pipeline.tables.values import Absent


def read(path: Path, content: bytes, **options: bool) -> tuple[list[str], int]:
    """Names of the columns and number of rows."""
    path.write_bytes(content)
    with ExitStack() as stack:
        reader = open_table(str(path), stack, **options)  # type: ignore[arg-type]
        return reader.names, read_columns(reader, [], reader.names, Absent()).rows


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", b"id,x\r1,2\r3,4\r", 2),
        ("a.csv", b"id,x\r1,2\r3,4", 2),
        ("a.tsv", b"id\tx\r1\t2\r", 1),
        ("a.csv.gz", gzip.compress(b"id,x\r1,2\r", mtime=0), 1),
        ("a.csv", b"id,x\r\r\n1,2\r\r\n", 1),
    ],
)
def test_carriage_returns_end_lines(tmp_path: Path, name: str, content: bytes, rows: int) -> None:
    assert read(tmp_path / name, content) == (["id", "x"], rows)


@pytest.mark.parametrize("content", [b"id\r,x\n1,2\n", b"\rid,x\n1,2\n"])
def test_lines_that_end_in_different_ways_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError):
        read(tmp_path / "a.csv", content)


def test_a_transposed_table_whose_header_names_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("gene\nMYC\n")
    with ExitStack() as stack, pytest.raises(InputError, match="no column in the header"):
        open_table(str(path), stack, transposed=True, annotation=["gene"])


@pytest.mark.parametrize("reading", ["while True: pass", "import os; os.abort()"])
def test_a_file_over_which_hdf5_hangs_or_ends_the_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    path = tmp_path / "a.h5ad"
    h5py.File(path, "w").close()
    monkeypatch.setattr(matrices, "_PROBED", 1)
    monkeypatch.setattr(matrices, "_PROBE", reading)
    with ExitStack() as stack, pytest.raises(InputError, match="AnnData file is damaged"):
        open_table(str(path), stack)
