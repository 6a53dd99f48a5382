"""Mixed differences against exact Hessians and against functions whose interactions are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from m3h_pipeline.errors import TaskError
from m3h_pipeline.gene_pairs.function import effects, output_of
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.fitted import FittedModel
from tests.training.studies import spec
from tests.training.test_transcriptome_fits import configured, genes


def samples(n: int = 20, width: int = 5) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def fitted(data: StudyData, *tasks: str) -> FittedModel:
    (result,) = run_fits([spec(*tasks)], data, configured(), keep_models=True)
    assert result.parameters is not None
    model = FittedModel(result.parameters, result.metadata)
    model.network.double()
    return model


def test_of_a_product_they_are_the_product_of_steps() -> None:
    """3 x0 x1 - 2 x2 x3 + sin(x0) + x4: second-order in pairs, so that differences of any size are exact."""
    x, deviation = samples(), torch.tensor([0.5, 1.0, 2.0, 1.5, 1.0], dtype=torch.float64)

    def output(x: Tensor) -> Tensor:
        return (3 * x[:, 0] * x[:, 1] - 2 * x[:, 2] * x[:, 3] + torch.sin(x[:, 0]) + x[:, 4])[:, None]

    found = effects(output, x, slice(0, 5), deviation)
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 3 * 0.5 * 1.0
    expected[2, 3] = expected[3, 2] = -2 * 2.0 * 1.5
    np.testing.assert_allclose(found.signed[0], expected, atol=1e-12)
    np.testing.assert_allclose(found.magnitude[0], np.abs(expected), atol=1e-12)
    slope = (3 * x[:, 1] + torch.cos(x[:, 0])) * 0.5
    assert found.importance[0] == pytest.approx(float(slope.abs().mean()))
    assert found.importance[4] == pytest.approx(1.0)


def test_small_steps_give_the_hessian_of_a_model() -> None:
    model = fitted(genes(), "anemia", "stay")
    output = output_of(model, "anemia")
    data = genes()
    x = model.standardise(data.features)[:6].double()
    step = torch.full((7,), 1e-5, dtype=torch.float64)
    found = effects(output, x, slice(5, 12), step)

    def one(row: Tensor) -> Tensor:
        return output(row[None])[0, 0]

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        exact = torch.stack(
            [torch.autograd.functional.hessian(one, row)[5:, 5:] for row in x]  # type: ignore[no-untyped-call]
        )
    mixed = exact.mean(0).numpy()
    np.fill_diagonal(mixed, 0)
    assert np.abs(mixed).max() > 1e-4
    np.testing.assert_allclose(found.signed[0] / 1e-10, mixed, rtol=1e-3, atol=1e-5)


def test_genes_of_another_order_have_the_same_effects() -> None:
    order = [3, 0, 6, 2, 5, 1, 4]
    one, other = fitted(genes(), "anemia"), fitted(genes(order), "anemia")
    found = []
    for model, data in ((one, genes()), (other, genes(order))):
        x = model.standardise(data.features)[:30].double()
        found.append(effects(output_of(model, "anemia"), x, slice(5, 12), x[:, 5:].std(0)))
    moved = found[1].signed[0]
    np.testing.assert_allclose(moved, found[0].signed[0][np.ix_(order, order)], atol=1e-7)
    np.testing.assert_allclose(found[1].importance, found[0].importance[order], atol=1e-7)


def test_rows_without_genes_depend_on_none_where_their_absence_is_learned() -> None:
    data, rows = genes(), slice(0, 30)
    config = configured()
    config = replace(config, model=config.model.model_copy(update={"absence": "learned"}))
    (result,) = run_fits([spec("anemia")], data, config, keep_models=True)
    assert result.parameters is not None
    model = FittedModel(result.parameters, result.metadata)
    model.network.double()
    raw = {name: x[rows] for name, x in data.features.items()}
    x, present = model.standardise(raw).double(), model.present(raw)
    there = present[1]
    assert 0 < int(there.sum()) < 30
    output, step = output_of(model, "anemia"), x[:, 5:].std(0)
    every = effects(output, x, slice(5, 12), step, present=present)
    some = effects(output, x[there], slice(5, 12), step, present=present[:, there])
    share = float(there.double().mean())
    np.testing.assert_allclose(every.importance, share * some.importance, rtol=1e-9)
    np.testing.assert_allclose(every.magnitude, share * some.magnitude, atol=1e-12)


def test_a_task_that_is_not_there_is_said() -> None:
    with pytest.raises(TaskError, match="does not predict"):
        output_of(fitted(genes(), "anemia"), "gout")
