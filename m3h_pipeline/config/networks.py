"""The networks of a study: its own, and those that its section ``networks`` compares it with."""

from __future__ import annotations

from typing import Any

from m3h_pipeline.config.recipes import merged
from m3h_pipeline.config.results import Network
from m3h_pipeline.config.study import Study
from m3h_pipeline.config.validation import validate
from m3h_pipeline.errors import ConfigError, nearest


def networks(study: Study) -> dict[str, Study]:
    """The networks of the section ``networks``: name -> the study with its sections in their place.

    Raises:
        ConfigError: a network's sections are wrong, or its genes start from vectors the study does not make.
    """
    if study.networks is None:
        return {}
    found = {study.networks.own: study}
    for name, network in study.networks.others.items():
        where = f"networks.others.{name}"
        found[name] = validate(Study, _with_network(study, network), where)
        for modality, spec in found[name].modalities.items():
            ours, theirs = study.modalities[modality].options, spec.options
            if theirs is None or theirs.genes is None:
                continue
            if ours is None or ours.genes != theirs.genes or ours.width != theirs.width:
                raise ConfigError(
                    "genes start from vectors of another kind or width than in the study's own network",
                    where=f"{where}.modalities.{modality}.transcriptome",
                    hint="set `genes: null` there, or make it a study of its own",
                )
    return found


def _with_network(study: Study, network: Network) -> dict[str, Any]:
    # What its recipe says stands in its changes.
    recipe = network.recipe or study.recipe
    content = study.model_dump(mode="json") | {"networks": None, "recipe": recipe}
    changes = network.model_dump(mode="json", exclude={"recipe"})
    if unknown := set(changes["modalities"]) - set(content["modalities"]):
        name = min(unknown)
        raise ConfigError(
            f"there is no modality `{name}`",
            where="networks",
            hint=nearest(name, content["modalities"]),
        )
    return content | {key: merged(content[key], change) for key, change in changes.items()}
