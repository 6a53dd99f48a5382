"""Sizes of a network and of its training by the shape of a study: ``training.sizes``.

A rule, and no search: the same shape gives the same sizes wherever they are asked for, when fits are planned
as when they are trained. It looks at rows and features, and at no label, so that a changed definition of one
task trains none of the others again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3h_pipeline import config
from m3h_pipeline.config import Modality, Model, Split, Training
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import read_json
from m3h_pipeline.layout import Layout

#: Least optimiser steps of a fit.
STEPS = 600
#: Passes over the rows: a cohort that is large enough for fewer steps still sees each row so often, and one
#: that is too small for that many steps not more often.
EPOCHS = (10, 200)
#: Rows of a minibatch: about one in so many, within these bounds, and in no study more than one in the last.
BATCH_SHARE, BATCH, LARGEST_SHARE = 20, (32, 512), 10
#: Least rows of a minibatch in the smallest of studies.
SMALLEST_BATCH = 8
#: A layer of that width and as many inputs has at most so many weights per row.
WEIGHTS_PER_ROW = 4
#: Width of the first layer of encoders and shared module.
WIDTH = (16, 256)
#: From that width on, encoders and shared module have a second layer of half of it.
SECOND_LAYER = 128
#: Most of the width of a task network and of the contrastive projection.
NARROW = 64


@dataclass(frozen=True)
class Shape:
    """What sizes follow from.

    Attributes:
        rows: that a fit of one fold is trained on, about.
        features: modality -> how many it has.
    """

    rows: int
    features: Mapping[str, int]


def shape_of(summary: Mapping[str, Any], modalities: Mapping[str, Modality], split: Split) -> Shape:
    """The shape of a study.

    Args:
        summary: content of ``cohort/summary.json``: ``rows``, and of each source its ``features``.
        modalities: which sources stand in which modality.
        split: section of the configuration.

    Raises:
        ContractError: the summary does not say what is needed.
    """
    try:
        sources = summary["sources"]
        features = {
            name: sum(int(sources[source]["features"]) for source in modality.sources)
            for name, modality in modalities.items()
        }
        rows = int(summary["rows"]) * (1 - split.test_fraction) * (1 - 1 / split.folds)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ContractError(
            f"the summary of the cohort lacks {error}",
            where=Layout(Path()).cohort.summary.as_posix(),
        ) from error
    return Shape(max(1, round(rows)), features)


def sized(model: Model, training: Training, shape: Shape) -> tuple[Model, Training]:
    """The sections with every size that ``training.sizes`` leaves to the shape; that list is then empty.

    - ``batch_sizes``: one in twenty rows, down to a power of two, between 32 and 512; at most one in ten.
    - ``epochs``: as many as make 600 optimiser steps; at least 10, at most 200.
    - ``encoder``, ``shared``: as wide as the root of four times the rows, down to a power of two, between 16
      and 256, and not beyond the widest modality's features; from 128 on a second layer, half as wide.
    - ``task``: as wide as the first layer, at most 64. ``projection``: half as wide as the last layer of the
      encoder, at most 64. ``decoder``: as the first layer.

    Args:
        model: gives the widths that are stated.
        training: gives the list, and what is stated of batches and epochs.
        shape: of the study.

    Examples:
        >>> auto = Training(sizes=["batch_sizes", "epochs", "encoder"])
        >>> model, training = sized(Model(), auto, Shape(1280, {"labs": 60, "notes": 768}))
        >>> model.encoder, training.batch_sizes, training.epochs, training.sizes
        ([64], [64], 30, [])
    """
    if not training.sizes:
        return model, training
    width = _power(math.sqrt(WEIGHTS_PER_ROW * shape.rows))
    widest = 2 ** math.ceil(math.log2(max(1, *shape.features.values())))
    width = min(max(min(width, widest), WIDTH[0]), WIDTH[1])
    layers = [width, width // 2] if width >= SECOND_LAYER else [width]
    left: set[str] = set(training.sizes)
    batches = [batch_of(shape.rows)] if "batch_sizes" in left else training.batch_sizes
    encoder = layers if "encoder" in left else model.encoder
    values: dict[str, Any] = {
        "batch_sizes": batches,
        "epochs": epochs_of(shape.rows, max(batches)),
        "encoder": encoder,
        "projection": min(max(encoder[-1] // 2, 1), NARROW),
        "shared": layers,
        "task": [min(width, NARROW)],
        "decoder": [width],
    }
    of_training = {name: values[name] for name in left & {"batch_sizes", "epochs"}}
    of_model = {name: values[name] for name in left - set(of_training)}
    return (
        model.model_copy(update=of_model),
        training.model_copy(update={**of_training, "sizes": []}),
    )


def batch_of(rows: int) -> int:
    """Rows of a minibatch by the rows of a fit.

    Examples:
        >>> [batch_of(rows) for rows in (50, 127, 640, 1280, 24_000)]
        [8, 8, 32, 64, 512]
    """
    batch = min(max(_power(rows / BATCH_SHARE), BATCH[0]), BATCH[1])
    return max(min(batch, _power(rows / LARGEST_SHARE)), SMALLEST_BATCH)


def epochs_of(rows: int, batch_size: int) -> int:
    """Passes over the rows that make :data:`STEPS`."""
    each = math.ceil(rows / min(batch_size, rows))
    return min(max(math.ceil(STEPS / each), EPOCHS[0]), EPOCHS[1])


def _power(number: float) -> int:
    """The largest power of two that is not more, at least 1."""
    return 1 << math.floor(math.log2(max(1.0, number)))


def read_sized(
    model: Model, training: Training, modalities: Mapping[str, Modality], split: Split, summary: Path | None
) -> tuple[Model, Training]:
    """The same by the summary of the cohort, which is read only where something follows from it.

    Args:
        model, training, modalities, split: sections of the configuration.
        summary: ``cohort/summary.json``.

    Raises:
        InputError: the summary is needed and absent, or no JSON.
        ContractError: it does not say what is needed.
    """
    if not training.sizes:
        return model, training
    if summary is None:
        names = ", ".join(training.sizes)
        raise InputError(f"{names} follow from the shape of the cohort", hint="give `--summary`")
    return sized(model, training, shape_of(read_json(summary), modalities, split))


def sized_study(study: config.Study, summary: Path) -> config.Study:
    """A study with every size that its shape decides.

    Args:
        study: its configuration.
        summary: ``cohort/summary.json``.

    Raises:
        InputError, ContractError: as of :func:`read_sized`.
    """
    model, training = read_sized(study.model, study.training, study.modalities, study.split, summary)
    return study.model_copy(update={"model": model, "training": training})


def decided(study: config.Study, summary: Path) -> dict[str, Any]:
    """Key -> value of what the shape of a study decides, in the order of ``training.sizes``; empty: nothing.

    Raises:
        InputError, ContractError: as of :func:`read_sized`.
    """
    known = sized_study(study, summary)
    sections = {"training": known.training, "model": known.model}
    return {
        f"{where}.{name}": getattr(section, name)
        for name in study.training.sizes
        for where, section in sections.items()
        if hasattr(section, name)
    }


def said(study: config.Study, summary: Path) -> str:
    """What the shape decides, and why, for the screen; empty: nothing.

    Raises:
        InputError, ContractError: as of :func:`read_sized`.
    """
    values = decided(study, summary)
    if not values:
        return ""
    shape = shape_of(read_json(summary), study.modalities, study.split)
    training = sized_study(study, summary).training
    batch = min(max(training.batch_sizes), shape.rows)
    each = math.ceil(shape.rows / batch)
    steps = training.passes(each) * each
    listed = ", ".join(f"{key} {value}" for key, value in values.items())
    name, most = max(shape.features.items(), key=lambda item: item[1])
    return (
        f"sizes by the study's shape: {listed}\n"
        f"  about {shape.rows:,} rows in a fold's training, in minibatches of {batch}: {each:,} steps an "
        f"epoch, {steps:,} in all; the widest modality, {name}, has {most:,} features\n"
    )
