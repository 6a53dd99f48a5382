"""Every example of docs/extending.md works: a study of parts of its own, from check to figures."""

from __future__ import annotations

import io
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.metrics import d2_tweedie_score

from m3h_pipeline.check import check_study
from m3h_pipeline.config import Study, load_study
from m3h_pipeline.contracts import COMPARISON, EVALUATION, PREDICTIONS, SCORES, SPLIT
from m3h_pipeline.figures import registry
from m3h_pipeline.files import read_labels, read_table
from tests.conftest import ROOT
from tests.end_to_end.in_process import FIGURES, Whole

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n# (.*?)\n(.*?)```", PAGE, flags=re.DOTALL)
FILES = {name: text for _, name, text in BLOCKS if re.fullmatch(r"my_\w+\.py|\w+\.yaml", name)}
METRIC = "my_classes.explained_deviance"

STUDY: dict[str, Any] = {
    "study": "mine",
    "tasks": {"definitions": ["my_tasks.yaml", "more_tasks.yaml"], "min_per_fold": 2},
    "split": {"folds": 2},
    "model": {"encoder": [8], "projection": 8, "shared": [8], "task": [8], "decoder": [8]},
    "training": {"epochs": 2, "batch_sizes": [32], "learning_rates": [3e-3]},
    "compute": {"device": "cpu"},
    "search": {"max_size": 2},
    "tim": {"replicates": 1, "draws": 20},
    "evaluation": {"replicates": 2, "draws": 20},
    "figures": {"formats": ["svg"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The examples' files, a cohort, and a study of them, in the working directory."""
    path = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (path / name).write_text(text, encoding="utf-8")
    study = dict(STUDY)
    for language, name, text in BLOCKS:
        if language == "yaml" and name == "of a study":
            for key, value in yaml.safe_load(text).items():
                study[key] = study.get(key, {}) | value
    (path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(160, 6))
    np.savez(
        path / "cohort.npz",
        sample=np.array([f"s{i:03d}" for i in rng.permutation(160)]),
        patient=np.array([f"p{i:03d}" for i in range(160)]),
        proteins=x,
        clinical=x[:, :2] + rng.normal(size=(160, 2)),
        admissions=rng.poisson(np.exp(0.8 * x[:, 0])),
        cd4=np.exp(x[:, 1]),
        cd8=np.where(np.arange(160) % 9, np.exp(rng.normal(size=160)), np.nan),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        # As the console script sees it: the working directory is found all the same.
        patch.setattr(sys, "path", [entry for entry in sys.path if entry])
        yield path
        for name in FILES:
            sys.modules.pop(name.removesuffix(".py"), None)


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return load_study(folder / "study.yaml")


@pytest.fixture(scope="module")
def finished(folder: Path, study: Study) -> Whole:
    whole = Whole(study, folder / "results/mine")
    whole.run()
    return whole


def test_an_example_is_short_and_whole() -> None:
    kinds = {"my_networks.py", "my_stacked.py", "my_classes.py", "my_criteria.py", "my_sources.py"}
    assert kinds <= FILES.keys()
    assert len(BLOCKS) == PAGE.count("```") // 2
    assert max(text.count("\n") for _, _, text in BLOCKS) < 40


def test_check_tries_what_the_study_names(folder: Path) -> None:
    screen = io.StringIO()
    check_study(folder / "study.yaml", screen)
    said = screen.getvalue()
    assert "my_stacked.Gated: 6 features to 64" in said
    assert "my_networks.Residual: 2 features to 8" in said
    assert f"my_classes.Counts: a regression class, scored by {METRIC}" in said
    assert "2 of 2 tasks can be evaluated" in said


def test_the_source_and_the_criterion_say_what_they_are_meant_to(folder: Path, finished: Whole) -> None:
    with np.load(folder / "cohort.npz") as file:
        content = {name: file[name][np.argsort(file["sample"])] for name in file.files}
    y, description = read_labels(finished.labels / "inverted_ratio.parquet")
    ratio = content["cd8"] / content["cd4"]
    np.testing.assert_array_equal(y, np.where(np.isnan(ratio), np.nan, ratio >= 1))
    assert description["metric"] == "auroc"
    assert "own_class" not in description
    y, description = read_labels(finished.labels / "admissions.parquet")
    np.testing.assert_array_equal(y, content["admissions"])
    assert (description["problem_class"], description["metric"]) == ("regression", METRIC)
    assert description["own_class"] == "my_classes.Counts"


def test_the_class_is_trained_scored_and_evaluated_by_its_own_metric(finished: Whole) -> None:
    packs = finished.folder / "search/final/packs"
    alone = {
        row["fit_key"]
        for path in packs.glob("*.scores.parquet")
        for row in read_table(path, SCORES).to_pylist()
        if row["combination"] == row["task"] == "admissions" and row["fold"] == -1
    }
    predicted = [
        row["prediction"]
        for path in packs.glob("*.predictions.parquet")
        for row in read_table(path, PREDICTIONS).to_pylist()
        if row["fit_key"] in alone
    ]
    assert len(predicted) == 2
    test = read_table(finished.split, SPLIT).column("fold").to_numpy() < 0
    y = read_labels(finished.labels / "admissions.parquet")[0][test]
    wanted = d2_tweedie_score(y, np.mean(predicted, axis=0), power=1)
    rows = read_table(finished.folder / "evaluation/evaluation.parquet", EVALUATION).to_pylist()
    row = next(row for row in rows if row["task"] == "admissions")
    assert (row["problem_class"], row["metric"]) == ("regression", METRIC)
    assert row["single"] == pytest.approx(wanted, rel=1e-5)
    assert row["single_low"] < row["single"] < row["single_high"]
    compared = read_table(finished.folder / "evaluation/comparison.parquet", COMPARISON).to_pandas()
    mine = compared[compared["task"] == "admissions"]
    assert set(mine["model"]) == {"multi", "single", "linear", "gradient_boosting"}
    assert np.isfinite(mine["value"]).all()


def test_every_figure_shows_it(finished: Whole) -> None:
    finished.draw()
    for name in FIGURES:
        assert (finished.folder / f"figures/{name}.svg").stat().st_size > 0
    text = (finished.folder / "figures/comparison.svg").read_text(encoding="utf-8")
    assert "explained deviance" in text


def test_the_figure_of_the_page_is_drawn(finished: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    (path, code), (_, entry) = ((name, text) for _, name, text in BLOCKS if "m3h_pipeline/figures/" in name)
    module = types.ModuleType(path.removesuffix(".py").replace("/", "."))
    exec(compile(code, path, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    name, spec = eval(entry, vars(registry))
    monkeypatch.setitem(registry.FIGURES, name, spec)
    finished.draw([name])
    shown = (finished.folder / f"figures/{name}.csv").read_text().splitlines()
    assert shown[0] == "task,share"
    assert [line.split(",")[0] for line in shown[1:]] == ["inverted_ratio"]
