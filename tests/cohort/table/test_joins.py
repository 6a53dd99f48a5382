"""The ``table`` source: files joined on an id, whatever their order; categories; identifiers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.cohort.ingest import render_summary
from m3h_pipeline.config import (
    Subgroup,
    TableBlock,
    TableFile,
    TableSource,
)
from m3h_pipeline.disclosure import small_count
from tests.cohort.table.files import one, run, table

# --- joins and order -------------------------------------------------------------------------------------

_ID = st.integers(0, 40).map(lambda i: f"s{i}")
_VALUE = st.one_of(st.none(), st.floats(-(2.0**99), 2.0**99, width=32))
_FILE = st.lists(st.tuples(_ID, _VALUE, _VALUE), min_size=1, max_size=25, unique_by=lambda row: row[0])


@settings(max_examples=25, deadline=None)
@given(first=_FILE, second=_FILE, data=st.data())
def test_a_join_is_a_left_merge_whatever_the_order_of_the_rows(
    first: list[Any], second: list[Any], data: st.DataObject
) -> None:
    """Pandas is the referee; shuffling both files changes no byte of the cohort."""
    anchor = ("s0", 1.0, 2.0)  # at least one sample with all values: an empty source is an error
    first = [anchor, *(row for row in first if row[0] != "s0")]
    second = [anchor, *(row for row in second if row[0] != "s0")]
    a = pd.DataFrame(first, columns=["id", "a", "b"], dtype=object)
    b = pd.DataFrame(second, columns=["key", "c", "d"], dtype=object)
    expected = a.merge(b, how="left", left_on="id", right_on="key").sort_values("id", ignore_index=True)
    written: list[dict[str, bytes]] = []
    for rows in (first, second), (data.draw(st.permutations(first)), data.draw(st.permutations(second))):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            one_file = table(folder / "one.csv", ["id", "a", "b"], rows[0])
            other = table(folder / "two.tsv", ["key", "c", "d"], rows[1], "\t")
            source = TableSource(
                files=[TableFile(path=one_file, id="id"), TableFile(path=other, id="key", join="left")],
                blocks={"x": TableBlock(pattern="[acd]")},
                columns=["b"],
            )
            cohort = run(source, folder / "out")
            written.append({p.name: p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()})
    assert written[0] == written[1]
    assert cohort.samples["sample_id"].tolist() == expected["id"].tolist()
    assert cohort.samples["patient_id"].tolist() == expected["id"].tolist()
    assert cohort.samples["stay_id"].isna().all()
    assert cohort.names["x"] == ["a", "c", "d"]
    np.testing.assert_array_equal(cohort.features["x"], expected[["a", "c", "d"]].to_numpy(np.float32))
    np.testing.assert_array_equal(cohort.columns["b"].to_numpy(float), expected["b"].to_numpy(float))
    surplus = len(set(b["key"]) - set(a["id"]))
    assert cohort.summary["ignored"]["rows"] == surplus
    shown = render_summary(cohort.summary)
    assert f"two.tsv: {small_count(len(b))} rows" in shown
    assert ("rows that belong to no sample" in shown) == (surplus > 0)
    nothing = {"samples_without": 0, "ignored_rows": 0, "dropped_samples": 0, "added_samples": 0}
    nothing |= {"without_key": 0}
    lacking = len(set(a["id"]) - set(b["key"]))
    assert cohort.summary["files"] == [
        {**nothing, "file": "one.csv", "rows": len(a)},
        {**nothing, "file": "two.tsv", "rows": len(b), "samples_without": lacking, "ignored_rows": surplus},
    ]


@pytest.mark.usefixtures("no_value_is_rare")
@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.sampled_from(["", "NA", "a", "b", "B", "10", "9", " a "]), min_size=1, max_size=30))
def test_categories_are_the_columns_pandas_makes(values: list[str]) -> None:
    """One 0/1 column per value in sorted order; a missing value is missing in all of them."""
    values = ["b", *values]
    with tempfile.TemporaryDirectory() as name:
        path = table(Path(name) / "t.csv", ["kind", "n"], [(value, i) for i, value in enumerate(values)])
        source = one(path, blocks={"x": TableBlock(columns=["kind", "n"], categorical=["kind"])})
        cohort = run(source, Path(name) / "out")
    cleaned = pd.Series([None if v in {"", "NA"} else v.strip() for v in values], dtype=object)
    dummies = pd.get_dummies(cleaned, dtype=float)
    dummies[cleaned.isna()] = np.nan
    assert cohort.names["x"] == [*(f"kind={value}" for value in dummies.columns), "n"]
    assert list(dummies.columns) == sorted(dummies.columns)
    np.testing.assert_array_equal(cohort.features["x"][:, :-1], dummies.to_numpy(np.float32))


@pytest.mark.usefixtures("no_value_is_rare")
def test_a_category_is_missing_where_the_file_lacks_the_sample(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", ["id", "v"], [["p2", 1], ["p1", 2], ["p3", 3]])
    b = table(tmp_path / "b.csv", ["id", "k"], [["p3", "x"], ["p1", "y"], ["p9", "only elsewhere"]])
    source = TableSource(
        files=[TableFile(path=a, id="id"), TableFile(path=b, id="id", join="left")],
        blocks={"x": TableBlock(columns=["k", "v"], categorical=["k"])},
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.names["x"] == ["k=x", "k=y", "v"]
    nan = np.nan
    np.testing.assert_array_equal(
        cohort.features["x"], np.array([[0, 1, 2], [nan, nan, 1], [1, 0, 3]], np.float32)
    )


def test_many_files_join_and_more_rows_than_one_chunk(tmp_path: Path) -> None:
    n = 9000  # more than two chunks of the writer
    order = np.random.default_rng(0).permutation(n)
    files = []
    for j in range(3):
        path = table(
            tmp_path / f"{j}.csv", ["id", f"f{j}"], [[f"{i:05d}", i + j / 4] for i in np.roll(order, j)]
        )
        files.append(TableFile(path=path, id="id"))
    cohort = run(TableSource(files=files, blocks={"x": TableBlock(pattern="f.")}), tmp_path / "out")
    expected = np.arange(n)[:, None] + np.arange(3) / 4
    np.testing.assert_array_equal(cohort.features["x"], expected.astype(np.float32))


# --- identifiers -----------------------------------------------------------------------------------------


def test_row_numbers_are_padded_so_that_they_sort_as_numbers(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["v", "w"], [[i, 0] for i in range(11)])
    cohort = run(one(path, blocks={"x": TableBlock(columns=["v"])}), tmp_path / "out")
    assert cohort.samples["sample_id"].tolist() == [f"{i:02d}" for i in range(1, 12)]
    assert cohort.features["x"][:, 0].tolist() == list(range(11))


@pytest.mark.usefixtures("no_value_is_rare")
def test_patients_stays_and_subgroups_come_from_named_columns_of_any_file(tmp_path: Path) -> None:
    a = table(
        tmp_path / "a.csv",
        ["id", "who", "v"],
        [["3", "10.0", 1], ["1", "10", 2], ["2", "11", 3], ["4", "7", 4]],
    )
    b = table(
        tmp_path / "b.csv",
        ["id", "stay", "sex", "site"],
        [["1.0", 91.0, 0, "B"], ["2.0", 92, "1.0", "A"], ["3.0", None, "1", None]],
    )
    source = TableSource(
        files=[TableFile(path=a, id="id"), TableFile(path=b, id="id", join="left")],
        patient_id="who",
        stay_id="stay",
        blocks={"x": TableBlock(columns=["v", "sex"])},
        subgroups={
            "sex": Subgroup(column="sex", values={"0": "female", "1": "male"}),
            "site": Subgroup(column="site"),
        },
    )
    cohort = run(source, tmp_path / "out")
    assert cohort.samples.astype(object).where(cohort.samples.notna(), None).to_numpy().tolist() == [
        ["1", "10", "91", "female", "B"],
        ["2", "11", "92", "male", "A"],
        ["3", "10", None, "male", None],
        ["4", "7", None, None, None],
    ]
    np.testing.assert_array_equal(
        cohort.features["x"], np.array([[2, 0], [3, 1], [1, 1], [4, np.nan]], np.float32)
    )
    assert (cohort.summary["patients"], cohort.summary["stays"]) == (3, 2)
