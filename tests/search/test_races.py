"""The table of races on real studies: fits, selections, and scores by a seed that no search saw."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from m3h_pipeline.config import Search
from m3h_pipeline.search.greedy import Wanted
from m3h_pipeline.search.measured import searched
from tests.benchmarks.races import lines, said
from tests.search.simulated import Simulated, planted


def test_searches_are_judged_by_a_seed_that_they_have_not_seen() -> None:
    sim = Simulated(planted(8, 0.02, 2, 3), replicates=3)
    search = Search(race=None, replicates=2, standard_errors=0.0)
    tables: list[pa.Table] = []

    def measure(wanted: Wanted) -> pa.Table:
        tables.append(sim.measure(wanted, search))
        return tables[-1]

    searched(sim.tasks, measure, search)
    table = pa.concat_tables(tables)
    own = Search(replicates=1, standard_errors=0.0)
    found = said(table, own)
    assert found["whole"]["fits"] > found["`z` 1"]["fits"] > 0
    assert found["whole"]["beyond"] > found["`z` 0.5"]["beyond"]
    for one in found.values():
        for task, key in one["selected"].items():
            members = key.split("+")
            wanted = sim.values(key)[members.index(task), 0, 1].mean()
            assert one["truth"][task] == pytest.approx(wanted)
    first, second, _ = lines("ward", found)
    assert first.startswith(f"| ward | whole | {found['whole']['fits']:,} | 100 % | 100 % | 0 of 8 | ")
    loss = [found["whole"]["truth"][t] - value for t, value in found["`z` 1"]["truth"].items()]
    assert f"| {np.mean(loss):+.4f} | {max(loss):.4f} |" in second
