"""Stacked layers: products, keyed initial values, dropout, parts of the user's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m3h_pipeline.errors import ConfigError
from m3h_pipeline.model.encoders import Ordinary, build
from m3h_pipeline.model.keys import Draws, Dropout, seed_of
from m3h_pipeline.model.layers import Mlp, StackedLinear, StackedModule


class Gated(StackedModule):
    """A stacked part as a user may write it."""

    def __init__(self, inputs: int, hidden: Sequence[int], draws: Draws) -> None:
        super().__init__()
        self.models, self.width = draws.models, hidden[-1]
        self.value = StackedLinear(inputs, self.width, draws.at("value"))
        self.gate = StackedLinear(inputs, self.width, draws.at("gate"))

    def forward(self, x: Tensor, dropout: Dropout | None = None) -> Tensor:
        return torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))


class WithoutAxis(StackedModule):
    """A part that forgets the model axis."""

    def __init__(self, inputs: int, hidden: Sequence[int], draws: Draws) -> None:
        super().__init__()
        self.models, self.width = draws.models, hidden[-1]
        self.weight = nn.Parameter(torch.zeros(7, inputs))


class Residual(nn.Module):
    """An ordinary module."""

    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(inputs, inputs), nn.LayerNorm(inputs), nn.ReLU())
        self.out = nn.Linear(inputs, hidden[-1])
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x + self.scale * self.inner(x))
        return out


def normalised(inputs: int, hidden: Sequence[int]) -> nn.Module:
    """An ordinary module that a stack cannot hold."""
    return nn.Sequential(nn.Linear(inputs, hidden[-1]), nn.BatchNorm1d(hidden[-1]))


def draws(models: int = 4, dtype: torch.dtype = torch.float64) -> Draws:
    return Draws([(1, k // 2) for k in range(models)], dtype)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_stacked_layer_is_one_linear_layer_per_model(groups: int) -> None:
    layer = StackedLinear(3, 5, draws())
    assert layer.bias is not None
    x = torch.randn(groups, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = layer(x)
    assert y.shape == (4, 7, 5)
    for k in range(4):
        want = F.linear(x[k * groups // 4], layer.weight[k], layer.bias[k])
        torch.testing.assert_close(y[k], want, rtol=0, atol=1e-14)


def test_initial_values_depend_on_the_key_alone() -> None:
    key = (5, 1, "encoder")
    alone = Draws([key]).uniform("weight", (3, 2), 0.5)
    company = Draws([(5, 0, "encoder"), key, (6, 1, "encoder"), key]).uniform("weight", (3, 2), 0.5)
    assert torch.equal(company[1], alone[0])
    assert torch.equal(company[3], alone[0])
    assert not torch.equal(company[0], alone[0])
    assert not torch.equal(company[2], alone[0])
    assert alone.abs().max() <= 0.5
    doubled = Draws([key], torch.float64).uniform("weight", (3, 2), 0.5)
    assert torch.equal(doubled.float(), alone)


def test_initial_values_have_the_promised_distribution() -> None:
    uniform = Draws([(0,)], torch.float64).uniform("w", (20000,), 0.5)
    assert abs(float(uniform.mean())) < 0.01
    assert float(uniform.std()) == pytest.approx(0.5 / 3**0.5, rel=0.02)
    normal = Draws([(0,)], torch.float64).normal("w", (20000,), 2.0)
    assert float(normal.std()) == pytest.approx(2.0, rel=0.02)


def test_dropout_masks_are_the_same_in_any_stack() -> None:
    h = torch.ones(4, 6, 5)
    keys = torch.tensor([11, 22])
    together = Dropout(0.4, keys)(h, 0)
    assert torch.equal(together[0], together[1])
    assert not torch.equal(together[0], together[2])
    assert torch.equal(Dropout(0.4, keys[1:])(h[:1], 0)[0], together[2])
    assert not torch.equal(Dropout(0.4, keys)(h, 1), together)
    # A longer batch begins with the same mask.
    assert torch.equal(Dropout(0.4, keys)(torch.ones(4, 9, 5), 0)[:, :6], together)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_the_rate(rate: float) -> None:
    out = Dropout(rate, torch.arange(50) * 7919)(torch.ones(50, 200, 30), 0)
    assert float((out == 0).double().mean()) == pytest.approx(rate, abs=0.005)
    assert float(out.double().mean()) == pytest.approx(1.0, abs=0.05)
    kept = (out > 0).double()
    by_unit, by_row = kept.mean((0, 1)), kept.mean((0, 2))
    assert float(by_unit.std()) < 0.02
    assert float(by_row.std()) < 0.03


def test_no_dropout_at_rate_zero() -> None:
    h = torch.randn(2, 3, 4)
    assert Dropout(0.0, torch.tensor([1]))(h, 0) is h


def test_a_stacked_class_of_the_users_own_is_built() -> None:
    part = build("tests.model.test_layers.Gated", 3, [6, 5], draws())
    assert isinstance(part, Gated)
    assert part(torch.zeros(2, 4, 3, dtype=torch.float64)).shape == (4, 4, 5)


def test_an_ordinary_module_becomes_a_stack() -> None:
    part = build("tests.model.test_layers:Residual", 3, [5], draws())
    assert isinstance(part, Ordinary)
    assert part.width == 5
    x = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = part(x)
    # Models 0 and 1 have equal keys and input, so do 2 and 3.
    assert torch.equal(y[0], y[1])
    assert torch.equal(y[2], y[3])
    assert not torch.allclose(y[0], part(x.flip(0))[2])
    state = {name.replace("/", "."): value.detach()[2] for name, value in part.named_parameters()}
    plain = Residual(3, [5]).double()
    plain.load_state_dict({**state, "scale": torch.tensor(2.0, dtype=torch.float64)})
    torch.testing.assert_close(y[2], plain(x[1]), rtol=0, atol=1e-13)
    (gradient,) = torch.autograd.grad(y[2].square().sum(), dict(part.named_parameters())["out/weight"])
    (wanted,) = torch.autograd.grad(plain(x[1]).square().sum(), plain.out.weight)
    torch.testing.assert_close(gradient[2], wanted, rtol=0, atol=1e-12)
    assert (gradient[[0, 1, 3]] == 0).all()


def test_wrapping_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    build("tests.model.test_layers.Residual", 3, [5], draws())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mpl", "did you mean `mlp`"),
        ("tests.model.test_layers.Gatde", "did you mean `Gated`"),
        ("tests.model.test_layers.WithoutAxis", "no leading model axis"),
        ("tests.model.test_layers.normalised", "BatchNorm1d"),
        ("tests.model.test_layers.draws", "not an nn.Module"),
    ],
)
def test_a_part_that_breaks_the_contract_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name, 3, [5], draws())
    assert message in str(caught.value)


def test_hidden_layers_are_those_of_a_sequential() -> None:
    part = Mlp(3, [6, 5], draws())
    x = torch.randn(1, 4, 3, dtype=torch.float64)
    h = x[0]
    for layer in part.layers:
        assert isinstance(layer, StackedLinear)
        assert layer.bias is not None
        h = torch.relu(F.linear(h, layer.weight[3], layer.bias[3]))
    torch.testing.assert_close(part(x)[3], h, rtol=0, atol=1e-14)


def test_what_is_drawn_depends_on_what_it_is_for() -> None:
    draws = Draws([(7, 0)], torch.float64)
    for drawn in (draws.uniform, draws.normal):
        assert not torch.equal(drawn("weight", (4,), 1.0), drawn("bias", (4,), 1.0))
    # However the parts of a key are put together.
    assert seed_of("a", "b") != seed_of("astr:b")
