"""The command line: verbs parse their arguments and call one function each.

Verbs import what they need when they are called: a process that writes a plan does not load torch.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from m3h_pipeline import __version__
from m3h_pipeline.cli import cohort, completion, predicting, reported, results, running, studies, training
from m3h_pipeline.cli.arguments import Verb
from m3h_pipeline.cli.parser import EXITS, Parser
from m3h_pipeline.disclosure.text import plain
from m3h_pipeline.errors import M3HError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status (:data:`m3h_pipeline.cli.parser.EXITS`)."""
    try:
        status = _run(_parser().parse_args(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has enough (`m3h check | head`). Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _run(options: argparse.Namespace) -> int:
    verb: Verb = options.verb
    messages = _messages(options.log, options.quiet)
    try:
        verb(options)
    except M3HError as error:
        messages.say(f"m3h {options.name}: {error}\n")
        return 2
    except KeyboardInterrupt:
        messages.say(f"m3h {options.name}: interrupted; what is finished stays, run again to go on\n")
        return 130
    except MemoryError:
        messages.say(f"m3h {options.name}: out of memory; {_LESS.get(options.name, _MORE)}\n")
        return 2
    finally:
        messages.restore()
    return 0


#: What to do where memory does not suffice.
_MORE = "run it where there is more, or ask the scheduler for more (`--set-resources`)"
_LESS = {"train-pack": f"lower `compute.memory_gb`, or {_MORE}"}


class _Messages:
    """Standard error on the screen and, if one is given, in a log file: plain text, whatever it names.

    Args:
        log: the file.
        quiet: whether the screen shows nothing but :meth:`say`.
    """

    def __init__(self, log: Path | None, quiet: bool = False) -> None:
        self._file: TextIO | None = None
        self._quiet = quiet
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._file = log.open("w", encoding="utf-8", buffering=1)
        self._screen = sys.stderr
        sys.stderr = self

    def write(self, text: str) -> int:
        return self._write(text, not self._quiet)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def aside(self, text: str) -> int:
        """Write to the log alone; to the screen where there is none."""
        return self._write(text, self._file is None and not self._quiet)

    def say(self, text: str) -> int:
        """Write what is said in any case: why it ended."""
        return self._write(text, True)

    def _write(self, text: str, screen: bool) -> int:
        shown = "\n".join(map(plain, text.split("\n")))
        self._log(lambda file: file.write(shown))
        if screen:
            self._screen.write(shown)
        return len(text)

    def flush(self) -> None:
        self._log(lambda file: file.flush())
        self._screen.flush()

    def isatty(self) -> bool:
        return False

    def restore(self) -> None:
        sys.stderr = self._screen
        self._log(lambda file: file.close())

    def _log(self, use: Callable[[TextIO], object]) -> None:
        """A full disk loses the rest of the log, not the work."""
        if self._file is None:
            return
        file = self._file
        try:
            use(file)
        except OSError as error:
            self._file = None
            self._screen.write(f"m3h: the log {plain(file.name)} ends here: {error.strerror}\n")
            with contextlib.suppress(OSError):
                file.close()


def _messages(log: Path | None, quiet: bool) -> _Messages:
    try:
        return _Messages(log, quiet)
    except OSError as error:
        raise SystemExit(f"m3h: cannot write the log {log}: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="m3h",
        description="Multimodal multitask learning for clinical outcomes: which outcomes to learn together.",
        epilog="exit status: " + "; ".join(f"{status} {text}" for status, text in EXITS.items()),
    )
    parser.add_argument("--version", action="version", version=f"m3h {__version__}")
    parser.add_argument("--log", type=Path, metavar="FILE", help="also write messages to this file")
    parser.add_argument("--quiet", action="store_true", help="no progress and no notes, only errors")
    parser.set_defaults(parser=parser)
    verbs = parser.add_subparsers(dest="name", required=True, metavar="VERB")
    shown = (
        *studies.VERBS,
        *running.VERBS,
        *predicting.VERBS,
        *cohort.VERBS,
        *training.VERBS,
        *results.VERBS,
        *reported.VERBS,
    )
    for add in (*shown, completion.completion):
        add(verbs)
    return parser
