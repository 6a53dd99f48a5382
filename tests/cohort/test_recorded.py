"""ICD codes as tables hold them: one form, and no code that lost a zero becomes another one."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.cohort.recorded import recorded, version_of, with_dot
from m3h_pipeline.errors import InputError

EXAMPLES = int(os.environ.get("M3H_EXAMPLES", "100"))
FORMS = [str.upper, str.lower, lambda code: f" {code} ", lambda code: code.replace(".", "")]

NUMERIC = st.builds(
    lambda category, rest: f"{category:03d}{rest}",
    st.integers(1, 999),
    st.one_of(st.just(""), st.integers(0, 9).map(str), st.integers(0, 99).map("{:02d}".format)),
)
NINE = st.one_of(
    NUMERIC,
    st.from_regex(r"V[0-9]{2}[0-9]{0,2}", fullmatch=True),
    st.from_regex(r"E[0-9]{3}[0-9]?", fullmatch=True),
)
TEN = st.from_regex(r"[A-Z][0-9][0-9AB]([0-9A-Z]{1,4})?", fullmatch=True)


def read(
    texts: list[str], version: int = 9, known: set[str] | None = None, *, numbers: bool = False
) -> list[str]:
    codes = recorded(Counter(texts), version, "t.csv", known or (), numbers=numbers)
    return [codes[text] for text in texts]


def read_or_refused(texts: list[str], known: set[str], *, numbers: bool = False) -> list[str] | str:
    try:
        return read(texts, known=known, numbers=numbers)
    except InputError as error:
        return "refused" if "came as numbers, which lose zeros" in error.what else str(error)


@given(st.lists(TEN, min_size=1), st.sampled_from(FORMS))
@settings(max_examples=EXAMPLES, deadline=None)
def test_icd_10_in_any_form(codes: list[str], form) -> None:  # type: ignore[no-untyped-def]
    dotted = [code[:3] + ("." + code[3:] if len(code) > 3 else "") for code in codes]
    assert read([form(text) for text in dotted], 10) == codes


@given(st.lists(NINE, min_size=1), st.sampled_from(FORMS))
@settings(max_examples=EXAMPLES, deadline=None)
def test_icd_9_in_any_form(codes: list[str], form) -> None:  # type: ignore[no-untyped-def]
    # Codes all of which look like what a float leaves behind are refused, whatever they were.
    texts = [form(with_dot(code)) for code in [*codes, "0389", "25083"]]
    assert read(texts) == [*codes, "0389", "25083"]


def through_numbers(code: str, dotted: bool, text: str) -> str:
    """What a code that was read as a number is written as."""
    number = float(with_dot(code)) if dotted else float(code)
    return str(number) if text == "float" or not number.is_integer() else str(int(number))


@given(
    codes=st.lists(NUMERIC, min_size=1, max_size=8),
    others=st.sets(NUMERIC, max_size=30),
    dotted=st.booleans(),
    text=st.sampled_from(["float", "int"]),
    listed=st.booleans(),
)
@settings(max_examples=3 * EXAMPLES, deadline=None)
def test_a_number_is_the_code_it_was_or_is_refused(
    codes: list[str], others: set[str], dotted: bool, text: str, listed: bool
) -> None:
    """The list of titles holds the codes; what stands in the file as numbers is known to be numbers."""
    known = {*codes, *others} if listed else set()
    texts = [through_numbers(code, dotted, text) for code in codes]
    assert read_or_refused(texts, known=known, numbers=True) in (codes, "refused")


@given(codes=st.lists(NUMERIC, min_size=1, max_size=8), known=st.sets(NUMERIC))
@settings(max_examples=EXAMPLES, deadline=None)
def test_floats_written_as_text_are_seen(codes: list[str], known: set[str]) -> None:
    """Undotted codes that passed through floats: `4280.0` gives them away."""
    texts = [through_numbers(code, False, "float") for code in [*codes, "4280"]]
    assert read_or_refused(texts, {*codes, *known, "4280"}) in ([*codes, "4280"], "refused")


@pytest.mark.parametrize(
    ("texts", "codes"),
    [
        (["250.83", "38", "8", "V57", "648"], ["25083", "038", "008", "V57", "648"]),
        (["8.45", "250.83", "42.0"], ["00845", "25083", "0420"]),
        (["0389", "4280", "V5861", "E8859"], ["0389", "4280", "V5861", "E8859"]),
        (["428.0", "401.9", "250.00"], ["4280", "4019", "25000"]),
    ],
)
def test_texts_of_codes_keep_their_digits(texts: list[str], codes: list[str]) -> None:
    assert read(texts) == codes


@pytest.mark.parametrize(
    "texts",
    [["42", "4280"], ["42.0", "4280.0"], ["42.0", "389.0"], ["38", "V5861", "25000"], ["4280.0", "V57"]],
)
def test_numbers_that_may_be_several_codes_are_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="came as numbers, which lose zeros") as error:
        read(texts)
    assert "may be" in error.value.what
    assert "dtype=str" in str(error.value.hint)


def test_many_numbers_that_may_be_several_codes_are_not_repeated() -> None:
    with pytest.raises(InputError, match="30 different ones could be several codes, or none") as error:
        read([f"{code}.0" for code in range(40, 70)])
    assert "42.0" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "version"), [("428.0", 10), ("I50.1", 9), ("Sepsis", 10), ("A4.151", 10), ("12345678", 9)]
)
def test_what_is_no_code_is_refused_with_its_count(text: str, version: int) -> None:
    good = {9: ["250.83"], 10: ["I50.1"]}[version]
    with pytest.raises(InputError, match=f"no ICD-{version} codes: `{text}` \\(<11\\)") as error:
        read([*good, text, text], version)
    assert f'not_codes: ["{text}"]' in str(error.value.hint)


def test_identifiers_taken_for_codes_are_not_repeated() -> None:
    with pytest.raises(InputError, match="40 different values, too many") as error:
        read([f"MRN{i}" for i in range(10000, 10040)], 10)
    assert "MRN" not in str(error.value)


def test_versions_have_many_names() -> None:
    for text in ("9", " 9.0", "09", "ICD9", "icd-9", "ICD-9-CM", "ICD9CM", "ICD 9 CM", "I9"):
        assert version_of(text) == 9, text
    for text in ("10", "10.0", "ICD10", "ICD-10", "ICD-10-CM", "ICD10CM", "icd_10_cm"):
        assert version_of(text) == 10, text
    for text in ("", "11", "ICD-11", "ICD-10-PCS", "ICD-10-GM", "ICD-O-3", "SNOMED", "90", "109"):
        assert version_of(text) is None, text
