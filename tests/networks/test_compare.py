"""Networks compared: scores by other libraries, differences, diverged fits, the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from m3h_pipeline import contracts
from m3h_pipeline.coding import time_and_event
from m3h_pipeline.contracts import NETWORK_COMPARISON
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.inference.intervals import Quantity
from m3h_pipeline.inference.resampled import TEST, Cohort
from m3h_pipeline.networks.compare import Cell, compare_networks, table_rows
from m3h_pipeline.tasks.assessed import Task
from tests.evaluation.studies import FOLDS, Floats, Predict, Study, predictor, study

TOGETHER = "days+grade+ill+kind+relapse"
SEEDS = 3


def write_network(
    one: Study, name: str, predict: Predict, replicates: int = SEEDS, alone: bool = True
) -> Path:
    """Fits of a network, of all tasks together in a pack and of each alone in another one."""
    folder = one.path(f"networks/{name}")
    for number, keys in enumerate([[TOGETHER], *([[*one.tasks]] if alone else [])]):
        counts = dict.fromkeys(keys, replicates)
        scores, said = one.fits(name, keys, [*range(FOLDS), TEST], counts, predict)
        for kind, rows, schema in (
            ("scores", scores, contracts.SCORES),
            ("predictions", said, contracts.PREDICTIONS),
        ):
            path = folder / f"packs/{number:04d}.{kind}.parquet"
            write_table(pa.Table.from_pylist(rows, schema=schema), path, schema)
    return folder


def compared(one: Study, networks: dict[str, Path], baselines: bool = True) -> list[dict[str, Any]]:
    compare_networks(
        networks,
        sorted(one.folder.glob("baselines/*.parquet")) if baselines else [],
        one.path("tasks.json"),
        one.path("labels"),
        one.path("split.parquet"),
        one.path("samples.parquet"),
        one.path("out"),
        draws=60,
        seed=1,
    )
    found: list[dict[str, Any]] = read_table(
        one.path("out/comparison.parquet"), NETWORK_COMPARISON
    ).to_pylist()
    return found


def row_of(rows: list[dict[str, Any]], *place: str) -> dict[str, Any]:
    (row,) = [r for r in rows if (r["task"], r["network"], r["learned"], r["part"]) == place]
    return row


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = study(tmp_path_factory.mktemp("networks"), n=600)
    made.write(predictor(made), replicates=1)
    return made


@pytest.fixture(scope="module")
def rows(one: Study) -> list[dict[str, Any]]:
    networks = {
        "ours": write_network(one, "ours", predictor(one, multi=1.2, single=0.8)),
        "other": write_network(one, "other", predictor(one, multi=0.5, single=0.4)),
    }
    return compared(one, networks)


def test_every_model_stands_beside_every_other(one: Study, rows: list[dict[str, Any]]) -> None:
    networks = [("ours", "alone"), ("ours", "together"), ("other", "alone"), ("other", "together")]
    for task, described in one.tasks.items():
        references = [] if described.problem_class == "clustering" else ["linear", "gradient_boosting"]
        for part in ("validation", "test"):
            found = {(r["network"], r["learned"]) for r in rows if (r["task"], r["part"]) == (task, part)}
            assert found == {*networks, *((name, "reference") for name in references)}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["low"] is not None)
    assert {row["replicates"] for row in rows if row["learned"] != "reference"} == {SEEDS}
    assert {row["replicates"] for row in rows if row["learned"] == "reference"} == {0}


def _referee(one: Study, task: str, rows: npt.NDArray[np.intp], prediction: Floats) -> float:
    from sksurv.metrics import concordance_index_censored

    y, kind = one.labels[task][rows], one.tasks[task].problem_class
    seen = ~np.isnan(y)
    if kind == "binary":
        return float(roc_auc_score(y[seen], prediction[seen, 0]))
    if kind == "multiclass":
        return float(
            np.mean([roc_auc_score(y[seen] == c, prediction[seen, c]) for c in range(prediction.shape[1])])
        )
    if kind == "survival":
        time, event = time_and_event(y[seen])
        return float(concordance_index_censored(event, time, prediction[seen, 0])[0])
    return float(r2_score(y[seen], prediction[seen, 0]))


@pytest.mark.parametrize("task", ["ill", "grade", "relapse", "days"])
@pytest.mark.parametrize(("learned", "key"), [("alone", None), ("together", TOGETHER)])
def test_scores_are_those_of_the_mean_prediction(
    one: Study, rows: list[dict[str, Any]], task: str, learned: str, key: str | None
) -> None:
    predict = predictor(one, multi=1.2, single=0.8)
    for part, folds in (("validation", range(FOLDS)), ("test", [TEST])):
        whole, single = [], []
        for fold in folds:
            here = np.flatnonzero(one.fold == fold)
            said = [predict(key or task, task, r, fold, here) for r in range(SEEDS)]
            arrays = [np.asarray(p, dtype=np.float32) for p in said if p is not None]
            whole.append(_referee(one, task, here, np.mean(arrays, axis=0)))
            single.append([_referee(one, task, here, p) for p in arrays])
        row = row_of(rows, task, "ours", learned, part)
        assert row["value"] == pytest.approx(np.mean(whole), abs=1e-6)
        by_seed = np.mean(single, axis=0)
        assert row["one_seed"] == pytest.approx(by_seed.mean(), abs=1e-6)
        assert row["deviation"] == pytest.approx(by_seed.std(ddof=1), abs=1e-6)


def test_differences_are_from_the_linear_reference_or_from_the_own_network_alone(
    rows: list[dict[str, Any]],
) -> None:
    for row in rows:
        linear = row["task"] != "kind"
        network, learned = ("linear", "reference") if linear else ("ours", "alone")
        against = row_of(rows, row["task"], network, learned, row["part"])
        if row is against:
            assert row["difference"] is None
        else:
            assert row["difference"] == pytest.approx(row["value"] - against["value"], abs=1e-12)
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_without_references_differences_are_from_the_own_network_alone(one: Study, tmp_path: Path) -> None:
    found = compared(one, {"ours": one.path("networks/ours")}, baselines=False)
    assert {(r["network"], r["learned"]) for r in found} == {("ours", "alone"), ("ours", "together")}
    assert row_of(found, "ill", "ours", "alone", "test")["difference"] is None
    assert row_of(found, "ill", "ours", "together", "test")["difference"] is not None


def test_without_single_tasks_differences_are_from_the_own_network_of_all_tasks(one: Study) -> None:
    networks = {
        name: write_network(one, name, predictor(one, multi=multi), alone=False)
        for name, multi in (("joint", 1.2), ("weaker", 0.3))
    }
    found = compared(one, networks, baselines=False)
    assert {(r["network"], r["learned"]) for r in found} == {("joint", "together"), ("weaker", "together")}
    for task in one.tasks:
        assert row_of(found, task, "joint", "together", "test")["difference"] is None
        weaker = row_of(found, task, "weaker", "together", "test")
        apart = weaker["value"] - row_of(found, task, "joint", "together", "test")["value"]
        assert weaker["difference"] == pytest.approx(apart, abs=1e-12)


def test_the_table_for_people_says_the_same(one: Study, rows: list[dict[str, Any]]) -> None:
    compared(one, {"ours": one.path("networks/ours"), "other": one.path("networks/other")})
    header, *lines = one.path("out/comparison.tsv").read_text().splitlines()
    assert len(lines) == len(rows)
    columns = header.split("\t")
    line = dict(zip(columns, lines[0].split("\t"), strict=True))
    assert line["model"] == "ours"
    assert line["score (95 % interval)"].startswith(f"{rows[0]['value']:.3f} (")


def test_a_diverged_replicate_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = study(tmp_path, n=400)
    made.write(predictor(made), replicates=1)
    plain = predictor(made)

    def diverges_on_test(
        key: str, task: str, replicate: int, fold: int, rows: npt.NDArray[np.intp]
    ) -> Floats | None:
        return None if (key, replicate, fold) == ("ill", 1, TEST) else plain(key, task, replicate, fold, rows)

    def diverges(key: str, task: str, replicate: int, fold: int, rows: npt.NDArray[np.intp]) -> Floats | None:
        return None if (key, fold) == ("ill", 0) else plain(key, task, replicate, fold, rows)

    networks = {
        "ours": write_network(made, "ours", diverges_on_test),
        "other": write_network(made, "other", diverges),
    }
    found = compared(made, networks)
    assert row_of(found, "ill", "ours", "alone", "validation")["replicates"] == SEEDS - 1
    assert row_of(found, "days", "ours", "alone", "test")["replicates"] == SEEDS
    assert not [r for r in found if (r["task"], r["network"], r["learned"]) == ("ill", "other", "alone")]
    said = capsys.readouterr().err
    assert "ours: 1 replicate(s) of `ill` diverged" in said
    assert "other: every setting of `ill` has a fit that diverged" in said


def test_seeds_of_a_network_that_agree_by_luck_are_lent_the_variance_of_other_tasks() -> None:
    """As in the evaluation: within a network and part, over the tasks of a metric."""
    tasks = {name: Task(name, "binary", "auroc") for name in "abc"}
    usual = {name: Quantity(0.7, 1e-4, 200, 4e-4, 2.0) for name in "abc"}
    lucky = usual | {"a": Quantity(0.7, 1e-4, 200, 1e-10, 2.0)}
    cells = [
        Cell(name, (network, "together"), part, quantities[name], quantities[name], np.zeros(3))
        for network, part, quantities in (
            ("ours", "test", lucky),
            ("ours", "validation", usual),
            ("other", "test", {name: Quantity(0.7, 1e-4, 200, 1e-10, 2.0) for name in "abc"}),
        )
        for name in "abc"
    ]
    rows = table_rows(cells, Cohort(tasks, {}, {}, np.zeros(0, dtype=np.intp)))
    width = {(r["network"], r["part"], r["task"]): r["high"] - r["low"] for r in rows}
    apart = {(r["network"], r["part"], r["task"]): r["difference_high"] - r["difference_low"] for r in rows}
    for found in (width, apart):
        assert 0.5 < found["ours", "test", "a"] / found["ours", "validation", "a"] < 1
        assert found["ours", "test", "a"] > 1.2 * found["other", "test", "a"]
        # Another network, all of whose seeds agree, borrows nothing from this one.
        assert found["other", "test", "a"] == pytest.approx(2 * 1.97 * 1e-2, rel=0.01)
