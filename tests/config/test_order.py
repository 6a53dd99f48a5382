"""Orders: a mapping of the configuration is sorted at once, or keeps its order wherever it travels."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import AfterValidator, ValidationError, WrapSerializer

from m3h_pipeline.config import Study, SyntheticSource
from m3h_pipeline.config.base import InOrder, Section
from m3h_pipeline.config.results import Networks
from m3h_pipeline.config.sources import SOURCE_KINDS
from m3h_pipeline.tasks.column_criteria import Classes, ExactlyOne
from m3h_pipeline.tasks.criteria import Diagnosis
from m3h_pipeline.tasks.definitions import TaskDefinition
from m3h_pipeline.tasks.kinds import KINDS


def _sections(kind: Any, seen: set[type[Section]]) -> Iterator[type[Section]]:
    """A section and those in its fields."""
    if isinstance(kind, type) and issubclass(kind, Section):
        if kind not in seen:
            seen.add(kind)
            yield kind
            for field in kind.model_fields.values():
                yield from _sections(field.annotation, seen)
    else:
        for inner in get_args(kind):
            yield from _sections(inner, seen)


ROOTS = (Study, TaskDefinition, *KINDS.values(), *SOURCE_KINDS.values())
SECTIONS = {section for root in ROOTS for section in _sections(root, set())}


def _is_mapping(annotation: Any) -> bool:
    if get_origin(annotation) in {typing.Union, types.UnionType}:
        return any(_is_mapping(inner) for inner in get_args(annotation))
    return get_origin(annotation) is dict


def test_every_mapping_says_what_its_order_means() -> None:
    in_order = set()
    mappings = 0
    for section in SECTIONS:
        for name, field in section.model_fields.items():
            if _is_mapping(field.annotation):
                mappings += 1
                place = f"{section.__name__}.{name}"
                by_name = any(
                    isinstance(item, AfterValidator) and getattr(item.func, "__name__", "") == "_by_name"
                    for item in field.metadata
                )
                if any(isinstance(item, WrapSerializer) for item in field.metadata):
                    in_order.add(place)
                else:
                    assert by_name, f"{place} is neither ByName nor InOrder"
    assert mappings > 12
    assert in_order == {"Classes.classes", "Diagnosis.groups", "ExactlyOne.classes", "Networks.others"}


def test_defaults_are_sorted_too() -> None:
    assert list(SyntheticSource().widths) == sorted(SyntheticSource().widths)


class _Ordered(Section):
    """A section with a mapping whose order has a meaning."""

    names: InOrder[str, list[int]]


@pytest.mark.parametrize("names", [{}, {"b": [1, 2], "a": [3]}, {"a": [], "b": [1]}])
def test_an_order_survives_json_that_is_sorted(names: dict[str, list[int]]) -> None:
    section = _Ordered(names=names)
    text = json.dumps(section.model_dump(mode="json"), sort_keys=True)
    again = _Ordered.model_validate_json(text)
    assert list(again.names.items()) == list(names.items())
    assert section.model_dump()["names"] == names


@pytest.mark.parametrize("given", [[["a", [1]], ["a", [2]]], [["a"]], [["a", [1], 3]], "a", [1]])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        _Ordered.model_validate({"names": given})


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (Classes, "classes", {"z": ["1"], "a": ["2"]}),
        (ExactlyOne, "classes", {"z": "1", "a": "2"}),
        (Diagnosis, "groups", {"z": {"titles": ["z"]}, "a": {"titles": ["a"]}}),
        (Networks, "others", {"z": {}, "a": {}}),
    ],
)
def test_sections_keep_the_orders_that_mean_something(
    section: type[Section], key: str, value: dict[str, Any]
) -> None:
    more = {"column": "x"} if section is Classes else {}
    one = section.model_validate({key: value, **more})
    assert list(getattr(one, key)) == ["z", "a"]
    assert section.model_validate_json(one.model_dump_json()) == one
    assert list(getattr(section.model_validate_json(one.model_dump_json()), key)) == ["z", "a"]
