"""What clusters are: against plain means, and that they tell of nobody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.evaluation.phenotypes.profiles import (
    Clustered,
    cluster_sizes,
    features_of,
    profile_rows,
    shown_shares,
    stability,
)

N = 900


def clustered(seed: int = 0, groups: int = 4) -> Clustered:
    rng = np.random.default_rng(seed)
    cluster = rng.integers(groups, size=N)
    moved = np.where(rng.random(N) < 0.2, rng.integers(groups, size=N), cluster)
    # The same clusters by other names.
    return Clustered(cluster, np.stack([(cluster + 1) % groups, moved]), np.arange(N) // 2)


def test_a_cluster_is_told_by_what_sets_it_apart() -> None:
    found = clustered()
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 8))
    x[found.cluster == 2, 3] += 4
    x[rng.random((N, 8)) < 0.1] = np.nan
    ill = (rng.random(N) < np.where(found.cluster == 2, 0.7, 0.2)).astype(float)
    days = rng.normal(size=N) + found.cluster
    codes = {"Sepsis": ill, "Gout": 1 - ill}
    rows = list(profile_rows(found, x, list("abcdefgh"), {"ill": ill}, {"days": days}, codes))
    here = found.cluster == 2
    mine = [row for row in rows if row["cluster"] == 2]
    assert mine[0] == {"cluster": 2, "what": "size", "name": "", "value": here.sum(), "rest": None}
    features = [row for row in mine if row["what"] == "feature"]
    assert features[0]["name"] == "d"
    apart = np.nanmean(x[here, 3]) - np.nanmean(x[~here, 3])
    assert features[0]["value"] == pytest.approx(apart, abs=5e-4)
    outcome = {row["name"]: row for row in mine if row["what"] == "outcome"}
    assert outcome["ill"]["value"] == pytest.approx(ill[here].mean(), abs=5e-4)
    assert outcome["ill"]["rest"] == pytest.approx(ill[~here].mean(), abs=5e-4)
    assert outcome["days"]["value"] == pytest.approx(days[here].mean(), abs=5e-4)
    # Of diagnoses those that it has more often.
    assert [row["name"] for row in mine if row["what"] == "diagnosis"] == ["Sepsis"]


def test_stability_is_1_of_the_same_clusters_by_other_names() -> None:
    found = clustered()
    same = Clustered(found.cluster, found.others[:1], found.patient)
    assert set(stability(same).values()) == {1.0}
    assert all(0.5 < (value * 2 - 1) < 0.9 for value in stability(found).values())
    one = Clustered(found.cluster, found.others[:0], found.patient)
    assert np.isnan(list(stability(one).values())).all()


def test_a_cluster_of_few_patients_is_hidden_with_another() -> None:
    found = clustered()
    cluster = found.cluster.copy()
    cluster[:16] = 9  # of eight patients
    sizes = cluster_sizes(Clustered(cluster, found.others, found.patient))
    hidden = [c for c, n in sizes.items() if n is None]
    assert 9 in hidden
    assert len(hidden) == 2


def test_what_few_of_a_cluster_have_is_no_feature_of_it() -> None:
    found = clustered()
    here = found.cluster == 1
    x = np.zeros((N, 2))
    x[:, 1] = np.random.default_rng(0).normal(size=N)
    x[np.flatnonzero(here)[:3], 0] = 1000.0
    assert [name for name, _ in features_of(here, found.patient, x, ["rare", "usual"])] == ["usual"]


@given(seed=st.integers(0, 10_000), rate=st.sampled_from([0.02, 0.1, 0.5]))
@settings(max_examples=25, deadline=None)
def test_shares_tell_of_no_few(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    found = clustered(seed, 6)
    has = (rng.random(N) < rate).astype(float)
    has[rng.random(N) < 0.05] = np.nan
    told = shown_shares(found, has)
    for c in told:
        for side in (0, 1):
            people = np.unique(found.patient[(found.cluster == c) & (has == side)])
            assert not 0 < len(people) < 11
    # One alone would follow from the total; and what several leave over is no few.
    dark = [c for c in found.names if c not in told] if told else []
    assert len(dark) != 1
    for side in (0, 1):
        left = sum(int(((found.cluster == c) & (has == side)).sum()) for c in dark)
        assert not 0 < left < 11
