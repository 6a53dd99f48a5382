"""The command line: verbs parse their arguments and call one function each.

Verbs import what they need when they are called: a process that writes a plan does not load torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from m3h_pipeline.cli import cohort, results, training
from m3h_pipeline.cli.arguments import Verb
from m3h_pipeline.disclosure.text import plain
from m3h_pipeline.errors import M3HError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status: 0, or 2 after a message about what the user can mend."""
    options = _parser().parse_args(arguments)
    verb: Verb = options.verb
    messages = _messages(options.log)
    try:
        verb(options)
    except M3HError as error:
        sys.stderr.write(f"m3h {options.name}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"m3h {options.name}: interrupted; what is finished stays, run again to go on\n")
        return 130
    except MemoryError:
        sys.stderr.write(f"m3h {options.name}: out of memory; lower `compute.memory_gb` or ask for more\n")
        return 2
    finally:
        messages.restore()
    return 0


class _Messages:
    """Standard error on the screen and, if one is given, in a log file: plain text, whatever it names."""

    def __init__(self, log: Path | None) -> None:
        self._file: TextIO | None = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._file = log.open("w", encoding="utf-8", buffering=1)
        self._screen = sys.stderr
        sys.stderr = self

    def write(self, text: str) -> int:
        shown = "\n".join(map(plain, text.split("\n")))
        if self._file is not None:
            self._file.write(shown)
        self._screen.write(shown)
        return len(text)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()
        self._screen.flush()

    def isatty(self) -> bool:
        return False

    def restore(self) -> None:
        sys.stderr = self._screen
        if self._file is not None:
            self._file.close()


def _messages(log: Path | None) -> _Messages:
    try:
        return _Messages(log)
    except OSError as error:
        raise SystemExit(f"m3h: cannot write the log {log}: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3h", description="Multimodal multitask learning for clinical outcomes, one verb per stage."
    )
    parser.add_argument("--log", type=Path, help="also write messages to this file")
    verbs = parser.add_subparsers(dest="name", required=True, metavar="VERB")
    for add in (*cohort.VERBS, *training.VERBS, *results.VERBS):
        add(verbs)
    return parser
