"""The kinds of criterion that read columns: from values to labels, and what became of every value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from m3h_pipeline.config.base import InOrder
from m3h_pipeline.contracts import signed_time
from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.columns import Column, Labelled, Outcome, Value, listed, nothing_left
from m3h_pipeline.tasks.criteria import ColumnCriterion, ProblemClass


class ExactlyOne(ColumnCriterion):
    """Multiclass: the one column that is positive; missing where none is, or several are.

    Example::

        criterion: {kind: exactly_one, classes: {edema: Edema, pneumonia: Pneumonia}, positive: [1]}
    """

    makes: ClassVar[ProblemClass] = "multiclass"

    kind: Literal["exactly_one"] = "exactly_one"
    classes: InOrder[str, str] = Field(min_length=2, description="class -> its column, in index order")
    positive: list[Value] = Field(default=[1.0], min_length=1, description="values that mean: present")

    @property
    def columns(self) -> list[str]:
        return list(self.classes.values())

    @property
    def class_names(self) -> list[str]:
        return list(self.classes)

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        present = np.stack([columns[name].is_any(self.positive) for name in self.classes.values()], axis=1)
        total = present.sum(axis=1)
        y = np.where(total == 1, present.argmax(axis=1).astype(np.float64), np.nan)
        shown = listed(self.positive)
        outcomes = [
            Outcome(column, shown, f"class {name}", y == i)
            for i, (name, column) in enumerate(self.classes.items())
        ]
        outcomes.append(Outcome("", "no column positive", "missing", total == 0))
        outcomes.append(Outcome("", "several columns positive", "missing", total > 1))
        return y, outcomes


class Values(ColumnCriterion):
    """Binary, from a column's values.

    Example::

        criterion: {kind: values, column: er, positive: [positive], negative: [negative]}
    """

    makes: ClassVar[ProblemClass] = "binary"

    kind: Literal["values"] = "values"
    column: str
    positive: list[Value] = Field(min_length=1, description="values that mean: present")
    negative: list[Value] | None = Field(
        default=None, description="values that mean: absent; null: every other observed value"
    )
    missing: list[Value] = Field(default_factory=list, description="values that mean: not observed")

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        column = columns[self.column]
        positive, missing = column.is_any(self.positive), column.is_any(self.missing)
        observed = column.observed & ~missing
        if self.negative is None:
            negative, shown = observed & ~positive, "any other"
        else:
            negative, shown = column.is_any(self.negative), listed(self.negative)
        if (twice := (positive & negative) | ((positive | negative) & missing)).any():
            raise TaskError(f"{column.shown(twice)} of column `{column.name}` stands in two lists")
        nothing_left(column, observed & ~positive & ~negative, "`positive`, `negative` or `missing`")
        y = np.where(positive, 1.0, np.where(negative, 0.0, np.nan))
        return y, [
            Outcome(column.name, listed(self.positive), "positive", positive),
            Outcome(column.name, shown, "negative", negative),
            Outcome(column.name, listed(["empty", *self.missing]), "missing", np.isnan(y)),
        ]


class Threshold(ColumnCriterion):
    """Binary, from a number: positive from ``at_least`` on and below ``below``.

    Example::

        criterion: {kind: threshold, column: age, at_least: 65}
    """

    makes: ClassVar[ProblemClass] = "binary"

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

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        column = columns[self.column]
        x = column.numbers()
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.below is None else self.below
        y = np.where(np.isnan(x), np.nan, ((x >= low) & (x < high)).astype(np.float64))
        return y, [
            Outcome(column.name, f"{low:g} to under {high:g}", "positive", y == 1),
            Outcome(column.name, "any other", "negative", y == 0),
            Outcome(column.name, "empty", "missing", np.isnan(y)),
        ]


class Classes(ColumnCriterion):
    """Multiclass, from a column's values; the order given is the order of the classes.

    Example::

        criterion: {kind: classes, column: stage, classes: {early: [I, II], late: [III, IV]}, missing: [X]}
    """

    makes: ClassVar[ProblemClass] = "multiclass"

    kind: Literal["classes"] = "classes"
    column: str
    classes: InOrder[str, list[Value]] = Field(
        min_length=2, description="class -> its values, in index order"
    )
    missing: list[Value] = Field(default_factory=list, description="values that mean: not observed")

    @property
    def columns(self) -> list[str]:
        return [self.column]

    @property
    def class_names(self) -> list[str]:
        return list(self.classes)

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        column = columns[self.column]
        y = np.full(len(column.number), np.nan)
        outcomes = []
        missing = column.is_any(self.missing)
        for i, (name, values) in enumerate(self.classes.items()):
            rows = column.is_any(values)
            if (twice := rows & (~np.isnan(y) | missing)).any():
                raise TaskError(f"{column.shown(twice)} of column `{column.name}` stands in two lists")
            y[rows] = i
            outcomes.append(Outcome(column.name, listed(values), f"class {name}", rows))
        nothing_left(column, column.observed & np.isnan(y) & ~missing, "a class's or under `missing`")
        shown = listed(["empty", *self.missing])
        return y, [*outcomes, Outcome(column.name, shown, "missing", np.isnan(y))]


class Number(ColumnCriterion):
    """Regression, from a column.

    Example::

        criterion: {kind: number, column: img_length_of_stay, scale: 0.0416666667, minimum: 0}
    """

    makes: ClassVar[ProblemClass] = "regression"

    kind: Literal["number"] = "number"
    column: str
    scale: PositiveFloat = Field(default=1.0, description="the label is the column times this")
    minimum: float | None = Field(default=None, description="labels below are impossible: missing")
    maximum: float | None = Field(default=None, description="labels above are impossible: missing")

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        column = columns[self.column]
        y = column.numbers() * self.scale
        low = -np.inf if self.minimum is None else self.minimum
        high = np.inf if self.maximum is None else self.maximum
        impossible, empty = (y < low) | (y > high), np.isnan(y)
        y[impossible] = np.nan
        return y, [
            Outcome(column.name, "a number", "observed", ~np.isnan(y)),
            Outcome(column.name, f"outside {low:g} to {high:g}", "missing", impossible),
            Outcome(column.name, "empty", "missing", empty),
        ]


class EventWithin(ColumnCriterion):
    """Binary: whether an event happens before a horizon.

    Positive if the event is observed at a time under ``horizon``; negative if it has not happened until
    ``horizon``. Who is lost from sight before it without the event is missing by default.

    Example::

        criterion: {kind: event_within, time: os_months, event: os_event, horizon: 60}
    """

    makes: ClassVar[ProblemClass] = "binary"

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

    @property
    def columns(self) -> list[str]:
        return [self.time, self.event]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        time, event = columns[self.time], columns[self.event]
        t = time.numbers()
        low = -np.inf if self.minimum is None else self.minimum
        known = (t >= low) & event.observed
        happened = event.is_any(self.observed)
        early = t < self.horizon
        lost = known & early & ~happened
        y = np.full(len(t), np.nan)
        y[known & ~early] = 0.0
        y[known & early & happened] = 1.0
        if self.censored == "negative":
            y[lost] = 0.0
        horizon = f"{self.horizon:g}"
        return y, [
            Outcome(time.name, f"event before {horizon}", "positive", y == 1),
            Outcome(time.name, f"{horizon} or later", "negative", known & ~early),
            Outcome(time.name, f"last seen before {horizon}, no event", self.censored, lost),
            Outcome(
                time.name,
                "empty" + ("" if self.minimum is None else f" or under {low:g}"),
                "missing",
                ~known,
            ),
        ]


class TimeToEvent(ColumnCriterion):
    """Survival: the time to an event, or (right-censored) to the last observation without it.

    Missing where the time or whether there was an event is not observed.

    Example::

        criterion: {kind: time_to_event, time: os_months, event: os_event}
    """

    makes: ClassVar[ProblemClass] = "survival"

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

    @property
    def columns(self) -> list[str]:
        return [self.time, self.event]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        time, event = columns[self.time], columns[self.event]
        t = time.numbers() * self.scale
        known = (t >= self.minimum) & np.isfinite(t) & event.observed
        happened = event.is_any(self.observed)
        if self.censor_at is not None:
            happened = happened & (t <= self.censor_at)
            t = np.minimum(t, self.censor_at)
        y = signed_time(np.where(known, t, np.nan), happened)
        return y.astype(np.float64), [
            Outcome(event.name, listed(self.observed), "event", known & happened),
            Outcome(
                event.name,
                "any other" if self.censor_at is None else "any other, or later",
                "censored",
                known & ~happened,
            ),
            Outcome(time.name, f"empty or under {self.minimum:g}", "missing", ~known),
        ]
