"""The contrastive loss against PyTorch's cross-entropy, pair by pair."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from m3h_pipeline.model import contrastive
from m3h_pipeline.model.contrastive import info_nce


def referee(projections: list[Tensor], valid: Tensor | None, temperature: float) -> Tensor:
    """Symmetric InfoNCE from its definition, one model and pair at a time."""
    models, batch = projections[0].shape[:2]
    z = [F.normalize(h, dim=-1) for h in projections]
    losses = []
    for k in range(models):
        terms = []
        for i, j in itertools.combinations(range(len(z)), 2):
            rows = torch.ones(batch, dtype=torch.bool)
            if valid is not None:
                group = k * len(valid) // models
                rows = valid[group, i] & valid[group, j]
            if rows.sum() < 2:
                continue
            logits = z[i][k][rows] @ z[j][k][rows].T / temperature
            same = torch.arange(len(logits))
            terms.append((F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2)
        losses.append(torch.stack(terms).mean() if terms else projections[0].new_zeros(()))
    return torch.stack(losses)


def drawn(models: int, modalities: int, batch: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(models, batch, 5, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(modalities)
    ]


@settings(max_examples=25, deadline=None)
@given(
    groups=st.integers(1, 2),
    each=st.integers(1, 3),
    modalities=st.integers(2, 4),
    batch=st.integers(2, 7),
    masked=st.booleans(),
    temperature=st.sampled_from([1.0, 0.1, 0.01]),
    seed=st.integers(0, 10**6),
)
def test_values_and_gradients_agree_with_cross_entropy(
    groups: int, each: int, modalities: int, batch: int, masked: bool, temperature: float, seed: int
) -> None:
    h = drawn(groups * each, modalities, batch, seed)
    valid = None
    if masked:
        valid = torch.rand(groups, modalities, batch, generator=torch.Generator().manual_seed(seed)) < 0.6
    have, want = info_nce(h, valid, temperature), referee(h, valid, temperature)
    torch.testing.assert_close(have, want, rtol=0, atol=1e-11)
    if not want.requires_grad:
        return
    above = torch.arange(1.0, len(want) + 1, dtype=torch.float64)
    gradients = torch.autograd.grad((have * above).sum(), h)
    wanted = torch.autograd.grad((want * above).sum(), h, allow_unused=True)
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=0, atol=1e-10)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    h = drawn(5, 3, 6, 0)
    whole = info_nce(h, None, 0.1)
    monkeypatch.setattr(contrastive, "_BLOCK_CPU", 1)
    torch.testing.assert_close(info_nce(h, None, 0.1), whole, rtol=0, atol=1e-13)


def test_a_temperature_whose_exponential_overflows_float32_stays_finite() -> None:
    h = [x.detach().float().requires_grad_() for x in drawn(2, 2, 6, 0)]
    loss = info_nce(h, None, 0.005)
    want = referee([x.detach().double() for x in h], None, 0.005)
    torch.testing.assert_close(loss.double(), want, rtol=1e-4, atol=1e-4)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss.sum(), h))


def test_a_model_with_nan_leaves_the_others_alone() -> None:
    h = drawn(3, 3, 6, 0)
    alone = info_nce(h, None, 0.1)
    broken = [x.detach().clone() for x in h]
    broken[1][1] = torch.nan
    broken = [x.requires_grad_() for x in broken]
    loss = info_nce(broken, None, 0.1)
    assert torch.isnan(loss[1])
    assert torch.equal(loss[[0, 2]], alone[[0, 2]])
    gradients = torch.autograd.grad(loss.sum(), broken)
    for a, b in zip(gradients, torch.autograd.grad(alone.sum(), h), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])
