"""What every section of a study's configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Width = PositiveInt


class Section(BaseModel):
    """A section: unknown keys are forbidden, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Subgroup(Section):
    """A column that divides the samples into named groups."""

    column: str = Field(description="column of the input that holds the group's code")
    values: dict[str, str] = Field(
        default_factory=dict, description="code -> name; empty: the codes are the names"
    )
