"""What a study is made from: the content of its input files, whatever their times say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Study
from m3h_pipeline.config.paths import input_paths
from m3h_pipeline.hashes import digest_of, hashed, input_files


class Inputs:
    """The input files of a study and the digests of what is in them.

    Args:
        study: its configuration.
        cache: file of digests by size and time, so that gigabytes are read once.
    """

    def __init__(self, study: Study, cache: Path) -> None:
        self._study, self._cache = study, cache

    def hashes(self) -> dict[str, dict[str, Any]]:
        """Name -> ``{"bytes": int, "sha256": str}`` of every input that exists.

        Raises:
            InputError: a file cannot be read.
        """
        files = input_files(input_paths(self._study), self._study.data)
        return hashed(files, self._cache) if files else {}

    def content_of(self, paths: Iterable[str]) -> str:
        """A digest of what is in some of the inputs.

        Raises:
            InputError: a file cannot be read.
        """
        names = input_files(paths, self._study.data)
        known = {name: entry for name, entry in sorted(self.hashes().items()) if name in names}
        return digest_of(known)
