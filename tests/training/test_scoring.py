"""What a trained stack says of the rows it is scored on: clusters, curves, and whether it says anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sksurv.linear_model.coxph import BreslowEstimator

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.export import fit_result
from m3h_pipeline.training.prepared import prepare
from m3h_pipeline.training.scoring import run_network, score
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from m3h_pipeline.training.stacks import make_stacks
from m3h_pipeline.training.trainer import Trained
from tests.training.studies import DEVICE, settings, spec, study
from tests.training.test_survival_fits import survival_settings, survival_study


def untrained(data: StudyData, config: TrainingSettings, *specs: FitSpec) -> Trained:
    """A stack that has all of its epochs behind it and its first weights."""
    (stack,) = make_stacks(specs, data, config, 1e9, torch.device(DEVICE))
    prepared = prepare(stack, DeviceData(data, config, torch.device(DEVICE)), config)
    nothing = torch.zeros(len(specs), dtype=torch.int64, device=DEVICE)
    return Trained(prepared, nothing, nothing + config.training.epochs)


def test_centres_are_means_of_training_rows_and_scored_rows_go_to_the_nearest() -> None:
    trained = untrained(study(1200), settings(precision="float64"), spec("phenotype"))
    prepared = trained.prepared
    (found,) = score(trained, attention=False)
    centres = found.centres["phenotype"].numpy()

    def nearest(latents: np.ndarray) -> np.ndarray:
        return np.asarray(((latents[:, None] - centres) ** 2).sum(2).argmin(1))

    latents = run_network(prepared, prepared.training_rows, attention=False).latents[0][0].cpu().numpy()
    means = [latents[nearest(latents) == c].mean(0) for c in range(len(centres))]
    np.testing.assert_allclose(centres, means, atol=0.02 * latents.std())
    scored = found.latents["phenotype"].cpu().numpy()
    assert found.predictions["phenotype"][:, 0].tolist() == nearest(scored).tolist()


def test_curves_of_cox_are_those_of_scikit_survival() -> None:
    data = survival_study()
    trained = untrained(data, survival_settings("cox", precision="float64"), spec("death"))
    prepared = trained.prepared
    (found,) = score(trained, attention=False)
    rows = prepared.training_rows[0]
    eta = run_network(prepared, prepared.training_rows, attention=False).raw[0][0, :, 0].cpu().numpy()
    seen = ~np.isnan(data.labels["death"][rows])
    time, event = time_and_event(data.labels["death"][rows][seen])
    referee = BreslowEstimator().fit(eta[seen], event, time)
    scored = run_network(prepared, [data.scored_rows(0)], attention=False).raw[0][0, :, 0].cpu().numpy()
    grid = found.times["death"]["grid"]
    inside = (grid >= time.min()) & (grid <= time.max())
    want = [curve(grid[inside]) for curve in referee.get_survival_function(scored)]
    have = found.predictions["death"][:, 1:].numpy()[:, inside]
    np.testing.assert_allclose(have, want, atol=1e-5)


@pytest.mark.parametrize("keep", [False, True])
def test_a_fit_with_one_infinite_output_has_diverged(keep: bool) -> None:
    trained = untrained(study(), settings(), spec("anemia", "sepsis"), spec("anemia", "gout"))
    with torch.no_grad():
        # Of the first fit's two tasks, the second one's bias.
        trained.prepared.network.heads[0].bias[1] = torch.inf  # type: ignore[operator]
    found = score(trained, attention=keep)
    broken, sound = (fit_result(trained, i, one, keep) for i, one in enumerate(found))
    assert (broken.status, broken.epochs, broken.predictions) == ("diverged", 2, {})
    assert all(np.isnan(value) for value in broken.values.values())
    assert not broken.kept
    assert sound.status == "ok"
    assert sound.kept == keep
