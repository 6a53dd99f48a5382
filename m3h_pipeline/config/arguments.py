"""Sections as they travel to a verb: in the JSON of its ``--settings``."""

from __future__ import annotations

import json
from typing import Any

from m3h_pipeline.config.base import Section
from m3h_pipeline.config.model import Modality
from m3h_pipeline.config.sources import Source
from m3h_pipeline.config.validation import M, validate
from m3h_pipeline.errors import ConfigError


def settings(text: str, **sections: type[M]) -> dict[str, M]:
    """Parse the JSON of a verb's ``--settings``: the sections it uses.

    Raises:
        ConfigError: no JSON, or a section is wrong.
    """
    data = _mapping(text)
    return {
        name: validate(kind, data.get(name, {}), f"--settings, {name}") for name, kind in sections.items()
    }


def seed_of(text: str) -> int:
    """The study's seed in the JSON of ``--settings``.

    Raises:
        ConfigError: it is absent or no whole number.
    """
    seed = _mapping(text).get("seed")
    if not isinstance(seed, int):
        raise ConfigError("`seed` is missing or no whole number", where="--settings")
    return seed


def name_of(text: str) -> str:
    """The study's name in the JSON of ``--settings``.

    Raises:
        ConfigError: it is absent or no text.
    """
    name = _mapping(text).get("study")
    if not isinstance(name, str):
        raise ConfigError("`study` is missing or no text", where="--settings")
    return name


def source_of(text: str) -> Source:
    """The source in the JSON of ``--settings``, of whichever kind.

    Raises:
        ConfigError: it is absent, of no known kind, or wrong.
    """
    return validate(_Sourced, {"source": part_of(text, "source")}, "--settings").source


class _Sourced(Section):
    source: Source


def modalities_of(text: str) -> dict[str, Modality]:
    """The modalities in the JSON of ``--settings``.

    Raises:
        ConfigError: they are absent or wrong.
    """
    modalities = part_of(text, "modalities")
    if not modalities:
        raise ConfigError("`modalities` is empty", where="--settings")
    return {name: validate(Modality, value, f"--settings, {name}") for name, value in modalities.items()}


def part_of(text: str, name: str) -> dict[str, Any]:
    """One mapping in the JSON of ``--settings``, as it is.

    Raises:
        ConfigError: it is absent or no mapping.
    """
    part = _mapping(text).get(name)
    if not isinstance(part, dict):
        raise ConfigError(f"`{name}` is missing or no mapping", where="--settings")
    return part


def noise_of(text: str) -> list[str]:
    """The tasks that a synthetic source plants as noise, in the JSON of ``--settings``; none if not said.

    Raises:
        ConfigError: they are no list of names.
    """
    noise = _mapping(text).get("noise", [])
    if not isinstance(noise, list) or not all(isinstance(task, str) for task in noise):
        raise ConfigError("`noise` is no list of tasks", where="--settings")
    return noise


def _mapping(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"`--settings` is no JSON: {error}", where="command line") from error
    if not isinstance(data, dict):
        raise ConfigError("`--settings` must be a JSON object", where="command line")
    return data
