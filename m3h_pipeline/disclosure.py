"""What may leave a study: no count of people so small that it could point at one of them.

Tables, figures and messages that are made to be shown ask here. Tables between stages hold exact counts.
"""

from __future__ import annotations

from typing import Final

#: The least count that is shown, and the fewest people who are shown as a group.
LEAST: Final = 10
#: What stands in the place of a smaller count; 0 is shown.
FEW: Final = f"<{LEAST}"


def is_small(n: float) -> bool:
    """Whether a count is too small to be shown.

    Examples:
        >>> [is_small(n) for n in (0, 1, LEAST - 1, LEAST)]
        [False, True, True, False]
    """
    return 0 < n < LEAST


def small_count(n: int) -> str:
    """A count for people to read: counts of 1 to 9 are shown as "<10", so that no small group is disclosed.

    Examples:
        >>> small_count(0), small_count(4), small_count(10), small_count(34537)
        ('0', '<10', '10', '34,537')
    """
    return FEW if is_small(n) else f"{n:,}"
