"""Criteria that read columns of the cohort: from values to labels, and what became of every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.contracts import signed_time
from m3h_pipeline.errors import TaskError
from m3h_pipeline.tasks.criteria import (
    Classes,
    EventWithin,
    ExactlyOne,
    Number,
    Threshold,
    TimeToEvent,
    Value,
    Values,
)

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


class Outcome(NamedTuple):
    """What a criterion made of some rows: the column, the values concerned, the verdict, which rows."""

    column: str
    value: str
    status: str
    rows: BoolArray


Labelled = tuple[FloatArray, list[Outcome]]


class Column:
    """One column of ``cohort/columns.parquet``: text or numbers, some of them not observed.

    Args:
        name: its name, for messages.
        values: (n,) strings or float64; null and NaN mean: not observed.
    """

    def __init__(self, name: str, values: pa.ChunkedArray | pa.Array) -> None:
        self.name = name
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            texts = values.to_pylist()
            self._text = np.array([None if text is None else text.strip() for text in texts], dtype=object)
            self.number = np.array([_as_number(text) for text in self._text], dtype=np.float64)
            self.observed = np.array([text is not None for text in texts], dtype=bool)
        else:
            numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
            self.number = np.asarray(numbers, dtype=np.float64)
            self._text = np.array([None] * len(self.number), dtype=object)
            self.observed = ~np.isnan(self.number)

    def is_any(self, values: Sequence[Value]) -> BoolArray:
        """Rows that hold one of the values; what reads as a number is compared as a number."""
        numbers = [number for value in values if not np.isnan(number := _as_number(value))]
        wanted = {str(value) for value in values}
        text = np.array([item in wanted for item in self._text], dtype=bool)
        return np.asarray(self.observed & (text | np.isin(self.number, numbers)))

    def numbers(self) -> FloatArray:
        """The values as numbers, NaN = not observed.

        Raises:
            TaskError: a value is no number.
        """
        wrong = self.observed & np.isnan(self.number)
        if wrong.any():
            raise TaskError(
                f"column `{self.name}` is to hold numbers and holds {self.shown(wrong)}",
                hint="add it to `source.missing_values` if it means: not observed",
            )
        return self.number

    def shown(self, rows: BoolArray) -> str:
        """Some of the distinct values of these rows, for a message."""
        values = {
            f"{number:g}" if text is None else str(text)
            for text, number in zip(self._text[rows], self.number[rows], strict=True)
        }
        return ", ".join(f"`{value}`" for value in sorted(values)[:3]) + (", …" if len(values) > 3 else "")


def label_columns(
    criterion: ExactlyOne | Values | Threshold | Classes | Number | EventWithin | TimeToEvent,
    columns: Mapping[str, Column],
) -> Labelled:
    """Labels from columns.

    Shape:
        (n,) labels, NaN = not observed; a multiclass label is the index of its class, a survival label a time
        that is negative where it is censored (contracts.signed_time).

    Raises:
        TaskError: a column holds a value that the criterion does not provide for.
    """
    if isinstance(criterion, ExactlyOne):
        return _exactly_one(criterion, columns)
    if isinstance(criterion, EventWithin):
        return _event_within(criterion, columns[criterion.time], columns[criterion.event])
    if isinstance(criterion, TimeToEvent):
        return _time_to_event(criterion, columns[criterion.time], columns[criterion.event])
    column = columns[criterion.column]
    if isinstance(criterion, Values):
        return _values(criterion, column)
    if isinstance(criterion, Threshold):
        return _threshold(criterion, column)
    if isinstance(criterion, Classes):
        return _classes(criterion, column)
    return _number(criterion, column)


def _exactly_one(criterion: ExactlyOne, columns: Mapping[str, Column]) -> Labelled:
    present = np.stack(
        [columns[name].is_any(criterion.positive) for name in criterion.classes.values()], axis=1
    )
    total = present.sum(axis=1)
    y = np.where(total == 1, present.argmax(axis=1).astype(np.float64), np.nan)
    shown = _listed(criterion.positive)
    outcomes = [
        Outcome(column, shown, f"class {name}", y == i)
        for i, (name, column) in enumerate(criterion.classes.items())
    ]
    outcomes.append(Outcome("", "no column positive", "missing", total == 0))
    outcomes.append(Outcome("", "several columns positive", "missing", total > 1))
    return y, outcomes


def _values(criterion: Values, column: Column) -> Labelled:
    positive, missing = column.is_any(criterion.positive), column.is_any(criterion.missing)
    observed = column.observed & ~missing
    if criterion.negative is None:
        negative, shown = observed & ~positive, "any other"
    else:
        negative, shown = column.is_any(criterion.negative), _listed(criterion.negative)
    if (twice := (positive & negative) | ((positive | negative) & missing)).any():
        raise TaskError(f"{column.shown(twice)} of column `{column.name}` stands in two lists")
    _nothing_left(column, observed & ~positive & ~negative, "`positive`, `negative` or `missing`")
    y = np.where(positive, 1.0, np.where(negative, 0.0, np.nan))
    return y, [
        Outcome(column.name, _listed(criterion.positive), "positive", positive),
        Outcome(column.name, shown, "negative", negative),
        Outcome(column.name, _listed(["empty", *criterion.missing]), "missing", np.isnan(y)),
    ]


def _threshold(criterion: Threshold, column: Column) -> Labelled:
    x = column.numbers()
    low = -np.inf if criterion.at_least is None else criterion.at_least
    high = np.inf if criterion.below is None else criterion.below
    y = np.where(np.isnan(x), np.nan, ((x >= low) & (x < high)).astype(np.float64))
    return y, [
        Outcome(column.name, f"{low:g} to under {high:g}", "positive", y == 1),
        Outcome(column.name, "any other", "negative", y == 0),
        Outcome(column.name, "empty", "missing", np.isnan(y)),
    ]


def _classes(criterion: Classes, column: Column) -> Labelled:
    y = np.full(len(column.number), np.nan)
    outcomes = []
    missing = column.is_any(criterion.missing)
    for i, (name, values) in enumerate(criterion.classes.items()):
        rows = column.is_any(values)
        if (twice := rows & (~np.isnan(y) | missing)).any():
            raise TaskError(f"{column.shown(twice)} of column `{column.name}` stands in two lists")
        y[rows] = i
        outcomes.append(Outcome(column.name, _listed(values), f"class {name}", rows))
    _nothing_left(column, column.observed & np.isnan(y) & ~missing, "a class's or under `missing`")
    shown = _listed(["empty", *criterion.missing])
    return y, [*outcomes, Outcome(column.name, shown, "missing", np.isnan(y))]


def _number(criterion: Number, column: Column) -> Labelled:
    y = column.numbers() * criterion.scale
    low = -np.inf if criterion.minimum is None else criterion.minimum
    high = np.inf if criterion.maximum is None else criterion.maximum
    impossible, empty = (y < low) | (y > high), np.isnan(y)
    y[impossible] = np.nan
    return y, [
        Outcome(column.name, "a number", "observed", ~np.isnan(y)),
        Outcome(column.name, f"outside {low:g} to {high:g}", "missing", impossible),
        Outcome(column.name, "empty", "missing", empty),
    ]


def _event_within(criterion: EventWithin, time: Column, event: Column) -> Labelled:
    t = time.numbers()
    low = -np.inf if criterion.minimum is None else criterion.minimum
    known = (t >= low) & event.observed
    happened = event.is_any(criterion.observed)
    early = t < criterion.horizon
    lost = known & early & ~happened
    y = np.full(len(t), np.nan)
    y[known & ~early] = 0.0
    y[known & early & happened] = 1.0
    if criterion.censored == "negative":
        y[lost] = 0.0
    horizon = f"{criterion.horizon:g}"
    return y, [
        Outcome(time.name, f"event before {horizon}", "positive", y == 1),
        Outcome(time.name, f"{horizon} or later", "negative", known & ~early),
        Outcome(time.name, f"last seen before {horizon}, no event", criterion.censored, lost),
        Outcome(
            time.name,
            "empty" + ("" if criterion.minimum is None else f" or under {low:g}"),
            "missing",
            ~known,
        ),
    ]


def _time_to_event(criterion: TimeToEvent, time: Column, event: Column) -> Labelled:
    t = time.numbers() * criterion.scale
    known = (t >= criterion.minimum) & np.isfinite(t) & event.observed
    happened = event.is_any(criterion.observed)
    if criterion.censor_at is not None:
        happened = happened & (t <= criterion.censor_at)
        t = np.minimum(t, criterion.censor_at)
    y = signed_time(np.where(known, t, np.nan), happened)
    return y.astype(np.float64), [
        Outcome(event.name, _listed(criterion.observed), "event", known & happened),
        Outcome(
            event.name,
            "any other" if criterion.censor_at is None else "any other, or later",
            "censored",
            known & ~happened,
        ),
        Outcome(time.name, f"empty or under {criterion.minimum:g}", "missing", ~known),
    ]


def _nothing_left(column: Column, left: BoolArray, where: str) -> None:
    if left.any():
        raise TaskError(
            f"column `{column.name}` holds {column.shown(left)}, which the criterion does not name",
            hint=f"list every value as {where}",
        )


def _listed(values: Sequence[Value]) -> str:
    return " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _as_number(value: Value | None) -> float:
    """The value as a number, NaN if it is none."""
    try:
        return np.nan if value is None else float(value)
    except ValueError:
        return np.nan
