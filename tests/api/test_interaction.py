"""Task interaction of a model: the numbers of plain cross-validation, and the figure of a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

import m3h_pipeline as m3h
from m3h_pipeline.api import interaction
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec
from tests.api.frames import model, ward

TASKS = {"died": "binary", "sick": "binary", "days": "regression"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    known = ward()
    return known.assign(sick=(known["urea"].fillna(0) > 0.2).astype(int))


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> m3h.MultitaskModel:
    return model(tasks=TASKS, replicates=1).fit(frame, groups="patient")


@pytest.fixture(scope="module")
def scores(fitted: m3h.MultitaskModel) -> pd.DataFrame:
    return m3h.tim_scores(fitted, folds=3, replicates=2, draws=50)


def test_every_ordered_pair_has_an_interval(scores: pd.DataFrame) -> None:
    pairs = [(a, b) for a in sorted(TASKS) for b in sorted(TASKS) if a != b]
    own = scores[~scores["control"]]
    assert list(zip(own["task"], own["companion"], strict=True)) == pairs
    assert len(scores) == len(pairs) + 2 * 3 * 3
    beside = scores[scores["companion"].str.contains("~")].groupby("task")["estimate"].mean()
    np.testing.assert_allclose(own["excess"], own["estimate"] - own["task"].map(beside), atol=1e-12)
    assert (scores["low"] < scores["estimate"]).all()
    assert (scores["estimate"] < scores["high"]).all()
    assert scores["p"].between(0, 1).all()
    assert (scores["n_differences"] == 6).all()


def test_estimates_are_differences_out_of_fold(fitted: m3h.MultitaskModel, scores: pd.DataFrame) -> None:
    rows = fitted.training_rows(None, None, None)
    settings = fitted.training_settings(rows)
    _, split = interaction._split(rows, 3, fitted.seed)
    fold = split.column("fold").to_numpy().astype(np.int64)
    people = pd.Series(fold).groupby(rows.groups).nunique()
    assert (people == 1).all()
    assert pd.Series(rows.groups).groupby(fold).nunique().tolist() == [27, 27, 26]
    (batch,), (rate,) = settings.training.batch_sizes, settings.training.learning_rates
    differences = []
    for replicate in (0, 1):
        for number in (0, 1, 2):
            areas = []
            for combination in (("died", "sick"), ("died",)):
                spec = FitSpec(combination, number, replicate, batch, rate)
                (fit,) = run_fits([spec], rows.arrays(settings, fold), settings)
                y = rows.labels["died"][fold == number]
                seen = ~np.isnan(y)
                areas.append(roc_auc_score(y[seen], fit.predictions["died"][seen, 0]))
            differences.append(areas[0] - areas[1])
    (row,) = np.flatnonzero((scores["task"] == "died") & (scores["companion"] == "sick"))
    assert scores["estimate"][row] == pytest.approx(np.mean(differences), abs=1e-6)


def test_rows_may_be_given_again(
    fitted: m3h.MultitaskModel, scores: pd.DataFrame, frame: pd.DataFrame, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    read = m3h.MultitaskModel.load(tmp_path)
    with pytest.raises(InputError, match="does not have the rows"):
        m3h.tim_scores(read)
    shuffled = frame.sample(frac=1, random_state=2)
    again = m3h.tim_scores(read, shuffled, groups="patient", folds=3, replicates=2, draws=50)
    pd.testing.assert_frame_equal(again, scores)


def test_the_figure_is_that_of_a_study(scores: pd.DataFrame) -> None:
    figure = m3h.plot.tim(scores)
    assert isinstance(figure, Figure)
    written = {text.get_text() for text in figure.texts}
    assert {"died", "sick", "days", "Source task"} <= written
    assert "Permuted labels" in written
    titles = [axes.get_title() for axes in figure.axes]
    assert {"Change of AUROC", "Change of R²"} <= set(titles)
    # A frame that has lost its tasks has titles by their names.
    assert m3h.plot.tim(pd.DataFrame(scores.to_dict("list"))).texts


def test_mistakes_are_told(fitted: m3h.MultitaskModel, frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="`folds` is a whole number from 3 on"):
        m3h.tim_scores(fitted, folds=2)
    with pytest.raises(InputError, match="2 groups cannot fill 5 folds"):
        m3h.tim_scores(fitted, frame, groups=[i % 2 for i in range(len(frame))])
    alone = model(tasks={"died": "binary"}, replicates=1).fit(frame)
    with pytest.raises(ConfigError, match="the model has one"):
        m3h.tim_scores(alone)
