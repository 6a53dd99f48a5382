"""Digests that were computed before from the very same sources, kept beside Python's own compiled files.

To read the whole package and follow its names takes seconds, and every call of Snakemake, every job of a
cluster and every training job asks. What is kept holds for the sources whose content it was computed from,
whatever their times say; where nothing can be kept, digests are computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


class Kept:
    """Digests by the names of their modules, in a file.

    Args:
        folder: of the package.
        file: where they are kept; by default where Python keeps the package's compiled files.
    """

    def __init__(self, folder: Path, file: Path | None = None) -> None:
        tag = sys.implementation.cache_tag
        self.file = file or folder / "__pycache__" / f"digests.{tag}.json"
        self._sources = sources_digest(folder)
        self._digests: dict[str, str] | None = None

    def get(self, modules: tuple[str, ...], compute: Callable[..., str]) -> str:
        """The digest of ``modules``: the one that is kept, or what ``compute`` returns, which is kept."""
        if self._digests is None:
            self._digests = self._read()
        name = " ".join(modules)
        if name not in self._digests:
            # Another process may have kept some meanwhile.
            self._digests = {**self._read(), name: compute(*modules)}
            self._write()
        return self._digests[name]

    def _read(self) -> dict[str, str]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads(self.file.read_text(encoding="utf-8"))
            if content["sources"] == self._sources:
                return {str(name): str(digest) for name, digest in content["digests"].items()}
        return {}

    def _write(self) -> None:
        content = json.dumps({"sources": self._sources, "digests": self._digests})
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(exist_ok=True)
            number, name = tempfile.mkstemp(dir=self.file.parent, prefix=f".{self.file.name}.")
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(content)
            Path(name).replace(self.file)


def sources_digest(folder: Path) -> str:
    """Digest of every source file below a folder: its place and its bytes."""
    total = hashlib.sha256(sys.version.encode())
    for path in sorted(folder.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()
