"""A stand-in for pydantic where nothing can be installed: values and defaults of sections, not validated.

No file that a person wrote is read on such a machine: ``make gpu`` states its settings in code. Names are
checked, numbers become what their fields say, sections check themselves (``model_validator``), and a section
dumps to what pydantic dumps, so that a fit has the same key on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints

PositiveInt = int
PositiveFloat = NonNegativeFloat = float
ConfigDict = dict
_MISSING = object()


class _Declared:
    """Default of a field; what else pydantic is told of it counts for nothing here."""

    def __init__(
        self, default: Any = _MISSING, default_factory: Callable[[], Any] | None = None, **_: Any
    ) -> None:
        self.default, self.factory = default, default_factory


Field: Any = _Declared


class AfterValidator:
    """A function that a value goes through."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function


class BeforeValidator(AfterValidator):
    """Of values as they stand in files: not called here."""


class WrapSerializer:
    """Of values as they are written to files: not called here."""

    def __init__(self, function: Callable[..., Any], when_used: str = "always") -> None:
        self.function = function


def field_validator(*names: str, mode: str = "after") -> Callable[[Any], Any]:
    """Of values as they stand in files: not called here."""
    return lambda function: function


def model_validator(*, mode: str) -> Callable[[Any], Any]:
    """Mark a method that checks the whole section after it was made; others are not called."""

    def mark(function: Any) -> Any:
        if mode == "after":
            function.checks = True
        return function

    return mark


class BaseModel:
    """A section: named values that do not change.

    Raises:
        ValueError: a name is unknown or missing, or the values do not fit each other.
    """

    def __init__(self, **given: Any) -> None:
        kinds = _fields(type(self))
        if unknown := sorted(set(given) - set(kinds)):
            raise ValueError(f"{type(self).__name__} has no `{unknown[0]}`; valid: {', '.join(kinds)}")
        for name, kind in kinds.items():
            self.__dict__[name] = _as(kind, given[name] if name in given else self._default(name))
        for check in _checks(type(self)):
            check(self)

    @classmethod
    def _default(cls, name: str) -> Any:
        declared = getattr(cls, name, _MISSING)
        if isinstance(declared, _Declared):
            declared = declared.default if declared.factory is None else declared.factory()
        if declared is _MISSING or declared is ...:
            raise ValueError(f"{cls.__name__} needs `{name}`")
        return declared

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"`{name}` of a section does not change")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """The section with some values replaced."""
        return type(self)(**{**vars(self), **(update or {})})

    def model_dump(self, *, mode: str = "json", exclude: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The values as JSON has them.

        Args:
            mode: ``json``.
            exclude: names that are left out; of a section within, a mapping of its own.
        """
        left_out = dict(exclude or {})
        return {
            name: value.model_dump(exclude=dict.fromkeys(left_out.get(name, ()), True))
            if isinstance(value, BaseModel)
            else _plain(value)
            for name, value in vars(self).items()
            if left_out.get(name) is not True
        }

    def model_dump_json(self) -> str:
        """The values as a JSON text."""
        return json.dumps(self.model_dump(), separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def model_validate(cls, content: Mapping[str, Any]) -> Self:
        """The section of values as :meth:`model_dump` gives them."""
        return cls(**content)

    @classmethod
    def model_validate_json(cls, text: str) -> Self:
        """The section of a JSON text."""
        return cls(**json.loads(text))


def _fields(section: type) -> dict[str, Any]:
    """Name -> type of each field, those of bases first."""
    hints = get_type_hints(section, include_extras=True)
    return {name: kind for name, kind in hints.items() if not name.startswith("_") and name != "model_config"}


def _checks(section: type) -> Iterator[Callable[[Any], Any]]:
    for name in dir(section):
        method = getattr(section, name, None)
        if getattr(method, "checks", False):
            assert callable(method)
            yield method


def _as(kind: Any, value: Any) -> Any:
    """A value as its field has it: whole numbers of a fraction's field as fractions, mappings as sections."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = _as(inner[0], value)
        for note in inner[1:]:
            if type(note) is AfterValidator:
                value = note.function(value)
        return value
    if origin in (Union, UnionType):
        kinds = [one for one in inner if one is not type(None)]
        return _as(kinds[0], value) if len(kinds) == 1 and value is not None else value
    if origin is list and isinstance(value, list | tuple):
        return [_as(inner[0], one) for one in value]
    if origin is dict and isinstance(value, Mapping):
        return {_as(inner[0], name): _as(inner[1], one) for name, one in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
        return kind(**value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
