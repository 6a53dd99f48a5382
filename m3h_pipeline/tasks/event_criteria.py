"""The kinds of criterion that read a time and an event: whether before a horizon, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, field_validator

from m3h_pipeline.coding import signed_time
from m3h_pipeline.tables.values import read_number
from m3h_pipeline.tasks.column_criteria import MISSING
from m3h_pipeline.tasks.columns import (
    BoolArray,
    Column,
    FloatArray,
    Labelled,
    Listed,
    Named,
    Otherwise,
    Outcome,
    Side,
    outcomes,
    sort_out,
)
from m3h_pipeline.tasks.criteria import ColumnCriterion, ProblemClass

_EVENT = "column that says whether the event was observed"
_OBSERVED = "its values that mean: the event was observed; none: it holds 1 and 0 (true and false) alone"
_CENSORED = "its values that mean: not until then; need not be named where it holds 1 and 0 alone"


class _Event(ColumnCriterion):
    """What the kinds with a time and an event have in common."""

    time: str = Field(description="column of the time of the event or of the last observation")
    event: str = Field(description=_EVENT)
    observed: Named = Field(default_factory=list, description=_OBSERVED)
    censored: Named = Field(default_factory=list, description=_CENSORED)
    missing: Listed = Field(default_factory=list, description=f"{MISSING}; texts, of the time as well")
    otherwise: Otherwise = Field(
        default=None,
        description="what a value of the event is that no list names: `negative` (censored), `missing`; "
        "null: it is refused",
    )

    @field_validator("censored", mode="before")
    @classmethod
    def _lost_has_another_name(cls, value: object) -> object:
        if value in ("missing", "negative"):
            raise ValueError(f"`censored` lists values of the event's column; `lost: {value}` says the other")
        return value

    @property
    def columns(self) -> list[str]:
        return [self.time, self.event]

    def _read(self, columns: Mapping[str, Column]) -> tuple[FloatArray, list[BoolArray]]:
        """The times, and the rows with the event, without it, and where that is missing."""
        sides = [Side("observed", self.observed, "event"), Side("censored", self.censored, "censored")]
        rows = sort_out(columns[self.event], sides, self.missing, self.otherwise)
        # A code such as 9 of the status is a good time.
        texts = [value for value in self.missing if isinstance(value, str) and read_number(value) is None]
        return columns[self.time].numbers(texts), rows


class EventWithin(_Event):
    """Binary: whether an event happens before a horizon.

    Positive if the event is observed at a time under ``horizon``; negative if it has not happened until
    ``horizon``. Who is lost from sight before it without the event is missing by default.

    Example::

        criterion: {kind: event_within, time: os_months, event: status, observed: [dead], censored: [alive],
          horizon: 60}
    """

    makes: ClassVar[ProblemClass] = "binary"

    kind: Literal["event_within"] = "event_within"
    horizon: PositiveFloat = Field(description="in the unit of the time column")
    lost: Literal["missing", "negative"] = Field(
        default="missing",
        description="what an observation is that ends before the horizon, without the event",
    )
    minimum: float | None = Field(default=None, description="times below are impossible: missing")

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        t, (happened, not_yet, unknown) = self._read(columns)
        low = -np.inf if self.minimum is None else self.minimum
        timed, early = t >= low, t < self.horizon
        y = np.full(len(t), np.nan)
        y[timed & ~unknown & ~early] = 0.0
        y[timed & early & happened] = 1.0
        if self.lost == "negative":
            y[timed & early & not_yet] = 0.0
        horizon = f"{self.horizon:g}"
        event, time = columns[self.event], columns[self.time]
        return y, [
            *_each(event, timed & early & happened, f"before {horizon}", "positive"),
            *_each(event, timed & ~early & ~unknown, f"at {horizon} or later", "negative"),
            *_each(event, timed & early & not_yet, f"last seen before {horizon}", self.lost),
            *outcomes(event, [(unknown, "missing")]),
            *_untimed(time, ~timed & ~unknown, t, low),
        ]


class TimeToEvent(_Event):
    """Survival: the time to an event, or (right-censored) to the last observation without it.

    Missing where the time or whether there was an event is not observed.

    Example::

        criterion: {kind: time_to_event, time: os_months, event: status, observed: [2], censored: [1]}
    """

    makes: ClassVar[ProblemClass] = "survival"

    kind: Literal["time_to_event"] = "time_to_event"
    scale: PositiveFloat = Field(default=1.0, description="the label's time is the column times this")
    minimum: float = Field(
        default=0.0, ge=0, description="times (after scaling) below are impossible: missing"
    )
    censor_at: PositiveFloat | None = Field(
        default=None, description="time (after scaling) at which observation ends; later events are censored"
    )

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        t, (happened, not_yet, unknown) = self._read(columns)
        t = t * self.scale
        timed = (t >= self.minimum) & np.isfinite(t)
        late = np.zeros(len(t), dtype=bool) if self.censor_at is None else happened & (t > self.censor_at)
        seen = t if self.censor_at is None else np.minimum(t, self.censor_at)
        y = signed_time(np.where(timed & ~unknown, seen, np.nan), happened & ~late)
        event, time = columns[self.event], columns[self.time]
        return y.astype(np.float64), [
            *outcomes(event, [(timed & happened & ~late, "event")]),
            *_each(event, timed & late, f"after {self.censor_at or 0:g}", "censored"),
            *outcomes(event, [(timed & not_yet, "censored"), (unknown, "missing")]),
            *_untimed(time, ~timed & ~unknown, t, self.minimum),
        ]


def _each(column: Column, rows: BoolArray, when: str, status: str) -> list[Outcome]:
    """The values of an event's column in some rows, with what is said of their time."""
    return [one._replace(value=f"{one.value}, {when}") for one in outcomes(column, [(rows, status)])]


def _untimed(time: Column, rows: BoolArray, t: FloatArray, low: float) -> list[Outcome]:
    """Rows whose event is known and whose time is not, or is impossible."""
    return [
        Outcome(time.name, f"under {low:g}", "missing", rows & ~np.isnan(t)),
        *outcomes(time, [(rows & np.isnan(t), "missing")]),
    ]
