"""Clusters for the tests, one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing


@pytest.fixture(scope="module", params=[True, False], ids=["accounting", "no_accounting"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with accounting, then one without."""
    accounting = bool(request.param)
    if reason := missing(accounting):
        pytest.fail(reason, pytrace=False)
    with Cluster(tmp_path_factory.mktemp("lab"), accounting) as started:
        yield started


@pytest.fixture(scope="session")
def quick_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site file of a cluster with GPUs; jobs are looked at every second, as they are short."""
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text(
        "training: {gpu: 1}\n"
        "options:\n"
        "  slurm-init-seconds-before-status-checks: 2\n"
        "  seconds-between-status-checks: 1\n"
        "  latency-wait: 20\n"
        f"  local-cores: {os.cpu_count()}\n"
    )
    return path
