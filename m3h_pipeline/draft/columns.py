"""What is known of a column and of a table once they were looked at: types, values where they are few."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.draft import words
from m3h_pipeline.tables.dates import holds_dates
from m3h_pipeline.tables.values import read_number, why_no_number

#: More distinct values are no categories.
MOST_VALUES = 50
_WHOLE = re.compile(r"-?[0-9]+(\.0*)?")
_LIMIT = re.compile(r"[<>≤≥]=? ?[0-9.]+")
_ICD10 = re.compile(r"[A-TV-Z][0-9][0-9AB](\.[0-9A-Z]{1,4}|[0-9A-Z]{0,4})")
_ICD9 = re.compile(r"[0-9]{3}(\.[0-9]{1,2})?|[0-9]{4,5}|V[0-9]{2}(\.?[0-9]{1,2})?|E[0-9]{3}(\.?[0-9])?")
_ENDED = re.compile(r"(?i)died|dead|death|deceased|expired|follow-?up")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: in the header.
        rows: number of rows that were looked at.
        observed: how many of them hold a value.
        distinct: number of different values.
        values: value -> rows, of a column with at most :data:`MOST_VALUES` different ones; else empty.
        numeric: whether each value is a number, or beyond what can be measured (``<5``).
        whole: whether each number is whole.
        low, high: the range of the numbers.
        limits: whether some values are beyond what can be measured.
        dates: whether it holds dates or times.
        icd: 9 or 10 where it holds codes of that version of ICD; 0: it does not.
        why: what keeps its values from being numbers, where they look like some.
        unknown: values among numbers, or like ``?`` among texts, that say: not known.
        sentinel: a number far from all others, that may stand for: not observed.
        vector: whether it stands for a list of numbers in every row.
        repeated: whether its name stands again in the header.
    """

    name: str
    rows: int
    observed: int
    distinct: int
    values: Mapping[str, int] = field(default_factory=dict)
    numeric: bool = False
    whole: bool = False
    low: float = float("nan")
    high: float = float("nan")
    limits: bool = False
    dates: bool = False
    icd: int = 0
    why: str = ""
    unknown: tuple[str, ...] = ()
    sentinel: str = ""
    vector: bool = False
    repeated: bool = False

    @property
    def unique(self) -> bool:
        """Whether each row has a value of its own."""
        return self.observed == self.rows == self.distinct and self.rows > 1

    @property
    def category(self) -> bool:
        """Whether it is a text of few different values."""
        return bool(self.values) and not self.numeric and not self.dates

    @property
    def tells_an_end(self) -> bool:
        """Whether a value speaks of death or of what followed."""
        return self.category and any(_ENDED.search(value) for value in self.values)


@dataclass(frozen=True)
class Table:
    """One file.

    Attributes:
        path: as it is given.
        rows: how many it has.
        columns: of them, in order.
        ids: column -> its values, of columns that may name rows.
        transposed: whether its samples stand in columns.
        annotation: columns of a transposed file that are no samples.
    """

    path: str
    rows: int
    columns: list[Column]
    ids: Mapping[str, frozenset[str]] = field(default_factory=dict)
    transposed: bool = False
    annotation: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """The column of a name."""
        return next((one for one in self.columns if one.name == name), None)


def summarise(name: str, text: pa.Array, *, repeated: bool = False) -> Column:
    """What a column's texts say, null = missing.

    Examples:
        >>> found = summarise("crp", pa.array(["<5", "14.7", "7", None]))
        >>> found.numeric, found.limits, found.low, found.high, found.observed
        (True, True, 7.0, 14.7, 3)
        >>> summarise("dx", pa.array(["I50.1", "N18.3", "A41.9"])).icd
        10
        >>> summarise("x", pa.array(["1,5", "2,25"])).why
        'decimals take a point, no comma'
    """
    counted = {row["values"]: row["counts"] for row in pc.value_counts(text.drop_null()).to_pylist()}
    numbers = {value: number for value in counted if (number := read_number(value)) is not None}
    unknown = [value for value in counted if value not in numbers and words.unknown(value)]
    others = [value for value in counted if value not in numbers and value not in unknown]
    limits = [value for value in others if _LIMIT.fullmatch(value)]
    numeric = bool(numbers) and len(limits) == len(others) and len(numbers) > len(limits)
    dates = bool(counted) and not numeric and holds_dates(text)
    reasons = {why_no_number(value) for value in others[:200]}
    return Column(
        name,
        len(text),
        sum(counted.values()),
        len(counted),
        dict(sorted(counted.items())) if len(counted) <= MOST_VALUES else {},
        numeric,
        numeric and not limits and all(_WHOLE.fullmatch(value) for value in numbers),
        min(numbers.values(), default=float("nan")),
        max(numbers.values(), default=float("nan")),
        bool(limits) and numeric,
        dates,
        0 if dates else icd_version(name, list(counted), numeric=numeric),
        next(iter(reasons), "") if len(reasons) == 1 and not numeric else "",
        tuple(sorted(unknown if numeric else filter(words.no_word, unknown))),
        _sentinel(sorted(numbers.values())) if numeric else "",
        repeated=repeated,
    )


def _sentinel(numbers: list[float]) -> str:
    """The number among sorted ones that may stand for: not observed."""
    if len(numbers) > 2:
        if numbers[0] in {-1, -9, -99, -999, -9999} and numbers[1] >= 0:
            return f"{numbers[0]:g}"
        if numbers[-1] in {99, 999, 9999, 99999} and numbers[-1] > 5 * abs(numbers[-2]):
            return f"{numbers[-1]:g}"
    return ""


def icd_version(name: str, values: list[str], *, numeric: bool) -> int:
    """The version of ICD whose codes a column's different values are; 0: they are none.

    Numbers are codes only where the column's name says so: laboratory values look alike.
    """
    named = words.has(name, words.CODES)
    upper = [value.upper() for value in values if value != "?"]
    if len(upper) < 3 or (numeric and not (named and len(upper) > 20)):
        return 0
    tens = sum(bool(_ICD10.fullmatch(value)) for value in upper) / len(upper)
    nines = sum(bool(_ICD9.fullmatch(value)) or _plain(value) for value in upper) / len(upper)
    needed = 0.9 if named else 0.98
    if not named and not any("." in value for value in upper):
        return 0
    if max(tens, nines) < needed:
        return 0
    return 10 if tens >= nines else 9


def _plain(value: str) -> bool:
    number = read_number(value)
    return number is not None and 0 < number < 1000
