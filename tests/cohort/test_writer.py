"""What the summary of a cohort says of its features: absurd values, rows of zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from m3h_pipeline.cohort.ingest import render_summary
from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.config import SyntheticSource, TableSource
from m3h_pipeline.contracts import samples_schema
from m3h_pipeline.features.extremes import FAR, Extremes
from m3h_pipeline.features.spread import NORMAL, spread
from m3h_pipeline.files import read_features

Array = npt.NDArray[np.float32]


def far(x: Array, pieces: Sequence[int] = ()) -> list[int]:
    found = Extremes(x.shape[1])
    for part in np.split(x, list(pieces)):
        found.add(part)
    return np.flatnonzero(found.far()).tolist()


def measurements(rows: int) -> Array:
    """A normal feature, a skewed one, rare ones among zeros, counts, and one hardly observed."""
    rng = np.random.default_rng(0)
    x = np.stack(
        [
            rng.normal(140, 3, rows),
            rng.exponential(2, rows),
            rng.random(rows) < 0.002,
            rng.poisson(0.1, rows),
            np.where(rng.random(rows) < 0.99, np.nan, rng.normal(size=rows)),
        ],
        axis=1,
    )
    return x.astype(np.float32)


@pytest.mark.parametrize("rows", [50, 3000, 40000])
def test_ordinary_features_are_not_reported(rows: int) -> None:
    assert far(measurements(rows)) == []


@pytest.mark.parametrize("absurd", [36893.0, -9999.0, 1e38, -3e38])
@pytest.mark.parametrize("rows", [50, 3000, 40000])
def test_one_absurd_value_is_found_wherever_it_stands(rows: int, absurd: float) -> None:
    for row in (0, rows // 2 + 1, rows - 1):
        x = measurements(rows)
        x[row] = absurd
        # Of a feature that is 0 but for a few values nobody can say which of them is absurd.
        assert set(far(x)) >= {0, 1}, row


@given(st.integers(0, 3), st.lists(st.integers(0, 9000), max_size=6))
def test_the_pieces_in_which_rows_come_say_nothing(column: int, cuts: list[int]) -> None:
    x = measurements(9000)
    x[77, column] = 1e9
    assert far(x, sorted(cuts)) == far(x)


def test_few_rows_are_judged_by_all_of_them() -> None:
    x = np.random.default_rng(1).standard_t(1.5, size=(500, 40)).astype(np.float32)
    found = spread(x)
    distance = np.abs(x - found.median).max(axis=0)
    assert far(x) == np.flatnonzero(distance > FAR * NORMAL * found.typical).tolist()
    assert far(x), "this tail is heavy"


def write(out: Path, features: Mapping[str, Array], **options: Any) -> dict[str, Any]:
    names = {name: [f"{name}_{i}" for i in range(x.shape[1])] for name, x in features.items()}
    n = len(next(iter(features.values())))
    ids = pa.array([f"{i:03d}" for i in range(n)])
    samples = pa.Table.from_arrays([ids, ids, pa.nulls(n, pa.string())], schema=samples_schema([]))
    with CohortWriter(out, names, **options) as writer:
        for part in (slice(0, n // 2), slice(n // 2, n)):
            writer.append({name: x[part] for name, x in features.items()})
        return writer.finish(samples, pa.table({}), None, {"kind": "table"}, [])


def notes(rows: int = 60) -> Array:
    x = np.random.default_rng(2).normal(size=(rows, 8)).astype(np.float32)
    x[::4] = 0
    # One zero is a value, and a row of zeros and missing values is not zero throughout.
    x[1, 0] = 0
    x[2] = 0
    x[2, 3] = np.nan
    return x


@pytest.mark.parametrize("declared", [False, True])
def test_rows_of_zeros_are_counted_and_missing_where_that_is_declared(tmp_path: Path, declared: bool) -> None:
    x = notes()
    given = x.copy()
    summary = write(
        tmp_path / "cohort", {"note": x, "lab": x[:, :7]}, zero_is_missing=["note"] if declared else []
    )
    np.testing.assert_array_equal(x, given)
    assert {name: found["zero_throughout"] for name, found in summary["sources"].items()} == {
        "note": 15,
        "lab": 15,
    }
    assert summary["sources"]["note"]["samples_without"] == (15 if declared else 0)
    assert summary["sources"]["lab"]["samples_without"] == 0
    have, _ = read_features(tmp_path / "cohort" / "features" / "note.parquet")
    want = x.copy()
    if declared:
        want[::4] = np.nan
    np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(
        read_features(tmp_path / "cohort" / "features" / "lab.parquet")[0], x[:, :7]
    )
    said = render_summary(summary)
    assert ("note: 15 samples are zero throughout: absent?" in said) != declared
    # Of a few counts it is nothing strange.
    assert "lab: 15" not in said


def test_absurd_values_are_said_with_the_feature(tmp_path: Path) -> None:
    x = np.random.default_rng(3).normal(size=(200, 9)).astype(np.float32)
    x[4, 7] = 36893
    summary = write(tmp_path / "cohort", {"expression": x})
    assert summary["sources"]["expression"]["far_values"] == ["expression_7"]
    shown = render_summary(summary)
    assert (
        "expression: 1 feature has a value over 50 robust deviations from its median (expression_7)" in shown
    )
    assert "36" not in shown


def test_a_source_says_which_of_its_blocks_are_absent_when_zero() -> None:
    blocks = {"note": {"pattern": "n_.*"}, "lab": {"pattern": "l_.*"}}
    table = {"files": [{"path": "a.csv"}], "blocks": blocks}
    assert set(TableSource.model_validate(table).absent_if_zero()) == set()
    every = TableSource.model_validate({**table, "zero_is_missing": True})
    assert set(every.absent_if_zero()) == {"note", "lab"}
    one = TableSource.model_validate({**table, "zero_is_missing": ["note"]})
    assert set(one.absent_if_zero()) == {"note"}
    with pytest.raises(ValidationError, match="there is no source `image`"):
        SyntheticSource(zero_is_missing=["image"])
