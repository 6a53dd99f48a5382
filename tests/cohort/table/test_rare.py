"""Values of few patients leave a table as `other`, in features and subgroups alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m3h_pipeline.cohort.ingest import ingest, render_summary
from m3h_pipeline.cohort.rare import OTHER, without_rare
from m3h_pipeline.config.sources import TableSource
from m3h_pipeline.files import read_features, read_samples


@example([(0, "other")])
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", "c", "other", "x1", "x2", None])),
        max_size=150,
    )
)
def test_no_value_of_few_patients_is_left(rows: list[tuple[int, str | None]]) -> None:
    values = pa.array([value for _, value in rows], pa.string())
    people = pa.array([f"p{person}" for person, _ in rows], pa.string())
    left, rare = without_rare(values, people)
    who: dict[str, set[int]] = {}
    for (person, given_), value in zip(rows, left.to_pylist(), strict=True):
        assert value in (given_, OTHER, None)
        assert value is None or given_ is not None
        who.setdefault(value or "", set()).add(person)
    who.pop("", None)
    assert all(len(patients) >= 11 for patients in who.values())
    # All or nothing: what is missing now, beside what was, are all values together.
    if who:
        assert left.null_count == values.null_count
    assert rare == 0 or left != values


def table(folder: Path, diagnoses: list[str], patients: list[str]) -> TableSource:
    n = len(diagnoses)
    frame = pd.DataFrame(
        {"id": np.arange(n), "who": patients, "diag": diagnoses, "v": np.arange(n) % 7, "ward": diagnoses}
    )
    frame.to_csv(folder / "t.csv", index=False)
    return TableSource.model_validate(
        {
            "kind": "table",
            "files": [{"path": str(folder / "t.csv"), "id": "id"}],
            "patient_id": "who",
            "blocks": {"x": {"columns": ["diag", "v"], "categorical": ["diag"]}},
            "subgroups": {"ward": {"column": "ward"}},
        }
    )


def test_rare_values_are_one_column_and_their_names_are_nowhere(tmp_path: Path) -> None:
    diagnoses = ["common"] * 40 + ["usual"] * 12 + [f"telltale_{i}" for i in range(9)] + ["telltale_x"] * 20
    # The last one is of twenty samples, but of two patients.
    people = [f"p{i}" for i in range(61)] + [f"q{i % 2}" for i in range(20)]
    summary = ingest(table(tmp_path, diagnoses, people), ["x"], tmp_path / "cohort")
    x, names = read_features(tmp_path / "cohort/features/x.parquet")
    assert names == ["diag=common", "diag=other", "diag=usual", "v"]
    assert x[:, :3].sum(0).tolist() == [40, 29, 12]
    assert set(read_samples(tmp_path / "cohort/samples.parquet")["ward"].to_pylist()) == {
        "common",
        "usual",
        "other",
    }
    assert summary["rare_values"] == {"diag": 10}
    assert "diag: 10 values of fewer than 11 patients" in render_summary(summary)
    assert "telltale" not in json.dumps(summary)


@pytest.mark.parametrize(
    ("rare", "kept"), [(4, ["diag=common", "diag=other"]), (0, ["diag=common", "diag=usual"])]
)
def test_the_smallest_of_the_others_joins_an_other_of_few(tmp_path: Path, rare: int, kept: list[str]) -> None:
    """Forty, twelve and four of 56: who knows how many there are knows the four."""
    diagnoses = ["common"] * 40 + ["usual"] * 12 + ["telltale"] * rare
    ingest(table(tmp_path, diagnoses, [f"p{i}" for i in range(52 + rare)]), ["x"], tmp_path / "cohort")
    assert read_features(tmp_path / "cohort/features/x.parquet")[1] == [*kept, "v"]
