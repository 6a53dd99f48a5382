"""One finished study for all tests of bundles."""

from __future__ import annotations

import pytest

from m3h_pipeline.bundle.load import Bundle
from tests.bundle.studies import Finished, finish


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finish(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def bundle(finished: Finished) -> Bundle:
    return Bundle.load(finished.whole.folder / "bundle")
