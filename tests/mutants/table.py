"""The table of mutants: which text of the package becomes which, and the tests that must notice."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True)
class Mutant:
    """A change of the package that a test must notice.

    Attributes:
        decides: what the changed line decides.
        file: relative to the project.
        old: the text that is replaced; it stands once in the file.
        new: what stands there instead; empty: the line is taken out.
        tests: files, or tests in them, that are run.
        survived: what let the mutant live when it was first tried; empty: a test noticed at once.
    """

    decides: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survived: str = ""

    def applied(self, text: str) -> str:
        """The file's text with the change.

        Raises:
            ValueError: the text to replace does not stand there exactly once.
        """
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} holds {times} times, not once: {self.old!r} ({self.decides})")
        return text.replace(self.old, self.new)


def read_mutants() -> list[Mutant]:
    """The mutants, in the order of the table."""
    content = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in content["mutant"]]
