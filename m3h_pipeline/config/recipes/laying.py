"""Recipes laid under what a study states, and under what it states of the networks it compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from m3h_pipeline.config.model import Modality, Model
from m3h_pipeline.config.recipes.values import RECIPES, Recipe, merged, values_of
from m3h_pipeline.config.training import SizeName, Training

#: What ``training.sizes`` may name.
SIZES = get_args(SizeName)
_SECTIONS = ("model", "training", "modalities")


def with_recipes(content: Mapping[str, Any]) -> dict[str, Any]:
    """A study's content with its recipe under what it states.

    A network of ``networks.others`` is the study with the network's changes written into it and, where it
    names one, its recipe in the place of the study's. What that comes to is written into its changes, so that
    they say all that differs, whatever becomes of the recipe. Content that this has made is left as it is.

    Args:
        content: of a study's file, before it is validated: what does not follow the schema is left as it is.
    """
    stated = {name: content[name] for name in _SECTIONS if isinstance(content.get(name), Mapping)}
    laid = dict(content)
    recipe = _recipe(content.get("recipe"))
    if recipe is not None:
        own = _laid(recipe, stated)
        # A section that is no mapping is a mistake, which validation names.
        laid |= {key: value for key, value in own.items() if key in stated or (value and key not in content)}
    networks = content.get("networks")
    others = networks.get("others") if isinstance(networks, Mapping) else None
    if isinstance(networks, Mapping) and isinstance(others, Mapping):
        told = {name: _network(content, stated, network) for name, network in others.items()}
        laid["networks"] = {**networks, "others": told}
    return laid


def _network(content: Mapping[str, Any], stated: Mapping[str, Any], network: Any) -> Any:
    """A network's changes, with those that its recipe makes."""
    if not isinstance(network, Mapping):
        return network
    changes = {name: network[name] for name in _SECTIONS if isinstance(network.get(name), Mapping)}
    ours, theirs = _recipe(content.get("recipe")), _recipe(network.get("recipe") or content.get("recipe"))
    if ours is None or theirs is None:
        return network
    try:
        before, after = _whole(ours, stated), _whole(theirs, merged(stated, changes))
    except (ValidationError, TypeError):
        # What is wrong is told where the sections are validated.
        return network
    # So are modalities that the study does not have.
    after["modalities"] = {name: after["modalities"][name] for name in before["modalities"]}
    return {**network, **merged(_difference(before, after), changes)}


def _whole(recipe: Recipe, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Every key of the sections: as stated, or by the recipe, or by its field's default.

    Raises:
        ValidationError, TypeError: what is stated does not follow the schema.
    """
    values = _laid(recipe, stated)
    return {
        "model": Model(**values["model"]).model_dump(mode="json"),
        "training": Training(**values["training"]).model_dump(mode="json"),
        "modalities": {
            name: Modality(**value).model_dump(mode="json") for name, value in values["modalities"].items()
        },
    }


def _laid(recipe: Recipe, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What is stated, over the recipe; ``training.sizes: auto`` as the keys that are not stated."""
    own: dict[str, Any] = merged(values_of(recipe, _encoders(stated)), stated)
    if own["training"].get("sizes") == "auto":
        there = {*stated.get("training", {}), *stated.get("model", {})}
        own["training"] = {**own["training"], "sizes": [name for name in SIZES if name not in there]}
    return own


def _recipe(name: Any) -> Recipe | None:
    """The recipe of a name; None: there is none, which validation tells."""
    return next((recipe for known, recipe in RECIPES.items() if known == (name or "default")), None)


def _encoders(stated: Mapping[str, Any]) -> dict[str, object]:
    """Modality -> its encoder, of those that are mappings."""
    return {
        name: modality.get("encoder", "mlp")
        for name, modality in stated.get("modalities", {}).items()
        if isinstance(modality, Mapping)
    }


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What to merge into the one to have the other."""
    found = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := _difference(old, value):
                found[key] = inner
        elif old != value:
            found[key] = value
    return found
