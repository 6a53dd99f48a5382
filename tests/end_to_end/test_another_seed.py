"""The default study on a cohort of another seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import snakemake
from tests.end_to_end.planted import assert_truth_is_found

pytestmark = pytest.mark.study


def test_tim_finds_the_planted_structure_of_a_cohort_nobody_looked_at(tmp_path: Path, programs: Path) -> None:
    # Neither the generator nor the default settings were adjusted to this seed.
    target = "results/default/tim/tim.parquet"
    # TIM asks about pairs: what the search makes of larger combinations changes nothing of it.
    config = ["seed=90210", "search={max_size: 2}"]
    run = snakemake(tmp_path, "--cores", "all", "--config", *config, "--", target, programs=programs)
    assert run.status == 0, run.output[-6000:]
    assert_truth_is_found(tmp_path / "results/default")
