"""The assembled network: forward pass against the ordinary module, slices, independence of the models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from docs.model import PlainM3H
from m3h_pipeline.config.model import Model
from m3h_pipeline.model.absence.noise import Noise
from m3h_pipeline.model.architecture import Architecture, Input
from m3h_pipeline.model.m3h import M3H, spans
from tests.model.plain import plain_state

SIGNATURE = (("binary", 1), ("binary", 1), ("multiclass", 3), ("regression", 1), ("clustering", 0))
TASKS = [
    ["a", "b", "m", "r", "c"],
    ["a", "d", "m", "s", "c"],
    ["b", "d", "n", "r", "e"],
    ["a", "b", "m", "r", "c"],
]
MODEL = Model(encoder=[8, 6], projection=4, shared=[10, 7], task=[9, 5], decoder=[11])
INPUTS = (Input("one", 3, "mlp", (8, 6)), Input("two", 5, "mlp", (8, 6)))


def network(inputs: tuple[Input, ...] = INPUTS, models: slice = slice(None), model: Model = MODEL) -> M3H:
    seeds = [(0, 0), (0, 0), (0, 1), (0, 1)][models]
    return M3H(Architecture(inputs, SIGNATURE, model), seeds, TASKS[models], torch.float64)


def batch(groups: int, features: int = 8, models: int = 4, rows: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(groups, rows, features, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (models, 5, rows), generator=generator).double()
    observed = torch.rand(models, 5, rows, generator=generator) < 0.8
    return x, torch.where(observed, y, torch.nan), observed


@pytest.mark.parametrize("inputs", [INPUTS, INPUTS[:1]])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_losses_agree_with_the_ordinary_module(slope: float, groups: int, inputs: tuple[Input, ...]) -> None:
    model = MODEL.model_copy(update={"negative_slope": slope})
    net = network(inputs, model=model)
    features = sum(item.features for item in inputs)
    x, y, observed = batch(groups, features)
    losses = net.losses(x, y, observed)
    assert losses.shape == (4, net.n_losses)
    assert net.n_losses == 5 + (len(inputs) > 1)
    for k in range(4):
        plain = PlainM3H({item.name: item.features for item in inputs}, SIGNATURE, model).double()
        plain.load_state_dict(plain_state(net.take(k), SIGNATURE, model))
        present = torch.ones(6, len(inputs), dtype=torch.bool)
        want = plain.losses(x[k * groups // 4], y[k].T, present)
        have = losses[k].tolist()
        for a, b in zip(have, want, strict=True):
            assert b is not None
            assert a == pytest.approx(b.item(), abs=1e-12)


def test_every_loss_alone_is_its_column() -> None:
    net = network()
    x, y, observed = batch(2)
    together = net.losses(x, y, observed)
    for i in range(net.n_losses):
        alone = net.losses(x, y, observed, only=i)
        torch.testing.assert_close(alone[:, i], together[:, i], rtol=0, atol=1e-14)
        assert (alone[:, torch.arange(net.n_losses) != i] == 0).all()


def test_one_model_of_a_stack_is_a_slice() -> None:
    net = network()
    x, y, observed = batch(4)
    losses = net.losses(x, y, observed)
    for k in range(4):
        one = network(models=slice(k, k + 1))
        # Its own initial values are already those of the stack ...
        for name, value in one.named_parameters():
            assert torch.equal(value, net.take(k)[name]), name
        # ... and a slice loads into a stack of one.
        one.load_state_dict(net.take(k))
        alone = one.losses(x[k : k + 1], y[k : k + 1], observed[k : k + 1])
        torch.testing.assert_close(alone[0], losses[k], rtol=0, atol=1e-13)
        assert next(iter(net.take(k).values())).data_ptr() != 0


def test_the_same_task_starts_from_the_same_values_in_any_combination() -> None:
    net = network()
    first, second = net.take(0), net.take(1)
    for name in first:
        if name.startswith(("encoders", "projections", "shared")) or "query" in name:
            assert torch.equal(first[name], second[name]), name
    # Tasks a, m, c are in both; b, d and r, s differ.
    for position, same in enumerate([True, False, True, False, True]):
        for name in ("networks.layers.0.weight", "networks.layers.1.bias"):
            assert torch.equal(first[name][position], second[name][position]) is same
    assert torch.equal(first["heads.0.weight"][0], second["heads.0.weight"][0])
    assert not torch.equal(first["heads.0.weight"][1], second["heads.0.weight"][1])
    assert torch.equal(first["heads.3.last.weight"], second["heads.3.last.weight"])


def test_losses_of_one_model_have_no_gradient_in_another() -> None:
    net = network()
    x, y, observed = batch(1)
    losses = net.losses(x, y, observed)
    gradients = torch.autograd.grad(losses[1].sum(), list(net.parameters()))
    for (name, _), gradient in zip(net.named_parameters(), gradients, strict=True):
        by_model = gradient.reshape(4, len(gradient) // 4, -1)
        assert (by_model[[0, 2, 3]] == 0).all(), name
        assert (by_model[1] != 0).any(), name


def test_dropout_is_the_same_alone_and_in_a_stack() -> None:
    model = Model(**{**MODEL.model_dump(), "dropout": 0.3, "input_dropout": 0.2})
    net = network(model=model)
    x, y, observed = batch(4)
    step, tasks = torch.tensor([5, 6, 7, 8]), torch.arange(100, 120)
    together = net.losses(x, y, observed, noise=Noise(model, step, tasks))
    assert not torch.allclose(together, net.losses(x, y, observed))
    for k in range(4):
        one = network(models=slice(k, k + 1), model=model)
        noise = Noise(model, step[k : k + 1], tasks[5 * k : 5 * k + 5])
        alone = one.losses(x[k : k + 1], y[k : k + 1], observed[k : k + 1], noise=noise)
        torch.testing.assert_close(alone[0], together[k], rtol=0, atol=1e-13)


def test_dropout_differs_between_tasks_steps_and_parts() -> None:
    model = Model(**{**MODEL.model_dump(), "dropout": 0.3})
    tasks = torch.arange(100, 120)
    noise, later = (Noise(model, torch.tensor([first, 6]), tasks) for first in (5, 50))
    keys = noise.task("network").keys
    assert len(set(keys.tolist())) == 20
    assert [a == b for a, b in zip(keys, later.task("network").keys, strict=True)] == [False] * 10 + [
        True
    ] * 10
    assert not set(keys.tolist()) & set(noise.task("decoder").keys.tolist())
    rows = torch.tensor([4, 9, 14, 19])
    assert torch.equal(noise.task("network", rows).keys, keys[rows])
    sites = [noise.site("shared"), noise.site("encoder/one"), noise.inputs()]
    assert len({key for site in sites for key in site.keys.tolist()}) == 6
    assert [site.rate for site in sites] == [0.3, 0.3, 0.0]


def test_a_dropped_feature_is_at_its_mean() -> None:
    model = Model(**{**MODEL.model_dump(), "input_dropout": 0.4})
    step, tasks = torch.tensor([5, 6]), torch.arange(10)
    x = torch.rand(2, 50, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    centre = x.mean(1, keepdim=True)
    plain, centred = (Noise(model, step, tasks, at).drop(x) for at in (None, centre))
    gone = plain == 0
    assert 0.3 < gone.double().mean() < 0.5
    assert torch.equal(centred[gone], centre.expand_as(x)[gone])
    torch.testing.assert_close(centred - centre, torch.where(gone, 0.0, (x - centre) / 0.6))


def test_spans_gather_adjacent_equal_positions() -> None:
    found = [(span.kind.name, span.outputs, span.start, span.stop) for span in spans(SIGNATURE, Model())]
    assert found == [
        ("binary", 1, 0, 2),
        ("multiclass", 3, 2, 3),
        ("regression", 1, 3, 4),
        ("clustering", 0, 4, 5),
    ]
