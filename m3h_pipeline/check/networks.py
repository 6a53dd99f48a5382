"""What training would do first, done once before anything is trained: read the study, make its networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from m3h_pipeline.check.learning import doubts
from m3h_pipeline.config import Modality
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.model.architecture import Architecture, Input
from m3h_pipeline.model.footprint import bytes_per_fit, footprint
from m3h_pipeline.model.m3h import M3H
from m3h_pipeline.training.data import load_study_data
from m3h_pipeline.training.spec import TrainingSettings
from m3h_pipeline.training.stacks import architecture_of, positions_of

#: A shipped network of more parameters is not made for a trial: of those only the size can be wrong.
_LARGE = 30_000_000


def try_networks(
    cohort: Path,
    labels: Path,
    split: Path,
    tasks: Collection[str],
    settings: TrainingSettings,
    widths: Mapping[str, int],
    absent: Collection[str],
    where: str,
) -> list[str]:
    """Read what training reads and make the network of each kind of task, at the study's widths.

    Args:
        cohort: folder of the cohort.
        labels: folder of the labels.
        split: the split.
        tasks: those that are learned.
        settings: of the training.
        widths: source -> how many features it has.
        absent: sources that are not in the cohort yet; a modality that has one is not read.
        where: of the network, for messages.

    Returns:
        What makes it doubtful that its fits learn (:func:`m3h_pipeline.check.learning.doubts`).

    Raises:
        M3HError: a file does not follow its contract, no feature of a modality varies over the training
            samples, a network cannot be made, or one fit needs more memory than there is.
    """
    read = {
        # Vectors of genes are not there yet; the network does not depend on them but for its first weights.
        name: _without_vectors(modality)
        for name, modality in settings.modalities.items()
        if not set(modality.sources) & set(absent)
    }
    inputs = _unread(read, settings, widths)
    # One modality after another: together they may be much of the memory.
    for name, modality in read.items():
        alone = load_study_data(cohort, labels, split, (), {name: modality}, grouped=True)
        inputs += architecture_of((), alone, replace(settings, modalities=read)).inputs
    data = load_study_data(cohort, labels, split, tasks, {}, grouped=True)
    made = set()
    parameters = {}
    for task in sorted(tasks):
        position, signature = positions_of([task], data, settings.model)
        contrast = settings.training.contrastive_weight > 0
        architecture = Architecture(tuple(inputs), signature, settings.model, contrast)
        parameters[task] = footprint(architecture).parameters
        if signature in made:
            continue
        made.add(signature)
        _refuse_the_huge(architecture, settings, len(data.training_rows(-1)), task, where)
        own = any("." in item.encoder or ":" in item.encoder for item in architecture.inputs)
        if own or footprint(architecture).parameters <= _LARGE:
            _make(architecture, position, settings, where)
    return doubts(data, settings, inputs, parameters)


def _without_vectors(modality: Modality) -> Modality:
    if modality.options is None or modality.options.genes is None:
        return modality
    return modality.model_copy(update={"transcriptome": modality.options.model_copy(update={"genes": None})})


def _unread(read: Collection[str], settings: TrainingSettings, widths: Mapping[str, int]) -> list[Input]:
    """The modalities that are not read, by the widths that their sources will have."""
    found = []
    for name, modality in settings.modalities.items():
        if name not in read:
            width = sum(widths[source] for source in modality.sources)
            hidden = modality.widths(settings.model)
            genes = tuple(map(str, range(width)))
            learned = settings.model.absence == "learned"
            found.append(Input(name, width, modality.encoder, hidden, modality.options, genes, learned))
    return found


def _refuse_the_huge(
    architecture: Architecture, settings: TrainingSettings, rows: int, task: str, where: str
) -> None:
    """Refuse a fit that no stack can hold.

    Raises:
        ConfigError: it needs more than this machine has, its GPU has and the study says there is.
    """
    training, compute = settings.training, settings.compute
    # A minibatch has no more rows than there are.
    batch = min(max(training.batch_sizes), rows)
    needed = bytes_per_fit(architecture, training, batch, compute.precision)
    there = {
        "this machine has": psutil.virtual_memory().total,
        "`compute.memory_gb` says": compute.memory_gb * 2**30,
    }
    if compute.device != "cpu" and torch.cuda.is_available():
        there["its GPU has"] = torch.cuda.get_device_properties(0).total_memory
    if needed > max(there.values()):
        known = ", ".join(f"{who} {bytes_ / 2**30:,.1f}" for who, bytes_ in there.items())
        widest = max(architecture.inputs, key=lambda item: max(item.hidden))
        raise ConfigError(
            f"one fit of `{task}` alone needs about {needed / 2**30:,.1f} GB of memory "
            f"({footprint(architecture).parameters:,} parameters); {known} GB",
            where=f"{where}, widest encoder: modality {widest.name}, {list(widest.hidden)}",
            hint="lower widths or batch sizes; if training has more memory, say so in `compute.memory_gb`",
        )


def _make(
    architecture: Architecture, position: tuple[str, ...], settings: TrainingSettings, where: str
) -> None:
    """Make one network.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        M3H(architecture, [(settings.seed, 0)], [position])
    except ConfigError as error:
        place = where if error.where in {None, "configuration"} else f"{where}, {error.where}"
        raise ConfigError(error.what, where=place, hint=error.hint) from error
    except (MemoryError, RuntimeError) as error:
        raise ConfigError(f"the network cannot be made: {error}", where=where) from error
