"""A seeded part of the fault injections; ``make injections`` does all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing
from tests.slurm.injections import SHORT, Bench, run_episode


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("bench"), SHORT)
    made.prepare()
    return made


@pytest.fixture(scope="module")
def without_accounting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := missing(accounting=False):
        pytest.fail(reason, pytrace=False)
    with Cluster(tmp_path_factory.mktemp("lab"), accounting=False) as started:
        yield started


@pytest.mark.parametrize(("kind", "count"), [("training job", 2), ("snakemake", 1)])
def test_a_disturbed_study_ends_like_an_undisturbed_one(
    without_accounting: Cluster, bench: Bench, kind: str, count: int, tmp_path: Path
) -> None:
    episode = run_episode(without_accounting, bench, kind, count, seed=7, spread=5.0)
    assert len(episode.injections) == count
    assert episode.sound, episode
