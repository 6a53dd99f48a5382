"""Texts that mean in a table: this was not observed. One list, for readers and the page of the configuration.

A study adds to it with ``source.missing_values``.
"""

from __future__ import annotations

from typing import Final

#: As they are usually written; in tables they count in any case, with or without blanks around them. Only
#: ``None`` counts as it is, as Python writes it: `none` is a category of many clinical tables.
MISSING: Final = (
    "",
    ".",
    "-",
    "NA",
    "N/A",
    "#N/A",
    "<NA>",
    "NaN",
    "-NaN",
    "null",
    "None",
    "[Unknown]",
    "[Not Available]",
)
#: Spellings that count in one case only.
AS_WRITTEN: Final = frozenset({"None"})
#: The others in lower case.
ANY_CASE: Final = tuple(text.lower() for text in MISSING if text not in AS_WRITTEN)


def is_missing(text: str) -> bool:
    """Whether a text means: not observed, in any study.

    Examples:
        >>> [is_missing(text) for text in ("n/a", " nan ", "None", "-", "none", "no", "0")]
        [True, True, True, True, False, False, False]
    """
    text = text.strip()
    return text in AS_WRITTEN or text.lower() in ANY_CASE
