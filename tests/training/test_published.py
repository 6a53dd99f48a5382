"""The published recipe is what it was: predictions in float64, kept from before there was another one.

``published.json`` was written by the code of before the default recipe (afea319), with the settings stated
key by key. On the machine where it was written the new code agrees to the bit; elsewhere libraries may add in
another order.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from m3h_pipeline import config
from m3h_pipeline.config.recipes import RECIPES, merged
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitSpec, TrainingSettings
from tests.training.studies import DEVICE, WIDTHS, study

KEPT: dict[str, list[str]] = json.loads(Path(__file__).with_name("published.json").read_text())
NARROW = {"encoder": [8, 8], "projection": 8, "shared": [8, 8], "task": [8], "decoder": [8]}
SHORT = {"epochs": 3, "batch_sizes": [13], "learning_rates": [1e-3]}


def test_the_published_recipe_predicts_what_it_did() -> None:
    recipe = RECIPES["published"]
    settings = TrainingSettings(
        config.Model(**merged(recipe.model, NARROW)),
        config.Training(**merged(recipe.training, SHORT)),
        config.Compute(precision="float64", device=DEVICE),
        {name: config.Modality(sources=[name], **recipe.of_modality("mlp")) for name in WIDTHS},
        7,
    )
    places = sorted({tuple(name.split("/")[:2]) for name in KEPT})
    specs = [FitSpec(tuple(combination.split("+")), int(fold), 0, 13, 1e-3) for combination, fold in places]
    found = {}
    for result in run_fits(specs, study(), settings):
        for task, prediction in result.predictions.items():
            place = "/".join(["+".join(result.spec.combination), str(result.spec.fold), task])
            found[place] = prediction.ravel()[:3]
    assert set(found) == set(KEPT)
    for place, values in KEPT.items():
        # Predictions are kept in float32.
        np.testing.assert_allclose(found[place], [float(v) for v in values], rtol=3e-7, err_msg=place)
