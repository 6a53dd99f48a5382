"""Read a study's configuration from its YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from m3h_pipeline.config.study import Study
from m3h_pipeline.config.validation import validate
from m3h_pipeline.errors import ConfigError, InputError


def load_study(path: Path | str) -> Study:
    """Read a study's configuration file.

    Raises:
        InputError: the file does not exist.
        ConfigError: it is no YAML or does not follow the schema.
    """
    return validate(Study, read_yaml(path), where=str(path))


def read_yaml(path: Path | str) -> Any:
    """Read one YAML file.

    Raises:
        InputError: the file does not exist or cannot be read.
        ConfigError: it is no YAML or names a key twice; the message has line and column.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8: {error.reason}", where=str(path)) from error
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
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
