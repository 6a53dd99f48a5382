"""Learned weights of losses: runs against plain loops that follow the papers, and what they never do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from m3h_pipeline.config import Training
from m3h_pipeline.training.balance.learned import BALANCES, Famo, ImtlL, Uncertainty
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.stacks import make_stacks
from m3h_pipeline.training.stopping import stopping_loss
from m3h_pipeline.training.trainer import Trainer
from tests.training.studies import DEVICE, settings, spec, study
from tests.training.test_referee import _exact_features, compare

__all__ = ["_exact_features"]


def learn(kind: str, weights: Tensor, steps: int, order: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """Follow losses that fall at given rates: the last gradients of the losses, and what was learned."""
    models, losses = weights.shape
    order = list(range(losses - 1)) if order is None else order
    balance = BALANCES[kind](weights[:, [0, *(1 + i for i in order)]], losses - 1)
    fall = torch.linspace(0.9, 0.99, models * (losses - 1), dtype=torch.float64).view(models, -1)
    for step in range(steps):
        tasks = [(2.0 + torch.arange(losses - 1)) * fall**n for n in (step, step + 1)]
        tasks[0][0, 1] = tasks[1][0, 1] = 0.0  # no row of this task in the first model
        before, after = (torch.cat([torch.ones(models, 1), task[:, order]], 1).double() for task in tasks)
        before.requires_grad_()
        total = balance.total(before)
        gradient, learned = torch.autograd.grad(total, [before, balance.learned], allow_unused=True)
        balance.learned.grad = learned
        balance.step(before, lambda after=after: after)  # type: ignore[misc]
    return gradient, balance.learned.detach()


@pytest.mark.parametrize(
    "combination",
    [("anemia",), ("anemia", "gout", "organ", "phenotype", "stay")],
    ids="+".join,
)
@pytest.mark.parametrize("kind", BALANCES)
def test_a_training_run_agrees_with_a_plain_loop(kind: str, combination: tuple[str, ...]) -> None:
    compare(
        combination,
        index=1,
        balance=kind,
        contrastive_weight=0.5,
        task_weights={"anemia": 3.0, "stay": 0.25},
        gradient_clip=0.3,
    )


@pytest.mark.parametrize("kind", BALANCES)
def test_models_of_a_stack_learn_weights_of_their_own(kind: str) -> None:
    chosen = settings(precision="float64", balance=kind, epochs=4)
    fits = run_fits([spec("anemia", "gout", "stay"), spec("gout", "sepsis", "stay")], study(), chosen)
    for fit in fits:
        (alone,) = run_fits([fit.spec], study(), chosen)
        for task in fit.spec.combination:
            np.testing.assert_allclose(fit.predictions[task], alone.predictions[task], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", BALANCES)
def test_the_order_of_the_tasks_means_nothing(kind: str) -> None:
    weights = torch.tensor([[1.0, 1, 2, 0.5], [0.3, 1, 1, 1]], dtype=torch.float64)
    order = [2, 0, 1]
    gradient, learned = learn(kind, weights, 25)
    turned, again = learn(kind, weights, 25, order)
    torch.testing.assert_close(again, learned[:, order])
    torch.testing.assert_close(turned, gradient[:, [0, *(1 + i for i in order)]])


@pytest.mark.parametrize("kind", BALANCES)
def test_a_task_without_a_row_moves_no_weight_of_its_own_and_the_contrastive_loss_keeps_its_weight(
    kind: str,
) -> None:
    weights = torch.tensor([[0.3, 1, 2, 0.5], [0.3, 1, 1, 1]], dtype=torch.float64)
    gradient, learned = learn(kind, weights, 25)
    assert learned[0, 1] == 0
    assert gradient[0, 2] == 0 or kind == "famo"  # a loss of 0 that never moves
    assert (learned[1] != 0).all()
    assert torch.equal(gradient[:, 0], weights[:, 0])


def test_where_the_weights_end() -> None:
    """Kendall's weight of a loss that stays L is 1 / (2 L), the impartial one 1 / L."""
    losses = torch.tensor([[4.0, 0.5, 0.05]], dtype=torch.float64)
    for kind, want in ((Uncertainty, 1 / (2 * losses)), (ImtlL, 1 / losses)):
        balance = kind(torch.ones_like(losses), 3)
        for _ in range(1500):
            balance.learned.grad = torch.autograd.grad(balance.total(losses), balance.learned)[0]
            balance.step(losses, lambda: losses)
        changing = losses.clone().requires_grad_()
        (weight,) = torch.autograd.grad(balance.total(changing), changing)
        torch.testing.assert_close(weight, want, rtol=1e-3, atol=0)


def test_famo_turns_to_the_loss_that_falls_least_and_its_weights_have_mean_one() -> None:
    balance = Famo(torch.ones(1, 2, dtype=torch.float64), 2)
    for n in range(40):
        now = torch.tensor([[0.9**n, 3 * 0.99**n]], dtype=torch.float64).requires_grad_()
        (weight,) = torch.autograd.grad(balance.total(now), now)
        assert weight.mean() == pytest.approx(1)
        balance.step(now, lambda n=n: torch.tensor([[0.9 ** (n + 1), 3 * 0.99 ** (n + 1)]]))  # type: ignore[misc]
    assert balance.learned[0, 1] > balance.learned[0, 0] + 0.5
    # A task alone learns as with a fixed weight, a loss without a logarithm keeps its own.
    alone = torch.tensor([[0.2, -1.0]], dtype=torch.float64).requires_grad_()
    assert torch.autograd.grad(balance.total(alone), alone)[0].tolist() == [[1, 1]]


@pytest.mark.parametrize("kind", BALANCES)
def test_training_stops_by_the_fixed_weights(kind: str) -> None:
    data, found = study(), []
    for name in ("fixed", kind):
        chosen = settings(precision="float64", balance=name, early_stopping={"patience": 2})
        (stack,) = make_stacks([spec("anemia", "stay")], data, chosen, 1e9, torch.device(DEVICE))
        trainer = Trainer(prepare(stack, DeviceData(data, chosen, torch.device(DEVICE)), chosen))
        network = trainer.prepared.network
        first = {key: value.clone() for key, value in network.state_dict().items()}
        trainer.train_epoch(0)
        learned = stopping_loss(trainer.prepared)
        network.load_state_dict(first)
        found.append((stopping_loss(trainer.prepared), learned))
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("update", ["sequential", "pcgrad"])
def test_what_has_no_total_loss_is_refused_in_words(update: str) -> None:
    with pytest.raises(ValidationError, match=f"`balance: famo` .* `update: {update}`"):
        Training(balance="famo", update=update)


@pytest.mark.parametrize("kind", BALANCES)
def test_batch_statistics_are_of_one_pass(kind: str) -> None:
    """The second pass of FAMO leaves no trace in the running statistics of batch normalisation."""
    encoder = {"layers": 1, "heads": 2, "width": 8, "normalise": "batch", "dropout": 0.0}
    statistics = []
    for name in ("fixed", kind):
        chosen = settings(
            precision="float64", balance=name, epochs=1, modalities=["alpha"], encoder="transcriptome"
        )
        chosen.modalities["alpha"] = chosen.modalities["alpha"].model_copy(
            update={"transcriptome": type(chosen.modalities["alpha"].options)(**encoder)}  # type: ignore[misc]
        )
        data = study(widths={"alpha": 5})
        (stack,) = make_stacks([spec("anemia", batch=100)], data, chosen, 1e9, torch.device(DEVICE))
        trainer = Trainer(prepare(stack, DeviceData(data, chosen, torch.device(DEVICE)), chosen))
        trainer.train_epoch(0)
        parameters = trainer.prepared.network.named_parameters()
        statistics.append([p.clone() for _, p in parameters if not p.requires_grad])
    assert statistics[0]
    for one, other in zip(*statistics, strict=True):
        assert torch.equal(one, other)
