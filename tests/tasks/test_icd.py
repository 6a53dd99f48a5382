"""ICD patterns: every form, every kind of typo, and the properties of a hierarchy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.icd import first_match, parse_icd

DIGITS = "0123456789"
icd10 = st.from_regex(r"[A-Z][0-9][0-9AB][0-9A-HJ-NP-WYZ]{0,3}", fullmatch=True)
icd9 = st.from_regex(r"([0-9]{3}|V[0-9]{2})[0-9]{0,2}|E[0-9]{3}[0-9]?", fullmatch=True)
versioned = st.one_of(st.tuples(icd10, st.just(10)), st.tuples(icd9, st.just(9)))


def dotted(code: str, version: int) -> str:
    category = 4 if version == 9 and code.startswith("E") else 3
    return code if len(code) <= category else f"{code[:category]}.{code[category:]}"


@pytest.mark.parametrize(
    ("text", "version", "inside", "outside"),
    [
        ("I50", 10, ["I50", "I509", "I5023", "I50814"], ["I49", "I51", "I5", "II50"]),
        ("428", 9, ["428", "4280", "42823"], ["427", "4290", "4"]),
        ("480x", 9, ["480", "4801"], ["4819", "48"]),
        ("482x", 9, ["48241", "4829"], ["4830", "481"]),
        ("T82.7-", 10, ["T827", "T827XXA", "T827XXS"], ["T826XXA", "T828XXA"]),
        ("999.3x", 9, ["9993", "99931", "99939"], ["9992", "99941"]),
        ("300.xx", 9, ["30000", "3009"], ["3010"]),
        ("038.11", 9, ["03811"], ["03812", "0381", "3811"]),
        ("A41.01", 10, ["A4101"], ["A4102", "A410"]),
        ("T84.7XXA", 10, ["T847XXA"], ["T847XXD", "T847"]),
        ("T81.4XX", 10, ["T814XXA", "T8144XA"], ["T815XXA"]),
        ("J12-J18", 10, ["J12", "J121", "J189", "J1289"], ["J11", "J19", "J1", "J20"]),
        ("K50 – K52", 10, ["K50", "K5090", "K529"], ["K49", "K530"]),
        ("001-009", 9, ["0010", "0090", "00845"], ["010", "01000", "0"]),
        ("T84.5–T84.7", 10, ["T8450XA", "T846XXA", "T847XXS"], ["T844", "T848XXA", "T84"]),
        ("1570 – 1574", 9, ["1570", "1574"], ["1575", "157", "1569"]),
        ("250.x0", 9, ["25000", "25090"], ["25001", "250"]),
        ("E11.?1", 10, ["E1101", "E1121"], ["E1100", "E11"]),
        ("A00.5-A01.3", 10, ["A005", "A009", "A010", "A0139"], ["A004", "A014", "A01", "A00"]),
        ("E850-E858", 9, ["E8500", "E858", "E8589"], ["E8590", "850"]),
        ("V08", 9, ["V08"], ["V0251", "V09"]),
        ("c4a.0", 10, ["C4A0"], ["C440", "C4A1"]),
        ("M1A–M1A", 10, ["M1A9XX0"], ["M1190"]),
        ("4-9", 9, None, None),
    ],
)
def test_forms(text: str, version: int, inside: list[str] | None, outside: list[str] | None) -> None:
    if inside is None or outside is None:
        with pytest.raises(TaskError):
            parse_icd(text, version)
        return
    pattern = parse_icd(text, version)
    assert [code for code in inside if not pattern.matches(code)] == []
    assert [code for code in outside if pattern.matches(code)] == []
    # The same where the pattern is looked up among the sorted codes of a cohort.
    codes = pa.array([*inside, *outside])
    found = first_match([pattern], codes, pa.array([version] * len(codes)))
    assert found.tolist() == [0] * len(inside) + [-1] * len(outside)


@pytest.mark.parametrize(
    ("text", "version", "hint"),
    [
        ("38.11", 9, "did you mean `038.11`?"),
        ("A4l.01", 10, "did you mean `A41.01`?"),
        ("A41.O1", 10, "did you mean `A41.01`?"),
        ("T82,7-", 10, "did you mean `T82.7-`?"),
        ("T82.7_", 10, "did you mean `T82.7-`?"),
        ("J18-J12", 10, "did you mean `J12-J18`?"),
        ("J12-18", 10, "did you mean `J12-J18`?"),
        ("A4.101", 10, "did you mean `A41.01`?"),
        ("9989.6", 9, "did you mean `998.96`?"),
        ("J18.9", 9, "this is an ICD-10 code: move it to `icd10`"),
        ("428.0", 10, "this is an ICD-9 code: move it to `icd9`"),
        ("J1", 10, "write codes like"),
        ("pneumonia", 10, "write codes like"),
        ("", 9, "write codes like"),
        ("-", 10, "write codes like"),
        ("J12-J14-J18", 10, "write codes like"),
        ("V01-428", 9, "write codes like"),
    ],
)
def test_typos_are_refused_with_the_nearest_form(text: str, version: int, hint: str) -> None:
    with pytest.raises(TaskError) as caught:
        parse_icd(text, version, where="task `sepsis`, icd")
    assert f"`{text}`" in caught.value.what
    assert caught.value.where == "task `sepsis`, icd"
    assert str(caught.value.hint).startswith(hint)


@given(versioned, st.integers(0, 4))
def test_dots_blanks_case_and_wildcards_do_not_matter(code: tuple[str, int], marks: int) -> None:
    text, version = code
    plain = parse_icd(text, version)
    for spelling in (
        dotted(text, version),
        f" {text[:3]} {text[3:]} ",
        text[:1].lower() + text[1:],
        dotted(text, version) + "-" * marks,
        dotted(text, version) + "*",
        text + "x" * marks,
    ):
        assert (parse_icd(spelling, version).low, parse_icd(spelling, version).high) == (
            plain.low,
            plain.high,
        )


@given(versioned, st.text(DIGITS, max_size=2))
def test_a_code_matches_itself_and_what_lies_below(code: tuple[str, int], below: str) -> None:
    text, version = code
    pattern = parse_icd(text, version)
    assert pattern.matches(text)
    assert pattern.matches(text + below)
    assert not pattern.matches(text[:-1])


@given(icd10, icd10, icd10, st.text(DIGITS, max_size=2))
def test_ranges(one: str, other: str, code: str, below: str) -> None:
    low, high = sorted([one, other])
    pattern = parse_icd(f"{low}-{high}", 10)
    assert pattern.matches(low + below) or high.startswith(low)
    assert pattern.matches(high + below)
    if pattern.matches(code):
        assert pattern.matches(code + below), "what a range holds, it holds with everything below"
        assert low <= code
        assert code < high or code.startswith(high)
    elif low <= code <= high:
        assert high.startswith(code), "only a header above the last code is left out"


@settings(deadline=None)
@given(
    st.lists(versioned, min_size=1, max_size=6),
    st.lists(versioned, min_size=1, max_size=40),
    st.booleans(),
)
def test_vectorised_matching_is_matching_one_by_one(
    patterns: list[tuple[str, int]], codes: list[tuple[str, int]], chunked: bool
) -> None:
    parsed = [
        parse_icd(text[:4] if version == 10 else text[:3] if text[0] != "E" else text, version)
        for text, version in patterns
    ]
    names, versions = zip(*codes, strict=True)
    expected = [
        next((i for i, p in enumerate(parsed) if p.version == v and p.matches(c)), -1) for c, v in codes
    ]
    column = pa.array(names)
    rows = pa.chunked_array([column[:3], column[3:]]) if chunked else column
    numbers = pa.array(versions, pa.int8())
    assert first_match(parsed, rows, numbers).tolist() == expected


def test_the_same_text_means_another_disease_in_the_other_version() -> None:
    glaucoma = [parse_icd("E850", 9)]
    versions = pa.array([9, 10], pa.int8())
    assert first_match(glaucoma, pa.array(["E850", "E850"]), versions).tolist() == [0, -1]


def test_no_codes_and_no_patterns() -> None:
    assert len(first_match([parse_icd("I50", 10)], pa.array([], pa.string()), pa.array([], pa.int8()))) == 0
    assert first_match([], pa.array(["I509"]), pa.array([10], pa.int8())).tolist() == [-1]


def test_millions_of_codes() -> None:
    generator = np.random.default_rng(0)
    names = np.array([f"{chr(65 + i % 26)}{i % 100:02d}{i % 7}" for i in range(3000)])
    codes = pa.array(names[generator.integers(0, 3000, 1_000_000)])
    found = first_match([parse_icd("J12-J18", 10)], codes, pa.array(np.full(1_000_000, 10)))
    expected = np.array(["J12" <= name[:3] <= "J18" for name in codes.to_pylist()])
    assert expected.any()
    assert np.array_equal(found >= 0, expected)


def test_a_placeholder_holds_nothing_at_the_end_of_a_stem_and_is_a_character_in_the_seventh_place() -> None:
    codes = ["T814", "T814XXA", "T814XXX", "T815XXX"]
    for text, meant in (("T81.4XX", codes[:3]), ("T81.4XXX", ["T814XXX"]), ("T81.4XXA", ["T814XXA"])):
        found = first_match([parse_icd(text, 10)], pa.array(codes), pa.array([10] * 4, pa.int8()))
        assert [code for code, at in zip(codes, found.tolist(), strict=True) if at == 0] == meant
