"""Download the open MIMIC-IV demo, verified and resumable."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from m3h_pipeline.errors import InputError
from m3h_pipeline.files import replacing, writing
from m3h_pipeline.files.durable import make_folder, moved
from m3h_pipeline.hashes import sha256
from m3h_pipeline.progress import Progress

#: Where version 2.2 of the demo is published (Open Database License; no account is needed).
DEMO = "https://physionet.org/files/mimic-iv-demo/2.2/"
SUMS = "SHA256SUMS.txt"
_PIECE = 1 << 20
_TIMEOUT = 60.0
_HINT = "run it again: what has arrived is kept"


def fetch_demo(folder: Path | str, *, url: str = DEMO, stream: TextIO | None = None) -> list[Path]:
    """Download every file that the release's ``SHA256SUMS.txt`` lists, each verified before it gets its name.

    A file that is there and has its checksum is not downloaded again; one that was cut off goes on from where
    it stopped (``<name>.part``), if the server can.

    Args:
        folder: where to; made if need be.
        url: of the release, with a slash at its end.
        stream: where progress is written; standard error by default.

    Returns:
        The files.

    Raises:
        InputError: the server cannot be reached, a file does not arrive or has another checksum.
    """
    folder = Path(folder)
    with writing(folder):
        make_folder(folder)
    text = _get(url + SUMS)
    wanted = _listed(text, url + SUMS)
    files = []
    with Progress("files", len(wanted), stream=stream) as progress:
        for name, expected in wanted.items():
            target = folder / name
            if not (target.is_file() and sha256(target) == expected):
                _fetch(url + name, target, expected)
            files.append(target)
            progress.advance()
    with replacing(folder / SUMS) as temporary:
        temporary.write_bytes(text)
    return files


def _listed(text: bytes, where: str) -> dict[str, str]:
    """File -> checksum; a name that leads out of the folder is refused."""
    wanted: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").splitlines():
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-f]{64})[ \t]+\*?(\S.*)", line.strip())
        path = PurePosixPath(match[2]) if match else PurePosixPath("/")
        if match is None or path.is_absolute() or ".." in path.parts:
            raise InputError("this is no list of SHA-256 checksums", where=where)
        wanted[str(path)] = match[1]
    if not wanted:
        raise InputError("this is no list of SHA-256 checksums", where=where)
    return wanted


def _fetch(url: str, target: Path, expected: str) -> None:
    part = target.with_name(f"{target.name}.part")
    with writing(target):
        make_folder(part.parent)
        have = part.stat().st_size if part.exists() else 0
        _download(url, part, have)
        if have and sha256(part) != expected:
            # What was there was of something else: once more from the start.
            _download(url, part, 0)
        if sha256(part) != expected:
            part.unlink()
            raise InputError(
                "what arrived does not have the published checksum",
                where=url,
                hint="run it again; if it happens again, something between here and the server changes files",
            )
        moved(part, target)


def _download(url: str, part: Path, have: int) -> None:
    """Append to ``part`` what is missing after ``have`` bytes, or write it anew."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        response = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            return
        raise _refused(url, error) from error
    with response:
        # A server that knows no ranges answers 200 and sends the whole file.
        mode = "ab" if response.status == 206 else "wb"
        length = response.headers.get("Content-Length")
        arrived = 0
        with part.open(mode) as file:
            while data := _read(response, url):
                file.write(data)
                arrived += len(data)
        if length is not None and arrived < int(length):
            raise InputError("the connection broke off", where=url, hint=_HINT)


def _get(url: str) -> bytes:
    try:
        with _open(url, {}) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        raise _refused(url, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise InputError("the connection broke off", where=url, hint=_HINT) from error


def _open(url: str, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "m3h-pipeline", **headers})
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"the server cannot be reached: {reason}",
            where=url,
            hint="check the connection (behind a proxy, set `https_proxy`), then run it again",
        ) from error


def _read(response: Any, url: str) -> bytes:
    try:
        return bytes(response.read(_PIECE))
    except (OSError, http.client.HTTPException) as error:
        raise InputError("the connection broke off", where=url, hint=_HINT) from error


def _refused(url: str, error: urllib.error.HTTPError) -> InputError:
    return InputError(
        f"the server answers {error.code} {error.reason}",
        where=url,
        hint="try again later, or check the address",
    )
