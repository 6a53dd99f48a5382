"""Reference models: against scikit-learn, on missing and degenerate data, and as a verb."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from m3h_pipeline.coding import METRICS
from m3h_pipeline.config import Evaluation, Modality
from m3h_pipeline.contracts import BASELINE_PREDICTIONS, SPLIT, samples_schema
from m3h_pipeline.errors import TaskError
from m3h_pipeline.features.spread import spread
from m3h_pipeline.files import read_table, write_features, write_labels, write_table
from m3h_pipeline.inference.metrics import metric
from m3h_pipeline.references.boosting import SETTINGS, boosting_path
from m3h_pipeline.references.choice import Inner, choose, inner_fits
from m3h_pipeline.references.columns import columns_of
from m3h_pipeline.references.design import designed, seen
from m3h_pipeline.references.linear import STRENGTHS, linear_path
from m3h_pipeline.references.problem import Floats, Problem
from m3h_pipeline.references.stage import baseline_predictions, run_baselines
from m3h_pipeline.training.data import StudyData

Float32 = npt.NDArray[np.float32]
CLASSES = ["low", "middle", "high"]


def study(n: int = 400, width: int = 30, folds: int = 4, seed: int = 0) -> StudyData:
    """Three tasks that depend on the first features; fold -1 (a fifth) is the test part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype(np.float32) * 3 + 1
    signal = (x[:, 0] - x[:, 1]) / 4 + rng.normal(size=n) * 0.5
    labels = {
        "ill": (signal > 0.5).astype(np.float32),
        "grade": np.digitize(signal, [-0.5, 0.6]).astype(np.float32),
        "days": (20 + 5 * signal).astype(np.float32),
    }
    for y in labels.values():
        y[rng.random(n) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.05] = np.nan
    fold = np.arange(n) % (folds + 1) - 1
    tasks: dict[str, dict[str, Any]] = {
        "ill": {"problem_class": "binary"},
        "grade": {"problem_class": "multiclass", "classes": CLASSES},
        "days": {"problem_class": "regression"},
    }
    return StudyData({"tabular": x}, labels, tasks, fold >= 0, fold.astype(np.int64))


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize("problem_class", ["binary", "multiclass", "regression"])
def test_linear_path_equals_scikit_learn(problem_class: str, n: int) -> None:
    """With more rows than features, and with fewer, where the path works in the space of the rows."""
    rng = np.random.default_rng(n)
    x, scored = rng.normal(size=(n, 90)).astype(np.float32), rng.normal(size=(25, 90)).astype(np.float32)
    x[:, 5] = 0  # a constant feature
    signal = x[:, 0] + x[:, 1] + rng.normal(size=n)
    y = {
        "binary": (signal > 0).astype(np.float32),
        "multiclass": np.digitize(signal, [-1, 1]).astype(np.float32),
        "regression": (100 + signal).astype(np.float32),
    }[problem_class]
    classes = {"binary": 2, "multiclass": 3, "regression": 0}[problem_class]
    strengths = (1e-3, 1e-2, 1e-1)
    path = linear_path(designed(Problem(problem_class, classes, x, y, scored)), strengths)
    for strength, prediction in zip(strengths, path, strict=True):
        if problem_class == "regression":
            expected = Ridge(alpha=1 / strength).fit(x.astype(np.float64), y).predict(scored)[:, None]
        else:
            referee = LogisticRegression(C=strength, tol=1e-8, max_iter=5000)
            expected = referee.fit(x.astype(np.float64), y).predict_proba(scored.astype(np.float64))
            expected = expected[:, 1:] if problem_class == "binary" else expected
        assert prediction.shape == expected.shape
        np.testing.assert_allclose(prediction, expected, atol=2e-3, rtol=1e-5)


def test_features_are_scaled_on_the_training_rows_clipped_and_filled() -> None:
    data = study()
    data.features["tabular"][7, 3] = 1e6
    training, rows = data.training_rows(1), np.arange(data.n)
    x = data.features["tabular"].astype(np.float64)
    found = spread(x[training])
    expected = (x - found.mean) / found.deviation
    expected = np.nan_to_num(np.clip(expected, -10, 10))
    np.testing.assert_allclose(seen(columns_of(data), training, rows), expected, atol=2e-4)
    assert not data.train[5] or np.isfinite(seen(columns_of(data), training, rows)).all()


@pytest.mark.parametrize("task", ["ill", "grade", "days"])
def test_references_learn_planted_signal_out_of_fold_and_on_test(task: str) -> None:
    data = study(600, 12, folds=3)
    rows = baseline_predictions(task, data, Evaluation(), seed=0)
    assert [(r["model"], r["fold"]) for r in rows if r["purpose"] == "score"] == [
        (model, fold) for model in ("linear", "gradient_boosting") for fold in range(-1, 3)
    ]
    name = METRICS[data.tasks[task]["problem_class"]]
    for r in rows:
        scored = data.scored_rows(int(str(r["fold"])))
        prediction = np.asarray(r["prediction"]).reshape(len(scored), int(str(r["width"])))
        assert metric(name, data.labels[task][scored], prediction) > (0.3 if task == "days" else 0.75)


def test_no_label_of_a_scored_row_reaches_its_prediction() -> None:
    """Flipping the labels of the test part and of one fold leaves what is predicted there as it was."""
    data, changed = study(), study()
    hidden = (data.fold == -1) | (data.fold == 2)
    y = changed.labels["ill"]
    y[hidden] = 1 - y[hidden]
    one = Evaluation(baselines=["linear"])
    before = linear_path(designed(_problem(data, 2)))
    after = linear_path(designed(_problem(changed, 2)))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    y[data.fold == 2] = 1 - y[data.fold == 2]
    test = [r["prediction"] for r in baseline_predictions("ill", data, one, 0) if r["fold"] == -1]
    test_changed = [r["prediction"] for r in baseline_predictions("ill", changed, one, 0) if r["fold"] == -1]
    np.testing.assert_array_equal(np.asarray(test), np.asarray(test_changed))


def test_no_feature_of_another_scored_row_reaches_a_prediction() -> None:
    """Other values in half of the test part leave what is predicted for the other half as it was."""
    data, changed = study(300, 8, folds=2), study(300, 8, folds=2)
    test = np.flatnonzero(~data.train)
    changed.features["tabular"][test[::2]] = changed.features["tabular"][test[::2]] * 50 + 100
    for before, after in zip(
        *(baseline_predictions("ill", d, Evaluation(), 0) for d in (data, changed)), strict=True
    ):
        assert (before["model"], before["setting"]) == (after["model"], after["setting"])
        if before["fold"] == -1:
            kept, other = np.asarray(before["prediction"]), np.asarray(after["prediction"])
            np.testing.assert_array_equal(kept[1::2], other[1::2])
            assert (kept[::2] != other[::2]).any()


def _problem(data: StudyData, fold: int) -> Problem[Floats]:
    training, scored = data.training_rows(fold), data.scored_rows(fold)
    y = data.labels["ill"]
    training = training[np.isfinite(y[training])]
    x = np.nan_to_num(data.features["tabular"])
    return Problem("binary", 2, x[training], y[training], x[scored])


def test_permuted_labels_teach_nothing() -> None:
    data = study(1500)
    rng = np.random.default_rng(3)
    data.labels["ill"] = rng.permutation(data.labels["ill"])
    for r in baseline_predictions("ill", data, Evaluation(baselines=["linear"]), seed=0):
        if r["fold"] == -1:
            test = data.scored_rows(-1)
            assert abs(metric("auroc", data.labels["ill"][test], np.asarray(r["prediction"])) - 0.5) < 0.13


@pytest.mark.parametrize("path", ["linear", "boosting"])
def test_a_class_absent_from_the_training_rows_gets_probability_0(path: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 4)).astype(np.float32)
    y = np.where(x[:, 0] > 0, 3, 1).astype(np.float32)
    problem = Problem[Floats]("multiclass", 4, x, y, x[:9])
    found = linear_path(designed(problem)) if path == "linear" else boosting_path(problem, 0, SETTINGS[:3])
    for prediction in found:
        assert prediction.shape == (9, 4)
        assert (prediction[:, [0, 2]] == 0).all()
        np.testing.assert_allclose(prediction.sum(axis=1), 1)


@pytest.mark.parametrize("problem_class", ["binary", "multiclass", "regression"])
def test_one_class_in_training_predicts_that_class(problem_class: str) -> None:
    x = np.ones((30, 3), dtype=np.float32)
    problem = Problem[Floats](problem_class, 3, x, np.ones(30, dtype=np.float32), x[:4])
    for prediction in [*boosting_path(problem, 0), *linear_path(designed(problem))]:
        expected = np.eye(3)[[1] * 4] if problem_class == "multiclass" else np.ones((4, 1))
        np.testing.assert_allclose(prediction, expected)


def test_boosting_takes_missing_values_and_a_feature_missing_in_every_training_row() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.float32)
    x[::3, 0] = np.nan
    x[:150, 2] = np.nan
    last = boosting_path(Problem("binary", 2, x[:150], y[:150], x[150:]), 0, SETTINGS[2:3])[0]
    assert metric("auroc", y[150:], last) > 0.8


def test_choice_is_the_best_mean_over_inner_fits_where_the_metric_is_defined() -> None:
    y = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    good, bad = np.array([[0.1], [0.9], [0.2], [0.8]]), np.array([[0.9], [0.1], [0.8], [0.2]])
    rows = np.arange(4)
    one = Inner(rows, rows, {0: rows})
    alike = Inner(rows, np.array([4, 5]), {0: rows[:2]})
    fits: list[tuple[Inner, list[Floats]]] = [
        (one, [bad, good, good]),
        (one, [good, good, good]),
        (alike, [good[:2], bad[:2], bad[:2]]),
    ]
    assert choose("auroc", y, fits, 0) == choose("auroc", y, fits, -1) == 1
    assert choose("auroc", y, fits[2:], 0) == 0


@pytest.mark.parametrize(("folds", "labelled", "expected"), [(5, 400, 10), (5, 20_000, 5), (3, 20_000, 3)])
def test_no_row_of_a_fold_is_in_what_chooses_its_setting(folds: int, labelled: int, expected: int) -> None:
    data = study(folds=folds)
    fits = inner_fits(data, labelled, seed=0)
    assert len(fits) == expected
    times = np.zeros((folds, data.n), dtype=int)
    for one in fits:
        assert not set(one.training) & set(one.scored)
        for fold, places in one.serves.items():
            rows = one.scored[places]
            times[fold, rows] += 1
            assert (data.fold[rows] != fold).all()
            assert (data.fold[one.training] != fold).all()
            assert data.train[rows].all()
            assert data.train[one.training].all()
    # Every fold is served by as many others.
    assert set(np.unique(times[:, data.train].sum(axis=0))) == {2 * expected // folds}


def test_two_folds_choose_by_shares_of_patients() -> None:
    data = study(folds=2)
    data.patient = np.arange(data.n) // 4
    data.fold = (data.patient % 3 - 1).astype(np.int64)
    data.train = data.fold >= 0
    fits = inner_fits(data, data.n, seed=3)
    for fold in (0, 1):
        mine = [one for one in fits if fold in one.serves]
        assert sorted(np.concatenate([one.scored for one in mine])) == data.training_rows(fold).tolist()
        for one in mine:
            assert not set(data.patient[one.training]) & set(data.patient[one.scored])
            assert (data.fold[one.training] != fold).all()


@pytest.mark.parametrize("task", ["ill", "days"])
def test_nested_choice_equals_a_plain_loop(task: str) -> None:
    """The referee fits scikit-learn's models fold inside fold, each on its own."""
    data = study(300, 12, folds=3)
    y, name = data.labels[task], METRICS[data.tasks[task]["problem_class"]]
    columns = columns_of(data)

    def plain(training: npt.NDArray[Any], rows: npt.NDArray[Any], strength: float) -> npt.NDArray[Any]:
        learned = training[np.isfinite(y[training])]
        x, scored = (seen(columns, training, part).astype(float) for part in (learned, rows))
        if task == "days":
            return np.asarray(Ridge(1 / strength).fit(x, y[learned]).predict(scored))[:, None]
        model = LogisticRegression(C=strength, tol=1e-8, max_iter=2000).fit(x, y[learned])
        return np.asarray(model.predict_proba(scored))[:, 1:]

    scores = {}
    for f in range(3):
        for g in range(3):
            if f != g:
                inner = np.flatnonzero(data.train & (data.fold != f) & (data.fold != g))
                rows = data.scored_rows(g)
                scores[f, g] = [metric(name, y[rows], plain(inner, rows, c)) for c in STRENGTHS]
    best_of = {
        fold: STRENGTHS[int(np.mean([s for (f, _), s in scores.items() if fold in (f, -1)], axis=0).argmax())]
        for fold in range(-1, 3)
    }
    predicted = baseline_predictions(task, data, Evaluation(baselines=["linear"]), 0)
    # A fold that chose another strength than the whole training part is predicted with the latter's, too.
    others = [fold for fold in range(3) if best_of[fold] != best_of[-1]]
    asked = [("score", fold) for fold in range(-1, 3)] + [("map", fold) for fold in others]
    assert [(row["purpose"], row["fold"]) for row in predicted] == asked
    assert task == "days" or others
    for row in predicted:
        fold = int(str(row["fold"]))
        best = best_of[fold if row["purpose"] == "score" else -1]
        assert row["setting"] == f"C={best:g}"
        expected = plain(data.training_rows(fold), data.scored_rows(fold), best)
        np.testing.assert_allclose(np.asarray(row["prediction"]), expected[:, 0], rtol=2e-3, atol=2e-3)


def write_study(folder: Path, data: StudyData) -> None:
    x = data.features["tabular"]
    write_features(x[:, :10], [f"a{i}" for i in range(10)], folder / "features" / "first.parquet")
    rest = x.shape[1] - 10
    write_features(x[:, 10:], [f"b{i}" for i in range(rest)], folder / "features" / "second.parquet")
    for task, y in data.labels.items():
        write_labels(y, folder / f"{task}.parquet", {"id": task, **data.tasks[task]})
    samples = {"sample_id": [f"s{i:05d}" for i in range(data.n)]}
    samples |= {"patient_id": [f"p{i}" for i in data.patients], "stay_id": [str(i) for i in range(data.n)]}
    write_table(pa.table(samples, samples_schema([])), folder / "samples.parquet")
    split = pa.table(
        {
            "sample_id": [f"s{i:05d}" for i in range(data.n)],
            "part": np.where(data.train, "train", "test").tolist(),
            "fold": pa.array(data.fold, type=pa.int16()),
        },
        schema=SPLIT,
    )
    write_table(split, folder / "split.parquet", SPLIT)


def test_the_verb_writes_the_contract_the_same_bytes_twice(tmp_path: Path) -> None:
    data = study(200, 12, folds=2)
    write_study(tmp_path, data)
    modalities = {"tabular": Modality(sources=["first", "second"])}
    for name in ("one.parquet", "two.parquet"):
        run_baselines(
            "grade",
            tmp_path,
            tmp_path,
            tmp_path / "split.parquet",
            tmp_path / name,
            modalities,
            Evaluation(),
            7,
        )
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    table = read_table(tmp_path / "one.parquet", BASELINE_PREDICTIONS).to_pylist()
    for row in table:
        assert row["width"] == 3
        assert len(row["prediction"]) == 3 * len(data.scored_rows(row["fold"]))
    assert {row["setting"].split("=")[0] for row in table} == {"C", "rate"}


def test_a_task_without_labels_or_of_clustering_is_refused(tmp_path: Path) -> None:
    data = study(100)
    data.tasks["days"]["problem_class"] = "clustering"
    with pytest.raises(TaskError, match="no reference model for a clustering task"):
        baseline_predictions("days", data, Evaluation(), 0)
    data.labels["ill"][data.train] = np.nan
    with pytest.raises(TaskError, match="no training sample has a label"):
        baseline_predictions("ill", data, Evaluation(), 0)


@pytest.mark.real_data
def test_real_expression_data_reach_the_known_level_quickly(real_data: Path) -> None:
    """TCGA-BRCA, 700 patients x 1,558 genes: ER status is known to reach an AUROC of about 0.94."""
    import pandas as pd

    folder = real_data / "tcga-brca"
    outcomes = pd.read_csv(folder / "outcomes.csv")
    expression = pd.read_csv(folder / "expression.csv.gz").set_index("patient").loc[outcomes["patient"]]
    fold = (np.random.default_rng(0).permutation(len(outcomes)) % 5).astype(np.int64)
    y = outcomes["er_ihc"].to_numpy(np.float32)
    data = StudyData(
        {"expression": expression.to_numpy(np.float32)},
        {"er": y},
        {"er": {"problem_class": "binary"}},
        np.ones(len(y), dtype=bool),
        fold,
    )
    started = time.process_time()
    rows = baseline_predictions("er", data, Evaluation(baselines=["linear"]), 0)
    assert time.process_time() - started < 20
    scores = [
        metric("auroc", y[fold == r["fold"]], np.asarray(r["prediction"]))
        for r in rows
        if r["purpose"] == "score"
    ]
    assert len(scores) == 5  # no test part: only out-of-fold predictions
    assert 0.93 < float(np.mean(scores)) < 0.97


@pytest.mark.parametrize("task", ["ill", "grade", "days", "death"])
def test_a_fold_whose_training_rows_have_no_feature_is_predicted_by_their_labels(task: str) -> None:
    """Boosting stopped the job there. Where nothing is known: shares of the classes, the mean, one curve."""
    data = study(200, folds=3)
    time = np.random.default_rng(0).exponential(10, data.n) + 0.1
    data.labels["death"] = np.where(np.arange(data.n) % 3 == 0, -time, time).astype(np.float32)
    data.tasks["death"] = {"problem_class": "survival"}
    data.features["tabular"][data.train & (data.fold != 1)] = np.nan
    rows = baseline_predictions(task, data, Evaluation(baselines=["gradient_boosting"]), 0)
    y = data.labels[task][data.training_rows(1)]
    y = y[~np.isnan(y)]
    (found,) = (row for row in rows if row["fold"] == 1 and row["purpose"] == "score")
    values = np.asarray(found["prediction"]).reshape(-1, int(str(found["width"])))
    assert np.ptp(values, axis=0).max() == 0
    classes = {"grade": (0, 1, 2), "ill": (1,)}
    if task != "death":
        expected = [float((y == c).mean()) for c in classes[task]] if task in classes else [y.mean()]
        np.testing.assert_allclose(values[0], expected, rtol=1e-5)
