"""Predictions that came with the data as references: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sksurv.linear_model import CoxPHSurvivalAnalysis

from m3h_pipeline.coding import signed_time, time_and_event
from m3h_pipeline.config import Evaluation, Modality, validate
from m3h_pipeline.config.results import Given
from m3h_pipeline.contracts import BASELINE_PREDICTIONS
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.references.columns import columns_of
from m3h_pipeline.references.given import Predicted, read_given, reference
from m3h_pipeline.references.registry import Part, Study
from m3h_pipeline.references.stage import baseline_predictions, run_baselines
from m3h_pipeline.survival import time_grid
from m3h_pipeline.training.data import StudyData
from tests.references.test_stage import study, write_study

Float64 = npt.NDArray[np.float64]
KINDS = {"ill": "binary", "days": "regression", "death": "survival", "grade": "multiclass"}


def cohort(n: int = 500) -> tuple[StudyData, Float64]:
    """The study of the other tests with a survival task, and a probability that knows of all tasks."""
    data = study(n)
    rng = np.random.default_rng(5)
    x = np.nan_to_num(data.features["tabular"])
    signal = (x[:, 0] - x[:, 1]) / 4
    time = rng.exponential(np.exp(-signal)) * 10 + 0.1
    data.labels["death"] = signed_time(time, rng.random(n) < 0.7).astype(np.float32)
    data.tasks["death"] = {"problem_class": "survival"}
    probability = 1 / (1 + np.exp(-signal - rng.normal(size=n) * 0.3))
    return data, probability


def predicted(values: Float64, means: str, task: str, data: StudyData) -> dict[int, Float64]:
    """What the reference predicts: fold -> (n, width)."""
    given = Given.model_validate({"column": "p", "means": means})
    rows = baseline_predictions(
        task, data, Evaluation(baselines=[]), 0, {"theirs": reference(Predicted(given, values))}
    )
    assert {(row["model"], row["task"]) for row in rows} == {("theirs", task)}
    return {
        int(str(row["fold"])): np.asarray(row["prediction"], np.float64).reshape(-1, int(str(row["width"])))
        for row in rows
    }


def test_a_probability_is_taken_as_it_is_on_the_rows_of_every_other_reference() -> None:
    data, p = cohort()
    for means, values in (("event", p), ("no_event", 1 - p)):
        found = predicted(values, means, "ill", data)
        assert sorted(found) == [-1, 0, 1, 2, 3]
        for fold, prediction in found.items():
            np.testing.assert_allclose(prediction[:, 0], p[data.scored_rows(fold)], atol=1e-7)


def test_a_row_without_a_prediction_gets_the_mean_of_the_training_rows() -> None:
    data, p = cohort()
    missing = np.arange(data.n) % 7 == 0
    holed = np.where(missing, np.nan, p)
    for fold, prediction in predicted(holed, "event", "ill", data).items():
        rows = data.scored_rows(fold)
        mean = np.nanmean(holed[data.training_rows(fold)])
        np.testing.assert_allclose(prediction[:, 0], np.where(missing[rows], mean, p[rows]), atol=1e-6)


@pytest.mark.parametrize("task", ["ill", "days", "death"])
def test_a_score_is_translated_by_a_model_of_it_alone_fitted_to_the_training_rows(task: str) -> None:
    data, p = cohort()
    score = 40 - 13 * p  # of any scale and sign
    y = data.labels[task]
    for fold, prediction in predicted(score, "score", task, data).items():
        training, rows = data.training_rows(fold), data.scored_rows(fold)
        training = training[np.isfinite(y[training])]
        x = ((score - score[training].mean()) / score[training].std())[:, None]
        if task == "ill":
            expected = (
                LogisticRegression(C=1, tol=1e-8).fit(x[training], y[training]).predict_proba(x[rows])[:, 1]
            )
        elif task == "days":
            expected = Ridge(alpha=1).fit(x[training], y[training]).predict(x[rows])
        else:
            time, event = time_and_event(y[training].astype(np.float64))
            outcome = np.array(list(zip(event, time, strict=True)), dtype=[("e", "?"), ("t", "<f8")])
            expected = CoxPHSurvivalAnalysis(alpha=1).fit(x[training], outcome).predict(x[rows])
            # Only differences of log hazards are identified.
            expected = expected - expected.mean() + prediction[:, 0].mean()
        np.testing.assert_allclose(prediction[:, 0], expected, atol=2e-3)


def test_a_probability_of_survival_ranks_and_gives_curves_of_proportional_hazards() -> None:
    """S(t) of another model at its own time t: curves cross none, and one that is right is found again."""
    data, _ = cohort(4000)
    x = np.nan_to_num(data.features["tabular"])
    rate = np.exp((x[:, 0] - x[:, 1]) / 4) / 10
    survived = np.exp(-rate * 7)
    grid = time_grid(data.labels["death"][data.train])
    for means, values in (("no_event", survived), ("event", 1 - survived)):
        found = predicted(values, means, "death", data)[-1]
        rows = data.scored_rows(-1)
        assert (np.argsort(found[:, 0]) == np.argsort(rate[rows])).all()
        truth = np.exp(-np.outer(rate[rows], grid))
        # Of 10 events 7 are seen as such, whenever they are: their hazard is 0.7 of the whole.
        np.testing.assert_allclose(found[:, 1:] ** (1 / 0.7), truth, atol=0.09)
        assert (np.diff(found[:, 1:], axis=1) <= 1e-7).all()


def test_certain_predictions_of_survival_stay_finite() -> None:
    data, p = cohort()
    sure = np.where(p > 0.8, 1.0, np.where(p < 0.2, 0.0, p))
    for prediction in predicted(sure, "no_event", "death", data).values():
        assert np.isfinite(prediction).all()


@pytest.mark.parametrize("task", ["ill", "days", "death"])
def test_where_no_training_row_has_a_label_nothing_is_translated(task: str) -> None:
    """Labels in one fold only: its own fit has none to learn from."""
    data, p = cohort()
    data.labels[task][data.fold != 0] = np.nan
    found = predicted(p, "score", task, data)
    assert all(np.isfinite(prediction).all() for prediction in found.values())
    assert np.ptp(found[0], axis=0).max() == 0
    assert np.ptp(found[1][:, 0]) > 0


def test_a_value_is_taken_as_it_is() -> None:
    data, p = cohort()
    found = predicted(20 + p, "value", "days", data)
    np.testing.assert_allclose(found[2][:, 0], (20 + p)[data.scored_rows(2)], rtol=1e-6)


def test_labels_and_predictions_of_scored_rows_reach_no_other_row() -> None:
    data, p = cohort()
    before = predicted(p, "score", "ill", data)
    rows = data.scored_rows(-1)
    changed = p.copy()
    changed[rows[::2]] = 0.5
    data.labels["ill"][rows] = 1 - data.labels["ill"][rows]
    after = predicted(changed, "score", "ill", data)
    np.testing.assert_array_equal(before[-1][1::2], after[-1][1::2])
    assert (before[-1][::2] != after[-1][::2]).any()


def read(
    folder: Path, task: str, means: str = "event", column: str = "p", **features: list[str]
) -> Predicted:
    given = Given.model_validate({"column": column, "means": means})
    description = {"problem_class": KINDS[task]}
    return read_given(given, "evaluation.given.theirs.ill", description, folder, features)


COLUMNS: dict[str, Any] = {
    "p": [0.1, None, 1.0] * 20,
    "percent": [10.0, None, 100.0] * 20,
    "text": ["0.1", "unknown", "0.3"] * 20,
    "numbers": ["0.1", "0.2", None] * 20,
    "empty": pa.array([None] * 60, pa.float64()),
    "huge": [1.0, None, 1e39] * 20,
}


@pytest.mark.parametrize(
    ("task", "means", "column", "says"),
    [
        ("ill", "event", "q", "the cohort has no column `q`"),
        ("ill", "event", "text", "is to hold predictions, and 20 rows hold text"),
        ("ill", "event", "empty", "column `empty` holds no prediction"),
        ("days", "value", "huge", "column `huge` holds numbers too large for a prediction"),
        ("ill", "no_event", "percent", "40 rows are not between 0 and 1"),
        ("ill", "value", "p", "`means: value` says nothing of a binary task"),
        ("days", "event", "p", "`means: event` says nothing of a regression task"),
        ("grade", "score", "p", "`means: score` says nothing of a multiclass task"),
    ],
)
def test_what_cannot_be_held_against_a_task_is_refused(
    tmp_path: Path, task: str, means: str, column: str, says: str
) -> None:
    write_table(pa.table(COLUMNS), tmp_path / "columns.parquet")
    with pytest.raises(ConfigError, match=says) as error:
        read(tmp_path, task, means, column)
    assert error.value.where == "evaluation.given.theirs.ill"


def test_a_prediction_that_is_a_feature_is_refused(tmp_path: Path) -> None:
    write_table(pa.table(COLUMNS), tmp_path / "columns.parquet")
    for names in (["age", "p"], ["p=1"]):
        with pytest.raises(ConfigError, match="`p` is a feature of the modality `labs`"):
            read(tmp_path, "ill", labs=names)
    assert read(tmp_path, "ill", labs=["ph", "prior=1"]).values[0] == 0.1


def test_columns_are_read_as_numbers_and_say_how_many_rows_are_without(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the cohort has no column `p`"):
        read(tmp_path, "ill")
    columns = COLUMNS | {"few": [None, *[0.5] * 59], "most": [0.5, *[None] * 59]}
    write_table(pa.table(columns), tmp_path / "columns.parquet")
    assert read(tmp_path, "ill", column="numbers").described == "column=numbers, 20 of 60 rows without"
    assert read(tmp_path, "ill", column="few").described == "column=few, <11 of 60 rows without"
    assert read(tmp_path, "ill", column="most").described == "column=most, all but <11 of 60 rows without"


def test_names_of_other_models_are_taken() -> None:
    for name in ("linear", "multi", "kaplan_meier"):
        with pytest.raises(ConfigError, match="another model is called so"):
            validate(Evaluation, {"given": {name: {"ill": {"column": "p", "means": "event"}}}}, "a test")


def test_the_verb_writes_them_beside_the_others_for_the_tasks_they_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, p = cohort(300)
    write_study(tmp_path, data)
    write_table(pa.table({"p": p}), tmp_path / "columns.parquet")
    given = {
        "theirs": {"ill": {"column": "p", "means": "event"}},
        "other": {"days": {"column": "p", "means": "score"}},
    }
    evaluation = validate(Evaluation, {"baselines": ["linear"], "given": given}, "a test")
    models = {}
    for task in ("ill", "days", "grade"):
        out = tmp_path / f"{task}.predictions.parquet"
        split = tmp_path / "split.parquet"
        modalities = {"tabular": Modality(sources=["first", "second"])}
        run_baselines(task, tmp_path, tmp_path, split, out, modalities, evaluation, 0)
        rows = read_table(out, BASELINE_PREDICTIONS).to_pylist()
        models[task] = list(dict.fromkeys(row["model"] for row in rows))
        if task == "ill":
            (test,) = (r["prediction"] for r in rows if (r["model"], r["fold"]) == ("theirs", -1))
            assert metric("auroc", data.labels["ill"][data.scored_rows(-1)], np.asarray(test)) > 0.8
    assert models == {"ill": ["linear", "theirs"], "days": ["linear", "other"], "grade": ["linear"]}
    assert "theirs of ill: column=p, 0 of 300 rows without" in capsys.readouterr().err


def test_a_part_is_the_only_thing_it_looks_at() -> None:
    """Without a label in the training rows but one class the translation says that class."""
    data, p = cohort(200)
    data.labels["ill"][data.train] = 1
    given = Given(column="p", means="score")
    part = Part(
        Study(columns_of(data), data, "ill", "binary", 2, 0), data.training_rows(0), data.scored_rows(0)
    )
    (found,) = reference(Predicted(given, p)).path(part, [0])
    np.testing.assert_array_equal(found, 1)
