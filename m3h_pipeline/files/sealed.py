"""Seals: each file that a stage reads carries the digest of itself, and is checked at each read.

A file is written with a digest of zeros where its format has room for a note: the metadata of Parquet and
safetensors, an entry of JSON. The SHA-256 of these bytes then takes the place of the zeros: the file keeps
its length, and every reader of the format reads it as before. One flipped bit anywhere, be it in the digest,
is seen. Formats without such room (text tables, figures) are read by people, and their digests stand in the
study's record (:mod:`m3h_pipeline.record`); where a stage reads one, also in what was written beside it.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO, Final

from m3h_pipeline.errors import InputError
from m3h_pipeline.files.makers import again

#: Name of the note that holds the digest.
KEY: Final = "digest"
_ALGORITHM: Final = "m3h-sha256:"
_ZEROS: Final = "0" * 64
#: The note before the file is sealed.
UNSEALED: Final = _ALGORITHM + _ZEROS
_JSON: Final = re.compile(rb'"digest": ?"m3h-sha256:([0-9a-f]{64})"')
# In Parquet's footer names and values stand after their lengths.
_PARQUET: Final = re.compile(rb"\x06digest\x18\x4bm3h-sha256:([0-9a-f]{64})")
#: Endings of the files that carry seals.
SEALED: Final = (".parquet", ".json", ".safetensors")
#: What is said of a file that another digest belongs to.
CHANGED: Final = "the file is damaged: its content is not what was written"
_PIECE: Final = 1 << 20


def seal(path: Path, like: Path | str | None = None) -> None:
    """Put the digest of a finished file into it, where ``UNSEALED`` stands.

    Args:
        path: the file.
        like: a path whose ending says the format; None: ``path``.

    Raises:
        ValueError: the file has no room for a digest, or is sealed.
        OSError: it cannot be read or written.
    """
    with path.open("r+b") as file:
        place = _place(file, Path(like or path).suffix)
        if place is None:
            raise ValueError(f"{path} has no room for a digest")
        start, found = place
        if found != _ZEROS.encode():
            raise ValueError(f"{path} is sealed")
        digest = _digest(file, start)
        file.seek(start)
        file.write(digest)


def check_seal(path: Path | str) -> None:
    """Compare a file with the digest that it carries.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: its content is not what was written, it carries no digest, or it cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            place = _place(file, path.suffix)
            sound = place is not None and _digest(file, place[0]) == place[1]
    except FileNotFoundError:
        raise
    except OSError as error:
        raise damaged(path, f"the file cannot be read: {error.strerror or error}") from error
    if place is None:
        raise damaged(path, "the file carries no digest: it is damaged, or an older version wrote it")
    if not sound:
        raise damaged(path, CHANGED)


def damaged(path: Path, what: str) -> InputError:
    """The error that says what is wrong with a file of a study, which rule makes it again, and how."""
    return InputError(what, where=str(path), hint=again(path))


def _place(file: BinaryIO, suffix: str) -> tuple[int, bytes] | None:
    """Where the digits of a file's digest begin, and the digits; None: it has none."""
    size = file.seek(0, os.SEEK_END)
    start, stop, pattern = 0, size, _JSON
    if suffix == ".parquet":
        # A file ends with its footer, the footer's length and a magic word.
        file.seek(max(0, size - 8))
        end = file.read(8)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != b"PAR1" or length > size - 8:
            return None
        start, stop, pattern = size - 8 - length, size - 8, _PARQUET
    elif suffix == ".safetensors":
        # A file begins with the length of its header, and the header as JSON.
        file.seek(0)
        stop = min(size, 8 + int.from_bytes(file.read(8), "little"))
    file.seek(start)
    found = pattern.search(file.read(stop - start))
    return None if found is None else (start + found.start(1), found[1])


def _digest(file: BinaryIO, start: int) -> bytes:
    """The hexadecimal SHA-256 of a file with zeros for its own digest, whose digits begin at ``start``."""
    total = hashlib.sha256()
    file.seek(0)
    left = start
    while left and (piece := file.read(min(left, _PIECE))):
        total.update(piece)
        left -= len(piece)
    total.update(_ZEROS.encode())
    file.seek(start + len(_ZEROS))
    while piece := file.read(_PIECE):
        total.update(piece)
    return total.hexdigest().encode()
