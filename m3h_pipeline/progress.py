"""Progress of long work, with an estimate of what remains, on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TextIO

#: Environment variable: progress goes to a job's log alone, since the run tells of all of its jobs at once.
ELSEWHERE: Final = "M3H_PROGRESS_IN_LOG"


def duration(seconds: float) -> str:
    """A duration for people.

    Examples:
        >>> duration(4.2), duration(75), duration(3 * 3600 + 120)
        ('4 s', '1 min 15 s', '3 h 02 min')
    """
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02d} s"
    return f"{s // 3600} h {s % 3600 // 60:02d} min"


class Progress:
    """Report how much of a known amount of work is done, at most every ``every`` seconds.

    Use it as a context manager and call :meth:`advance`; the last line is always printed.

    Args:
        what: what is counted, in the plural ("fits", "rows").
        total: amount of work, in units of ``what``.
        every: seconds between two lines.
        stream: where to write; standard error by default.
        clock: seconds from some fixed point, replaceable in tests.
    """

    def __init__(
        self,
        what: str,
        total: float,
        *,
        every: float = 5.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.every = what, total, every
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self.done = 0.0
        self._started = self._last = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write()

    def advance(self, amount: float = 1.0) -> None:
        """Add to the work done and print a line if one is due."""
        self.done += amount
        now = self._clock()
        if now - self._last >= self.every:
            self._last = now
            self._write()

    def _write(self) -> None:
        elapsed = self._clock() - self._started
        line = f"{self.done:,.0f} of {self.total:,.0f} {self.what} in {duration(elapsed)}"
        if 0 < self.done < self.total:
            line += f", {duration(elapsed * (self.total - self.done) / self.done)} to go"
        # What writes to the screen and to a log has a way to write to the log alone.
        aside = getattr(self._stream, "aside", None) if os.environ.get(ELSEWHERE) else None
        (aside or self._stream.write)(line + "\n")
        self._stream.flush()
