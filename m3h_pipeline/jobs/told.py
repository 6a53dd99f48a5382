"""What jobs are told, in files: settings, and lists of files that outgrow a command line.

A file is named by what it says, so that a job runs again if and only if it would be told something else. It
is written when jobs are about to run, and by no dry run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from m3h_pipeline.files import replacing

if TYPE_CHECKING:
    from m3h_pipeline.jobs.settings import JobSettings

#: What Snakemake puts in the place of files that it does not know yet.
_UNKNOWN = "<TBD>"


class Told:
    """Files of settings and of lists, under one folder.

    Args:
        folder: where they lie.
        settings: of every job.
        runs: whether jobs will run, and not only be listed; asked whenever something is told.
    """

    def __init__(self, folder: Path, settings: JobSettings, runs: Callable[[], bool]) -> None:
        self._folder, self._settings, self._runs = folder, settings, runs
        self._texts: dict[tuple[str, ...], str] = {}
        self._kept: set[Path] = set()

    def settings(self, job: str, *of: str) -> str:
        """The file that holds a job's settings.

        Args:
            job: a method of :class:`JobSettings`.
            of: its arguments.

        Raises:
            InputError: the file cannot be written.
        """
        key = (job, *of)
        if key not in self._texts:
            self._texts[key] = getattr(self._settings, job)(*of)
        return self.file(".".join(key), "json", self._texts[key])

    def files(self, name: str, paths: Iterable[str | PathLike[str]]) -> str:
        """The file that lists paths, one a line.

        Args:
            name: of the list, unlike any other's.
            paths: none holds a line break; results' paths do not.

        Raises:
            InputError: the file cannot be written.
        """
        return self.file(name, "txt", "".join(f"{path}\n" for path in map(str, paths)))

    def file(self, name: str, suffix: str, text: str) -> str:
        """The file that says a text.

        Args:
            name: for people, unlike any other's.
            suffix: of the file.
            text: what it says.

        Raises:
            InputError: the file cannot be written.
        """
        path = self._folder / f"{name}.{digest(text)}.{suffix}"
        if path not in self._kept and _UNKNOWN not in text and self._runs():
            _keep(path, text)
            self._kept.add(path)
        return str(path)


def digest(text: str) -> str:
    """16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def damaged(path: Path, text: str) -> bool:
    """Whether a file that is named by what it says says something else.

    Examples:
        >>> name = f"train.{digest('{}')}.json"
        >>> damaged(Path(name), "{}"), damaged(Path(name), "{ }"), damaged(Path("my.json"), "{ }")
        (False, True, False)
    """
    named = path.suffixes[-2:-1]
    known = named[0][1:] if named else ""
    return len(known) == 16 and set(known) <= set("0123456789abcdef") and known != digest(text)


def _keep(path: Path, text: str) -> None:
    """Write a file, unless it is there and whole: its name says what is in it, a flipped bit does not."""
    try:
        if path.read_bytes() == text.encode():
            # Which of several was told last, is told by their times.
            os.utime(path)
            return
    except OSError:
        pass
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
