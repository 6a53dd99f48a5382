"""The kinds of criterion that read columns: from values to labels, and what became of every value.

Each value is named, or refused; :mod:`m3h_pipeline.tasks.columns` has the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, field_validator, model_validator

from m3h_pipeline.config.base import InOrder
from m3h_pipeline.tasks.columns import (
    Column,
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

_POSITIVE = "values that mean: present; none: the column holds 1 and 0 (true and false) alone"
_NEGATIVE = "values that mean: absent; need not be named where the column holds 1 and 0 alone"
#: What `missing` lists.
MISSING = "values that mean: not observed"
_OTHERWISE = "what a value is that no list names (`negative`, `missing`); null: it is refused"
_NO_NUMBER = "what a value is that is no number (`missing`); null: it is refused"


class ExactlyOne(ColumnCriterion):
    """Multiclass: the one column that is positive; missing where none is, or several are.

    Example::

        criterion: {kind: exactly_one, classes: {edema: Edema, pneumonia: Pneumonia}, positive: [1]}
    """

    makes: ClassVar[ProblemClass] = "multiclass"

    kind: Literal["exactly_one"] = "exactly_one"
    classes: InOrder[str, str] = Field(min_length=2, description="class -> its column, in index order")
    positive: Named = Field(default_factory=list, description=_POSITIVE)
    negative: Named = Field(default_factory=list, description=_NEGATIVE)
    missing: Listed = Field(default_factory=list, description=MISSING)
    otherwise: Otherwise = Field(default=None, description=_OTHERWISE)

    @property
    def columns(self) -> list[str]:
        return list(self.classes.values())

    @property
    def class_names(self) -> list[str]:
        return list(self.classes)

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        sides = [Side("positive", self.positive, "present"), Side("negative", self.negative, "absent")]
        found = []
        present = np.zeros((len(columns[self.columns[0]].index), len(self.classes)), dtype=bool)
        for i, name in enumerate(self.classes.values()):
            column = columns[name]
            rows = sort_out(column, sides, self.missing, self.otherwise)
            present[:, i] = rows[0]
            found += outcomes(column, zip(rows, ("present", "absent", "missing"), strict=True))
        total = present.sum(axis=1)
        y = np.where(total == 1, present.argmax(axis=1).astype(np.float64), np.nan)
        for i, (name, column_name) in enumerate(self.classes.items()):
            found.append(Outcome("", f"only {column_name} present", f"class {name}", y == i))
        found.append(Outcome("", "no column positive", "missing", total == 0))
        found.append(Outcome("", "several columns positive", "missing", total > 1))
        return y, found


class Values(ColumnCriterion):
    """Binary, from a column's values.

    Example::

        criterion: {kind: values, column: er, positive: [positive], negative: [negative], missing: [unclear]}
    """

    makes: ClassVar[ProblemClass] = "binary"

    kind: Literal["values"] = "values"
    column: str
    positive: Named = Field(default_factory=list, description=_POSITIVE)
    negative: Named = Field(default_factory=list, description=_NEGATIVE)
    missing: Listed = Field(default_factory=list, description=MISSING)
    otherwise: Otherwise = Field(default=None, description=_OTHERWISE)

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        column = columns[self.column]
        sides = [Side("positive", self.positive, "positive"), Side("negative", self.negative, "negative")]
        rows = sort_out(column, sides, self.missing, self.otherwise)
        y = np.where(rows[0], 1.0, np.where(rows[1], 0.0, np.nan))
        return y, outcomes(column, zip(rows, ("positive", "negative", "missing"), strict=True))


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
    missing: Listed = Field(default_factory=list, description=MISSING)
    otherwise: Literal["missing"] | None = Field(default=None, description=_NO_NUMBER)

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
        x = column.numbers(self.missing, self.otherwise)
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.below is None else self.below
        y = np.where(np.isnan(x), np.nan, ((x >= low) & (x < high)).astype(np.float64))
        return y, [
            Outcome(column.name, f"{low:g} to under {high:g}", "positive", y == 1),
            Outcome(column.name, "any other number", "negative", y == 0),
            *outcomes(column, [(np.isnan(x), "missing")]),
        ]


class Classes(ColumnCriterion):
    """Multiclass, from a column's values; the order given is the order of the classes.

    Example::

        criterion: {kind: classes, column: stage, classes: {early: [I, II], late: [III, IV]}, missing: [X]}
    """

    makes: ClassVar[ProblemClass] = "multiclass"

    kind: Literal["classes"] = "classes"
    column: str
    classes: InOrder[str, Annotated[Named, Field(min_length=1)]] = Field(
        min_length=2, description="class -> its values, in index order"
    )
    missing: Listed = Field(default_factory=list, description=MISSING)
    otherwise: Literal["missing"] | None = Field(
        default=None, description="what a value is that no class names (`missing`); null: it is refused"
    )

    @property
    def columns(self) -> list[str]:
        return [self.column]

    @field_validator("classes", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """Numbers name classes; of an unquoted Yes or No YAML has made a truth, which does not."""
        pairs = value.items() if isinstance(value, Mapping) else value
        if not isinstance(pairs, Iterable) or isinstance(pairs, str):
            return value
        named = {}
        for pair in pairs:
            if not isinstance(pair, Sequence) or len(pair) != 2:
                return value
            if isinstance(pair[0], bool):
                raise ValueError(
                    f"YAML made `{str(pair[0]).lower()}` of the name of a class: put it in quotes"
                )
            named[str(pair[0]) if isinstance(pair[0], int | float) else pair[0]] = pair[1]
        return value if len(named) < len(value) else named

    @property
    def class_names(self) -> list[str]:
        return list(self.classes)

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        column = columns[self.column]
        sides = [Side(name, values, f"class {name}") for name, values in self.classes.items()]
        # A column of two classes may hold 1 and 0, but which is the first class is not to be guessed.
        rows = sort_out(column, sides, self.missing, self.otherwise)
        y = np.full(len(column.index), np.nan)
        for i, mine in enumerate(rows[:-1]):
            y[mine] = i
        statuses = [*(side.status for side in sides), "missing"]
        return y, outcomes(column, zip(rows, statuses, strict=True))


class Number(ColumnCriterion):
    """Regression, from a column.

    Example::

        criterion: {kind: number, column: img_length_of_stay, scale: 0.0416666667, minimum: 0}
    """

    makes: ClassVar[ProblemClass] = "regression"

    kind: Literal["number"] = "number"
    column: str
    scale: PositiveFloat = Field(default=1.0, description="the label is the column times this")
    missing: Listed = Field(default_factory=list, description=MISSING)
    otherwise: Literal["missing"] | None = Field(default=None, description=_NO_NUMBER)
    minimum: float | None = Field(default=None, description="labels below are impossible: missing")
    maximum: float | None = Field(default=None, description="labels above are impossible: missing")

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def label(self, columns: Mapping[str, Column]) -> Labelled:
        column = columns[self.column]
        y = column.numbers(self.missing, self.otherwise) * self.scale
        empty = np.isnan(y)
        impossible = []
        if self.minimum is not None:
            impossible.append(Outcome(column.name, f"under {self.minimum:g}", "missing", y < self.minimum))
        if self.maximum is not None:
            impossible.append(Outcome(column.name, f"over {self.maximum:g}", "missing", y > self.maximum))
        for one in impossible:
            y[one.rows] = np.nan
        return y, [
            Outcome(column.name, "a number", "observed", ~np.isnan(y)),
            *impossible,
            *outcomes(column, [(empty, "missing")]),
        ]
