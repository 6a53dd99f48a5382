"""Digests of files, and of the inputs of a study without reading them twice.

Modification times say when a file was written, not what is in it: an input that is copied again or touched
is the same input, and one that is edited inside a folder leaves the folder's time alone. So the workflow asks
for what is in the files. A cache keeps digests by size and time, so that gigabytes are read once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from m3h_pipeline.errors import InputError
from m3h_pipeline.files import read_json, write_json
from m3h_pipeline.files.sealed import CHANGED, damaged

#: Of a folder of hospital tables, those that are read; the others there are many gigabytes and no input.
TABLES = ("diagnoses_icd.csv", "diagnoses_icd.csv.gz", "d_icd_diagnoses.csv", "d_icd_diagnoses.csv.gz")

#: Digests of the files of a folder, in it.
DIGESTS = "digests.json"


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises:
        InputError: the file is absent or cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error


def write_digests(folder: Path) -> None:
    """Write the digests of the files below a folder into it, for files that have no room for a seal.

    Raises:
        InputError: a file cannot be read, or the folder not written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    write_json({"files": digests}, folder / DIGESTS)


def check_digests(folder: Path) -> None:
    """Compare the files below a folder with the digests of :func:`write_digests`.

    Raises:
        InputError: one is absent, or its content is not what was written.
    """
    for name, digest in read_json(folder / DIGESTS)["files"].items():
        if sha256(folder / name) != digest:
            raise damaged(folder / name, CHANGED)


def digest_of(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of a JSON value; the order of a mapping counts: classes have one.

    Examples:
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        False
    """
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def input_files(paths: Iterable[str], base: str) -> dict[str, Path]:
    """Name -> file of every input; a folder stands for the tables of it that are read.

    Names are relative to ``base``; of a file elsewhere, the name is the last part of its path: a record never
    says where somebody keeps their data. Files that do not exist are left out.

    Args:
        paths: files and folders as configured, ``base`` joined to those that are relative.
        base: the folder that relative paths of the source start from.
    """
    found: dict[str, Path] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            files = [path / name for name in TABLES if (path / name).is_file()]
        else:
            files = [path] if path.is_file() else []
        for file in files:
            found[_name(file, path, Path(base))] = file
    return found


def _name(file: Path, given: Path, base: Path) -> str:
    for start in (base, given.parent):
        if file.is_relative_to(start):
            name = file.relative_to(start)
            # A base of "." relates to every relative path, also to one that climbs out of it.
            if not name.is_absolute() and ".." not in name.parts:
                return name.as_posix()
    return file.name


def hashed(files: Mapping[str, Path], cache: Path) -> dict[str, dict[str, Any]]:
    """Name -> ``{"bytes": int, "sha256": str}``, read again only where size or time have changed.

    Args:
        files: name -> file.
        cache: JSON file of earlier digests, written when one was added; it may be absent or unwritable.

    Raises:
        InputError: a file cannot be read.
    """
    known = _cached(cache)
    result: dict[str, dict[str, Any]] = {}
    fresh: dict[str, list[Any]] = {}
    for name, path in files.items():
        try:
            stat = path.stat()
        except OSError as error:
            raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error
        stamp = [stat.st_size, stat.st_mtime_ns]
        entry = known.get(name)
        digest = entry[2] if entry is not None and entry[:2] == stamp else sha256(path)
        fresh[name] = [*stamp, digest]
        result[name] = {"bytes": stat.st_size, "sha256": digest}
    if any(known.get(name) != entry for name, entry in fresh.items()):
        # Without a cache (a folder one may only read) the files are read each time.
        with contextlib.suppress(InputError):
            write_json(known | fresh, cache)
    return result


def _cached(cache: Path) -> dict[str, list[Any]]:
    try:
        content = read_json(cache)
    except InputError:
        return {}
    good = all(isinstance(v, list) and len(v) == 3 for v in content.values())
    return content if good else {}
