"""What a model takes, from its shape alone: numbers, not modules, so that a scheduler can ask.

The one place that counts parameters. Networks of the user's own count as the shipped ones of their configured
widths.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from m3h_pipeline.config.model import Model, Transcriptome
from m3h_pipeline.config.training import Training
from m3h_pipeline.model.architecture import Architecture, Input

#: The most models of a stack on a CPU: beyond, the arithmetic is no faster and the caches are missed more.
MOST_ON_CPU = 32
#: Bins, frequencies and pieces of the encodings of a value (:mod:`m3h_pipeline.model.values`).
BINS = 16
#: Widths of heads are filled up to a multiple of this, which fast attention kernels ask for.
MULTIPLE = 8
#: Of the encodings of a value: its features, and parameters beside their affine map.
_ENCODINGS = {
    "projection": (1, 0),
    "bins": (BINS, 2 * BINS),
    "rank": (1, 0),
    "periodic": (2 * BINS, BINS),
    "piecewise_linear": (BINS, 0),
}


@dataclass(frozen=True)
class Footprint:
    """What one model, or a part of it, takes.

    Attributes:
        parameters: weights and biases, embeddings and running statistics: all that is learned or kept.
        activations: numbers kept per sample for the backward pass, about.
        products: multiplications by weights per sample of a forward pass, and those of attention.
    """

    parameters: int = 0
    activations: int = 0
    products: int = 0

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.parameters + other.parameters,
            self.activations + other.activations,
            self.products + other.products,
        )

    def __mul__(self, times: int) -> Footprint:
        return Footprint(self.parameters * times, self.activations * times, self.products * times)


def footprint(architecture: Architecture, batch_size: int = 1) -> Footprint:
    """What a model takes.

    Args:
        architecture: of the model.
        batch_size: rows of a minibatch, for losses that compare them with each other.
    """
    model, tasks = architecture.model, len(architecture.signature)
    total = Footprint()
    for item in architecture.inputs:
        total += encoder_footprint(item)
        total += Footprint(item.absence * item.hidden[-1], item.absence * item.hidden[-1])
        if architecture.contrastive:
            total += _chain([item.hidden[-1], model.projection]) + Footprint(activations=2 * model.projection)
    encoded = sum(item.hidden[-1] for item in architecture.inputs)
    total += _chain([encoded, *model.shared]) + Footprint(activations=2 * encoded)
    width = model.task[-1]
    total += _chain([[encoded, *model.shared][-1], *model.task]) * tasks
    # Of the attention: one vector of each task; query, key and value of all.
    total += Footprint(
        tasks * width + 3 * width * width, tasks * (4 * width + 3 * tasks), 2 * tasks * width * width
    )
    for name, outputs in architecture.signature:
        total += _head(name, outputs, architecture, batch_size)
    return total


def encoder_footprint(item: Input) -> Footprint:
    """What the encoder of a modality takes.

    Examples:
        >>> encoder_footprint(Input("vitals", 10, "mlp", (4, 2)))
        Footprint(parameters=54, activations=6, products=48)
    """
    if item.options is None:
        return _chain([item.features, *item.hidden])
    return _transcriptome(item.features, item.hidden, item.options)


def _chain(widths: Sequence[int], bias: bool = True) -> Footprint:
    """Affine maps one after another."""
    products = sum(a * b for a, b in itertools.pairwise(widths))
    return Footprint(products + bias * sum(widths[1:]), sum(widths[1:]), products)


def _head(name: str, outputs: int, architecture: Architecture, batch_size: int) -> Footprint:
    model: Model = architecture.model
    if name == "clustering":
        # The decoder's errors stand beside its outputs.
        widths = [model.task[-1], *model.decoder, architecture.features]
        return _chain(widths) + Footprint(activations=sum(widths) + widths[0])
    # Cox's loss compares all pairs of a minibatch; the bins of discrete time, a few times.
    compared = (batch_size if outputs == 1 else outputs) if name == "survival" else 0
    head = _chain([model.task[-1], outputs]) + Footprint(activations=2 * outputs + 6 * compared)
    if model.linear_path:
        # One number for all bins of time.
        head += _chain([architecture.features, 1 if name == "survival" else outputs], bias=False)
    return head


def _transcriptome(genes: int, hidden: Sequence[int], options: Transcriptome) -> Footprint:
    width, wide = options.width, options.feed_forward
    token = _chain([width] * 5) + _chain([width, wide, width])
    norms = 2 * 2 * width
    # Queries, keys and values with a further entry, in multiples.
    padded = options.heads * (MULTIPLE * (-(-(width // options.heads + 1) // MULTIPLE)))
    layer = Footprint(
        token.parameters + norms,
        genes * (4 * padded + 9 * width + 2 * wide),
        genes * token.products + 2 * genes * genes * padded,
    )
    if options.value == "untied":
        entering = 2 * width
    else:
        features, further = _ENCODINGS[options.value]
        entering = width * (features + 1) + further
    own = genes * width + entering + 2 * width * options.pre_norm
    flat = options.pooling == "flatten"
    pooled = genes * width if flat else width
    # Batch normalisation takes out whatever a bias before it adds; it keeps running statistics.
    tail = _chain([pooled, *hidden], bias=options.normalise != "batch")
    kept = {"none": 0, "layer": 2, "batch": 4}[options.normalise] * sum(hidden)
    return layer * options.layers + tail + Footprint(own + kept, pooled)


def bytes_per_fit(architecture: Architecture, training: Training, batch_size: int, precision: str) -> float:
    """Estimated memory of one fit of a stack: parameters, gradients, optimiser state, activations.

    Args:
        architecture: of the model.
        training: how it is trained: best weights and gradients of each loss are further copies.
        batch_size: rows of a minibatch.
        precision: as configured.
    """
    copies = int(training.early_stopping is not None)
    if training.update == "pcgrad":
        copies += 2 + len(architecture.signature)
    taken = footprint(architecture, batch_size)
    # Adam holds two numbers and a gradient per parameter; an activation is kept, and has a gradient.
    numbers = (5 + copies) * taken.parameters + 3 * batch_size * taken.activations
    return float((8 if precision == "float64" else 4) * numbers)
