"""The ``table`` source: which columns are taken for what, and what their values are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import (
    Subgroup,
    TableBlock,
    TableFile,
    TableSource,
)
from m3h_pipeline.files import read_table
from tests.cohort.table.files import one, run, table

# --- which columns ---------------------------------------------------------------------------------------


def test_a_pattern_leaves_out_columns_of_other_use_and_says_which_labels(tmp_path: Path) -> None:
    header = ["", "id", "who", "sex", "died", "days", "g1", "g2", "Unnamed: 0"]
    rows = [[0, "a", "p", 0, 1, 5.5, 0.1, 0.2, 7], [1, "b", "q", 1, 0, None, 0.3, 0.4, 8]]
    source = one(
        table(tmp_path / "t.csv", header, rows),
        id="id",
        patient_id="who",
        blocks={"x": TableBlock(pattern=".*", exclude=["g2"])},
        columns=["died", "days"],
        subgroups={"sex": Subgroup(column="sex")},
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.names["x"] == ["g1"]
    assert cohort.summary["ignored"]["label_columns"] == ["died", "days"]
    assert cohort.summary["ignored"]["columns"] == ["", "g2", "Unnamed: 0"]


def test_listed_columns_stand_first_and_only_wanted_sources_are_read(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["a1", "a2", "a3", "b"], [[1, 2, 3, "text"]])
    blocks = {"a": TableBlock(pattern="a.", columns=["a3"]), "unused": TableBlock(columns=["b", "absent"])}
    cohort = run(one(path, blocks=blocks), tmp_path / "out", ["a"])
    assert cohort.names["a"] == ["a3", "a1", "a2"]
    assert cohort.features["a"].tolist() == [[3, 1, 2]]
    assert cohort.summary["ignored"]["unused_sources"] == ["unused"]


def test_a_pattern_is_of_the_whole_name(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["g", "g1", "xg", "G"], [[1, 2, 3, 4]])
    cohort = run(one(path, blocks={"x": TableBlock(pattern="g|x")}), tmp_path / "out")
    assert cohort.names["x"] == ["g"]


def test_file_says_which_of_two_columns_of_one_name(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", ["id", "v"], [["p", 1]])
    b = table(tmp_path / "b.csv", ["id", "v"], [["p", 2]])
    files = [TableFile(path=a, id="id"), TableFile(path=b, id="id")]
    blocks = {"x": TableBlock(columns=["v"], file=1), "y": TableBlock(pattern="v", file=0)}
    cohort = run(TableSource(files=files, blocks=blocks), tmp_path / "out")
    assert (cohort.features["x"].item(), cohort.features["y"].item()) == (2, 1)


def test_label_columns_are_numbers_if_they_can_be(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.csv",
        ["f", "number", "mixed", "text", "empty"],
        [[1, "07", "1", "poor", ""], [2, "NA", "II", "[Unknown]", ""], [3, " 2.5 ", "", "good", "NA"]],
    )
    columns = ["mixed", "number", "text", "empty"]
    source = one(path, blocks={"x": TableBlock(columns=["f"])}, columns=columns)
    run(source, tmp_path / "out")
    written = read_table(tmp_path / "out" / "columns.parquet")
    assert written.to_pydict() == {
        "mixed": ["1", "II", None],
        "number": [7.0, None, 2.5],
        "text": ["poor", None, "good"],
        "empty": [None, None, None],
    }
    assert [field.type for field in written.schema] == [pa.string(), pa.float64(), pa.string(), pa.float64()]


def test_a_study_without_label_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["a", "b"], [[1, 2], [3, 4]])
    cohort = run(one(path, blocks={"x": TableBlock(pattern=".")}), tmp_path / "out")
    assert len(cohort.columns.columns) == 0


# --- values ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False, max_value=3e38, min_value=-3e38),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)
def test_numbers_are_read_exactly_and_outliers_stay(numbers: list[float], blanks: bool) -> None:
    """Also with blanks, which the fast path refuses for missing values."""
    rows: list[list[Any]] = [[repr(x), "NA"] for x in numbers] + [
        ["1", " NA " if blanks else "NA"],
        ["1", "3"],
    ]
    with tempfile.TemporaryDirectory() as name:
        path = table(Path(name) / "t.csv", ["v", "w"], rows)
        cohort = run(one(path, blocks={"x": TableBlock(columns=["v", "w"])}), Path(name) / "out")
    np.testing.assert_array_equal(cohort.features["x"][:-2, 0], np.array(numbers).astype(np.float32))
    assert np.isnan(cohort.features["x"][:-1, 1]).all()


@pytest.mark.usefixtures("no_value_is_rare")
@pytest.mark.parametrize("text", ["NA", "na", "N/A", "n/a", "#N/A", "NaN", "null", "NULL", "None", ".", "-"])
def test_usual_texts_for_missing_need_not_be_named(text: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["v", "k", "y"], [[text, text, text], ["1", "u", "2"], ["-9", "v", "3"]])
    block = TableBlock(columns=["v", "k"], categorical=["k"])
    cohort = run(one(path, blocks={"x": block}, columns=["y"], missing_values=["-9"]), tmp_path / "out")
    assert np.isnan(cohort.features["x"]).tolist() == [[True, True, True], [False] * 3, [True, False, False]]
    assert cohort.columns["y"].isna().tolist() == [True, False, False]


@pytest.mark.usefixtures("no_value_is_rare")
def test_missing_values_are_those_of_the_configuration(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["v", "k", "y"], [["-9", "-9", "-9"], ["1", "u", "2"]])
    block = TableBlock(columns=["v", "k"], categorical=["k"])
    cohort = run(one(path, blocks={"x": block}, columns=["y"], missing_values=["-9"]), tmp_path / "out")
    np.testing.assert_array_equal(cohort.features["x"], np.array([[np.nan, np.nan], [1, 1]], np.float32))
    assert cohort.columns["y"].isna().tolist() == [True, False]
    assert cohort.summary["sources"]["x"]["missing"] == 0.5


def test_quoted_line_ends_byte_order_marks_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfid,v,note\r\nb,1,"two\nlines, one field"\r\n\r\na,2,x\r\n')
    source = one(str(path), id="id", blocks={"x": TableBlock(columns=["v"])}, columns=["note"])
    cohort = run(source, tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == ["a", "b"]
    assert cohort.features["x"][:, 0].tolist() == [2, 1]
    assert cohort.columns["note"].tolist() == ["x", "two\nlines, one field"]
