"""Doubts whether a configuration can learn: each where it belongs, with its numbers, and nowhere else."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from m3h_pipeline import config
from m3h_pipeline.check import check_study
from m3h_pipeline.check.learning import amounts, doubts
from m3h_pipeline.model.architecture import Input
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.spec import TrainingSettings
from tests.conftest import ROOT

#: In one fold of three 1,200 of 1,800 training rows are left: enough for the settings below.
N, TRAINED = 2400, 1200


def cohort(positive: float = 0.25) -> StudyData:
    """Labels of every class on rows whose fold is their number's remainder; no features."""
    row = np.arange(N)
    train = row % 4 != 3
    fold = np.where(train, row % 3, -1)
    # The same share of every fold and part.
    rank = np.argsort(np.argsort(row * 7919 % N)) / N
    labels = {
        "death": (rank < positive).astype(np.float32),
        "grade": np.digitize(rank, [0.5, 0.8]).astype(np.float32),
        "stay": np.where(rank < 0.5, rank, np.nan).astype(np.float32),
        # Signed times: negative where censored.
        "relapse": np.where(rank < 0.1, 1 + rank, -1 - rank).astype(np.float32),
        "phenotype": np.zeros(N, np.float32),
    }
    kinds = dict(zip(labels, ("binary", "multiclass", "regression", "survival", "clustering"), strict=True))
    tasks = {name: {"problem_class": kind} for name, kind in kinds.items()}
    return StudyData({}, labels, tasks, train, fold)


def found(data: StudyData | None = None, parameters: int = 5000, **changes: Any) -> list[str]:
    data = data or cohort()
    training = {"epochs": 20, "batch_sizes": [64], **changes.pop("training", {})}
    model = {"encoder": [64], "shared": [64], "task": [32], **changes}
    settings = TrainingSettings(config.Model(**model), config.Training(**training), config.Compute(), {}, 0)
    inputs = [Input("labs", 80, "mlp", tuple(settings.model.encoder))]
    return doubts(data, settings, inputs, dict.fromkeys(data.tasks, parameters))


def test_events_are_those_of_the_fold_that_has_least() -> None:
    data = cohort()
    told = amounts(data)
    assert told.rows == min((data.train & (data.fold != fold)).sum() for fold in range(3)) == TRAINED
    for task, event in {
        "death": data.labels["death"] == 1,
        "grade": data.labels["grade"] != 0,
        "stay": ~np.isnan(data.labels["stay"]),
        "relapse": data.labels["relapse"] > 0,
    }.items():
        least = min((event & data.train & (data.fold != fold)).sum() for fold in range(3))
        assert told.events[task] == least, task
    # Of a frequent outcome, those without it are the rare ones.
    often = cohort(positive=0.9)
    never = often.labels["death"] == 0
    least = min((never & often.train & (often.fold != fold)).sum() for fold in range(3))
    assert amounts(often).events["death"] == least


def test_a_study_that_can_learn_raises_no_doubt() -> None:
    assert found() == []


@pytest.mark.parametrize(("epochs", "doubted"), [(10, True), (11, False)])
def test_too_few_steps_are_counted(epochs: int, doubted: bool) -> None:
    """1,200 rows in batches of 64 are 19 steps an epoch: 190 and 209."""
    texts = found(training={"epochs": epochs})
    assert bool(texts) == doubted
    if doubted:
        (text,) = texts
        assert "190 optimiser steps (1,200 rows in minibatches of 64 are 19 an epoch" in text
        # 600 of them, as the shape of the study would ask for.
        assert "`training.epochs: 32`" in text
        assert found(training={"epochs": 32}) == []


def test_of_several_batch_sizes_the_largest_takes_fewest_steps() -> None:
    assert found(training={"batch_sizes": [16, 64], "epochs": 10})[0].startswith("a fit takes 190 ")


@pytest.mark.parametrize(("batch", "doubted"), [(400, False), (401, True)])
def test_a_batch_of_more_than_a_third_of_the_rows(batch: int, doubted: bool) -> None:
    texts = found(training={"batch_sizes": [batch], "epochs": 100})
    assert bool(texts) == doubted
    if doubted:
        assert "a minibatch of 401 is more than a third of the 1,200 rows" in texts[0]
        assert "[32]" in texts[0]


def test_more_parameters_than_events_can_tell() -> None:
    events = amounts(cohort()).events["relapse"]
    assert found(parameters=1000 * events) == []
    (text,) = found(parameters=1000 * events + 1)
    assert f"relapse ({events:,} for {1000 * events + 1:,})" in text
    assert "death" not in text
    assert "phenotype" not in text
    (text,) = found(cohort(positive=0.02), parameters=10**7)
    assert re.search(r"death \(\d+ for 10,000,000\), relapse .*, grade .* and 1 more;", text)


def test_widths_far_above_the_data() -> None:
    """64 units would follow from 1,200 rows."""
    assert found(encoder=[256], shared=[256]) == []
    (text,) = found(encoder=[257], shared=[256])
    assert "the widest layer (encoder of labs) has 257 units for 1,200 rows and at most 80 features" in text
    assert "would take 64" in text
    assert "shared module" in found(shared=[300])[0]


@pytest.mark.parametrize(("fraction", "doubted"), [(0.05, True), (0.2, False)])
def test_early_stopping_by_few_events(fraction: float, doubted: bool) -> None:
    texts = found(training={"early_stopping": {"fraction": fraction}, "epochs": 100})
    assert bool(texts) == doubted
    if doubted:
        about = round(amounts(cohort()).events["relapse"] * fraction)
        assert "sets aside 5 % of the patients" in texts[0]
        assert f"(about {about} of relapse)" in texts[0]


def test_what_is_set_aside_is_not_learned_from() -> None:
    """960 rows of 1,200 are 15 steps of 64 an epoch: 195 in 13 epochs, where 19 make 247."""
    assert found(training={"epochs": 13}) == []
    (text,) = found(training={"epochs": 13, "early_stopping": {"fraction": 0.2}})
    assert text.startswith("a fit takes 195 optimiser steps (960 rows ")


def test_check_says_so_and_passes(tmp_path: Path) -> None:
    study = {
        "study": "doubtful",
        "results": str(tmp_path / "results"),
        "source": {"kind": "synthetic", "samples": 400},
        "modalities": {"labs": {"sources": ["ts_lab"]}},
        "tasks": {
            "definitions": [str(ROOT / "resources/tasks/m3h.yaml")],
            "include": ["heart_failure", "copd"],
        },
        "split": {"folds": 2},
        "training": {"epochs": 15, "min_steps": 0, "batch_sizes": [256], "early_stopping": None},
        "networks": {"others": {"sized": {"training": {"sizes": ["batch_sizes", "epochs"]}}}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    screen = io.StringIO()
    check_study(tmp_path / "study.yaml", screen)
    lines = screen.getvalue().splitlines()
    warned = [line for line in lines if line.startswith("warning: ")]
    own = [line for line in warned if line.startswith("warning: network own: ")]
    assert any("a fit takes 15 optimiser steps" in line for line in own)
    assert any("more than a third" in line for line in own)
    assert any("the widest layer" in line for line in own)
    # The other one has the same widths, and steps enough.
    assert not any("steps" in line or "third" in line for line in warned if "network sized: " in line)
    assert any(line.startswith("network sized: sizes by the study's shape: ") for line in lines)
