"""Criteria, how a task's label follows from a cohort: what they have in common, and those without columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from m3h_pipeline.config.base import ByName, InOrder, Name, Section
from m3h_pipeline.errors import TaskError
from m3h_pipeline.patterns import Pattern
from m3h_pipeline.tasks.columns import Column, Labelled
from m3h_pipeline.tasks.icd import IcdPattern, parse_icd

ProblemClass = Literal["binary", "multiclass", "regression", "survival", "clustering"]


class Criterion(Section):
    """Base of every kind of criterion: a section of the task's definition whose key ``kind`` names it.

    Attributes:
        makes: the problem class of the labels.
        kind: the name in a definition; of a class of the user's own, its dotted path.
    """

    makes: ClassVar[ProblemClass]
    kind: str

    @property
    def columns(self) -> list[str]:
        """The columns of ``cohort/columns.parquet`` that it reads."""
        return []

    @property
    def class_names(self) -> list[str]:
        """Names of the classes of a multiclass label in index order; none for other labels."""
        return []


class ColumnCriterion(Criterion):
    """Base of the kinds that read columns of the cohort: they say which, and make labels of them."""

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        """The labels, and what became of every value.

        Args:
            columns: those that :attr:`columns` names.

        Shape:
            (n,) labels, NaN = not observed; a multiclass label is the index of its class, a survival label a
            time that is negative where it is censored (coding.signed_time).

        Raises:
            TaskError: a column holds a value that the criterion does not provide for.
        """
        raise NotImplementedError


def _parsed(lists: Mapping[Literal[9, 10], list[str]]) -> list[IcdPattern]:
    return [parse_icd(text, version) for version, texts in lists.items() for text in texts]


class Codes(Section):
    """A set of diagnosis codes: those on ICD lists, and those whose title a pattern finds."""

    icd: ByName[Literal[9, 10], list[str]] = Field(
        default_factory=dict, description="ICD version -> codes, wildcards, ranges"
    )
    titles: list[str] = Field(
        default_factory=list,
        description="regular expressions, found anywhere in the title, whatever its case",
    )

    @field_validator("icd", mode="before")
    @classmethod
    def _versions(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        lists: dict[Any, Any] = {}
        for version, codes in value.items():
            if str(version) not in {"9", "10"}:
                raise ValueError(f"`{version}` is no ICD version; valid: 9, 10")
            for code in codes if isinstance(codes, list) else []:
                if isinstance(code, int | float):
                    raise ValueError(f"{code} is a number to YAML, which drops zeros: put codes in quotes")
            lists[int(str(version))] = codes
        return lists

    @field_validator("icd")
    @classmethod
    def _parsable(cls, value: dict[Literal[9, 10], list[str]]) -> dict[Literal[9, 10], list[str]]:
        try:
            _parsed(value)
        except TaskError as error:
            raise ValueError(f"{error.what}; {error.hint}") from error
        return value

    @field_validator("titles")
    @classmethod
    def _compilable(cls, value: list[str]) -> list[str]:
        for text in value:
            if Pattern(text, ignore_case=True).search("") is not None:
                raise ValueError(f"`{text}` matches every title")
        return value

    def patterns(self) -> list[IcdPattern]:
        """The parsed ICD lists."""
        return _parsed(self.icd)

    def title_pattern(self) -> Pattern | None:
        """One expression for all of ``titles``, or None."""
        text = "|".join(f"(?:{title})" for title in self.titles)
        return Pattern(text, ignore_case=True) if text else None


class Rule(Codes):
    """Codes that count: those on the ICD lists, and those that a title pattern finds and nothing excludes.

    ``exclude`` acts on codes found by their title alone; a listed code counts whatever its title says.
    """

    exclude: Codes = Field(
        default=Codes(), description="codes found by their title that do not count after all"
    )


class Diagnosis(Rule, Criterion):
    """Binary: positive if the stay's hospital admission has a code that counts.

    A stay is missing, not negative, where nothing is recorded that could tell: without any diagnosis, with
    codes of another version of ICD alone than those that can express the task, or with a code that has no
    title where titles decide. Codes of such other versions do not count either: positive labels without
    negative ones would be another task. A stay with codes of both versions is judged by those of the versions
    that can.

    Examples::

        criterion: {kind: diagnosis, icd: {10: [K50-K52], 9: ["555"]}}
        criterion: {kind: diagnosis, titles: ['\\bgout'], exclude: {titles: ['pseudogout']}}
        criterion: {kind: diagnosis, titles: ['\\bmajor depressive'], versions: [10]}
    """

    makes: ClassVar[ProblemClass] = "binary"

    kind: Literal["diagnosis"] = "diagnosis"
    groups: InOrder[Name, Rule] = Field(
        default_factory=dict,
        description="named sets of codes; any of them counts, and the audit names the first",
    )
    versions: list[Literal[9, 10]] = Field(
        default_factory=list,
        description="versions of ICD that can express the task, stays coded in others alone are missing; "
        "none: those that every set lists codes of, and both where titles are looked for",
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Diagnosis:
        empty = [
            name for name, rule in self.rules().items() if not rule.titles and not any(rule.icd.values())
        ]
        if empty:
            place = f"group `{empty[0]}`" if empty[0] else "criterion"
            raise ValueError(f"the {place} has neither `icd` nor `titles`: nothing could match")
        return self

    @model_validator(mode="after")
    def _expressed(self) -> Diagnosis:
        if not self.expressed:
            raise ValueError("no version of ICD has codes in every group: say with `versions` which can tell")
        for name, rule in self.rules().items():
            if wrong := [v for v, codes in rule.icd.items() if codes and v not in self.expressed]:
                place = f"group `{name}`" if name else "the criterion"
                if self.versions:
                    raise ValueError(f"{place} lists ICD-{wrong[0]} codes, and `versions` leaves them out")
        return self

    @property
    def expressed(self) -> list[Literal[9, 10]]:
        """The versions of ICD that can express the task."""
        every: tuple[Literal[9, 10], ...] = (9, 10)
        rules = self.rules().values()
        return self.versions or [v for v in every if all(rule.titles or rule.icd.get(v) for rule in rules)]

    def rules(self) -> dict[str, Rule]:
        """Every rule by its group; the criterion's own codes have the empty name."""
        own = Rule(icd=self.icd, titles=self.titles, exclude=self.exclude)
        return ({"": own} if own != Rule() or not self.groups else {}) | self.groups


class NoLabel(Criterion):
    """Clustering: no label, every sample takes part.

    Example::

        criterion: {kind: none, clusters: 15}
    """

    makes: ClassVar[ProblemClass] = "clustering"

    kind: Literal["none"] = "none"
    clusters: int = Field(ge=2, description="number of clusters")
