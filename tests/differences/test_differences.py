"""Two studies compared: what they differ by, on the same patients and on others."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from m3h_pipeline import contracts
from m3h_pipeline.differences.records import Change, changes
from m3h_pipeline.differences.scores import Row, compared, read_side
from m3h_pipeline.differences.show import compare_studies
from m3h_pipeline.errors import InputError
from m3h_pipeline.files import write_json, write_table
from m3h_pipeline.layout import Layout
from tests.evaluation.studies import Study, predictor, study

DRAWS, SEED = 200, 5


def finished(folder: Path, made: Study, rows: int = 900) -> Layout:
    """A study's results as they lie, of what the evaluation read and wrote."""
    layout = Layout(folder)
    made.evaluate(draws=DRAWS, seed=SEED)
    places = {
        "samples.parquet": layout.cohort.samples,
        "split.parquet": layout.split,
        "tasks.json": layout.labels.tasks,
        "selection.parquet": layout.selection,
        "out/evaluation.parquet": layout.evaluation.table("evaluation"),
        "final.scores.parquet": layout.final.of_pack("0000", "scores"),
        "final.predictions.0.parquet": layout.final.of_pack("0000", "predictions"),
        "final.predictions.1.parquet": layout.final.of_pack("0001", "predictions"),
    }
    for path in made.path("labels").iterdir():
        places[f"labels/{path.name}"] = layout.labels.folder / path.name
    for name, path in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made.path(name), path)
    nothing = pa.Table.from_pylist([], contracts.SCORES)
    write_table(nothing, layout.final.of_pack("0001", "scores"), contracts.SCORES)
    write_json({"stage": "final", "packs": {"0000": [], "0001": []}}, layout.final.plan)
    write_json({"rows": rows, "patients": 400}, layout.cohort.summary)
    write_json(record(), layout.record)
    return layout


def record(**changed: Any) -> dict[str, Any]:
    whole = {
        "format": 1,
        "configuration": {
            "study": "x",
            "results": "r",
            "evaluation": {"draws": DRAWS},
            "search": {"beam": 3},
        },
        "sizes": {},
        "inputs": {"labs.csv": {"bytes": 5, "sha256": "ab" * 32}},
        "definitions": {"ill": "1", "days": "2"},
        "seeds": {"study": SEED},
        "code": {"tim": "1"},
        "versions": {"torch": "2.5"},
    }
    return whole | changed


def made(folder: Path, multi: float = 1.0, seed: int = 0) -> Study:
    one = study(folder, seed=seed).without("kind", "relapse", "grade")
    one.selected["ill"] = "days+ill"
    one.write(predictor(one, multi=multi))
    return one


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return finished(tmp_path_factory.mktemp("a") / "results/good", made(tmp_path_factory.mktemp("made")))


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    one = made(tmp_path_factory.mktemp("made"), multi=0.5)
    return finished(tmp_path_factory.mktemp("b") / "results/bad", one, rows=903)


def rows_of(a: Layout, b: Layout) -> dict[tuple[str, str], Row]:
    sides = [read_side(layout, DRAWS, SEED) for layout in (a, b)]
    return {(row.task, row.model): row for row in compared(sides[0], sides[1], DRAWS, SEED)}


def evaluated(layout: Layout) -> dict[str, Any]:
    return dict(read_side(layout, 2, 0).rows)


def test_scores_are_those_of_each_evaluation_and_differences_are_paired(good: Layout, bad: Layout) -> None:
    found = rows_of(good, bad)
    assert list(found) == [(t, m) for t in ("days", "ill") for m in ("together", "alone")]
    for (task, model), row in found.items():
        arm = {"together": "multi", "alone": "single"}[model]
        for layout, score in ((good, row.a), (bad, row.b)):
            said = evaluated(layout)[task]
            # The same draws of the same patients: the very interval of the evaluation.
            assert score.estimate == pytest.approx(said[arm], abs=1e-9)
        assert row.paired
        assert row.why == ""
        assert row.difference.estimate == pytest.approx(row.b.estimate - row.a.estimate, abs=1e-12)
    worse = found["ill", "together"].difference
    assert worse.high < 0
    # Both predict the same patients: the difference is known better than from two independent samples.
    apart = np.hypot(found["ill", "together"].a.standard_error, found["ill", "together"].b.standard_error)
    assert worse.standard_error < apart
    # Single tasks learned alike from the same labels: the very same predictions.
    same = found["ill", "alone"].difference
    assert (same.estimate, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def renamed(layout: Layout, to: Path, keep: int) -> Layout:
    """A copy in which all samples of the test part but the first ``keep`` have other names."""
    shutil.copytree(layout.folder, to)
    other = Layout(to)
    samples = pa.parquet.read_table(layout.cohort.samples)
    split = pa.parquet.read_table(layout.split)
    test = np.flatnonzero(split["fold"].to_numpy() < 0)[keep:]
    for table, path in ((samples, other.cohort.samples), (split, other.split)):
        names = table["sample_id"].to_pylist()
        for row in test:
            names[row] += "x"
        new = table.set_column(0, table.schema.field(0), pa.array(names))
        write_table(new, path, new.schema.remove_metadata())
    return other


def test_other_patients_are_compared_side_by_side_and_it_is_said(
    good: Layout, bad: Layout, tmp_path: Path
) -> None:
    others = renamed(bad, tmp_path / "results/others", keep=0)
    row = rows_of(good, others)["ill", "together"]
    assert not row.paired
    assert row.why == "other patients in the test part"
    one, other = (evaluated(layout)["ill"] for layout in (good, others))
    assert row.difference.estimate == pytest.approx(other["multi"] - one["multi"])
    errors = [(said["multi_high"] - said["multi_low"]) / 3.92 for said in (one, other)]
    assert row.difference.high - row.difference.estimate == pytest.approx(1.96 * np.hypot(*errors))
    screen = io.StringIO()
    compare_studies(good, others, screen)
    assert "NOT paired" in screen.getvalue()
    assert "days, ill: other patients in the test part" in screen.getvalue()


def test_patients_of_both_test_parts_are_compared_among_them(good: Layout, tmp_path: Path) -> None:
    some = renamed(good, tmp_path / "results/some", keep=150)
    row = rows_of(good, some)["ill", "together"]
    assert row.paired
    assert row.why == "on 150 samples that are in both test parts"
    assert row.difference.estimate == 0
    # The scores are of those samples, not of all.
    assert row.a.estimate != evaluated(good)["ill"]["multi"]


def test_other_labels_are_no_pair(good: Layout, tmp_path: Path) -> None:
    one = made(tmp_path / "made")
    test = np.flatnonzero(one.fold == -1)
    at = test[~np.isnan(one.labels["ill"][test])][0]
    one.labels["ill"][at] = 1 - one.labels["ill"][at]
    one.write(predictor(one))
    found = rows_of(good, finished(tmp_path / "results/x", one))
    assert found["ill", "alone"].why == "other labels of the same patients"
    assert found["days", "alone"].paired


def test_records_differ_by_what_was_changed() -> None:
    one = record()
    other = record(
        configuration={"study": "y", "results": "q", "evaluation": {"draws": DRAWS}, "search": {"beam": 1}},
        inputs={"labs.csv": {"bytes": 6, "sha256": "cd" * 32}},
        definitions={"ill": "9", "aki": "3"},
        code={"tim": "2"},
        versions={"torch": "2.6"},
    )
    assert changes(one, one) == []
    assert changes(one, other) == [
        Change("data", "labs.csv", "5 bytes, abababababab", "6 bytes, cdcdcdcdcdcd"),
        Change("setting", "search.beam", "3", "1"),
        Change("task", "ill", "defined otherwise", "defined otherwise"),
        Change("task", "days", "there", ""),
        Change("task", "aki", "", "there"),
        Change("code", "tim", "other code", "other code"),
        Change("version", "torch", "2.5", "2.6"),
    ]


def test_the_table_tells_no_small_count(good: Layout, bad: Layout, tmp_path: Path) -> None:
    out = tmp_path / "compared.tsv"
    screen = io.StringIO()
    compare_studies(good, bad, screen, out)
    # The screen is the user's own. 903 less 900 are three patients of whoever reads the table.
    assert "samples: 900 -> 903" in screen.getvalue()
    rows = list(csv.DictReader(out.read_text().splitlines(), delimiter="\t"))
    counts = {row["name"]: (row["A"], row["B"]) for row in rows if row["section"] == "data"}
    assert counts["samples"] == ("900", "hidden")
    # No count says 903, though a score may have these digits.
    assert not any(re.search(r"(?<![\d.])903(?!\d)", cell or "") for row in rows for cell in row.values())
    scores = {row["name"]: row for row in rows if row["section"] == "score"}
    assert scores["ill, together"]["paired"] == "yes"
    assert float(scores["ill, together"]["difference"]) < 0
    with pytest.raises(InputError, match="is not overwritten"):
        compare_studies(good, bad, screen, out)


def test_what_cannot_be_compared_is_said(good: Layout, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one study, named twice"):
        compare_studies(good, Layout(good.folder / "../good"), io.StringIO())
    with pytest.raises(InputError, match="the study has no record"):
        compare_studies(good, Layout(tmp_path), io.StringIO())
