"""Early stopping: whole patients are set aside, each fit keeps its own best weights, whatever its stack."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch

from m3h_pipeline.config.training import EarlyStopping
from m3h_pipeline.training import stopping, trainer
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.fits import fit_keys, run_fits
from m3h_pipeline.training.prepared import Prepared, pad, prepare
from m3h_pipeline.training.seeds import divided_rows
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from m3h_pipeline.training.stacks import make_stacks
from m3h_pipeline.training.stopping import BestWeights, stopping_loss
from m3h_pipeline.training.trainer import Trainer, train
from tests.training.studies import DEVICE, settings, spec, study
from tests.training.test_transcriptome_fits import configured, genes


def grouped(n: int = 240) -> StudyData:
    """A study with two rows per patient."""
    data = study(n)
    data.patient = np.arange(n) // 2
    return data


def stopped(patience: int = 3, epochs: int = 60, precision: str = "float64") -> TrainingSettings:
    return settings(
        precision=precision, epochs=epochs, early_stopping={"patience": patience, "fraction": 0.2}
    )


@pytest.mark.parametrize("fold", [-1, 0, 2])
def test_patients_are_learned_from_or_set_aside(fold: int) -> None:
    data = grouped()
    learned, aside = divided_rows(data, fold, 0, 7, EarlyStopping(fraction=0.2))
    assert sorted([*learned, *aside]) == data.training_rows(fold).tolist()
    assert not set(data.patients[learned]) & set(data.patients[aside])
    share = len(set(data.patients[aside])) / len(set(data.patients[data.training_rows(fold)]))
    assert share == pytest.approx(0.2, abs=0.02)
    again = divided_rows(data, fold, 1, 7, EarlyStopping(fraction=0.2))[1]
    assert set(again) != set(aside)
    everything, nothing = divided_rows(data, fold, 0, 7, None)
    assert everything.tolist() == data.training_rows(fold).tolist()
    assert len(nothing) == 0


def test_the_kept_weights_are_those_of_the_best_epoch() -> None:
    data = grouped()
    fits = [spec("anemia", rate=3e-2), spec("sepsis", rate=3e-2), spec("anemia", replicate=1, rate=3e-2)]
    found = run_fits(fits, data, stopped())
    assert len({one.epochs for one in found}) > 1
    for fit, one in zip(fits, found, strict=True):
        assert 0 < one.epochs < 60
        # As long as it is still getting better, the last epoch is the best one.
        (short,) = run_fits([fit], data, stopped(epochs=one.epochs))
        assert short.epochs == one.epochs
        for task, prediction in one.predictions.items():
            np.testing.assert_allclose(short.predictions[task], prediction, rtol=0, atol=1e-7)


def test_what_stands_beside_a_fit_does_not_change_when_it_stops() -> None:
    data = grouped()
    alone = [spec("stay"), spec("anemia", "grade"), spec("gout", "phenotype")]
    together = [*alone, spec("size"), spec("sepsis", "organ"), spec("stay", fold=1), spec("size", fold=1)]
    first = [run_fits([one], data, stopped(epochs=12))[0] for one in alone]
    for a, b in zip(first, run_fits(together, data, stopped(epochs=12)), strict=False):
        assert a.epochs == b.epochs
        for task in a.predictions:
            np.testing.assert_allclose(a.predictions[task], b.predictions[task], rtol=0, atol=1e-6)


def test_noise_is_not_learned_for_long() -> None:
    data = grouped()
    rng = np.random.default_rng(0)
    data.labels["size"] = rng.normal(size=data.n).astype(np.float32)
    (noise,), (signal,) = (run_fits([spec(task)], data, stopped(patience=4)) for task in ("size", "stay"))
    assert noise.epochs < signal.epochs
    without = settings(precision="float64", epochs=60)
    (overfitted,) = run_fits([spec("size")], data, without)
    assert noise.values["size"] > overfitted.values["size"]


@pytest.mark.parametrize("stack", [None, 1])
def test_a_refit_is_a_fit_of_all_rows_for_as_many_epochs(stack: int | None) -> None:
    data = grouped()
    fits = [spec("anemia", rate=3e-2), spec("stay", rate=3e-2), spec("sepsis", fold=1, rate=3e-2)]
    options = {"patience": 3, "fraction": 0.2}
    config = settings(precision="float64", epochs=40, stack=stack, early_stopping={**options, "refit": True})
    first = run_fits(fits, data, settings(precision="float64", epochs=40, early_stopping=options))
    found = run_fits(fits, data, config)
    assert len({one.epochs for one in found}) > 1
    for fit, before, one in zip(fits, first, found, strict=True):
        assert one.epochs == before.epochs
        (plain,) = run_fits([fit], data, settings(precision="float64", epochs=one.epochs))
        for task, prediction in one.predictions.items():
            np.testing.assert_allclose(plain.predictions[task], prediction, rtol=0, atol=1e-7)
            assert not np.allclose(before.predictions[task], prediction, rtol=0, atol=1e-3)


def test_the_first_training_makes_room_for_the_refit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack is reckoned to hold one network with its moments and its best weights, not two."""
    config = settings(precision="float64", epochs=2, early_stopping={"fraction": 0.2, "refit": True})
    held = [prepared(spec("anemia"), config=config)]
    first, still = weakref.ref(held[0].network), []

    def again(*arguments: Any, **options: Any) -> Prepared:
        still.append(first())
        return prepare(*arguments, **options)

    monkeypatch.setattr(trainer, "prepare", again)
    train(held.pop())
    assert still == [None]


def test_a_refit_that_diverges_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = Trainer.train_epoch, []

    def epoch(self: Trainer, number: int, trace: object = None) -> None:
        plain(self, number)
        calls.append(number)
        # In the second training: the first fit in its first epoch, the other beyond its last.
        if calls.count(0) == 2:
            self.diverged[:] = torch.tensor([1, 99])

    monkeypatch.setattr(Trainer, "train_epoch", epoch)
    config = settings(precision="float64", epochs=4, early_stopping={"fraction": 0.2, "refit": True})
    trained = train(prepared(spec("anemia"), spec("sepsis"), config=config))
    assert trained.diverged.tolist() == [1, 0]


def prepared(
    *fits: FitSpec, data: StudyData | None = None, config: TrainingSettings | None = None
) -> Prepared:
    data, config = data or grouped(), config or stopped()
    (stack,) = make_stacks(fits, data, config, 1e9, torch.device(DEVICE))
    return prepare(stack, DeviceData(data, config, torch.device(DEVICE)), config)


def test_the_loss_on_the_rows_set_aside_is_a_weighted_mean_over_them() -> None:
    config = settings(
        precision="float64",
        early_stopping={"fraction": 0.3},
        task_weights={"anemia": 2.0, "stay": 0.5},
        contrastive_weight=7.0,
    )
    # Minibatches of 7 rows, and all rows at once, of which some have no label.
    parts, whole = (prepared(spec("anemia", "stay", batch=size), config=config) for size in (7, 1000))
    rows, valid = pad(whole.stopping_rows, whole.data.device)
    assert rows.shape[1] % 7
    losses = whole.losses(whole.batch(rows, valid))[0, 1:].tolist()
    wanted = 2.0 * losses[0] + 0.5 * losses[1]
    for one in (parts, whole):
        assert stopping_loss(one).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("refit", [False, True])
def test_a_fit_that_nothing_can_judge_is_trained_to_the_end(refit: bool) -> None:
    """Few labels, none of them among the patients set aside: a loss of 0 is not the best one."""
    data, options = grouped(), {"patience": 3, "fraction": 0.2, "refit": refit}
    config = settings(precision="float64", epochs=12, early_stopping=options)
    _, aside = divided_rows(data, 0, 0, config.seed, config.training.early_stopping)
    data.labels["stay"][aside] = np.nan
    alone, beside = run_fits([spec("stay"), spec("size")], data, config)
    assert alone.epochs == 12
    assert run_fits([spec("size")], data, config)[0].epochs == beside.epochs
    if refit:
        (plain,) = run_fits([spec("stay")], data, settings(precision="float64", epochs=12))
        np.testing.assert_allclose(alone.predictions["stay"], plain.predictions["stay"], rtol=0, atol=1e-7)
    # A companion that can be judged says when to stop.
    noise = np.random.default_rng(0).normal(size=data.n).astype(np.float32)
    data.labels["size"] = noise
    (both,) = run_fits([spec("size", "stay", rate=3e-2)], data, config)
    assert both.epochs < 12


def test_judging_changes_nothing() -> None:
    config = configured({"early_stopping": {}}, normalise="batch")
    one = prepared(spec("anemia"), data=genes(), config=config)
    before = {name: value.clone() for name, value in one.network.named_parameters()}
    stopping_loss(one)
    assert all(torch.equal(value, before[name]) for name, value in one.network.named_parameters())


def test_a_fit_out_of_patience_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    one = prepared(spec("anemia"), spec("sepsis"))
    best = BestWeights(one, patience=2)
    first = one.parameters[0].value.detach().clone()
    # The first fit is finished after the third epoch; that it would have become better is no matter.
    for epoch, losses in enumerate([(1.0, 5.0), (2.0, 4.0), (2.0, 3.0), (0.5, 2.0)], start=1):
        monkeypatch.setattr(stopping, "stopping_loss", lambda _, losses=losses: torch.tensor(losses))
        assert best.look(epoch)
        with torch.no_grad():
            one.parameters[0].value.add_(1.0)
    assert best.epoch.tolist() == [1, 4]
    best.restore()
    rows = one.parameters[0].rows
    torch.testing.assert_close(one.parameters[0].value[:rows], first[:rows])
    torch.testing.assert_close(one.parameters[0].value[rows:], first[rows:] + 3.0)


def test_a_fit_that_diverges_after_its_best_epoch_has_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def epoch(self: Trainer, number: int, trace: object = None) -> None:
        self.diverged[:] = torch.tensor([number + 1 if number else 0, 1])

    losses = iter([torch.tensor([1.0, torch.nan])] + 9 * [torch.tensor([torch.nan, torch.nan])])
    monkeypatch.setattr(Trainer, "train_epoch", epoch)
    monkeypatch.setattr(stopping, "stopping_loss", lambda _: next(losses))
    trained = train(prepared(spec("anemia"), spec("sepsis"), config=stopped(epochs=4)))
    assert trained.epochs.tolist() == [1, 0]
    # The second one was never better than nothing.
    assert trained.diverged.tolist() == [0, 1]


def test_keys_know_of_stopping_and_of_patients() -> None:
    one, other = grouped(), grouped()
    other.patient = np.arange(other.n)
    keys = [
        fit_keys([spec("anemia")], data, config, "code", "cpu")[0]
        for data in (one, other)
        for config in (settings(), stopped())
    ]
    assert len(set(keys)) == 4
