"""What is renamed into its place survives a loss of power: it has been synced, and the folder with it.

A rename is one step for whoever reads meanwhile, but the system may keep the new name and lose the content
that had not reached the disk. So a file is synced before it is renamed, and its folder afterwards.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

#: What file systems say that cannot sync a folder (network shares), or let nobody open it.
_NO_SYNC_OF_FOLDERS = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EROFS}
)
#: Folders whose own name this process has synced, by device and number.
_SETTLED: set[tuple[int, int]] = set()


def synced(path: Path) -> None:
    """Wait until a file or folder is on the disk.

    Raises:
        OSError: the disk refuses; a folder that its file system cannot sync is let be.
    """
    try:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        if not (path.is_dir() and error.errno in _NO_SYNC_OF_FOLDERS):
            raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are not there, to stay.

    Raises:
        OSError: one of them cannot be made.
    """
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
    _settle(path)


def _settle(path: Path) -> None:
    """Sync the name of a folder, and the names of those above it: another program may have made them.

    Of a relative path those up to the working folder.
    """
    found = path.stat()
    if path == path.parent or (found.st_dev, found.st_ino) in _SETTLED:
        return
    synced(path.parent)
    _settle(path.parent)
    _SETTLED.add((found.st_dev, found.st_ino))


def moved(source: Path, target: Path) -> None:
    """Move a finished file, or a folder with all that is in it, into its place.

    Args:
        source: on the same file system as ``target``.
        target: a file there is replaced; a folder must be empty or absent.

    Raises:
        OSError: it cannot be moved.
    """
    if source.is_dir():
        # From the bottom up: a folder is whole when what is in it is.
        for folder, _, names in os.walk(source, topdown=False):
            for name in names:
                synced(Path(folder) / name)
            synced(Path(folder))
    else:
        synced(source)
    source.replace(target)
    synced(target.parent)
