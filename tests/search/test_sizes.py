"""Sizes that follow from a study's shape: the rule, what is stated beside it, and that jobs agree on it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.cli import main
from m3h_pipeline.config import Model, Study, Training, validate
from m3h_pipeline.config.networks import networks
from m3h_pipeline.config.recipes import RECIPES, Recipe, merged
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.errors import ConfigError, ContractError, InputError
from m3h_pipeline.files import read_json, read_table, write_json
from m3h_pipeline.jobs import outputs
from m3h_pipeline.jobs.settings import JobSettings
from m3h_pipeline.layout import Layout
from m3h_pipeline.search import sizing
from m3h_pipeline.search.sizes import Shape, decided, read_sized, said, sized, sized_study
from tests.search.studies import write_tasks
from tests.training import studies

ALL = ["batch_sizes", "epochs", "encoder", "projection", "shared", "task", "decoder"]
AUTO = Training(sizes=ALL)
BASE: dict[str, Any] = {
    "study": "shaped",
    "source": {"kind": "synthetic", "widths": dict(studies.WIDTHS)},
    "modalities": {name: {"sources": [name]} for name in studies.WIDTHS},
    "split": {"folds": 3, "test_fraction": 0.25},
    "training": {"sizes": "auto", "learning_rates": [0.01], "early_stopping": None, "min_steps": 0},
    "compute": {"device": "cpu"},
    "search": {"combinations_per_job": 7},
}
SUMMARY = {"rows": 1000, "sources": {name: {"features": n} for name, n in studies.WIDTHS.items()}}


def study(**changes: Any) -> Study:
    return validate(Study, merged(BASE, changes), "x.yaml")


@given(st.integers(1, 2_000_000), st.lists(st.integers(1, 30_000), min_size=1, max_size=4))
def test_the_rule_is_what_its_page_says(rows: int, features: list[int]) -> None:
    model, training = sized(Model(), AUTO, Shape(rows, {f"m{i}": n for i, n in enumerate(features)}))
    (batch,) = training.batch_sizes
    steps = training.epochs * math.ceil(rows / min(batch, rows))
    assert batch & (batch - 1) == 0
    assert 8 <= batch <= 512
    assert batch <= max(8, rows / 10)
    if rows >= 320:
        assert 32 <= batch <= max(32, rows / 20)
    assert 10 <= training.epochs <= 200
    assert steps >= 600 or training.epochs == 200
    assert training.epochs == 10 or steps - math.ceil(rows / min(batch, rows)) < 600
    width = model.encoder[0]
    assert 16 <= width <= 256
    assert width == 16 or width**2 <= 4 * rows
    assert width == 16 or width < 2 * max(features)
    assert model.encoder == model.shared == ([width, width // 2] if width >= 128 else [width])
    assert model.task == [min(width, 64)]
    assert model.projection == min(model.encoder[-1] // 2, 64)
    assert model.decoder == [width]
    assert training.sizes == []


def test_at_the_published_shape_it_gives_the_published_widths() -> None:
    """And those of the shipped small studies at theirs."""
    model, training = sized(Model(), AUTO, Shape(22_104, {"vision": 2084, "language": 2304, "tabular": 6}))
    assert model == Model()
    assert (training.batch_sizes, training.epochs) == ([512], 14)
    hospital, training = sized(Model(), AUTO, Shape(800, {"tabular": 40, "proteins": 180}))
    assert (hospital.encoder, hospital.projection, hospital.shared) == ([32], 16, [32])
    assert (hospital.task, hospital.decoder) == ([32], [32])
    assert training.epochs * math.ceil(800 / training.batch_sizes[0]) >= 600


def test_a_study_keeps_what_it_states() -> None:
    assert study().training.sizes == ALL
    some = study(training={"epochs": 3}, model={"encoder": [5], "task": [4]})
    assert some.training.sizes == ["batch_sizes", "projection", "shared", "decoder"]
    model, training = sized(some.model, some.training, Shape(4000, {"m": 900}))
    assert (training.epochs, model.encoder, model.task) == (3, [5], [4])
    assert (training.batch_sizes, model.shared, model.projection) == ([128], [64], 2)
    # Steps are counted in the batches that are stated, the largest of them.
    stated = study(training={"batch_sizes": [50, 400]})
    assert "batch_sizes" not in stated.training.sizes
    training = sized(stated.model, stated.training, Shape(4000, {"m": 9}))[1]
    assert (training.batch_sizes, training.epochs) == ([50, 400], 60)
    # Keys can be named, and nothing is asked for by default.
    assert study(training={"sizes": ["epochs"]}).training.sizes == ["epochs"]
    assert validate(Study, {**BASE, "training": {}}, "x").training.sizes == []


@pytest.mark.parametrize(
    ("sizes", "message"),
    [("automatic", "training.sizes"), (["widths"], "training.sizes"), (3, "training.sizes")],
)
def test_other_words_are_refused_by_their_key(sizes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study(training={"sizes": sizes})


def test_what_auto_leaves_to_the_shape_survives_the_record() -> None:
    others = {"stated": {"training": {"epochs": 3}}, "published": {"recipe": "published"}}
    found = study(networks={"others": others}, model={"task": [4]})
    again = validate(Study, json.loads(found.model_dump_json()), "record")
    assert again == found
    assert networks(again) == networks(found)
    of = {name: one.training.sizes for name, one in networks(found).items()}
    assert of["own"] == of["published"] == [name for name in ALL if name != "task"]
    assert of["stated"] == [name for name in ALL if name not in {"task", "epochs"}]


def test_a_recipe_may_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "default", Recipe(training={"sizes": "auto"}))
    content = {**BASE, "training": {"batch_sizes": [9]}}
    assert validate(Study, content, "x").training.sizes == [name for name in ALL if name != "batch_sizes"]
    published = validate(Study, {**content, "recipe": "published"}, "x")
    assert (published.training.sizes, published.training.epochs) == ([], 15)


def test_jobs_that_plan_and_jobs_that_train_agree(tmp_path: Path) -> None:
    """By the verbs of the workflow: the fits are those of a study that states the sizes."""
    data = studies.study(90, folds=3)
    studies.write_study(data, tmp_path, {})
    write_json({**SUMMARY, "rows": 90}, tmp_path / "cohort/summary.json")
    write_tasks(tmp_path / "labels/tasks.json", ["anemia"])
    auto = study()
    known = sized_study(auto, tmp_path / "cohort/summary.json")
    # 90 samples, a quarter of them in the test part, a third of the rest in a fold.
    assert (known.training.batch_sizes, known.training.epochs, known.model.encoder) == ([8], 100, [16])
    keys: list[Any] = []
    for one in (auto, known):
        told = JobSettings(one, {})
        plan, out = tmp_path / "plan.json", tmp_path / f"{len(keys)}"
        paths = ["--tasks", str(tmp_path / "labels/tasks.json"), "--output", str(plan)]
        summary = ["--summary", str(tmp_path / "cohort/summary.json")]
        assert main(["plan-round", "--round", "1", "--settings", told.plan_round(1), *paths, *summary]) == 0
        (entry,) = read_json(plan)["packs"]["0000"]
        assert entry["settings"] == [[8, 0.01]]
        entry["folds"] = [0]
        write_json({"stage": "round_1", "packs": {"0000": [entry]}}, plan)
        files = {name: str(out / f"{name}.parquet") for name in ("scores", "predictions")}
        train = ["train-pack", "--pack", "0000", "--settings", told.train(), "--plan", str(plan)]
        for name, where in {"cohort": "cohort", "labels": "labels", "split": "split.parquet"}.items():
            train += [f"--{name}", str(tmp_path / where)]
        train += ["--store", str(out / "store")]
        assert main([*train, *(part for n, p in files.items() for part in (f"--{n}", p))]) == 0
        table = read_table(Path(files["scores"]), SCORES).to_pylist()
        assert {row["epochs"] for row in table} == {100}
        keys.append([(row["fit_key"], row["value"]) for row in table])
    assert keys[0] == keys[1]


def test_jobs_are_told_of_the_shape_and_wait_for_it() -> None:
    """A cohort of another size plans and trains again; a study that states its sizes never asks."""
    auto, stated = study(), study(training={"sizes": []})
    files = Layout(Path("r"))
    assert files.cohort.summary in outputs.shape_of_fits(files, auto)
    assert files.cohort.summary not in outputs.shape_of_fits(files, stated)
    one = study(training={"sizes": []}, networks={"others": {"it": {"training": {"sizes": ["epochs"]}}}})
    assert files.cohort.summary in outputs.shape_of_fits(files, one)
    folds = study(split={"folds": 4})
    assert JobSettings(auto, {}).train() != JobSettings(folds, {}).train()
    assert (
        JobSettings(stated, {}).train()
        == JobSettings(study(training={"sizes": []}, split={"folds": 4}), {}).train()
    )
    told = json.loads(JobSettings(auto, {}).train())
    assert {modality["hidden"] for modality in told["modalities"].values()} == {None}


def test_packs_are_sized_by_what_is_trained() -> None:
    auto = study()
    sections = (auto.modalities, auto.model, auto.training, auto.compute, auto.split)
    shape = sizing.study_of(SUMMARY, {}, *sections)
    known = sized(auto.model, auto.training, Shape(500, studies.WIDTHS))
    assert (shape.model, shape.training) == known


def test_a_shape_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    auto = study()
    sections = (auto.model, auto.training, auto.modalities, auto.split)
    with pytest.raises(InputError, match="follow from the shape of the cohort"):
        read_sized(*sections, None)
    with pytest.raises(InputError):
        read_sized(*sections, tmp_path / "absent.json")
    write_json({"rows": 9, "sources": {}}, tmp_path / "summary.json")
    with pytest.raises(ContractError, match="lacks"):
        read_sized(*sections, tmp_path / "summary.json")
    stated = study(training={"sizes": []})
    assert sized_study(stated, tmp_path / "absent.json") == stated


def test_people_are_told_the_sizes_and_why(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(SUMMARY, path)
    found = decided(study(), path)
    assert list(found) == [f"training.{name}" for name in ALL[:2]] + [f"model.{name}" for name in ALL[2:]]
    assert (found["training.batch_sizes"], found["training.epochs"]) == ([32], 38)
    text = said(study(), path)
    assert "training.batch_sizes [32], training.epochs 38" in text
    assert "500 rows" in text
    assert "16 steps an epoch, 608 in all" in text
    assert "beta, has 7 features" in text
    assert said(study(training={"sizes": []}), path) == ""
