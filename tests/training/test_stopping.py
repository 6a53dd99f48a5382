"""Early stopping: whole patients are set aside, each fit keeps its own best weights, whatever its stack."""

from __future__ import annotations

import numpy as np
import pytest

from m3h_pipeline.config.training import EarlyStopping
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import fit_keys, run_fits
from m3h_pipeline.training.spec import TrainingSettings
from m3h_pipeline.training.stopping import divided_rows
from tests.training.studies import settings, spec, study


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


def test_keys_know_of_stopping_and_then_of_patients() -> None:
    one, other = grouped(), grouped()
    other.patient = np.arange(other.n)
    fits = [spec("anemia")]
    plain = [fit_keys(fits, data, settings(), "code", "cpu") for data in (one, other)]
    stopping = [fit_keys(fits, data, stopped(), "code", "cpu") for data in (one, other)]
    assert plain[0] == plain[1]
    assert len({*plain[0], *stopping[0], *stopping[1]}) == 3
