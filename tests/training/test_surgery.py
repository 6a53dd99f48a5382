"""Gradient surgery of a stack against the algorithm as published, one model at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.optimise import (
    BlockAdam,
    Stacked,
    coefficients,
    is_shared,
    operate,
    projection_orders,
)
from tests.training.studies import settings, spec, study

MODELS, LOSSES, WIDTH = 4, 5, 7


def textbook(gradients: Tensor, order: Tensor) -> Tensor:
    """Algorithm 1 of Yu et al.: (L, P) gradients, the sum of the projected ones."""
    total = torch.zeros(gradients.shape[1], dtype=gradients.dtype)
    for i in range(len(gradients)):
        mine = gradients[i].clone()
        for j in order[i].tolist():
            product = torch.dot(mine, gradients[j])
            if product < 0:
                mine -= product / gradients[j].square().sum() * gradients[j]
        total += mine
    return total


@pytest.mark.parametrize("seed", range(5))
def test_coefficients_are_those_of_the_published_algorithm(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    gradients = torch.randn(MODELS, LOSSES, WIDTH, dtype=torch.float64, generator=draws)
    gradients[1, 2] = 0  # a task without a labelled row
    gradients[2, 1] = -gradients[2, 0]
    orders = projection_orders([("key", seed, k) for k in range(MODELS)], LOSSES)
    share = coefficients(gradients @ gradients.mT, orders)
    found = torch.einsum("kl,klp->kp", share, gradients)
    for k in range(MODELS):
        rows = [i for i in range(LOSSES) if gradients[k, i].any()]
        order = torch.stack([torch.tensor([rows.index(j) for j in orders[k, i] if j in rows]) for i in rows])
        torch.testing.assert_close(found[k], textbook(gradients[k, rows], order), rtol=1e-10, atol=1e-10)


def test_operate_sets_shared_gradients_by_surgery_and_the_others_by_the_sum() -> None:
    draws = torch.Generator().manual_seed(0)
    shared = torch.randn(MODELS * 2, 3, dtype=torch.float64, generator=draws).requires_grad_()
    own = torch.randn(MODELS, LOSSES, dtype=torch.float64, generator=draws).requires_grad_()
    by = torch.randn(LOSSES, 6, dtype=torch.float64, generator=draws)
    losses = torch.tanh(shared.view(MODELS, 6) @ by.T) * own
    orders = projection_orders([(k,) for k in range(MODELS)], LOSSES)
    wanted_own = torch.autograd.grad(losses.sum(), own, retain_graph=True)[0]
    each = [torch.autograd.grad(losses[:, i].sum(), shared, retain_graph=True)[0] for i in range(LOSSES)]
    operate(losses, [shared], [own], MODELS, orders)
    assert own.grad is not None
    assert shared.grad is not None
    torch.testing.assert_close(own.grad, wanted_own)
    for k in range(MODELS):
        gradients = torch.stack([g.view(MODELS, 6)[k] for g in each])
        torch.testing.assert_close(shared.grad.view(MODELS, 6)[k], textbook(gradients, orders[k]))
    conflicts = [g.view(MODELS, 6)[0] for g in each]
    assert min(float(torch.dot(a, b)) for a in conflicts for b in conflicts) < 0


def test_orders_belong_to_the_model_and_hold_every_other_loss() -> None:
    keys = [("a", 1), ("b", 1), ("a", 1)]
    orders = projection_orders(keys, LOSSES)
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
    for i in range(LOSSES):
        assert sorted(orders[0, i].tolist()) == [j for j in range(LOSSES) if j != i]
    assert projection_orders(keys, 1).shape == (3, 1, 0)


def test_a_stack_changes_nothing_and_surgery_changes_something() -> None:
    data = study()
    own = settings(precision="float64", update="pcgrad", epochs=3)
    alone = [spec("anemia", "stay"), spec("grade", "phenotype", "stay"), spec("anemia")]
    together = [*alone, spec("sepsis", "size"), spec("anemia", "stay", replicate=1), spec("sepsis")]
    first = [run_fits([one], data, own)[0] for one in alone]
    for a, b in zip(first, run_fits(together, data, own), strict=False):
        for task in a.predictions:
            np.testing.assert_allclose(a.predictions[task], b.predictions[task], rtol=0, atol=1e-6)
    plain = run_fits(alone, data, settings(precision="float64", epochs=3))
    assert not np.allclose(plain[0].predictions["stay"], first[0].predictions["stay"], atol=1e-4)


def test_a_task_alone_is_trained_as_without_surgery() -> None:
    """Without a contrastive loss there is one loss, and nothing to project."""
    data = study(widths={"alpha": 5})
    names = ["alpha"]
    one, other = (
        run_fits([spec("stay")], data, settings(precision="float64", modalities=names, update=update))[0]
        for update in ("sum", "pcgrad")
    )
    np.testing.assert_allclose(one.predictions["stay"], other.predictions["stay"], rtol=0, atol=1e-7)


def test_task_networks_are_not_operated_on() -> None:
    assert is_shared("encoders.alpha.layers.0.weight")
    assert is_shared("shared.layers.0.weight")
    assert not is_shared("heads.0.weight")
    assert not is_shared("networks.layers.0.weight")


@pytest.mark.parametrize("rates", [[1e-2, 1e-2], [1e-2, 1e-3]])
def test_a_step_does_not_depend_on_how_a_gradient_lies_in_memory(rates: list[float]) -> None:
    """``autograd.grad`` may give a transposed view, which fused Adam on a CPU took for another matrix."""
    draws = torch.Generator().manual_seed(0)
    start, gradient = (torch.randn(2, 3, 3, dtype=torch.float64, generator=draws) for _ in range(2))
    found = []
    for grad in (gradient, gradient.mT.contiguous().mT):
        p = torch.nn.Parameter(start.clone())
        p.grad = grad
        BlockAdam([Stacked("w", p, 1, True)], rates, 0.1).step()
        found.append(p.detach())
    wanted = torch.nn.Parameter(start.clone())
    wanted.grad = gradient
    rate = torch.tensor(rates, dtype=torch.float64)[:, None, None]
    referee = torch.optim.AdamW([wanted], lr=1.0, weight_decay=0.0, foreach=False)
    referee.step()
    moved = start * (1 - 0.1 * rate) + rate * (wanted.detach() - start)
    for one in found:
        torch.testing.assert_close(one, moved, rtol=1e-12, atol=1e-12)


def test_gradient_surgery_trains_the_attention_as_plain_gradients_would() -> None:
    """Where no gradients conflict surgery is the plain sum: whatever has been learned is the same."""
    data = study()
    own, plain = (settings(precision="float64", update=update, epochs=1) for update in ("pcgrad", "sum"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "m3h_pipeline.training.optimise.coefficients",
            lambda products, _: products.new_ones(products.shape[:2]),
        )
        first = run_fits([spec("anemia", "stay")], data, own, keep_models=True)[0]
    second = run_fits([spec("anemia", "stay")], data, plain, keep_models=True)[0]
    assert first.parameters is not None
    assert second.parameters is not None
    for name, value in second.parameters.items():
        np.testing.assert_allclose(first.parameters[name], value, rtol=0, atol=1e-9, err_msg=name)
