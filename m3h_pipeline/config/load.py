"""Read a study's configuration from its YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from m3h_pipeline.config.study import Study
from m3h_pipeline.config.validation import validate
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.shipped import located


def load_study(path: Path | str, changes: Sequence[str] = ()) -> Study:
    """Read a study's configuration file.

    Args:
        path: of the file; of one that ships, its name in a clone will do.
        changes: ``KEY=VALUE`` each, as Snakemake's ``--config`` takes them: a value is YAML, and a mapping
            changes the keys that it names.

    Raises:
        InputError: the file does not exist.
        ConfigError: it is no YAML or does not follow the schema, or a change is no ``KEY=VALUE``.
    """
    content = read_yaml(located(str(path)))
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise ConfigError(f"`{change}` is no KEY=VALUE", where="--config")
        if isinstance(content, dict):
            content = _changed(content, {key: parse_yaml(value, f"--config {key}")})
    return validate(
        Study, content, where=" ".join([str(path), *(f"--config {change}" for change in changes)])
    )


def _changed(content: dict[Any, Any], changes: dict[Any, Any]) -> dict[Any, Any]:
    """A mapping with other values; mappings within it are changed, not replaced."""
    both = {
        key: _changed(content[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(content.get(key), dict)
    }
    return content | changes | both


def read_yaml(path: Path | str) -> Any:
    """Read one YAML file.

    Raises:
        InputError: the file does not exist or cannot be read.
        ConfigError: as of :func:`parse_yaml`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot read the file: {error.strerror}",
            where=str(path),
            hint="check the path",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8: {error.reason}", where=str(path)) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML.

    Raises:
        ConfigError: it is no YAML or names a key twice; the message has line and column.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except RecursionError as error:
        raise ConfigError("this is nested hundreds of levels deep", where=where) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"this is no valid YAML: {problem}", where=place) from error


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, which by itself keeps the last of two equal keys and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key `{key.value}` stands here a second time", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)
