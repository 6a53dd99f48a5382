"""The reference of named sources alone: what would be used if the rest had never been measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.references.problem import Floats
from m3h_pipeline.references.registry import REFERENCES, Part, Reference
from m3h_pipeline.training.data import StudyData

#: Its name in tables.
NAME = "clinical"


def clinical_reference(data: StudyData) -> Reference:
    """The linear reference (Cox regression of a survival task) of other features on the same rows.

    Args:
        data: the study with the features of the named sources alone.

    Raises:
        ConfigError: none of them varies over the training samples.
    """
    refuse_constant(data)
    linear = REFERENCES["linear"]

    def path(part: Part, chosen: Sequence[int]) -> list[Floats]:
        return linear.path(replace(part, data=data), chosen)

    return replace(linear, path=path)


def refuse_constant(data: StudyData) -> None:
    """Raise if no feature varies.

    Raises:
        ConfigError: as it says.
    """
    try:
        data.columns  # noqa: B018
    except InputError as error:
        raise ConfigError(
            "no feature of these sources varies over the training samples, or only for a few patients",
            where="evaluation.clinical",
            hint="name other sources, or leave it out",
        ) from error
