"""The compiled kernel against the reference, and the reference against Python and Arrow."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.tables import kernel, parsing
from m3h_pipeline.tables.parsing import Layout, Malformed, parse_number, parse_record

LAYOUT = Layout(("a", "b", "c", "d", "e"), features=(0, 3), numbers=(1,), texts=(4,))

_numbers = st.one_of(
    st.floats(width=64).map(repr),
    st.floats(width=32, allow_nan=False).map(lambda x: f"{x:.9g}"),
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=12).map(str),
    st.from_regex(r"[+-]?[0-9]{0,22}\.?[0-9]{0,22}([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
_ODD = [
    *("", " ", "nan", "NaN", "NA", "na", "null", "-nan", "nanx", "inf", "-Infinity"),
    *("-", ".", "-.", "e5", "1e", "1e+", "--1", "1.2.3", "0x10", "1_0", "١", "1e400", "1e-400", "1e5,"),
    *('"1.5"', '"a,b"', '"', '1"', " 7 ", "\t3"),
]
_odd = st.sampled_from(_ODD)
_fields = st.lists(st.one_of(_numbers, _odd, st.text(max_size=5)), min_size=3, max_size=7)


def spans_of(records: list[bytes]) -> tuple[bytes, npt.NDArray[np.int64]]:
    data, spans = b"", []
    for record in records:
        spans.append((len(data), len(data) + len(record)))
        data += record + b"\n"
    return data, np.array(spans, dtype=np.int64).reshape(-1, 2)


@given(st.lists(_fields, min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_kernel_equals_reference(table: list[list[str]]) -> None:
    data, spans = spans_of([",".join(fields).encode() for fields in table])
    fast, slow = kernel.parse_rows(data, spans, LAYOUT), parsing.parse_rows(data, spans, LAYOUT)
    assert fast.malformed == slow.malformed
    assert np.array_equal(fast.features.view(np.int32), slow.features.view(np.int32))
    assert np.array_equal(fast.numbers, slow.numbers, equal_nan=True)
    assert [t for t, m in zip(fast.texts, fast.malformed, strict=True) if m is None] == [
        t for t, m in zip(slow.texts, slow.malformed, strict=True) if m is None
    ]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@given(st.lists(_numbers, min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_kernel_gives_the_float32_of_pythons_double(texts: list[str]) -> None:
    layout = Layout(("x",), features=(0,), numbers=(), texts=())
    data, spans = spans_of([text.encode() for text in texts])
    rows = kernel.parse_rows(data, spans, layout)
    for text, value, reason in zip(texts, rows.features[:, 0], rows.malformed, strict=True):
        try:
            expected = np.float32(float(text)) if text else np.float32("nan")
        except ValueError:
            assert reason is not None
        else:
            assert reason is None
            assert value == expected or (math.isnan(value) and math.isnan(expected)), text


def test_plain_records_never_leave_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were they handed to the reference, the kernel would be right and useless."""

    def refuse(*_: object) -> None:
        raise AssertionError("a plain record was handed to the reference")

    monkeypatch.setattr(kernel, "parse_record", refuse)
    rng = np.random.default_rng(0)
    values = np.r_[
        rng.normal(size=500), rng.normal(size=200) * 10.0 ** rng.integers(-12, 12, 200), 0, 1e-30, -7
    ]
    plain = (
        [f"{v:.9g}" for v in values]
        + [repr(float(v)) for v in values[:300]]
        + ["", "nan", "36.666666666666664"]
    )
    data, spans = spans_of([f"{text},1.5,,{text},AP".encode() for text in plain])
    rows = kernel.parse_rows(data, spans, LAYOUT)
    assert rows.malformed == [None] * len(plain)
    assert rows.texts == [["AP"]] * len(plain)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"1,2,3,4", "4 fields instead of 5"),
        (b"1,2,3,4,5,6,7", "7 fields instead of 5"),
        (b"secret,2,3,4,x", "text in the numeric column `a`"),
        (b"1,secret,3,4,x", "text in the numeric column `b`"),
        (b"1,2,3,4,\xff\xfe", "not UTF-8"),
        (b'1,2,"3"x,4,y', "quotation marks that do not match"),
        (b'1,2,3,4,"y', "quotation marks that do not match"),
    ],
)
def test_malformed_records_say_why_and_not_what(record: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as error:
        parse_record(record, LAYOUT)
    assert str(error.value) == reason
    data, spans = spans_of([record, b"1,2,3,4,ok"])
    for parse in (parsing.parse_rows, kernel.parse_rows):
        rows = parse(data, spans, LAYOUT)
        assert rows.malformed == [reason, None]
        assert np.isnan(rows.features[0]).all()
        assert rows.features[1].tolist() == [1, 4]


def test_skipped_fields_may_hold_anything() -> None:
    features, numbers, texts = parse_record(b'1,2,"any ""thing"", 7",4, CHEST ', LAYOUT)
    assert (features.tolist(), numbers.tolist(), texts) == ([1, 4], [2], ["CHEST"])


@pytest.mark.parametrize("text", ["1_000", "١٢", "0x1f", "1,5", "1 2", "+-1", "e3", ".", "nano"])
def test_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        parse_number(text)
