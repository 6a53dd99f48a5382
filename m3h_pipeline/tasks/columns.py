"""The columns that criteria read, and the rule for their values: each is named, or refused.

A value that a criterion does not name is no class: neither the other one nor missing. It is refused with all
values seen, unless the definition says ``otherwise``. Values are compared as numbers where they are numbers,
as texts else; ``Dead`` and ``DEAD`` are two values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, time
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BeforeValidator, StrictBool

from m3h_pipeline.config.missing import is_missing
from m3h_pipeline.disclosure import listing, may_be_listed
from m3h_pipeline.errors import TaskError, as_list
from m3h_pipeline.tables.values import number_text, read_number

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
#: What becomes of every value that a criterion does not name; None: it is refused.
Otherwise = Literal["negative", "missing"] | None
#: What YAML reads as true and as false.
_TRUTHS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}


def _as_list_of_values(given: Any) -> Any:
    """A value by itself as a list of one; what YAML made of an unquoted text, and cannot be one, is said."""
    values = list(given) if isinstance(given, list | tuple) else [given]
    for value in values:
        if not isinstance(value, bool | int | float | str):
            made = f"a {type(value).__name__}" if value is not None else "nothing"
            shown = value if isinstance(value, date | time) else made
            raise ValueError(
                f"`{shown}` is neither text nor number: YAML made {made} of it, put it in quotes"
            )
    return values


#: What a definition compares a column with. YAML makes truths of unquoted Yes, No, On, Off.
Value = StrictBool | str | float
#: Values of a definition; one by itself stands for a list.
Listed = Annotated[list[Value], BeforeValidator(_as_list_of_values)]


def _no_missing(values: list[Value]) -> list[Value]:
    for value in values:
        if isinstance(value, str) and is_missing(value):
            raise ValueError(
                f"`{value}` means in every table: not observed (config/README.md, `source.missing_values`), "
                "and names no class: write that value otherwise in the table"
            )
    return values


#: Values that a class or side is named by.
Named = Annotated[Listed, AfterValidator(_no_missing)]


class Outcome(NamedTuple):
    """What a criterion made of some rows: the column, the values concerned, the verdict, which rows."""

    column: str
    value: str
    status: str
    rows: BoolArray


#: Labels, (n,) float64 with NaN = not observed, and what became of every value.
Labelled = tuple[FloatArray, list[Outcome]]


class Column:
    """One column of ``cohort/columns.parquet``: text or numbers, some of them not observed.

    Attributes:
        name: its name, for messages.
        values: the distinct observed values as text, sorted.
        index: (n,) place of each row's value in ``values``, -1 = not observed.
        number: (n,) the values as numbers; NaN where one is none or not observed.

    Args:
        name: as above.
        values: (n,) strings or float64; null and NaN mean: not observed.
    """

    def __init__(self, name: str, values: pa.ChunkedArray | pa.Array) -> None:
        self.name = name
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        texts: list[str | None]
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            texts = [None if text is None else text.strip() for text in values.to_pylist()]
        else:
            numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
            texts = [None if number != number else number_text(float(number)) for number in numbers]
        known = {text: read_number(text) for text in set(texts) if text is not None}
        # One number may stand there in several forms: 1 and 1.0 are one value.
        named = {text: text if value is None else number_text(value) for text, value in known.items()}
        self.values = sorted(set(named.values()), key=_order)
        place = {value: i for i, value in enumerate(self.values)}
        self.index = np.array([-1 if t is None else place[named[t]] for t in texts], dtype=np.int64)
        parsed = [read_number(value) for value in self.values]
        self._parsed = np.array([np.nan if value is None else value for value in parsed] + [np.nan])
        self.number: FloatArray = self._parsed[self.index]

    @property
    def observed(self) -> BoolArray:
        """(n,) rows that hold a value."""
        return np.asarray(self.index >= 0)

    def holds(self, values: Iterable[Value]) -> BoolArray:
        """(number of distinct values,) whether one of the named ones is meant."""
        named = list(values)
        numbers = [float(v) if isinstance(v, bool | float) else read_number(v) for v in named]
        words = {word for value in named if isinstance(value, bool) for word in _TRUTHS[value]}
        texts = {str(value).strip() for value in named if not isinstance(value, bool)}
        found = [
            value in texts if np.isnan(number) else number in numbers
            for value, number in zip(self.values, self._parsed, strict=False)
        ]
        by_word = [value.lower() in words for value in self.values]
        return np.asarray(np.array(found, dtype=bool) | np.array(by_word, dtype=bool))

    def rows(self, chosen: BoolArray) -> BoolArray:
        """(n,) rows whose value is among the chosen distinct ones."""
        return np.asarray(np.append(chosen, False)[self.index])

    def is_any(self, values: Iterable[Value]) -> BoolArray:
        """Rows that hold one of the values; what reads as a number is compared as a number."""
        return self.rows(self.holds(values))

    def numbers(self, missing: Sequence[Value] = (), otherwise: Otherwise = None) -> FloatArray:
        """The values as numbers, NaN = not observed.

        Args:
            missing: values that mean: not observed.
            otherwise: "missing" takes what is no number as not observed.

        Raises:
            TaskError: a value is no number.
        """
        absent = self.holds(missing)
        wrong = np.isnan(self._parsed[:-1]) & ~absent
        if wrong.any() and otherwise is None:
            raise TaskError(
                f"column `{self.name}` is to hold numbers and holds {self.shown(wrong)}",
                hint=f"name what means `not observed`: `missing: {self.list_of(wrong)}`, or say "
                "`otherwise: missing` for all that is no number",
                shown=f"column `{self.name}` is to hold numbers and holds what is none",
            )
        return np.where(self.rows(absent), np.nan, self.number)

    def shown(self, chosen: BoolArray) -> str:
        """The chosen distinct values and how many rows hold each, for a message."""
        counts = np.bincount(self.index[self.index >= 0], minlength=len(self.values))
        return listing({self.values[i]: int(counts[i]) for i in np.flatnonzero(chosen)})

    def list_of(self, chosen: BoolArray) -> str:
        """The chosen distinct values as a definition lists them; an ellipsis if they are many."""
        values = [self.values[i] for i in np.flatnonzero(chosen)]
        if not may_be_listed(len(values)):
            return "[…]"
        return as_list([value if (n := read_number(value)) is None else n for value in values])


class Side(NamedTuple):
    """A key of a definition, the values that it names, and what becomes of them."""

    key: str
    values: Sequence[Value]
    status: str


def sort_out(
    column: Column, sides: Sequence[Side], missing: Sequence[Value] = (), otherwise: Otherwise = None
) -> list[BoolArray]:
    """Which rows are on which side; every value is named once, or the definition says what it is otherwise.

    Where there are two sides, 1 and 0 alone (true and false) need no names: 1 is the first.

    Args:
        column: that holds the values.
        sides: of two, the first is the positive one.
        missing: values that mean: not observed.
        otherwise: what becomes of a value that is not named.

    Returns:
        (n,) rows of each side, then those that are missing, empty ones included.

    Raises:
        TaskError: a value is not named, or twice; or no value of the positive side (of any side) is there.
    """
    named = np.array([column.holds(side.values) for side in [*sides, Side("missing", missing, "missing")]])
    if (twice := named.sum(axis=0) > 1).any():
        raise TaskError(
            f"{column.shown(twice)} of column `{column.name}` stands in two lists",
            shown=f"a value of column `{column.name}` stands in two lists",
        )
    if len(sides) == 2 and not sides[1].values and _coded(column, sides[0], named[-1]):
        named[0], named[1] = column.holds([1.0]) & ~named[-1], column.holds([0.0]) & ~named[-1]
    keys = ", ".join(f"`{side.key}`" for side in sides[:6]) + (", …" if len(sides) > 6 else "")
    left: BoolArray = np.asarray(~named.any(axis=0))
    if left.any() and otherwise is None:
        both = "`otherwise: negative` or `otherwise: missing`" if len(sides) == 2 else "`otherwise: missing`"
        raise TaskError(
            f"column `{column.name}` holds values that the criterion does not name: {column.shown(left)}",
            hint=f"name each of {column.list_of(left)} under {keys} or `missing`, "
            f"or say {both} for all of them",
            shown=f"column `{column.name}` holds values that the criterion does not name",
        )
    if left.any() and not (named[0] if len(sides) == 2 else named[:-1]).any():
        first = f"`{sides[0].key}`" if len(sides) == 2 else keys
        raise TaskError(
            f"no row of column `{column.name}` holds a value of {first}: {column.shown(left)}",
            hint="are they spelled as in the table?",
            shown=f"no row of column `{column.name}` holds a value of {first}",
        )
    if left.any():
        named[1 if otherwise == "negative" else -1] |= left
    rows = [column.rows(chosen) for chosen in named]
    return [*rows[:-1], rows[-1] | ~column.observed]


def outcomes(column: Column, statuses: Iterable[tuple[BoolArray, str]]) -> list[Outcome]:
    """What became of each value of a column, and of rows without one.

    Args:
        column: that holds the values.
        statuses: rows and their verdict; each row of interest stands in one of them.
    """
    found = []
    for rows, status in statuses:
        held = np.unique(column.index[rows])
        for i in held:
            value = column.values[i] if i >= 0 else "empty"
            found.append(Outcome(column.name, value, status, rows & (column.index == i)))
    return found


def listed(values: Sequence[Value]) -> str:
    """Values as the audit table shows them.

    Examples:
        >>> listed(["yes", 1.0])
        'yes | 1'
    """
    return " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _coded(column: Column, positive: Side, missing: BoolArray) -> bool:
    """Whether the values that are not missing are 1 and 0 alone, and 1 is the positive one."""
    plain = column.holds([1.0]) | column.holds([0.0]) | missing
    # A side that names 0, or something else, says that the coding is another.
    named = all(v is True or (not isinstance(v, bool) and _number(v) == 1) for v in positive.values)
    return bool(plain.all()) and named


def _number(value: str | float) -> float | None:
    return value if isinstance(value, float) else read_number(value)


def _order(value: str) -> tuple[int, float, str]:
    number = read_number(value)
    return (1, 0.0, value) if number is None else (0, number, value)
