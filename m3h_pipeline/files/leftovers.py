"""Temporary files and folders: named after who makes them, so that those of a killed run can be removed."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from m3h_pipeline.errors import InputError

_NAME: Final = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)\.[^.]+\.part")
#: Seconds after which what another machine left is taken as left for good.
_OLD: Final = 7 * 24 * 3600.0


def prefix_of(name: str) -> str:
    """How the name of a temporary file or folder that becomes ``name`` begins: machine and process.

    It ends in ``.part``.
    """
    return f".{name}.{_machine()}-{os.getpid()}."


def remove_leftovers(*folders: Path) -> None:
    """Remove what killed runs left in some folders: their process is gone, or they are a week old.

    Temporary files of processes that run, here or lately on another machine, stay.
    """
    for folder in folders:
        with suppress(OSError):
            for entry in list(folder.iterdir()):
                found = _NAME.fullmatch(entry.name)
                if found and _abandoned(entry, found[1], int(found[2])):
                    if entry.is_dir() and not entry.is_symlink():
                        shutil.rmtree(entry, ignore_errors=True)
                    else:
                        entry.unlink(missing_ok=True)


@contextmanager
def scratch(
    folder: Path, name: str, hint: str = "check the free space and the permissions of the folder"
) -> Iterator[Path]:
    """A folder in ``folder``, gone when the block ends, or with the next one if the process is killed.

    ``folder`` is made if there is none, and goes again if nothing else came into it.

    Raises:
        InputError: it cannot be made.
    """
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        made = tempfile.TemporaryDirectory(dir=folder, prefix=prefix_of(name), suffix=".part")
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror or error}", where=str(folder), hint=hint) from error
    try:
        with made as path:
            yield Path(path)
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _abandoned(entry: Path, machine: str, process: int) -> bool:
    if machine != _machine():
        return time.time() - entry.lstat().st_mtime > _OLD
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
