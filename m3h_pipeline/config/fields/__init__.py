"""What the sections that training takes are declared with: pydantic, or its stand-in on a bare machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        NonNegativeFloat,
        PositiveFloat,
        PositiveInt,
        WrapSerializer,
        field_validator,
        model_validator,
    )
else:
    try:
        import pydantic as _declared
    except ImportError:
        from m3h_pipeline.config.fields import bare as _declared

    def __getattr__(name):
        return getattr(_declared, name)


__all__ = [
    "AfterValidator",
    "BaseModel",
    "BeforeValidator",
    "ConfigDict",
    "Field",
    "NonNegativeFloat",
    "PositiveFloat",
    "PositiveInt",
    "WrapSerializer",
    "field_validator",
    "model_validator",
]
