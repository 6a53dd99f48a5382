"""The plan of a compared network, and what the configuration of networks may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.config import Networks, Study, Training, validate
from m3h_pipeline.config.generate import DEFAULT_STUDY
from m3h_pipeline.config.networks import networks
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.networks.plan import plan_network
from tests.search.studies import write_tasks
from tests.search.test_sizing import TASKS

GENES = {"kind": "coexpression"}


def configured(section: dict[str, Any], **changes: Any) -> Study:
    return validate(Study, {**DEFAULT_STUDY, "networks": section, **changes}, "x.yaml")


@pytest.mark.parametrize(
    ("alone", "tasks", "sizes"),
    [(True, TASKS, [*[1] * 41, 41]), (False, TASKS, [41]), (False, TASKS[:1], [1]), (True, TASKS[:1], [1])],
)
def test_all_tasks_together_and_each_alone_on_every_fold_and_the_whole(
    tmp_path: Path, alone: bool, tasks: list[str], sizes: list[int]
) -> None:
    training = Training(batch_sizes=[32, 64], learning_rates=[1e-3])
    section = Networks(replicates=2, alone=alone)
    described = write_tasks(tmp_path / "tasks.json", tasks)
    plan_network(described, tmp_path / "plan.json", section, training, 3, 10)
    packs = json.loads((tmp_path / "plan.json").read_text())["packs"]
    entries = [entry for pack in packs.values() for entry in pack]
    assert sorted(len(entry["combination"]) for entry in entries) == sizes
    for entry in entries:
        assert entry["replicates"] == [0, 1]
        assert entry["folds"] == [0, 1, 2, -1]
        assert entry["settings"] == [[32, 1e-3], [64, 1e-3]]


def test_a_network_is_the_study_with_its_keys_in_place() -> None:
    transcriptome = {"sources": ["ts_lab"], "encoder": "transcriptome", "transcriptome": {"layers": 2}}
    modalities = {**DEFAULT_STUDY["modalities"], "time_series": transcriptome}
    section = {
        "own": "txt",
        "others": {
            "mlp": {"modalities": {"time_series": {"encoder": "mlp", "transcriptome": None}}},
            "rank": {
                "modalities": {"time_series": {"transcriptome": {"value": "rank"}}},
                "training": {"learning_rates": [0.01]},
                "model": {"attention": {"alpha": 0.5}},
            },
        },
    }
    study = configured(section, modalities=modalities)
    found = networks(study)
    assert list(found) == ["txt", "mlp", "rank"]
    assert found["txt"] is study
    assert found["mlp"].modalities["time_series"].options is None
    options = found["rank"].modalities["time_series"].options
    assert options is not None
    assert (options.value, options.layers) == ("rank", 2)
    assert found["rank"].training.learning_rates == [0.01]
    assert found["rank"].training.epochs == study.training.epochs
    assert (found["rank"].model.attention.alpha, found["rank"].model.encoder) == (0.5, study.model.encoder)
    assert found["rank"].modalities["vision"] == study.modalities["vision"]
    assert networks(validate(Study, DEFAULT_STUDY, "x.yaml")) == {}


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"model": {"droput": 0.1}}, "unknown key `droput` in `model`; did you mean `dropout`?"),
        ({"modalities": {"visoin": {}}}, "there is no modality `visoin`"),
        (
            {"training": {"epochs": 0}},
            "`training.epochs`: Input should be greater than or equal to 1",
        ),
        ({"modalities": {"vision": {"encoder": "mlp", "transcriptome": {}}}}, "but the encoder is `mlp`"),
        (
            {
                "modalities": {
                    "vision": {"encoder": "transcriptome", "transcriptome": {"genes": GENES}},
                }
            },
            "genes start from vectors of another kind or width",
        ),
    ],
)
def test_a_wrong_network_is_explained(network: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        networks(configured({"others": {"it": network}}))
    assert expected in str(caught.value)
    assert "networks" in str(caught.value)


def test_vectors_of_genes_are_made_once_for_all_networks() -> None:
    """Of the kind and width that the study itself has."""
    own = {"sources": ["ts_lab"], "encoder": "transcriptome", "transcriptome": {"genes": GENES, "width": 32}}
    modalities = {**DEFAULT_STUDY["modalities"], "time_series": own}

    def other(**options: Any) -> dict[str, Study]:
        changes = {"modalities": {"time_series": {"transcriptome": options}}}
        return networks(configured({"others": {"it": changes}}, modalities=modalities))

    assert list(other(layers=1)) == ["own", "it"]
    for options in ({"width": 64}, {"genes": {"neighbours": 3}}):
        with pytest.raises(ConfigError, match="vectors of another kind or width"):
            other(**options)


def test_names_of_networks_differ() -> None:
    with pytest.raises(ConfigError, match="name of the study's own network and of another one"):
        configured({"own": "mlp", "others": {"mlp": {}}})


@pytest.mark.parametrize("name", ["linear", "theirs"])
def test_a_network_is_not_called_as_a_reference_is(name: str) -> None:
    """Both stand in one table and one figure, whose dotted line is the reference `linear`."""
    given = {"given": {"theirs": {"anemia": {"column": "p", "means": "event"}}}}
    sections: list[dict[str, Any]] = [{"others": {name: {}}}, {"own": name}]
    for section in sections:
        with pytest.raises(ConfigError, match=f"another model of the tables is called `{name}`"):
            configured(section, evaluation=given)
