"""Cross-task attention against the paper's Algorithm 1, written out sample by sample."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from m3h_pipeline.model.attention import CrossTaskAttention
from m3h_pipeline.model.keys import Draws

Normalise = Literal["max_abs", "published"]


def attention(
    tasks: int, models: int = 2, width: int = 6, alpha: float = 0.1, normalise: Normalise = "max_abs"
) -> CrossTaskAttention:
    draws = Draws([(0, k) for k in range(models)], torch.float64)
    keys = Draws([(0, k, f"t{t}") for k in range(models) for t in range(tasks)], torch.float64)
    return CrossTaskAttention(tasks, width, alpha, normalise, draws, keys)


def algorithm_1(layer: CrossTaskAttention, k: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """Algorithm 1 for model ``k``; x (B, T, d). W_T is a d x T matrix, the tokens one-hot columns."""
    tasks = layer.tasks
    w_t = layer.embedding[k].T
    tokens = torch.eye(tasks, dtype=x.dtype)
    queries = [layer.query[k] @ (w_t @ tokens[:, t]) for t in range(tasks)]
    m = torch.zeros(len(x), tasks, tasks, dtype=x.dtype)
    for b in range(len(x)):
        for t in range(tasks):
            for u in range(tasks):
                m[b, t, u] = queries[t] @ (layer.key[k] @ x[b, u])
    out, weights = torch.zeros_like(x), torch.zeros_like(m)
    for b in range(len(x)):
        largest = m.max() if layer.normalise == "published" else m[b].abs().max().clamp(min=1e-6)
        for t in range(tasks):
            logits = torch.stack([float(t == u) + layer.alpha * m[b, t, u] / largest for u in range(tasks)])
            weights[b, t] = torch.softmax(logits, 0)
            out[b, t] = sum(
                (weights[b, t, u] * (layer.value[k] @ x[b, u]) for u in range(tasks)),
                start=torch.zeros(x.shape[2], dtype=x.dtype),
            )
    return out, weights


@pytest.mark.parametrize("normalise", ["max_abs", "published"])
@pytest.mark.parametrize("tasks", [1, 2, 3, 4, 5, 7])
def test_it_is_algorithm_1(tasks: int, normalise: Normalise) -> None:
    layer = attention(tasks, normalise=normalise)
    x = torch.randn(2, 4, tasks, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(tasks))
    out, weights = layer(x.permute(0, 2, 3, 1).contiguous())
    for k in range(2):
        want, wanted_weights = algorithm_1(layer, k, x[k])
        torch.testing.assert_close(out[k].permute(2, 0, 1), want, rtol=0, atol=1e-12)
        torch.testing.assert_close(weights[k].permute(2, 1, 0), wanted_weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("tasks", "share"), [(2, 0.73), (5, 0.40), (41, 0.06)])
def test_a_task_keeps_its_known_share_when_there_is_nothing_to_attend_to(tasks: int, share: float) -> None:
    layer = attention(tasks)
    _, weights = layer(torch.zeros(2, tasks, 6, 3, dtype=torch.float64))
    own = weights.diagonal(dim1=1, dim2=2)
    assert torch.allclose(own, torch.tensor(math.e / (math.e + tasks - 1), dtype=torch.float64))
    assert round(float(own.detach()[0, 0, 0]), 2) == share


@pytest.mark.parametrize("tasks", [1, 2, 3, 13, 41])
def test_the_own_weight_may_be_that_of_two_tasks_for_any_number(tasks: int) -> None:
    draws = Draws([(0, 0)], torch.float64)
    keys = Draws([(0, 0, f"t{t}") for t in range(tasks)], torch.float64)
    layer = CrossTaskAttention(tasks, 6, 0.1, "max_abs", draws, keys, "constant")
    _, weights = layer(torch.zeros(1, tasks, 6, 3, dtype=torch.float64))
    own = weights.diagonal(dim1=1, dim2=2).detach()
    want = math.e / (math.e + 1) if tasks > 1 else 1.0
    torch.testing.assert_close(own, torch.full_like(own, want), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tasks", [1, 2, 13])
def test_with_all_of_the_own_weight_no_task_reads_another(tasks: int) -> None:
    draws = Draws([(0, 0)], torch.float64)
    keys = Draws([(0, 0, f"t{t}") for t in range(tasks)], torch.float64)
    layer = CrossTaskAttention(tasks, 6, 0.1, "max_abs", draws, keys, "whole")
    x = torch.randn(1, tasks, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, weights = layer(x)
    assert torch.equal(weights[..., 0], torch.eye(tasks, dtype=torch.float64)[None])
    x[:, 1:] = 0
    assert torch.equal(layer(x)[0][:, 0], found[:, 0])


def test_a_patient_does_not_depend_on_the_batch_unless_published() -> None:
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    default = attention(3)
    assert torch.allclose(default(x)[0][..., :2], default(x[..., :2])[0], rtol=0, atol=1e-14)
    published = attention(3, normalise="published")
    assert not torch.allclose(published(x)[0][..., :2], published(x[..., :2])[0], rtol=0, atol=1e-6)


def test_padding_does_not_change_the_published_maximum() -> None:
    layer = attention(3, normalise="published")
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([x, 1e3 * torch.ones(2, 3, 6, 2, dtype=torch.float64)], 3)
    valid = torch.tensor([[True] * 5 + [False] * 2])
    torch.testing.assert_close(layer(padded, valid)[0][..., :5], layer(x)[0], rtol=0, atol=1e-14)


def test_gradients_agree_with_finite_differences() -> None:
    layer = attention(3)
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    names = [name for name, _ in layer.named_parameters()]

    def outputs(x: Tensor, *values: Tensor) -> Tensor:
        out = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        attended: Tensor = out[0]
        return attended

    leaves = [x, *(p.detach().clone() for p in layer.parameters())]
    assert torch.autograd.gradcheck(outputs, [leaf.requires_grad_() for leaf in leaves], atol=1e-6)
