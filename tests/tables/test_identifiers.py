"""Identifiers are written one way, by the column and one by one."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.tables.identifiers import normal_id, normal_ids
from m3h_pipeline.tables.values import Absent, as_text


@given(st.lists(st.one_of(st.text(alphabet="07-.a \t", max_size=8), st.text(max_size=4)), max_size=8))
def test_one_by_one_as_by_the_column(texts: list[str]) -> None:
    assert normal_ids(pa.array(texts, pa.string())).to_pylist() == [normal_id(text) for text in texts]


@given(st.lists(st.integers(-(2**53) + 1, 2**53 - 1)))
def test_whole_numbers_are_the_same_as_text_and_as_floats(numbers: list[int]) -> None:
    """A column with a gap becomes floating point, in a text file and in a Parquet file."""
    floats = as_text(pa.array(numbers, pa.float64()), Absent()).to_pylist()
    assert floats == normal_ids(pa.array([f"{n}.0" for n in numbers], pa.string())).to_pylist()
    assert floats == [str(n) for n in numbers]
