"""The reference of named sources alone: what would be used if the rest had never been measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from m3h_pipeline.errors import ConfigError
from m3h_pipeline.references.columns import Columns
from m3h_pipeline.references.kept.models import Kept
from m3h_pipeline.references.problem import Floats
from m3h_pipeline.references.registry import REFERENCES, Part, Reference, Study

#: Its name in tables.
NAME = "clinical"


def clinical_reference(columns: Columns) -> Reference:
    """The linear reference (Cox regression of a survival task) of other features on the same rows.

    Args:
        columns: the features of the named sources alone.

    Raises:
        ConfigError: none of them varies over the training samples.
    """
    if not columns.width:
        raise ConfigError(
            "no feature of these sources varies over the training samples, or only for a few patients",
            where="evaluation.clinical",
            hint="name other sources, or leave it out",
        )
    linear = REFERENCES["linear"]
    # One study for all fits, which share what is worked out once.
    studies: dict[int, Study] = {}

    def of_these(part: Part) -> Study:
        return studies.setdefault(id(part.study), replace(part.study, columns=columns))

    def path(part: Part, chosen: Sequence[int]) -> list[Floats]:
        return linear.path(replace(part, study=of_these(part)), chosen)

    def kept(part: Part, chosen: int) -> tuple[Floats, Kept]:
        assert linear.kept is not None
        return linear.kept(replace(part, study=of_these(part)), chosen)

    return replace(linear, path=path, kept=kept, stored=False)
