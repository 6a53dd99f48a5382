"""What is counted from a model's shape is what an assembled model has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from m3h_pipeline.config import Model, Training
from m3h_pipeline.config.model import Transcriptome
from m3h_pipeline.model.architecture import Architecture, Input
from m3h_pipeline.model.footprint import bytes_per_fit, footprint
from m3h_pipeline.model.m3h import M3H

WIDTHS = st.lists(st.integers(1, 5), min_size=1, max_size=3)
TASKS = [
    ("binary", 1),
    ("multiclass", 3),
    ("regression", 1),
    ("survival", 1),
    ("survival", 4),
    ("clustering", 0),
]


@st.composite
def modalities(draw: st.DrawFn, name: str) -> Input:
    features, hidden = draw(st.integers(1, 6)), tuple(draw(WIDTHS))
    if draw(st.booleans()):
        return Input(name, features, "mlp", hidden, absence=draw(st.booleans()))
    heads = draw(st.integers(1, 3))
    options = Transcriptome(
        layers=draw(st.integers(1, 2)),
        heads=heads,
        width=heads * draw(st.integers(1, 3)),
        feed_forward=draw(st.integers(1, 5)),
        pre_norm=draw(st.booleans()),
        pooling=draw(st.sampled_from(["flatten", "mean"])),
        normalise=draw(st.sampled_from(["layer", "batch", "none"])),
        value=draw(st.sampled_from(["untied", "projection", "bins", "rank", "periodic", "piecewise_linear"])),
    )
    genes = tuple(f"{name}{i}" for i in range(features))
    return Input(name, features, "transcriptome", hidden, options, genes)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    model = Model(
        encoder=draw(WIDTHS),
        projection=draw(st.integers(1, 4)),
        shared=draw(WIDTHS),
        task=draw(WIDTHS),
        decoder=draw(st.lists(st.integers(1, 4), max_size=2)),
        linear_path=draw(st.booleans()),
    )
    inputs = tuple(draw(modalities(name)) for name in "abc"[: draw(st.integers(1, 3))])
    signature = tuple(sorted(draw(st.lists(st.sampled_from(TASKS), min_size=1, max_size=5))))
    return Architecture(inputs, signature, model, contrast=draw(st.booleans()))


@settings(max_examples=100, deadline=None)
@given(architectures())
def test_the_count_is_that_of_an_assembled_model(architecture: Architecture) -> None:
    tasks = [f"task{i}" for i in range(len(architecture.signature))]
    network = M3H(architecture, [(0, 0)], [tasks])
    assert footprint(architecture).parameters == sum(p.numel() for p in network.parameters())


@settings(max_examples=50, deadline=None)
@given(architectures())
def test_more_of_anything_takes_more(architecture: Architecture) -> None:
    def taken(shape: Architecture, batch: int = 16, precision: str = "float32", **training: Any) -> float:
        return bytes_per_fit(shape, Training(**training), batch, precision)

    base = taken(architecture)
    assert taken(architecture, precision="float64") == 2 * base
    assert taken(architecture, batch=32) > base
    assert taken(architecture, early_stopping={}) > base
    assert taken(architecture, update="pcgrad") > taken(architecture, early_stopping={})
    first, *others = architecture.inputs
    wider = replace(first, features=first.features + 1, genes=(*first.genes, "another"))
    assert taken(replace(architecture, inputs=(wider, *others))) > base
    assert taken(replace(architecture, signature=(*architecture.signature, ("binary", 1)))) > base


def test_a_pair_of_the_published_widths_is_counted_by_hand() -> None:
    features = {"language": 2304, "tabular": 6, "time_series": 451, "vision": 2084}
    inputs = tuple(Input(name, width, "mlp", (256, 128)) for name, width in features.items())
    taken = footprint(Architecture(inputs, (("binary", 1), ("binary", 1)), Model()))
    encoders = sum(width * 256 + 256 + 256 * 128 + 128 for width in features.values())
    projections, shared = 4 * (128 * 64 + 64), 512 * 256 + 256 + 256 * 128 + 128
    each = 128 * 64 + 64 + 64 + 64 + 1
    assert taken.parameters == encoders + projections + shared + 2 * each + 3 * 64 * 64
    biases = 4 * (256 + 128 + 64) + 256 + 128 + 2 * (64 + 1)
    vectors, attention = 2 * 64, 3 * 64 * 64
    # Every weight multiplies once per sample; those of the attention, once per task.
    assert taken.products == taken.parameters - biases - vectors - attention + 2 * 2 * 64 * 64
