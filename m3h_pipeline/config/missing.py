"""Texts that mean in a table: this was not observed. One list, for readers and the page of the configuration.

A study adds to it with ``source.missing_values``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: As they are usually written; in tables they count in any case, with or without blanks around them.
MISSING: Final = (
    "",
    ".",
    "-",
    "NA",
    "N/A",
    "#N/A",
    "NaN",
    "null",
    "None",
    "[Unknown]",
    "[Not Available]",
)
_PLAIN: Final = frozenset(text.lower() for text in MISSING)


def is_missing(text: str, added: Iterable[str] = ()) -> bool:
    """Whether a text means: not observed.

    Args:
        text: a value of a table.
        added: further texts with that meaning, compared as they are but for blanks around them.

    Examples:
        >>> [is_missing(text) for text in ("n/a", " nan ", "NONE", "-", "-9", "no", "0")]
        [True, True, True, True, False, False, False]
        >>> is_missing("-9", ["-9"])
        True
    """
    text = text.strip()
    return text.lower() in _PLAIN or text in {other.strip() for other in added}


def spellings(added: Iterable[str] = ()) -> list[str]:
    """The list and what a study adds to it, in every usual case, for readers that compare texts as they are.

    Examples:
        >>> {"n/a", "N/A", "NAN", "nan", "None", "none", "-9"} <= set(spellings(["-9"]))
        True
    """
    cases = [form for text in MISSING for form in (text, text.lower(), text.upper(), text.capitalize())]
    return list(dict.fromkeys([*cases, *added]))
