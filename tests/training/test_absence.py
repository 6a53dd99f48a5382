"""Rows that lack a modality: the learned vector, modalities hidden in training, kept models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from docs.model import PlainM3H
from m3h_pipeline.config.model import Model
from m3h_pipeline.model.absence import hide, replaced
from m3h_pipeline.model.absence.noise import Noise
from m3h_pipeline.model.keys import seed_of
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.fitted import FittedModel, load_model, save_model
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.seeds import dropout_key, minibatches
from m3h_pipeline.training.stacks import learns_absence, make_stacks, positions_of
from m3h_pipeline.training.trainer import Trainer
from tests.model.plain import plain_state
from tests.training.studies import DEVICE, WIDTHS, settings, spec, study

LEARNED: dict[str, Any] = {"absence": "learned"}
NAMES = sorted(WIDTHS)
BITS = 2**31 - 1


class PlainAbsence(PlainM3H):
    """The ordinary module with what it must do where a modality is absent."""

    def __init__(
        self,
        inputs: Mapping[str, int],
        tasks: Sequence[tuple[str, int]],
        model: Model,
        learned: Sequence[str],
    ) -> None:
        super().__init__(inputs, tasks, model)
        self.absent = nn.ParameterDict({name: torch.zeros(model.encoder[-1]) for name in learned})
        self.present = torch.empty(0)

    def encode(self, x: Tensor) -> list[Tensor]:
        encodings = []
        for i, (name, part) in enumerate(
            zip(self.inputs, torch.split(x, list(self.inputs.values()), 1), strict=True)
        ):
            seen = self.present[:, i, None]
            # The features are standardised: their mean is 0.
            h = self.encoders[name](torch.where(seen, part, 0.0))
            encodings.append(torch.where(seen, h, self.absent[name]) if name in self.absent else h)
        return encodings

    def losses(self, x: Tensor, y: Tensor, present: Tensor) -> list[Tensor | None]:
        self.present = present
        return super().losses(x, y, present)


def scrambled(x: int) -> int:
    for multiplier in (0x2C1B3C6D, 0x297A2D39):
        x = ((x ^ (x >> 15)) * multiplier) & BITS
    return x ^ (x >> 15)


def seen_of(rate: float, key: int, present: np.ndarray) -> np.ndarray:
    """Modalities (B, M) that a step sees, number by number."""
    seen = present.copy()
    for b in range(len(present)):
        drawn = {}
        for m in np.flatnonzero(present[b]):
            site = scrambled((key + scrambled(seed_of("absence", NAMES[m]) & BITS)) & BITS)
            drawn[int(m)] = scrambled((site + scrambled(b + 1)) & BITS)
        gone = {m for m, number in drawn.items() if number < rate * (BITS + 1)}
        if len(gone) == len(drawn) and drawn:
            gone.remove(max(drawn, key=lambda m: drawn[m]))
        seen[b, sorted(gone)] = False
    return seen


@pytest.fixture
def _exact_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store the scaled features in float64, so that only the arithmetic is compared."""
    from m3h_pipeline.features import scaling as module

    def scaled(self: StudyData) -> module.Scaled:
        x = np.concatenate([self.features[name] for name in self.features], axis=1).astype(np.float64)
        return module.Scaled(x, np.zeros(x.shape[1]), np.ones(x.shape[1]))  # type: ignore[arg-type]

    monkeypatch.setattr(StudyData, "scaled", property(scaled))


@pytest.mark.usefixtures("_exact_features")
@pytest.mark.parametrize("update", ["sum", "sequential"])
@pytest.mark.parametrize(
    ("absence", "rate", "learned"),
    [("learned", 0.0, ["beta"]), ("learned", 0.25, NAMES), ("mean", 0.25, [])],
)
def test_a_training_run_agrees_with_an_ordinary_module(
    absence: str, rate: float, learned: list[str], update: str
) -> None:
    data, tasks = study(), ("anemia", "phenotype", "stay")
    epochs = 12 if update == "sum" else 4
    config = settings(
        precision="float64", epochs=epochs, update=update, model={"absence": absence}, modality_dropout=rate
    )
    specs = [
        spec(*names, fold=fold, batch=13)
        for names in (tasks, ("phenotype", "sepsis", "size"))
        for fold in (0, 1)
    ]
    (stack,) = make_stacks(specs, data, config, 1e9, torch.device(DEVICE))
    trainer = Trainer(prepare(stack, DeviceData(data, config, torch.device(DEVICE)), config))
    network = trainer.prepared.network
    index = [fit.combination for fit in stack.specs].index(tasks)
    fit, start = stack.specs[index], {k: v.clone().cpu() for k, v in network.take(index).items()}
    traces: list[Tensor] = []
    for epoch in range(epochs):
        trainer.train_epoch(epoch, lambda losses: traces.append(losses.cpu()))

    order, signature = positions_of(tasks, data, config.model)
    plain = PlainAbsence(WIDTHS_IN_ORDER, list(signature), config.model, learned).double()
    plain.load_state_dict(state_of(start, list(signature), config.model))
    rows = data.training_rows(fit.fold)
    x = torch.from_numpy(
        trainer.prepared.data.inputs(torch.arange(data.n)[None], one(trainer, index)).numpy()[0]
    )
    present = np.stack([data.present[name] for name in NAMES], 1)
    y = np.stack([data.labels[task] for task in order], 1).astype(np.float64)
    stay = order.index("stay")
    y[:, stay] = (y[:, stay] - np.nanmean(y[rows, stay])) / np.nanstd(y[rows, stay])
    adam = torch.optim.Adam(plain.parameters(), lr=fit.learning_rate)
    trace = []
    for epoch in range(epochs):
        batches = minibatches(rows, config.seed, fit.replicate, fit.fold, epoch, fit.batch_size)
        for s, batch in enumerate(batches):
            key = dropout_key(config.seed, fit.replicate, fit.fold, epoch, s, fit.batch_size)
            seen = torch.from_numpy(seen_of(rate, key, present[batch]))
            arguments = x[batch], torch.from_numpy(y[batch]), seen
            if update == "sum":
                adam.zero_grad(set_to_none=False)
                losses = plain.losses(*arguments)
                torch.autograd.backward(torch.stack([loss for loss in losses if loss is not None]).sum())
                adam.step()
                trace.append([0.0 if loss is None else loss.item() for loss in losses])
                continue
            values = []
            for i in range(1 + len(tasks)):
                adam.zero_grad(set_to_none=True)
                loss = plain.losses(*arguments)[i]
                values.append(0.0 if loss is None else loss.item())
                if loss is not None:
                    torch.autograd.backward(loss)
                    adam.step()
            trace.append(values)
    np.testing.assert_allclose(torch.stack(traces)[:, index], trace, rtol=0, atol=1e-9)
    have = state_of(network.take(index), list(signature), config.model)
    for name, value in plain.state_dict().items():
        np.testing.assert_allclose(have[name].cpu(), value, rtol=0, atol=1e-9, err_msg=name)
    for vector in plain.absent.values():
        assert float(vector.detach().abs().max()) > 1e-3


WIDTHS_IN_ORDER = {name: WIDTHS[name] for name in NAMES}


def one(trainer: Trainer, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """The scaling of the group of a fit."""
    group = index // trainer.prepared.stack.per_group
    shift, inverse, missing = (part[group : group + 1].cpu() for part in trainer.prepared.scaling)
    return shift, inverse, missing


def state_of(
    state: Mapping[str, Tensor], signature: list[tuple[str, int]], model: Model
) -> dict[str, Tensor]:
    vectors = {name: value for name, value in state.items() if name.startswith("absent.")}
    found = plain_state({k: v for k, v in state.items() if k not in vectors}, signature, model)
    return found | {name.removesuffix(".vector"): value[0] for name, value in vectors.items()}


def test_where_nothing_is_missing_or_hidden_learned_is_mean() -> None:
    data, fits = study(missing=False), [spec("anemia", "phenotype", "stay", fold=fold) for fold in (0, -1)]
    for a, b in zip(
        *(
            run_fits(fits, data, settings(precision="float64", model={"absence": way}), keep_models=True)
            for way in ("mean", "learned")
        ),
        strict=True,
    ):
        assert a.parameters is not None
        assert b.parameters is not None
        assert a.parameters.keys() == b.parameters.keys()
        assert all(np.array_equal(a.parameters[name], b.parameters[name]) for name in a.parameters)
        assert all(np.array_equal(a.predictions[task], b.predictions[task]) for task in a.predictions)


def test_a_vector_is_learned_of_what_eleven_patients_lack_or_training_hides() -> None:
    data = study(missing=False)
    # Ten patients of two rows each, and rows of the test part, which teach nothing.
    data.patient = np.arange(data.n) // 2
    rows = np.flatnonzero(data.train)
    whose = np.unique(data.patient[rows])[:10]
    data.features["beta"][np.isin(data.patient, whose) & data.train] = np.nan
    data.features["gamma"][~data.train] = np.nan
    config = settings(model=LEARNED)
    assert [learns_absence(name, data, config) for name in NAMES] == [False, False, False]
    more = study(missing=False)
    more.patient = data.patient
    more.features["beta"][np.isin(data.patient, np.unique(data.patient[rows])[:11]) & data.train] = np.nan
    assert [learns_absence(name, more, config) for name in NAMES] == [False, True, False]
    assert not learns_absence("beta", more, settings())
    hiding = settings(model=LEARNED, modality_dropout=0.1)
    assert all(learns_absence(name, data, hiding) for name in NAMES)
    alone = settings(model=LEARNED, modality_dropout=0.1, modalities=["gamma"])
    assert not learns_absence("gamma", data, alone)


def test_a_kept_model_says_of_rows_without_a_modality_what_the_fit_said(tmp_path: Path) -> None:
    data = study()
    config = settings(model=LEARNED, modality_dropout=0.3, precision="float64", epochs=8)
    fits = [spec("anemia", "phenotype", "stay", fold=-1), spec("anemia", "stay", fold=-1)]
    rows = ~data.train
    assert not data.present["beta"][rows].all()
    for number, result in enumerate(run_fits(fits, data, config, keep_models=True)):
        save_model(result, tmp_path / f"{number}.safetensors")
        model = load_model(tmp_path / f"{number}.safetensors")
        said = model.predict({name: x[rows] for name, x in data.features.items()})
        for task, value in result.predictions.items():
            np.testing.assert_allclose(said[task], value, rtol=0, atol=1e-6, err_msg=task)


def test_one_modality_alone_has_a_vector_of_the_rows_without_it() -> None:
    data = study(widths={"beta": 7})
    config = settings(model=LEARNED, modality_dropout=0.5, modalities=["beta"], epochs=8)
    (result,) = run_fits([spec("anemia", "stay", fold=-1)], data, config, keep_models=True)
    (same,) = run_fits(
        [spec("anemia", "stay", fold=-1)],
        data,
        settings(model=LEARNED, modalities=["beta"], epochs=8),
        keep_models=True,
    )
    assert result.parameters is not None
    assert same.parameters is not None
    assert np.abs(result.parameters["network/absent.beta.vector"]).max() > 0
    # Of a single modality nothing is hidden.
    assert all(np.array_equal(result.parameters[name], same.parameters[name]) for name in same.parameters)
    model = FittedModel(result.parameters, result.metadata)
    said = model.predict({"beta": np.full((3, 7), np.nan)})
    assert len(np.unique(said["anemia"])) == 1


def test_modalities_are_hidden_as_often_as_is_said_and_never_all() -> None:
    keys, rate = torch.tensor([5, 9]), 0.3
    present = torch.ones(2, 3, 20_000, dtype=torch.bool)
    present[:, 1, ::4] = False
    present[:, :, 1] = False
    seen = hide(rate, keys, NAMES, present)
    assert not (seen & ~present).any()
    assert torch.equal(seen.any(1), present.any(1))
    assert not torch.equal(seen[0], seen[1])
    for some, there in ((present.all(1), 3), (present.sum(1) == 2, 2)):
        hidden = present & ~seen
        share = hidden.sum(1)[some].double().mean() / there
        assert share == pytest.approx(rate - rate**there / there, abs=0.006)
    # What is hidden of one modality says of another but that not all were: with P(one) = r - r^3 / 3 and
    # P(both) = r^2 - 2 r^3 / 3 the correlation is -0.061.
    a, b = (~seen)[0, 0, present[0].all(0)].double(), (~seen)[0, 2, present[0].all(0)].double()
    assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) == pytest.approx(-0.061, abs=0.02)
    # Neither the order of the modalities nor the other groups play a part.
    turned = hide(rate, keys[1:], NAMES[::-1], present[1:].flip(1))
    assert torch.equal(turned.flip(1), seen[1:])


def test_features_of_absent_modalities_are_at_their_means() -> None:
    x = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    present = torch.tensor([[[1, 0, 1, 1], [1, 1, 0, 1]], [[0, 1, 1, 1], [1, 1, 1, 1]]], dtype=torch.bool)
    centre = torch.arange(10, dtype=torch.float64).view(2, 1, 5)
    for at in (None, centre):
        found = replaced(x, present, [2, 3], at)
        for g in range(2):
            for b in range(4):
                for f in range(5):
                    there = present[g, int(f >= 2), b]
                    mean = 0.0 if at is None else float(at[g, 0, f])
                    assert float(found[g, b, f]) == (float(x[g, b, f]) if there else mean)


def test_without_a_rate_noise_hides_nothing() -> None:
    noise = Noise(Model(), torch.tensor([1]), torch.tensor([1]))
    assert noise.hide(None, (), 4) is None
    x = torch.ones(1, 4, 3)
    assert torch.equal(noise.shown(x, torch.zeros(1, 1, 4, dtype=torch.bool), ()), x)
