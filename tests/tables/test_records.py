"""Positions and line numbers of records, against Python's own CSV reader."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.errors import InputError
from m3h_pipeline.tables.records import Records, index_records

# Quotation marks inside an unquoted field are ordinary characters; inside a quoted one they are doubled.
_plain = st.text(alphabet='ab 1."é', max_size=6).filter(lambda text: not text.startswith('"'))
_quoted = st.text(alphabet='ab,"\n1', max_size=8).map(lambda text: '"' + text.replace('"', '""') + '"')
_record = st.lists(st.one_of(_plain, _quoted), min_size=2, max_size=4).map(",".join)


def index(path: Path, block: int = 16 << 20) -> tuple[Records, list[tuple[bytes, int]]]:
    seen: list[tuple[bytes, int]] = []
    records = index_records(path, lambda b, i, j, line: seen.append((bytes(b[i:j]), line)), block=block)
    return records, seen


@given(st.lists(_record, max_size=8), st.integers(1, 40), st.booleans(), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=150, deadline=None)
def test_records_and_lines_are_those_of_a_csv_reader(
    tmp_path_factory: pytest.TempPathFactory, records: list[str], block: int, last_end: bool, end: str
) -> None:
    text = end.join(["h1,h2", *records]) + (end if last_end or not records else "")
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(text.encode())
    reader = csv.reader(io.StringIO(text, newline=""))
    next(reader)
    truth, start = [], reader.line_num + 1
    for fields in reader:
        truth.append((fields, start))
        start = reader.line_num + 1
    found, seen = index(path, block)
    assert [next(csv.reader(io.StringIO(record.decode(), newline=""))) for record, _ in seen] == [
        fields for fields, _ in truth
    ]
    assert [line for _, line in seen] == [line for _, line in truth] == found.lines.tolist()
    data = path.read_bytes()
    assert [data[o : o + n] for o, n in zip(found.offsets, found.lengths, strict=True)] == [
        r for r, _ in seen
    ]


def test_blank_lines_are_counted_and_keep_the_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\n\n1,2\r\n\r\n3,4\n\n")
    records, seen = index(path)
    assert seen == [(b"1,2", 3), (b"3,4", 5)]
    assert records.blank == 3


@pytest.mark.parametrize("block", [3, 1 << 20])
def test_a_quotation_mark_that_never_closes_is_named_by_its_line(tmp_path: Path, block: int) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'a,b\n1,2\n3,"4\n5,6\n')
    with pytest.raises(InputError, match="never closed") as error:
        index(path, block)
    assert error.value.where is not None
    assert error.value.where.endswith("line 3")


def test_memory_of_an_open_quotation_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3h_pipeline.tables.records.LONGEST_RECORD", 1000)
    path = tmp_path / "x.csv"
    path.write_bytes(b'a,b\n1,"' + b"x,y\n" * 100_000)
    read: list[int] = []
    with pytest.raises(InputError, match="never closed"):
        index_records(path, lambda *_: None, advance=read.append, block=500)
    assert sum(read) < 5000
