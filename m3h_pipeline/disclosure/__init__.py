"""What may leave a study: which counts, which values, which text. Everything that is given away asks here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from m3h_pipeline.disclosure.text import plain

#: The least count that is shown, and the fewest people who are shown as a group: counts of 1 to 10 are hidden
#: (cell size policy of the Centers for Medicare & Medicaid Services); 0 is shown.
LEAST: Final = 11
#: What stands in the place of a smaller count.
FEW: Final = f"<{LEAST}"
#: What stands in the place of a larger count from which, with others, a small one could be derived.
HIDDEN: Final = "hidden"
#: A column with more distinct values than this is no list of categories: its values are not repeated.
MOST_LISTED: Final = 20

_TRUE_NUMBERS: ContextVar[bool] = ContextVar("true_numbers", default=False)


def is_small(n: float) -> bool:
    """Whether a count is too small to be shown.

    Examples:
        >>> [is_small(n) for n in (0, 1, LEAST - 1, LEAST)]
        [False, True, True, False]
    """
    return 0 < n < LEAST


def small_count(n: int) -> str:
    """A count for people to read: counts of 1 to 10 are shown as "<11", so that no small group is disclosed.

    Examples:
        >>> small_count(0), small_count(4), small_count(10), small_count(11), small_count(34537)
        ('0', '<11', '<11', '11', '34,537')
    """
    return FEW if is_small(n) and not _TRUE_NUMBERS.get() else f"{n:,}"


@contextmanager
def true_numbers() -> Iterator[None]:
    """Show small counts as they are: for the screen of the person whose data they are, never for a file.

    Examples:
        >>> with true_numbers():
        ...     small_count(4)
        '4'
    """
    token = _TRUE_NUMBERS.set(True)
    try:
        yield
    finally:
        _TRUE_NUMBERS.reset(token)


def round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least ``least``.

    A value of one patient that must be kept is kept as a multiple of such a step.

    Examples:
        >>> round_step(0.3), round_step(7.1)
        (0.5, 10.0)
    """
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= least * (1 - 1e-9))


def may_be_listed(distinct: int) -> bool:
    """Whether the values of a column may be repeated in a message: only where there are few different ones.

    Args:
        distinct: how many different values the column has, missing ones not counted.

    Examples:
        >>> may_be_listed(20), may_be_listed(21)
        (True, False)
    """
    return distinct <= MOST_LISTED


def listing(counts: Mapping[str, int]) -> str:
    """The values of a column with their counts, for a message; where they are many, only how many.

    Args:
        counts: value -> how often it was seen.

    Examples:
        >>> listing({"DEAD": 12, "Dead": 135, "alive\\t": 3})
        '`Dead` (135), `DEAD` (12), `alive\\\\t` (<11)'
        >>> listing({str(n): 1 for n in range(300)})
        '300 different values, too many to be repeated'
    """
    if not may_be_listed(len(counts)):
        return f"{len(counts):,} different values, too many to be repeated"
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"`{plain(value)}` ({small_count(n)})" for value, n in ordered)
