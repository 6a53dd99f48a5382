"""Problem classes: losses against torch.nn.functional, masks, the rare bias, a class of the user's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from m3h_pipeline.config import Model
from m3h_pipeline.errors import ConfigError, TaskError
from m3h_pipeline.model.heads import (
    Binary,
    ProblemClass,
    Regression,
    class_of,
    masked_mean,
    problem_class,
)
from m3h_pipeline.model.priors import rare_bias

INPUTS = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(3))


class Poisson(Regression):
    """Counts: the log rate, Poisson likelihood. What a user might add."""

    def loss(self, raw: Tensor, target: Tensor, valid: Tensor, inputs: Tensor) -> Tensor:
        y = torch.where(valid, target, 0.0)
        value = raw[:, :, 0].exp() - y * raw[:, :, 0]
        return torch.where(valid, value, 0.0).sum(1) / valid.sum(1).clamp(min=1)

    def predict(self, raw: Tensor) -> Tensor:
        return raw.exp()


class Rootless(ProblemClass):
    """Nothing says what its labels are."""


def case(kind: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = {"binary": 1, "multiclass": 3, "regression": 1, "clustering": 4, "survival": 3}[kind]
    raw = torch.randn(2, 6, outputs, generator=generator)
    target = torch.randint(0, 3 if kind == "multiclass" else 2, (2, 6), generator=generator).float()
    return raw, target


def referee(kind: str, raw: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(raw[:, 0], target)
    if kind == "multiclass":
        return F.nll_loss(F.log_softmax(raw, 1), target.long())
    if kind == "regression":
        return F.l1_loss(raw[:, 0], target)
    return F.mse_loss(raw, inputs)


def test_a_masked_mean_selects_and_never_multiplies() -> None:
    """0 * NaN is NaN: what a padded row holds must not reach the mean, nor its gradient the row."""
    values = torch.tensor([[1.0, torch.nan, 5.0], [torch.inf, torch.nan, -torch.inf]], requires_grad=True)
    valid = torch.tensor([[True, False, True], [False, False, False]])
    mean = masked_mean(values, valid)
    assert mean.tolist() == [3.0, 0.0]
    (gradient,) = torch.autograd.grad(mean.sum(), values)
    assert gradient.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "clustering", "survival"])
def test_what_rows_without_a_label_say_reaches_no_loss(kind: str) -> None:
    raw, target = case(kind)
    valid = torch.tensor([[True, False, True, True, False, True]] * 2)
    target = torch.where(valid, target, torch.nan)
    found = []
    for said in (0.3, torch.nan):
        logits = torch.where(valid[:, :, None], raw, said).requires_grad_()
        loss = problem_class(kind).loss(logits, target, valid, INPUTS)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        found.append((loss.detach(), gradient[valid]))
    for one, other in zip(*found, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "clustering"])
def test_losses_are_means_over_the_observed_rows(kind: str) -> None:
    raw, target = case(kind)
    valid = torch.tensor([[True, False, True, True, False, True], [False, True, False, False, False, False]])
    target = torch.where(valid, target, torch.nan)
    loss = problem_class(kind).loss(raw, target, valid, INPUTS)
    for k in range(2):
        rows = valid[k]
        want = referee(kind, raw[k][rows], target[k][rows], INPUTS[0][rows])
        torch.testing.assert_close(loss[k], want)


REGRESSION = {
    "absolute": F.l1_loss,
    "squared": lambda raw, target: F.mse_loss(raw, target) / 2,
    "huber": F.huber_loss,
}


@pytest.mark.parametrize("loss", REGRESSION)
def test_losses_of_regression_and_their_gradients(loss: str) -> None:
    raw, target = case("regression")
    # Errors on both sides of where Huber's loss changes.
    raw = (3 * raw).requires_grad_()
    valid = torch.tensor([[True, False, True, True, False, True], [False, True, True, False, False, False]])
    kind = problem_class("regression").configured(Model(regression={"loss": loss}))
    have = kind.loss(raw, torch.where(valid, target, torch.nan), valid, INPUTS)
    want = torch.stack([REGRESSION[loss](raw[k, valid[k], 0], target[k, valid[k]]) for k in range(2)])
    torch.testing.assert_close(have, want)
    gradients = [torch.autograd.grad(x.sum(), raw, retain_graph=True)[0] for x in (have, want)]
    torch.testing.assert_close(*gradients)
    assert kind.name == "regression"


def test_what_one_network_configures_no_other_has() -> None:
    squared = problem_class("regression").configured(Model(regression={"loss": "squared"}))
    assert isinstance(squared, Regression)
    assert (squared.error, Regression.error) == ("squared", "absolute")
    assert problem_class("regression").configured(Model()).error == "absolute"  # type: ignore[attr-defined]
    own = problem_class("tests.model.test_heads.Poisson").configured(Model())
    assert isinstance(own, Poisson)
    assert own.name == "tests.model.test_heads.Poisson"


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "clustering"])
def test_without_an_observed_row_there_is_neither_loss_nor_gradient(kind: str) -> None:
    raw, target = case(kind)
    raw[1] *= 1e3
    raw.requires_grad_()
    valid = torch.tensor([[True] * 6, [False] * 6])
    loss = problem_class(kind).loss(raw, torch.where(valid, target, torch.nan), valid, INPUTS)
    assert loss[1] == 0
    (gradient,) = torch.autograd.grad(loss[0], raw)
    assert torch.isfinite(gradient[0]).all()
    assert (gradient[0] != 0).any()
    assert (gradient[1] == 0).all()


def test_predictions_are_probabilities() -> None:
    raw, _ = case("multiclass")
    torch.testing.assert_close(problem_class("multiclass").predict(raw), torch.softmax(raw, 2))
    raw, _ = case("binary")
    torch.testing.assert_close(Binary().predict(raw), torch.sigmoid(raw))


def test_a_class_of_the_users_own_is_found_by_its_path() -> None:
    kind = problem_class("tests.model.test_heads.Poisson")
    assert isinstance(kind, Poisson)
    assert kind.name == "tests.model.test_heads.Poisson"
    described = {"problem_class": "regression", "own_class": kind.name}
    assert isinstance(class_of(described), Poisson)
    assert class_of({"problem_class": "binary"}) is problem_class("binary")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("binari", "did you mean `binary`"),
        ("tests.model.test_heads.Poissson", "did you mean `Poisson`"),
        ("no_such_package.Thing", "cannot be imported"),
        ("tests.model.test_heads.case", "not derived from a shipped problem class"),
        ("tests.model.test_heads.Rootless", "not derived from a shipped problem class"),
    ],
)
def test_an_unknown_class_is_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r".*") as caught:
        problem_class(name)
    assert message in str(caught.value)


def test_a_multiclass_task_needs_classes() -> None:
    with pytest.raises(TaskError, match="two classes"):
        problem_class("multiclass").outputs({"id": "organ", "classes": ["one"]}, Model())


def test_only_rare_tasks_get_a_bias() -> None:
    assert rare_bias(10, 90, 0.1) is None
    assert rare_bias(9, 91, 0.1) == pytest.approx(-2.3136, abs=1e-4)
    assert rare_bias(0, 10, 0.1) == pytest.approx(-2.9957, abs=1e-4)
    assert rare_bias(0, 0, 0.1) is None
