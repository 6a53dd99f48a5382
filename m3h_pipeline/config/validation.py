"""Validate sections of the configuration; messages name the key, its place and the nearest valid one."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from m3h_pipeline.config.sources import SOURCE_KINDS
from m3h_pipeline.config.study import Study
from m3h_pipeline.errors import ConfigError, nearest

M = TypeVar("M", bound=BaseModel)


#: Sections of a study that had another name.
RENAMED = {"interactions": "gene_pairs", "variants": "networks"}


#: How deep a configuration may be nested, and how many values it may hold when every alias is written out.
DEEPEST, MOST = 50, 5_000_000


def validate(model: type[M], data: Any, where: str) -> M:
    """Validate ``data`` as ``model``.

    Raises:
        ConfigError: one message with every wrong key or value, its place and the nearest valid key.
    """
    if not isinstance(data, Mapping):
        raise ConfigError("the configuration must be a mapping of keys to values", where=where)
    _written_out(data, where, {}, 0)
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        problems = [_problem(model, item) for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(problems), where=where) from error


def _written_out(data: Any, where: str, known: dict[int, int], depth: int) -> int:
    """How many values there are when each alias of YAML is written out, which is what validation does.

    Args:
        data: mappings, lists and values.
        where: of the configuration.
        known: identity of what has been counted -> its values.
        depth: of ``data``.

    Raises:
        ConfigError: they are more than :data:`MOST`, or nested deeper than :data:`DEEPEST`.
    """
    if not isinstance(data, Mapping | list):
        return 1
    if id(data) in known:
        return known[id(data)]
    if depth > DEEPEST:
        raise ConfigError(f"this is nested more than {DEEPEST} deep, or holds itself", where=where)
    inner = data.values() if isinstance(data, Mapping) else data
    number = 1 + sum(_written_out(one, where, known, depth + 1) for one in inner)
    if number > MOST:
        raise ConfigError(
            f"with its aliases (`*name`) written out this holds more than {MOST:,} values", where=where
        )
    known[id(data)] = number
    return number


_TAGGED = {("source", kind) for kind in SOURCE_KINDS}


def _problem(model: type[BaseModel], item: Any) -> str:
    # A discriminated union puts its tag into the location; the user's file has no such level.
    place = list(item["loc"])
    if tuple(place[:2]) in _TAGGED:
        del place[1]
    dotted = ".".join(str(part) for part in place) or "the file"
    if item["type"] == "extra_forbidden":
        parent = ".".join(str(part) for part in place[:-1])
        valid = _keys_at(model, item["loc"][:-1])
        inside = f" in `{parent}`" if parent else ""
        if model is Study and (name := RENAMED.get(dotted)):
            return f"unknown key `{dotted}`; this section is called `{name}` now"
        return f"unknown key `{place[-1]}`{inside}; {nearest(str(place[-1]), valid)}"
    if item["type"] == "missing":
        return f"`{dotted}` is missing"
    if item["type"].startswith("union_tag_"):
        context = item["ctx"]
        key = ".".join([*map(str, place), context["discriminator"].strip("'")])
        valid = [tag.strip("' ") for tag in context.get("expected_tags", "").split(",")]
        if item["type"] == "union_tag_invalid":
            return f"`{key}` is `{context['tag']}`; {nearest(context['tag'], valid)}"
        return f"`{key}` is missing"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) or given is None else ""
    return f"`{dotted}`: {message}{shown}" if place else message


def _keys_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    kind: Any = model
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        else:
            kind = _step(kind, part)
        kind = _model_of(kind, part)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return []


def _step(kind: Any, part: int | str) -> Any:
    """The type inside a container or union when the location moves one step into it."""
    arguments = get_args(kind)
    if get_origin(kind) in {typing.Union, types.UnionType}:
        return next(
            (
                a
                for a in arguments
                if getattr(a, "model_fields", {}).get("kind") is not None
                and a.model_fields["kind"].default == part
            ),
            None,
        )
    return arguments[-1] if arguments else None


def _model_of(kind: Any, part: int | str) -> Any:
    if get_origin(kind) is typing.Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {typing.Union, types.UnionType}:
        rest = [a for a in get_args(kind) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return kind
