"""The kinds of criterion: how a task's label follows from a cohort."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveFloat, field_validator, model_validator

from m3h_pipeline.config.base import Name, Section
from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.icd import IcdPattern, parse_icd

ProblemClass = Literal["binary", "multiclass", "regression", "survival", "clustering"]
Value = str | float


class Codes(Section):
    """A set of diagnosis codes: those on ICD lists, and those whose title a pattern finds."""

    icd: dict[Literal[9, 10], list[str]] = Field(
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
            try:
                found = re.compile(text, re.IGNORECASE).search("")
            except re.error as error:
                raise ValueError(f"`{text}` is no regular expression: {error}") from error
            if found:
                raise ValueError(f"`{text}` matches every title")
        return value

    def patterns(self) -> list[IcdPattern]:
        """The parsed ICD lists."""
        return _parsed(self.icd)

    def title_pattern(self) -> re.Pattern[str] | None:
        """One expression for all of ``titles``, or None."""
        text = "|".join(f"(?:{title})" for title in self.titles)
        return re.compile(text, re.IGNORECASE) if text else None


class Rule(Codes):
    """Codes that count: those on the ICD lists, and those that a title pattern finds and nothing excludes.

    ``exclude`` acts on codes found by their title alone; a listed code counts whatever its title says.
    """

    exclude: Codes = Field(
        default=Codes(), description="codes found by their title that do not count after all"
    )


class Diagnosis(Rule):
    """Binary: positive if the stay's hospital admission has a code that counts.

    A stay without any recorded diagnosis is missing, not negative.

    Examples::

        criterion: {kind: diagnosis, icd: {10: [K50-K52], 9: ["555"]}}
        criterion: {kind: diagnosis, titles: ['\\bgout'], exclude: {titles: ['pseudogout']}}
    """

    kind: Literal["diagnosis"] = "diagnosis"
    groups: dict[Name, Rule] = Field(
        default_factory=dict,
        description="named sets of codes; any of them counts (the audit tells them apart)",
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

    def rules(self) -> dict[str, Rule]:
        """Every rule by its group; the criterion's own codes have the empty name."""
        own = Rule(icd=self.icd, titles=self.titles, exclude=self.exclude)
        return ({"": own} if own != Rule() or not self.groups else {}) | self.groups


class ExactlyOne(Section):
    """Multiclass: the one column that is positive; missing where none is, or several are.

    Example::

        criterion: {kind: exactly_one, classes: {edema: Edema, pneumonia: Pneumonia}, positive: [1]}
    """

    kind: Literal["exactly_one"] = "exactly_one"
    classes: dict[str, str] = Field(min_length=2, description="class -> its column")
    positive: list[Value] = Field(default=[1.0], min_length=1, description="values that mean: present")


class Values(Section):
    """Binary, from a column's values.

    Example::

        criterion: {kind: values, column: er, positive: [positive], negative: [negative]}
    """

    kind: Literal["values"] = "values"
    column: str
    positive: list[Value] = Field(min_length=1, description="values that mean: present")
    negative: list[Value] | None = Field(
        default=None, description="values that mean: absent; null: every other observed value"
    )
    missing: list[Value] = Field(default_factory=list, description="values that mean: not observed")


class Threshold(Section):
    """Binary, from a number: positive from ``at_least`` on and below ``below``.

    Example::

        criterion: {kind: threshold, column: age, at_least: 65}
    """

    kind: Literal["threshold"] = "threshold"
    column: str
    at_least: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Threshold:
        if self.at_least is None and self.below is None:
            raise ValueError("give `at_least`, `below`, or both")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError("`at_least` must be less than `below`")
        return self


class Classes(Section):
    """Multiclass, from a column's values; the order given is the order of the classes.

    Example::

        criterion: {kind: classes, column: stage, classes: {early: [I, II], late: [III, IV]}, missing: [X]}
    """

    kind: Literal["classes"] = "classes"
    column: str
    classes: dict[str, list[Value]] = Field(min_length=2, description="class -> its values")
    missing: list[Value] = Field(default_factory=list, description="values that mean: not observed")


class Number(Section):
    """Regression, from a column.

    Example::

        criterion: {kind: number, column: img_length_of_stay, scale: 0.0416666667, minimum: 0}
    """

    kind: Literal["number"] = "number"
    column: str
    scale: PositiveFloat = Field(default=1.0, description="the label is the column times this")
    minimum: float | None = Field(default=None, description="labels below are impossible: missing")
    maximum: float | None = Field(default=None, description="labels above are impossible: missing")


class EventWithin(Section):
    """Binary: whether an event happens before a horizon.

    Positive if the event is observed at a time under ``horizon``; negative if it has not happened until
    ``horizon``. Who is lost from sight before it without the event is missing by default.

    Example::

        criterion: {kind: event_within, time: os_months, event: os_event, horizon: 60}
    """

    kind: Literal["event_within"] = "event_within"
    time: str = Field(description="column of the time of the event or of the last observation")
    event: str = Field(description="column that says whether the event was observed")
    horizon: PositiveFloat = Field(description="in the unit of the time column")
    observed: list[Value] = Field(default=[1.0], min_length=1, description="values that mean: observed")
    censored: Literal["missing", "negative"] = Field(
        default="missing",
        description="what an observation is that ends before the horizon, without the event",
    )
    minimum: float | None = Field(default=None, description="times below are impossible: missing")


class TimeToEvent(Section):
    """Survival: the time to an event, or (right-censored) to the last observation without it.

    Missing where the time or whether there was an event is not observed.

    Example::

        criterion: {kind: time_to_event, time: os_months, event: os_event}
    """

    kind: Literal["time_to_event"] = "time_to_event"
    time: str = Field(description="column of the time of the event or of the last observation")
    event: str = Field(description="column that says whether the event was observed")
    observed: list[Value] = Field(default=[1.0], min_length=1, description="values that mean: observed")
    scale: PositiveFloat = Field(default=1.0, description="the label's time is the column times this")
    minimum: float = Field(
        default=0.0, ge=0, description="times (after scaling) below are impossible: missing"
    )
    censor_at: PositiveFloat | None = Field(
        default=None, description="time (after scaling) at which observation ends; later events are censored"
    )


class NoLabel(Section):
    """Clustering: no label, every sample takes part.

    Example::

        criterion: {kind: none, clusters: 15}
    """

    kind: Literal["none"] = "none"
    clusters: int = Field(ge=2, description="number of clusters")


Criterion = Annotated[
    Diagnosis | ExactlyOne | Values | Threshold | Classes | Number | EventWithin | TimeToEvent | NoLabel,
    Field(discriminator="kind"),
]
#: The kinds by their name.
KINDS: dict[str, type[Section]] = {
    kind.model_fields["kind"].default: kind for kind in get_args(get_args(Criterion)[0])
}
#: The problem class that each kind makes.
CLASS_OF_KIND: dict[str, ProblemClass] = {
    "diagnosis": "binary",
    "exactly_one": "multiclass",
    "values": "binary",
    "threshold": "binary",
    "classes": "multiclass",
    "number": "regression",
    "event_within": "binary",
    "time_to_event": "survival",
    "none": "clustering",
}


def _parsed(lists: Mapping[Literal[9, 10], list[str]]) -> list[IcdPattern]:
    return [parse_icd(text, version) for version, texts in lists.items() for text in texts]
