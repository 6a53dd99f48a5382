"""Fits with a transcriptome encoder: in stacks, with genes in another order, kept and used again."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from m3h_pipeline.config.model import Modality, Transcriptome
from m3h_pipeline.errors import ContractError
from m3h_pipeline.model.footprint import bytes_per_fit
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.export import train_stack
from m3h_pipeline.training.fits import fit_keys, run_fits
from m3h_pipeline.training.fitted import FittedModel
from m3h_pipeline.training.prepared import Prepared, prepare
from m3h_pipeline.training.spec import FitResult, TrainingSettings
from m3h_pipeline.training.stacks import architecture_of, make_stacks, positions_of
from tests.training.studies import DEVICE, settings, spec, study
from tests.training.test_invariance import assert_same

ORDER = [3, 0, 6, 2, 5, 1, 4]


def configured(training: dict[str, Any] | None = None, **options: Any) -> TrainingSettings:
    """Two modalities: `beta` through a small transformer, `alpha` through an MLP; 60 steps."""
    config = settings(precision="float64", epochs=15, modalities=["alpha", "beta"], **training or {})
    small = {"layers": 2, "heads": 2, "width": 8, "feed_forward": 8, "dropout": 0.2, **options}
    config.modalities["beta"] = Modality(
        sources=["beta"],
        encoder="transcriptome",
        scaling="minmax",
        transcriptome=Transcriptome(**small),
    )
    return config


def genes(order: list[int] | None = None) -> StudyData:
    data = study(widths={"alpha": 5, "beta": 7})
    names = {"alpha": [f"a{i}" for i in range(5)], "beta": [f"gene{i}" for i in range(7)]}
    if order is not None:
        data.features["beta"] = np.ascontiguousarray(data.features["beta"][:, order])
        names["beta"] = [names["beta"][i] for i in order]
    data.names = names
    return data


@pytest.mark.parametrize(
    "options", [{}, {"value": "piecewise_linear"}, {"normalise": "batch"}], ids=["untied", "pieces", "batch"]
)
@pytest.mark.parametrize("update", ["sum", "pcgrad"])
def test_a_fit_is_the_same_alone_and_among_folds_replicates_and_rates(
    options: dict[str, Any], update: str
) -> None:
    training = {
        "update": update,
        "model": {"input_dropout": 0.2, "absence": "learned"},
        "modality_dropout": 0.2,
    }
    config, data = configured(training, **options), genes()
    specs = [
        spec(*pair, fold=fold, replicate=replicate, rate=rate)
        for pair, fold, replicate, rate in itertools.product(
            [("anemia", "stay"), ("gout", "stay")], (0, 2), (0, 1), (1e-2, 2e-3)
        )
    ]
    on_device = DeviceData(data, config, torch.device(DEVICE))
    (whole,) = make_stacks(specs, data, config, 1e9, torch.device(DEVICE))
    together = {r.spec: r for r in train_stack(whole, on_device, config, keep_models=True)}
    for chosen in (specs[0], specs[13]):
        (alone,) = make_stacks([chosen], data, config, 1e9, torch.device(DEVICE))
        # Batch normalisation takes out the offset of the last layer's tokens.
        batch = options.get("normalise") == "batch"
        inert = ("layers.1.second.offset", "norms.0.mean") if batch else ()
        # A key's offset adds the same to all logits of a query.
        inert = ("key.bias", *inert)
        assert_same(train_stack(alone, on_device, config, keep_models=True)[0], together[chosen], inert)


@pytest.mark.parametrize("pooling", ["flatten", "mean"])
def test_genes_in_another_order_make_the_same_predictions(pooling: str) -> None:
    config = configured(pooling=pooling)
    fits = [spec("anemia", "stay")]
    (one,), (other,) = run_fits(fits, genes(), config), run_fits(fits, genes(ORDER), config)
    for task, prediction in one.predictions.items():
        np.testing.assert_allclose(other.predictions[task], prediction, rtol=0, atol=1e-7)
        assert other.values[task] == pytest.approx(one.values[task], abs=1e-10)


def test_names_of_genes_belong_to_a_fit() -> None:
    config, named, renamed = configured(), genes(), genes()
    renamed.names["beta"][0] = "another"
    renamed.names["alpha"][0] = "of no matter"
    chosen = [spec("anemia")]
    one, other = (fit_keys(chosen, data, config, "code", "cpu")[0] for data in (named, renamed))
    assert one != other
    renamed.names["beta"][0] = "gene0"
    assert fit_keys(chosen, renamed, config, "code", "cpu") == [one]


@pytest.mark.parametrize("normalise", ["layer", "batch"])
def test_a_kept_model_predicts_what_was_scored(normalise: str) -> None:
    config, data = configured(normalise=normalise), genes()
    (result,) = run_fits([spec("anemia", "stay", fold=-1)], data, config, keep_models=True)
    assert isinstance(result, FitResult)
    assert result.parameters is not None
    model = FittedModel(result.parameters, result.metadata)
    rows = data.scored_rows(-1)
    predicted = model.predict({name: x[rows] for name, x in data.features.items()})
    for task, prediction in result.predictions.items():
        np.testing.assert_allclose(predicted[task], prediction, rtol=1e-5, atol=1e-6)


def test_more_genes_make_smaller_stacks() -> None:
    config, data = configured(layers=8, width=64, feed_forward=256, heads=4), genes()
    _, signature = positions_of(("anemia",), data, config.model)
    small = bytes_per_fit(architecture_of(signature, data, config), config.training, 64, "float32")
    wide = study(widths={"alpha": 5, "beta": 700})
    large = bytes_per_fit(architecture_of(signature, wide, config), config.training, 64, "float32")
    assert 80 < large / small < 100


def vectors_of(data: StudyData, folds: int = 3) -> StudyData:
    """Vectors that differ by fold; the third gene has none."""
    found: dict[int | None, Any] = {}
    for fold in (-1, *range(folds)):
        found[fold] = np.random.default_rng(fold + 1).normal(size=(7, 8)).astype(np.float32)
        found[fold][2] = np.nan
    data.vectors = {"beta": found}
    return data


def embedding(prepared: Prepared) -> torch.Tensor:
    found: torch.Tensor = prepared.network.state_dict()["encoders.beta.embedding"]
    return found.detach().cpu().clone()


def test_genes_start_from_the_vectors_of_their_fold() -> None:
    config, data = configured(), vectors_of(genes())
    specs = [spec("anemia", fold=fold, rate=rate) for fold in (0, 2) for rate in (1e-2, 2e-3)]
    on_device = DeviceData(data, config, torch.device(DEVICE))
    (stack,) = make_stacks(specs, data, config, 1e9, torch.device(DEVICE))
    started = embedding(prepare(stack, on_device, config))
    own = embedding(prepare(stack, DeviceData(genes(), config, torch.device(DEVICE)), config))
    for k, chosen in enumerate(stack.specs):
        vectors = torch.from_numpy(data.vectors["beta"][chosen.fold]).to(started.dtype)
        assert torch.equal(started[k, [0, 1, 3, 4, 5, 6]], vectors[[0, 1, 3, 4, 5, 6]])
        assert torch.equal(started[k, 2], own[k, 2])
    together = {r.spec: r for r in train_stack(stack, on_device, config, keep_models=True)}
    (alone,) = make_stacks([specs[3]], data, config, 1e9, torch.device(DEVICE))
    assert_same(train_stack(alone, on_device, config, keep_models=True)[0], together[specs[3]])


def test_the_vectors_of_its_fold_belong_to_a_fit_and_where_they_come_from_does_not() -> None:
    specs = [spec("anemia", fold=fold) for fold in (0, 1)]
    one, other = vectors_of(genes()), vectors_of(genes())
    other.vectors["beta"][0][0, 0] += 1
    keys, changed = (fit_keys(specs, data, configured(), "", "cpu") for data in (one, other))
    assert keys[0] != changed[0]
    assert keys[1] == changed[1]
    elsewhere = configured(genes={"kind": "file", "path": "elsewhere.csv"})
    assert fit_keys(specs, one, elsewhere, "", "cpu") == keys


def test_a_fold_without_vectors_is_an_error() -> None:
    data = vectors_of(genes())
    del data.vectors["beta"][1]
    with pytest.raises(ContractError, match="no vectors of genes for fold 1"):
        run_fits([spec("anemia", fold=1)], data, configured())
