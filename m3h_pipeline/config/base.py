"""What every section of a study's configuration is made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TextIO

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Width = PositiveInt


class Section(BaseModel):
    """A section: unknown keys are forbidden, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSection(Section):
    """A kind of source, and what the other parts ask of it; ``cohort/<kind>/ingest.py`` reads it.

    Attributes:
        kind: its name in a study.
    """

    kind: str

    @property
    def names(self) -> Collection[str]:
        """The sources that modalities may name."""
        raise NotImplementedError

    @property
    def has_diagnoses(self) -> bool:
        """Whether its cohort has diagnosis codes."""
        return False

    def located(self, data: str) -> Self:
        """The section with its relative paths joined to ``data``."""
        return self

    def paths(self) -> list[str]:
        """The files and folders that are read, after :meth:`located`.

        Files inside Python packages (``python:package/file``) are left out: its version stands for them.
        """
        return []


class OwnSource(SourceSection):
    """Base of a kind of source of the user's own, whose ``kind`` is its dotted path: it reads itself."""

    def ingest(self, sources: Sequence[str], out: Path, stream: TextIO | None = None) -> dict[str, Any]:
        """Write the cohort, best by :class:`m3h_pipeline.cohort.writer.CohortWriter`.

        Args:
            sources: those of :attr:`names` that the modalities use.
            out: the folder ``cohort/`` of a study.
            stream: where progress is written; standard error by default.

        Returns:
            The summary, as :meth:`CohortWriter.finish` returns it.
        """
        raise NotImplementedError


def located(path: str, data: str) -> str:
    """A path of the configuration joined to ``data``; a file inside a package stays as it is.

    Examples:
        >>> located("cohort.csv", "data"), located("python:sksurv/datasets/data/veteran.arff", "data")
        ('data/cohort.csv', 'python:sksurv/datasets/data/veteran.arff')
    """
    return path if path.startswith("python:") else str(Path(data) / path)


class Subgroup(Section):
    """A column that divides the samples into named groups."""

    column: str = Field(description="column of the input that holds the group's code")
    values: dict[str, str] = Field(
        default_factory=dict, description="code -> name; empty: the codes are the names"
    )
