"""Everything that keeps files from being read, in one message; and what is only worth saying."""

from __future__ import annotations

from collections.abc import Iterable

from m3h_pipeline.errors import InputError, M3HError

#: So many names are written out; of more only how many there are.
MOST_NAMED = 500


class Problems:
    """What is wrong with files, each thing once.

    Attributes:
        notes: what is no mistake and is still said, in the order it was found.
        unused: files of outcomes, which predictions do not need.

    Examples:
        >>> problems = Problems()
        >>> problems.add(InputError("column `age` is absent", where="a.csv", hint="did you mean `Age`?"))
        >>> problems.add(InputError("there is no row after the header", where="b.csv"))
        >>> problems.check()
        Traceback (most recent call last):
        m3h_pipeline.errors.InputError: 2 things keep these files from being read:
          1. a.csv: column `age` is absent (did you mean `Age`?)
          2. b.csv: there is no row after the header
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None], M3HError] = {}
        self.notes: list[str] = []
        self.unused: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, error: M3HError) -> None:
        """Note one."""
        self._found.setdefault((error.what, error.where), error)

    def check(self) -> None:
        """Say all of it, if there is any.

        Raises:
            InputError: with the complete list.
        """
        found = list(self._found.values())
        if len(found) == 1:
            only = found[0]
            raise (
                only
                if isinstance(only, InputError)
                else InputError(only.what, where=only.where, hint=only.hint)
            )
        if found:
            lines = [f"  {i}. {_line(error)}" for i, error in enumerate(found, 1)]
            what = f"{len(found)} things keep these files from being read:"
            raise InputError("\n".join([what, *lines]))


def _line(error: M3HError) -> str:
    place = f"{error.where}: " if error.where else ""
    return f"{place}{error.what}" + (f" ({error.hint})" if error.hint else "")


def listed(names: Iterable[str]) -> str:
    """Names for a message.

    Examples:
        >>> listed(["age", "sex"])
        '`age`, `sex`'
    """
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:MOST_NAMED])
    return shown + (f" and {len(every) - MOST_NAMED:,} more" if len(every) > MOST_NAMED else "")
