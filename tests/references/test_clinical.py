"""The reference of named sources alone: against scikit-learn and scikit-survival, and blind to the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sksurv.linear_model import CoxPHSurvivalAnalysis

from m3h_pipeline.coding import signed_time, time_and_event
from m3h_pipeline.config import Evaluation, Modality, Study, validate
from m3h_pipeline.contracts import BASELINE_PREDICTIONS
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.files import read_table
from m3h_pipeline.references.clinical import clinical_reference
from m3h_pipeline.references.columns import columns_of
from m3h_pipeline.references.design import seen
from m3h_pipeline.references.stage import baseline_predictions, run_baselines
from m3h_pipeline.training.data import StudyData
from tests.jobs.studies import study as shipped
from tests.references.test_stage import study, write_study


def both(n: int = 400) -> tuple[StudyData, StudyData]:
    """A study whose signal lies in two features, and the same with age alone, which knows half of it."""
    data = study(n)
    rng = np.random.default_rng(2)
    x = np.nan_to_num(data.features["tabular"])
    time = rng.exponential(np.exp(-(x[:, 0] - x[:, 1]) / 4)) + 0.1
    data.labels["death"] = signed_time(time, rng.random(n) < 0.6).astype(np.float32)
    data.tasks["death"] = {"problem_class": "survival"}
    few = StudyData({"clinical": x[:, :1].copy()}, data.labels, data.tasks, data.train, data.fold)
    return data, few


@pytest.mark.parametrize("task", ["ill", "death"])
def test_it_is_a_model_of_these_sources_alone(task: str) -> None:
    data, few = both()
    rows = baseline_predictions(
        task, data, Evaluation(baselines=["linear"]), 0, {"clinical": clinical_reference(columns_of(few))}
    )
    assert {row["model"] for row in rows} == {"linear", "clinical"}
    (row,) = [row for row in rows if (row["model"], row["fold"]) == ("clinical", 1)]
    strength = float(str(row["setting"]).removeprefix("C="))
    found = np.asarray(row["prediction"]).reshape(-1, int(str(row["width"])))[:, 0]
    y, training = data.labels[task], data.training_rows(1)
    known = training[np.isfinite(y[training])]
    x, scored = (seen(columns_of(few), training, part) for part in (known, data.scored_rows(1)))
    if task == "ill":
        expected = LogisticRegression(C=strength, tol=1e-8).fit(x, y[known]).predict_proba(scored)[:, 1]
    else:
        time, event = time_and_event(y[known].astype(np.float64))
        outcome = np.array(list(zip(event, time, strict=True)), dtype=[("e", "?"), ("t", "<f8")])
        expected = CoxPHSurvivalAnalysis(alpha=1 / strength).fit(x, outcome).predict(scored)
        expected = expected - expected.mean() + found.mean()
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_other_features_do_not_reach_it() -> None:
    data, few = both()
    reference = {"clinical": clinical_reference(columns_of(few))}
    before = baseline_predictions("ill", data, Evaluation(baselines=[]), 0, reference)
    data.features["tabular"][:] = np.random.default_rng(9).normal(size=data.features["tabular"].shape)
    assert before
    for one, other in zip(
        before, baseline_predictions("ill", data, Evaluation(baselines=[]), 0, reference), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one["prediction"]), np.asarray(other["prediction"]))


def test_the_verb_reads_these_sources_alone(tmp_path: Path) -> None:
    data, _ = both(200)
    write_study(tmp_path, data)
    modalities = {"tabular": Modality(sources=["first", "second"])}
    found = {}
    for name, clinical in (("few", ["second"]), ("all", ["first", "second"])):
        evaluation = Evaluation(baselines=["linear"], clinical=clinical)
        out = tmp_path / f"{name}.predictions.parquet"
        run_baselines("ill", tmp_path, tmp_path, tmp_path / "split.parquet", out, modalities, evaluation, 0)
        rows = read_table(out, BASELINE_PREDICTIONS).to_pylist()
        found[name] = {(row["model"], row["fold"]): row["prediction"] for row in rows}
    assert found["all"]["clinical", -1] == found["all"]["linear", -1] == found["few"]["linear", -1]
    assert found["few"]["clinical", -1] != found["few"]["linear", -1]


def test_sources_without_a_feature_that_varies_are_refused() -> None:
    _, few = both(100)
    few.features["clinical"][:] = 1
    with pytest.raises(ConfigError, match="no feature of these sources varies") as error:
        clinical_reference(columns_of(few))
    assert error.value.where == "evaluation.clinical"


def test_only_sources_of_a_modality_can_be_named() -> None:
    assert shipped(evaluation__clinical=["demographics"]).evaluation.clinical == ["demographics"]
    with pytest.raises(
        ConfigError, match=r"evaluation\.clinical names `demographic`, which is a source of no"
    ):
        shipped(evaluation__clinical=["demographic"])
    with pytest.raises(ConfigError, match="another model is called so"):
        validate(Evaluation, {"given": {"clinical": {}}}, "a test")
    assert not Study.model_fields["evaluation"].default.clinical
