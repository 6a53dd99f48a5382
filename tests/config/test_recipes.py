"""Recipes: what they come to, what wins over them, and that they reach fits as values alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from m3h_pipeline.config import Modality, Model, Study, Training, load_study, validate
from m3h_pipeline.config.generate import DEFAULT_STUDY, default_yaml
from m3h_pipeline.config.networks import networks
from m3h_pipeline.config.recipes import RECIPES, Recipe, merged
from m3h_pipeline.errors import ConfigError
from tests.jobs import studies

BARE = {
    "study": "bare",
    "source": {"kind": "synthetic"},
    "modalities": {"tabular": {"sources": ["demographics"]}, "labs": {"sources": ["ts_lab"]}},
}
GENES = {"sources": ["ts_lab"], "encoder": "transcriptome"}


def study(**changes: Any) -> Study:
    return validate(Study, merged(BARE, changes), "x.yaml")


@pytest.fixture
def earned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default recipe that says something."""
    recipe = Recipe(
        model={"dropout": 0.25, "attention": {"alpha": 0.3}},
        training={"contrastive_weight": 0.125, "early_stopping": {"patience": 4}},
        modality={"scaling": "minmax"},
        transcriptome={"transcriptome": {"strength": 2.0, "layers": 3}},
    )
    monkeypatch.setitem(RECIPES, "default", recipe)


def test_the_published_study_is_the_paper_to_the_letter() -> None:
    """Model Training Pipeline, Model Loss, Binary Classification and Algorithm 1 of arXiv 2404.18975."""
    found = study(
        recipe="published", modalities={"genes": {"sources": ["ts_chart"], "encoder": "transcriptome"}}
    )
    training, model = found.training, found.model
    assert training.epochs == 15
    assert training.batch_sizes == [256, 512]
    assert training.learning_rates == [0.0005, 0.001]
    assert training.update == "sequential"
    assert training.contrastive_weight == 1
    assert (training.task_weights, training.balance) == ({}, "fixed")
    assert model.regression.loss == "absolute"
    assert (model.absence, training.modality_dropout) == ("mean", 0)
    assert training.rare_below == 0.1
    assert (training.weight_decay, training.gradient_clip, training.early_stopping) == (0, None, None)
    assert (model.attention.alpha, model.attention.normalise) == (0.1, "published")
    assert (model.attention.own_weight, model.linear_path) == ("published", False)
    assert (training.min_steps, training.output_bias) == (0, "rare")
    assert (model.encoder, model.shared, model.task) == ([256, 128], [256, 128], [64])
    assert (model.projection, model.temperature, model.decoder) == (64, 0.1, [256])
    assert (model.dropout, model.input_dropout, model.negative_slope, model.task_network) == (0, 0, 0, "mlp")
    assert found.modalities["tabular"].scaling == found.modalities["labs"].scaling == "standard"
    # Of the transformer over genes: TxT.
    genes = found.modalities["genes"]
    assert genes.scaling == "minmax"
    assert genes.options is not None
    assert genes.options.normalise == "batch"


def test_without_a_word_a_study_has_what_was_earned() -> None:
    found = study()
    assert found.recipe == "default"
    earned = RECIPES["default"]
    assert (found.model, found.training) == (Model(**earned.model), Training(**earned.training))
    assert found.modalities["labs"] == Modality(sources=["ts_lab"], **earned.of_modality("mlp"))
    assert study(modalities={"labs": GENES}).modalities["labs"].indicators is False
    assert found.model.linear_path
    assert found.training.early_stopping is not None


def test_a_recipe_that_names_nothing_leaves_the_defaults_of_the_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RECIPES, "default", Recipe())
    assert (study().model, study().training) == (Model(), Training())


def test_what_a_study_states_wins_section_by_section() -> None:
    found = study(
        recipe="published",
        model={"attention": {"alpha": 0.5}},
        training={"update": "sum", "early_stopping": {"patience": 3}},
        modalities={"labs": {"scaling": "robust"}},
    )
    assert (found.model.attention.alpha, found.model.attention.normalise) == (0.5, "published")
    assert (found.training.update, found.training.epochs) == ("sum", 15)
    assert found.training.early_stopping is not None
    assert {name: one.scaling for name, one in found.modalities.items()} == {
        "labs": "robust",
        "tabular": "standard",
    }


@pytest.mark.usefixtures("earned")
def test_a_stated_null_and_a_stated_default_win_too() -> None:
    found = study()
    assert (found.model.dropout, found.model.attention.alpha, found.training.contrastive_weight) == (
        0.25,
        0.3,
        0.125,
    )
    assert found.training.early_stopping is not None
    stated = study(model={"dropout": 0.0}, training={"early_stopping": None})
    assert (stated.model.dropout, stated.model.attention.alpha) == (0.0, 0.3)
    assert (stated.training.early_stopping, stated.training.contrastive_weight) == (None, 0.125)


@pytest.mark.usefixtures("earned")
@pytest.mark.parametrize("recipe", RECIPES)
def test_what_was_resolved_stays_whatever_becomes_of_recipes(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of a study is read again by another version."""
    others = {"a": {"recipe": "published"}, "b": {"recipe": "default"}, "c": {"model": {"dropout": 0.5}}}
    found = study(recipe=recipe, modalities={"labs": GENES}, networks={"others": others})
    before = networks(found)
    content = json.loads(found.model_dump_json())
    for name in RECIPES:
        monkeypatch.setitem(RECIPES, name, Recipe(model={"dropout": 0.125}, training={"epochs": 77}))
    again = validate(Study, content, "record")
    assert again == found
    assert networks(again) == before


@pytest.mark.usefixtures("earned")
@pytest.mark.parametrize("own", RECIPES)
@pytest.mark.parametrize("other", RECIPES)
def test_a_network_with_a_recipe_is_the_study_with_that_recipe(own: str, other: str) -> None:
    stated = {
        "model": {"encoder": [8], "attention": {"normalise": "max_abs"}},
        "training": {"epochs": 3},
        "modalities": {"labs": GENES},
    }
    changes = {"model": {"dropout": 0.75}, "training": {"learning_rates": [0.5]}}
    found = networks(study(recipe=own, networks={"others": {"it": {"recipe": other, **changes}}}, **stated))
    alone = study(recipe=other, **merged(stated, changes))
    for section in ("recipe", "model", "training", "modalities"):
        assert getattr(found["it"], section) == getattr(alone, section), section


@pytest.mark.usefixtures("earned")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_network_with_another_encoder_takes_what_the_recipe_says_of_that(recipe: str) -> None:
    to_genes = {"modalities": {"labs": {"encoder": "transcriptome"}}}
    to_mlp = {"modalities": {"labs": {"encoder": "mlp"}}}
    found = networks(study(recipe=recipe, networks={"others": {"it": to_genes}}))["it"]
    assert found.modalities == study(recipe=recipe, **to_genes).modalities
    back = networks(study(recipe=recipe, **to_genes, networks={"others": {"it": to_mlp}}))["it"]
    assert back.modalities == study(recipe=recipe).modalities


def test_fits_know_values_and_no_recipe() -> None:
    """A recipe that says what the study states retrains nothing."""
    written_out = studies.content()
    published = validate(Study, {**written_out, "recipe": "published"}, "x")
    sections = json.loads(published.model_dump_json(include={"model", "training", "modalities"}))
    stated = validate(Study, {**written_out, **sections}, "x")
    assert studies.changed(published, stated) == set()
    assert "train" in studies.changed(published, studies.study())


def test_the_default_file_switches_its_recipe() -> None:
    text = default_yaml()
    assert validate(Study, yaml.safe_load(text), "x") == validate(Study, DEFAULT_STUDY, "x")
    switched = text.replace("\nrecipe: default\n", "\nrecipe: published\n")
    assert switched != text
    found = validate(Study, yaml.safe_load(switched), "x")
    assert found == validate(Study, {**DEFAULT_STUDY, "recipe": "published"}, "x")
    assert (found.training.update, found.model.attention.normalise) == ("sequential", "published")


@pytest.mark.usefixtures("earned")
def test_the_default_file_shows_the_recipe_and_can_be_told_otherwise() -> None:
    """With every `#` taken away the file states what its recipe says."""
    text = default_yaml()
    assert "  #dropout: 0.25\n" in text
    assert "    #alpha: 0.3\n" in text
    lines = [
        line.replace("#", "", 1) if line.lstrip().startswith("#") and line.lstrip()[1] != " " else line
        for line in text.splitlines()
    ]
    stated = yaml.safe_load("\n".join(lines))
    assert stated["model"]["attention"] == {
        "alpha": 0.3,
        "normalise": "max_abs",
        "own_weight": "published",
    }
    assert stated["modalities"]["vision"]["scaling"] == "minmax"
    resolved = validate(Study, DEFAULT_STUDY, "x")
    assert validate(Study, stated, "x") == resolved


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": "publishd"}, "`recipe`: Input should be 'default' or 'published' (given: 'publishd')"),
        ({"recipe": ["published"]}, "`recipe`: Input should be 'default' or 'published'"),
        (
            {"networks": {"others": {"it": {"recipe": "letter"}}}},
            "`networks.others.it.recipe`: Input should be 'default' or 'published' (given: 'letter')",
        ),
        ({"recipe": "published", "model": 3}, "`model`: "),
        ({"recipe": "published", "training": {"epochs": None}}, "`training.epochs`: "),
        ({"recipe": "published", "modalities": {"labs": 3}}, "`modalities.labs`: "),
        ({"recipe": "published", "networks": {"others": {"it": {"modalities": [1]}}}}, "modalities"),
        ({"recipe": "published", "networks": {"others": {"it": 3}}}, "`networks.others.it`: "),
    ],
)
def test_what_is_wrong_is_named_at_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(**changes)
    assert said in str(caught.value)


def test_a_recipe_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(BARE))
    assert load_study(tmp_path / "x.yaml", ["recipe=published"]) == study(recipe="published")
