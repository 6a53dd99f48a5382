"""The rules of one record, against Python's own readers of numbers and of CSV."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.tables.parsing import Layout, Malformed, parse_number, parse_record, split_record

LAYOUT = Layout(("a", "b", "c", "d", "e"), singles=(0, 3), doubles=(1,), texts=(4,))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"1,2,3,4", "4 fields instead of 5"),
        (b"1,2,3,4,5,6,7", "7 fields instead of 5"),
        (b"secret,2,3,4,x", "text in the numeric column `a`"),
        (b"1,secret,3,4,x", "text in the numeric column `b`"),
        (b"1,2,3,\xe9,x", "text in the numeric column `d`"),
        (b"1,2,3,4,\xff\xfe", "bytes that are not UTF-8 in the column `e`"),
        (b'1,2,"3"x,4,y', "quotation marks that do not match"),
        (b'1,2,3,4,"y', "quotation marks that do not match"),
    ],
)
def test_malformed_records_say_why_and_not_what(record: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as error:
        parse_record(record, LAYOUT)
    assert str(error.value) == reason


@pytest.mark.parametrize("skipped", [b'"any ""thing"", 7"', b"Andr\xe9", b"\xc3(", b"\x00", b'"\xe9,\n"'])
def test_fields_that_nobody_reads_may_hold_anything(skipped: bytes) -> None:
    record = b"1,2," + skipped + ",4, K\u00d6LN ".encode()
    singles, doubles, texts = parse_record(record, LAYOUT)
    assert (singles.tolist(), doubles.tolist(), texts) == ([1, 4], [2], ["K\u00d6LN"])


@pytest.mark.parametrize(
    "text", ["1_000", "12_5", "١٢", "0x1f", "1,5", "1 2", "+-1", "e3", "..", "--", "nano"]
)
def test_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        parse_number(text)


@given(st.text(alphabet='a1,"\u00e9 ', max_size=14))
@settings(max_examples=300, deadline=None)
def test_fields_are_those_of_a_strict_csv_reader(text: str) -> None:
    """It refuses what makes no sense; of no text at all it makes no record."""
    try:
        (expected,) = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error:
        with pytest.raises(Malformed):
            split_record(text)
    except ValueError:
        assert text == ""
    else:
        assert split_record(text) == expected


def test_a_quoted_field_may_be_longer_than_pythons_usual_limit() -> None:
    long = "x" * 200_000
    assert split_record(f'1,"{long}",2') == ["1", long, "2"]


def test_the_float32_is_that_of_the_double() -> None:
    """Rounding once from the text would give the other neighbour."""
    text = "1.00000005960464477540"
    assert parse_record(text.encode(), Layout(("x",), (0,), (), ()))[0][0] == np.float32(float(text))
