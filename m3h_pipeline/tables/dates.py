"""Dates, times and durations in a table: neither numbers nor categories nor labels."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.errors import InputError

_DAY, _MONTH = "(0?[1-9]|[12][0-9]|3[01])", "(0?[1-9]|1[0-2])"
_YEAR = "([12][0-9]{3})"
_NAMED = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_CLOCK = (
    r"[0-2]?[0-9]:[0-5][0-9](:[0-6][0-9]([.,][0-9]+)?)?( ?[ap]\.?m\.?)?( ?(z|utc|[+-][0-9]{2}:?[0-9]{2}))?"
)
_DATES = "|".join(
    [
        # 2020-01-31, 2020/1/31, 2020.01.31
        rf"{_YEAR}([-/.]){_MONTH}[-/.]{_DAY}",
        # 31.1.2020, 31/01/20, 1/31/2020, 31-01-2020
        rf"{_DAY}([-/.]){_MONTH}[-/.]({_YEAR}|[0-9]{{2}})",
        rf"{_MONTH}([-/.]){_DAY}[-/.]({_YEAR}|[0-9]{{2}})",
        # 31-Jan-2020, 31 January 2020, 31JAN2020, Jan 31, 2020
        rf"{_DAY}[-/. ]?\.? ?{_NAMED}[-/., ]*({_YEAR}|[0-9]{{2}})",
        rf"{_NAMED}[-/. ]+{_DAY},? +{_YEAR}",
    ]
)
# Of times of day alone only those with seconds or a half of the day: 1:40 is a titre.
_TIMES = r"[0-2][0-9]:[0-5][0-9]:[0-6][0-9]([.,][0-9]+)?|[01]?[0-9]:[0-5][0-9] ?[ap]\.?m\.?"
_SPANS = r"-?[0-9]+ days?,? *([+-]?[0-9]{1,2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?)?"
_PATTERN = rf"(?i)^(({_DATES})([t ] ?{_CLOCK})?|{_TIMES}|{_SPANS})$"
TO_DO = "put a number in its place, such as days since admission, years of age, or the month"


def holds_dates(text: pa.Array | pa.ChunkedArray) -> bool:
    """Whether most of the values that are not null are dates, times of day or durations.

    Examples:
        >>> holds_dates(pa.array(["2020-01-31", "2020-02-01 10:30", None, "unknown"]))
        True
        >>> [holds_dates(pa.array([value])) for value in ("31/1/20", "20200131", "1:40", "120/80", "2010-11")]
        [True, False, False, False, False]
    """
    known = len(text) - text.null_count
    found = pc.sum(pc.match_substring_regex(text, _PATTERN)).as_py() or 0
    return bool(2 * int(found) > known)


def no_dates(text: pa.Array | pa.ChunkedArray, column: str, *, where: str, leave: str) -> None:
    """Refuse a column of dates.

    Args:
        text: its values.
        column: its name.
        where: the file.
        leave: how the column is left out.

    Raises:
        InputError: most of its values are dates, times or durations.
    """
    if len(text) and holds_dates(text):
        raise dates_error(column, where=where, leave=leave)


class DatesError(InputError):
    """A column holds dates where numbers, categories or labels are read."""


def dates_error(
    column: str, *, where: str, leave: str = "leave the column out (of a block: `exclude`)"
) -> DatesError:
    """What to say of a column of dates."""
    return DatesError(
        f"column `{column}` holds dates or times, which are neither numbers, categories nor labels",
        where=where,
        hint=f"{leave}, or {TO_DO}",
    )
