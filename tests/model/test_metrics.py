"""Metrics of a stack against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import r2_score, roc_auc_score, silhouette_samples, silhouette_score

from m3h_pipeline.model.clustering import k_means, silhouettes, squared_distances
from m3h_pipeline.model.heads import problem_class
from m3h_pipeline.model.metrics import auroc, macro_auroc, r2, score, silhouette_metric
from tests.model.test_heads import Poisson
from tests.training.studies import DEVICE


@settings(max_examples=60, deadline=None)
@given(
    models=st.integers(1, 3),
    n=st.integers(1, 30),
    levels=st.sampled_from([1, 2, 4, 1000]),
    seed=st.integers(0, 10**6),
)
def test_auroc_agrees_with_scikit_learn(models: int, n: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Few levels make ties; rows that are not valid hold NaN.
    value = (rng.integers(0, levels, (models, n)) / levels).astype(np.float32)
    positive = rng.random((models, n)) < 0.4
    valid = rng.random((models, n)) < 0.8
    value[~valid] = np.nan
    tensors = [torch.from_numpy(a).to(DEVICE) for a in (value, positive, valid)]
    areas = auroc(*tensors).cpu()
    for k in range(models):
        rows = valid[k]
        if len(set(positive[k][rows].tolist())) < 2:
            assert torch.isnan(areas[k])
        else:
            assert float(areas[k]) == pytest.approx(
                roc_auc_score(positive[k][rows], value[k][rows]), abs=1e-12
            )


def test_a_prediction_that_is_not_finite_has_no_auroc() -> None:
    value = torch.tensor([[0.1, torch.nan, 0.3]])
    positive = torch.tensor([[True, False, False]])
    assert torch.isnan(auroc(value, positive, torch.ones(1, 3, dtype=torch.bool))).all()


@settings(max_examples=40, deadline=None)
@given(n=st.integers(4, 40), classes=st.integers(2, 5), seed=st.integers(0, 10**6))
def test_macro_auroc_agrees_with_scikit_learn(n: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.round(rng.dirichlet(np.ones(classes), (2, n)), 1)
    y = rng.integers(0, classes, (2, n)).astype(float)
    valid = rng.random((2, n)) < 0.9
    y[~valid] = np.nan
    have = macro_auroc(*(torch.from_numpy(a) for a in (p, y, valid)))
    for k in range(2):
        rows = valid[k]
        seen = sorted(set(y[k][rows].tolist()))
        if len(seen) < 2:
            assert torch.isnan(have[k])
            continue
        # Classes that do not occur are left out.
        want = np.mean([roc_auc_score(y[k][rows] == c, p[k][rows][:, int(c)]) for c in seen])
        assert float(have[k]) == pytest.approx(want, abs=1e-12)


def test_macro_auroc_is_that_of_scikit_learn_when_all_classes_occur() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 50)
    y = np.arange(50) % 4
    have = macro_auroc(torch.from_numpy(p)[None], torch.from_numpy(y)[None], torch.ones(1, 50).bool())
    assert float(have[0]) == pytest.approx(roc_auc_score(y, p, multi_class="ovr", average="macro"))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 20), constant=st.booleans(), seed=st.integers(0, 10**6))
def test_r2_agrees_with_scikit_learn(n: int, constant: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.full((2, n), 3.0) if constant else rng.normal(10, 4, (2, n))
    p = y + rng.normal(size=(2, n))
    valid = rng.random((2, n)) < 0.8
    y = np.where(valid, y, np.nan)
    have = r2(*(torch.from_numpy(a) for a in (p[:, :, None], y, valid)))
    for k in range(2):
        rows = valid[k]
        if rows.sum() < 2 or constant:
            assert torch.isnan(have[k])
        else:
            assert float(have[k]) == pytest.approx(r2_score(y[k][rows], p[k][rows]), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 40), k=st.integers(2, 5), doubled=st.booleans(), seed=st.integers(0, 10**6))
def test_silhouettes_agree_with_scikit_learn(n: int, k: int, doubled: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, n, 3))
    if doubled:
        x[:, 1::2] = x[:, : 2 * (n // 2) : 2]
    cluster = rng.integers(0, k, (2, n))
    valid = rng.random((2, n)) < 0.9
    tensors = [torch.from_numpy(a).to(DEVICE) for a in (x, cluster, valid)]
    have = silhouettes(tensors[0], tensors[1], tensors[2], k).cpu()
    mean = silhouette_metric(torch.stack([tensors[1].cpu().double(), have], 2), have, tensors[2].cpu())
    for m in range(2):
        rows = valid[m]
        found = len(set(cluster[m][rows].tolist()))
        assert torch.isnan(have[m][~rows]).all()
        if found < 2:
            assert torch.isnan(mean[m])
        elif found < rows.sum():
            want = silhouette_samples(x[m][rows], cluster[m][rows])
            np.testing.assert_allclose(have[m][rows], want, atol=1e-6)
            assert float(mean[m]) == pytest.approx(silhouette_score(x[m][rows], cluster[m][rows]), abs=1e-6)


def test_silhouettes_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from m3h_pipeline.model import clustering

    x = torch.randn(2, 23, 4, dtype=torch.float64)
    cluster, valid = torch.randint(0, 3, (2, 23)), torch.ones(2, 23, dtype=torch.bool)
    whole = silhouettes(x, cluster, valid, 3)
    monkeypatch.setattr(clustering, "_BLOCK", 60)
    torch.testing.assert_close(silhouettes(x, cluster, valid, 3), whole, rtol=0, atol=1e-12)


def blobs(models: int, n: int, k: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(models, k, 5)) * 6
    which = rng.integers(0, k, n)
    return torch.from_numpy(centres[:, which] + rng.normal(size=(models, n, 5)))


def test_k_means_is_as_good_as_scikit_learn() -> None:
    x = blobs(3, 200, 6)
    valid = torch.ones(3, 200, dtype=torch.bool)
    valid[1, 150:] = False
    centres = k_means(x, valid, 6, [(0, m) for m in range(3)])
    for m in range(3):
        rows = x[m][valid[m]].numpy()
        inertia = float(squared_distances(torch.from_numpy(rows)[None], centres[m : m + 1]).amin(2).sum())
        want = KMeans(6, n_init=10, random_state=0).fit(rows).inertia_
        assert inertia <= want * 1.02


def test_k_means_is_the_same_alone_and_in_a_stack() -> None:
    x = blobs(3, 60, 4)
    valid = torch.ones(3, 60, dtype=torch.bool)
    together = k_means(x, valid, 4, [(0, m) for m in range(3)])
    for m in range(3):
        alone = k_means(x[m : m + 1], valid[m : m + 1], 4, [(0, m)])
        torch.testing.assert_close(alone[0], together[m], rtol=0, atol=1e-12)
    padded = torch.cat([x, torch.full((3, 5, 5), 1e3, dtype=torch.float64)], 1)
    longer = torch.cat([valid, torch.zeros(3, 5, dtype=torch.bool)], 1)
    torch.testing.assert_close(
        k_means(padded, longer, 4, [(0, m) for m in range(3)]), together, rtol=0, atol=1e-12
    )


def test_clusters_are_numbered_by_size_and_more_clusters_than_points_are_no_error() -> None:
    x = blobs(1, 90, 3, seed=2)
    valid = torch.ones(1, 90, dtype=torch.bool)
    centres = k_means(x, valid, 3, [(1,)])
    sizes = torch.bincount(squared_distances(x, centres).argmin(2)[0], minlength=3).tolist()
    assert sizes == sorted(sizes, reverse=True)
    few = k_means(x[:, :2], valid[:, :2], 5, [(1,)])
    assert torch.isfinite(few).all()


def test_each_start_of_k_means_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from m3h_pipeline.model import clustering

    # Many small clusters: one start seldom finds them all.
    x = blobs(1, 120, 15, seed=3)
    valid = torch.ones(1, 120, dtype=torch.bool)

    def inertia(starts: int, key: int) -> float:
        monkeypatch.setattr(clustering, "_RESTARTS", starts)
        return float(squared_distances(x, k_means(x, valid, 15, [(key,)])).amin(2).sum())

    once, thrice = (np.array([inertia(starts, key) for key in range(8)]) for starts in (1, 3))
    assert (thrice <= once + 1e-9).all()
    assert (thrice < 0.99 * once).any()


def test_no_centre_starts_in_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    from m3h_pipeline.model import clustering

    monkeypatch.setattr(clustering, "_RESTARTS", 1)
    x = blobs(1, 40, 3, seed=4)
    padded = torch.cat([x, torch.full((1, 40, 5), 1e3, dtype=torch.float64)], 1)
    valid = torch.arange(80)[None] < 40
    for key in range(8):
        assert float(k_means(padded, valid, 3, [(key,)]).abs().max()) < 100


def counted(y: np.ndarray, prediction: np.ndarray, weight: np.ndarray) -> int:
    """A metric of the user's own: how many rows it is given."""
    assert len(y) == len(prediction) == len(weight)
    return len(y)


def test_a_class_may_bring_its_own_metric() -> None:
    class Counted(Poisson):
        metric = "tests.model.test_metrics.counted"

    prediction, y = torch.zeros(2, 3, 1), torch.ones(2, 3)
    valid = torch.tensor([[True, True, False], [True, False, False]])
    assert score(Counted(), prediction, y, valid).tolist() == [2.0, 1.0]
    assert torch.isnan(score(problem_class("binary"), prediction, y, valid)).all()
