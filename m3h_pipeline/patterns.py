"""Regular expressions that a study brings: as Python's, with a limit of time.

Some expressions take longer than the universe on an unlucky text, each sign of which doubles the time.
"""

from __future__ import annotations

import time
from typing import Any

import regex

from m3h_pipeline.errors import ConfigError

#: Seconds that a pattern may take on one text, and on all texts together.
ON_ONE, ON_ALL = 2.0, 120.0


class Pattern:
    """A regular expression, in the syntax of Python's ``re``.

    Args:
        text: the expression.
        ignore_case: whether small and capital letters are the same.

    Raises:
        ValueError: the text is no regular expression.

    Examples:
        >>> Pattern("gene_.*").fullmatch("gene_7"), Pattern("b+", ignore_case=True).search("aBBc")
        ('gene_7', 'BB')
    """

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        self.text = text
        self._left = ON_ALL
        try:
            self._compiled = regex.compile(text, regex.IGNORECASE if ignore_case else 0)
        except (regex.error, RecursionError, OverflowError) as error:
            raise ValueError(f"`{text}` is no regular expression: {error}") from error

    def search(self, text: str) -> str | None:
        """The first part of a text that it matches.

        Raises:
            ConfigError: it takes too long.
        """
        return self._timed(self._compiled.search, text)

    def fullmatch(self, text: str) -> str | None:
        """The text, if it matches as a whole.

        Raises:
            ConfigError: it takes too long.
        """
        return self._timed(self._compiled.fullmatch, text)

    def _timed(self, match: Any, text: str) -> str | None:
        start = time.monotonic()
        try:
            found = match(text, timeout=min(ON_ONE, self._left))
        except TimeoutError:
            found = None
            self._left = 0.0
        self._left -= time.monotonic() - start
        if self._left <= 0:
            raise ConfigError(
                f"the pattern `{self.text}` takes longer than anyone would wait",
                where=f"a text of {len(text)} signs, such as a title or a column's name",
                hint="repetitions inside or beside repetitions try every way to share a text out: "
                "write `(a|aa)+` as `a+`, `(.*,)*` as `([^,]*,)*`",
            )
        return None if found is None else str(found.group(0))
