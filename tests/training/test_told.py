"""What models hold is of no few patients: features that few tell apart, centres of small clusters."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline.features.scaling import told_by_few
from m3h_pipeline.training.scoring import told_centres


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(12, 400),
    odd=st.integers(0, 30),
    each=st.integers(1, 4),
    missing=st.sampled_from([0.0, 0.5, 0.97]),
)
def test_a_feature_that_few_patients_tell_apart_is_as_good_as_constant(
    seed: int, n: int, odd: int, each: int, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // each
    x = np.zeros((n, 3), np.float32)
    x[rng.permutation(n)[:odd], 0] = 1
    x[:, 1] = rng.normal(size=n)
    x[:, 2] = np.where(rng.random(n) < missing, np.nan, rng.normal(size=n))
    few = told_by_few(x, patient)
    usual = 0.0 if odd <= n // 2 else 1.0
    if 2 * odd < n // 2 or 2 * odd > 3 * n // 2:
        assert few[0] == (len(np.unique(patient[x[:, 0] != usual])) < 11)
    # Of values that all differ one is no difference.
    assert abs(len(np.unique(patient)) - 11) < 2 or few[1] == (len(np.unique(patient)) < 11)
    known = len(np.unique(patient[~np.isnan(x[:, 2])]))
    assert abs(known - 11) < 2 or few[2] == (known < 11)


def test_centres_of_small_clusters_give_way_to_the_nearest_large_one() -> None:
    x = torch.cat([torch.zeros(30, 2), torch.full((20, 2), 10.0), torch.full((5, 2), 12.0)]).double()
    centres = torch.tensor([[0.0, 0], [10, 10], [12, 12]]).double()
    told = told_centres(centres, x, torch.arange(55))
    assert told.tolist() == [[0, 0], [10, 10], [10, 10]]
    # Twenty rows of two patients are few patients.
    told = told_centres(
        centres, x, torch.cat([torch.arange(30), torch.arange(20) % 2 + 30, torch.arange(5) + 40])
    )
    assert told.tolist() == [[0, 0], [0, 0], [0, 0]]
    assert told_centres(centres, x[30:41], torch.arange(11) // 2).tolist() == [[10, 10]] * 3
