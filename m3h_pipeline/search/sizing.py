"""How long a pack takes and how much memory it needs: what a scheduler is asked for, and how packs are sized.

Estimates from the shape of a study alone, before anything is trained. They decide when and where fits are
computed and never what comes out. A fit's time is the sum of four terms: arithmetic of the weight matrices,
work per sample and task outside of them, memory traffic of the optimiser, and scoring.

How fast devices are is said by :mod:`m3h_pipeline.search.rates`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from m3h_pipeline.coding import labelled_by
from m3h_pipeline.config import Compute, Modality, Model, Split, Training
from m3h_pipeline.files import read_json
from m3h_pipeline.model.architecture import Architecture, Input
from m3h_pipeline.model.footprint import MOST_ON_CPU, bytes_per_fit, footprint
from m3h_pipeline.search.rates import CPU, CPU_BFLOAT16, Device, rates_of
from m3h_pipeline.search.sizes import shape_of, sized
from m3h_pipeline.tasks.assessed import Task, read_tasks
from m3h_pipeline.training.spec import Entry

#: Seconds of training that a pack is sized for: packs of a plan fall between 5 and 30 minutes.
TARGET_SECONDS = 15 * 60
#: Seconds from the start of a job to its first step: interpreters, reading, moving data.
_START = 90
#: A job is given this many times its estimated time: machines differ, and are shared.
_SAFETY = 2.5
#: Shortest time limit, in minutes.
_SHORTEST = 20
#: Interpreter and libraries, in MB, without and with CUDA.
_BASE_MB, _BASE_CUDA_MB = 900, 4000


@dataclass(frozen=True)
class Study:
    """What sizing needs of a study.

    Attributes:
        rows: samples of the cohort.
        widths: modality -> features.
        model, training, compute, modalities: configuration.
        folds: number of folds of the cross-validation.
        test_fraction: share of the samples in the test part.
        kinds: task -> problem class; one that is not here counts as binary.
        card: what the GPU is called that fits are trained on, as far as it is known.
    """

    rows: int
    widths: Mapping[str, int]
    model: Model
    training: Training
    compute: Compute
    modalities: Mapping[str, Modality]
    folds: int
    test_fraction: float
    kinds: Mapping[str, str]
    card: str | None = None

    def classes(self, combination: Iterable[str]) -> tuple[str, ...]:
        """The problem classes of a combination's tasks, sorted."""
        return tuple(sorted(self.kinds.get(labelled_by(task), "binary") for task in combination))

    @cached_property
    def fits(self) -> dict[tuple[tuple[str, ...], bool, int, bool], Work]:
        """What :func:`fit_work` has found, by all it depends on: plans repeat a few cases endlessly."""
        return {}


def study_of(
    summary: Mapping[str, Any],
    tasks: Mapping[str, Task],
    modalities: Mapping[str, Modality],
    model: Model,
    training: Training,
    compute: Compute,
    split: Split,
) -> Study:
    """What sizing needs, of the cohort, the tasks and the study's configuration.

    Args:
        summary: content of ``cohort/summary.json``: ``rows``, and of each source its ``features``.
        tasks: those of ``labels/tasks.json``.
        modalities: which sources stand in which modality.
        model, training, compute, split: sections of the configuration; sizes that follow from the shape are
            resolved.

    Raises:
        ContractError: the summary does not say what is needed.
    """
    shape = shape_of(summary, modalities, split)
    model, training = sized(model, training, shape)
    kinds = {name: task.problem_class for name, task in tasks.items()}
    return Study(
        int(summary["rows"]),
        shape.features,
        model,
        training,
        compute,
        modalities,
        split.folds,
        split.test_fraction,
        kinds,
    )


def read_study(
    summary: Path,
    tasks: Path,
    modalities: Mapping[str, Modality],
    model: Model,
    training: Training,
    compute: Compute,
    split: Split,
    card: str | None = None,
) -> Study:
    """What sizing needs, from ``cohort/summary.json``, ``labels/tasks.json`` and the configuration.

    Raises:
        InputError: a file is absent or no JSON.
        ContractError: the files do not say what is needed.
        TaskError: no task can be learned.
    """
    found = study_of(read_json(summary), read_tasks(tasks), modalities, model, training, compute, split)
    return replace(found, card=card)


def architecture(study: Study, combination: Iterable[str]) -> Architecture:
    """The shape of a model, but for what the files do not say: constant features, numbers of classes."""
    inputs = []
    for name, width in study.widths.items():
        modality = study.modalities[name]
        learned = study.model.absence == "learned"
        hidden, options = modality.widths(study.model), modality.options
        inputs.append(Input(name, width, modality.encoder, hidden, options, absence=learned))
    survival = study.model.survival.outputs
    signature = tuple((kind, survival if kind == "survival" else 1) for kind in study.classes(combination))
    return Architecture(tuple(inputs), signature, study.model, study.training.contrastive_weight > 0)


def step_seconds(study: Study, combination: Sequence[str], batch_size: int, gpu: bool) -> float:
    """Seconds of one step of one model, as part of a stack."""
    return _step_seconds(study, combination, batch_size, gpu, rates_of(gpu, study.card))


def saved_by_bfloat16(study: Study, combination: Sequence[str]) -> float:
    """Share of a CPU's time that bfloat16 saves where the processor has instructions for it."""
    batch = study.training.batch_sizes[0]
    fast = replace(study, compute=study.compute.model_copy(update={"precision": "bfloat16"}))
    full, less = (_step_seconds(fast, combination, batch, False, one) for one in (CPU, CPU_BFLOAT16))
    return 1 - less / full


def _step_seconds(
    study: Study, combination: Sequence[str], batch_size: int, gpu: bool, device: Device
) -> float:
    precision = study.compute.precision
    taken = footprint(architecture(study, combination))
    # Threads help the arithmetic, and less than they cost.
    threads = 1.0 if gpu else study.compute.threads**0.7
    # Forward and both halves of backward: two operations each per product and sample.
    per_sample = device.arithmetic(6 * taken.products, precision)
    per_sample += device.per_row + device.per_task * len(combination)
    # Weight, gradient and both moments are read, and all but the gradient written.
    traffic = (72 if precision == "float64" else 36) * taken.parameters * device.per_byte
    return _updates(study, combination) * (batch_size * per_sample / threads + traffic)


def _updates(study: Study, combination: Sequence[str]) -> int:
    """Steps of the optimiser on one minibatch."""
    return 1 if study.training.update == "sum" else 1 + len(combination)


@dataclass(frozen=True)
class Work:
    """What a fit takes.

    Attributes:
        steps: of training.
        step: seconds of one, as part of a stack.
        scoring: seconds.
    """

    steps: int
    step: float
    scoring: float


def fit_work(study: Study, combination: Sequence[str], fold: int, batch_size: int, gpu: bool) -> Work:
    """The steps of one fit, and its scoring."""
    key = study.classes(combination), fold >= 0, batch_size, gpu
    if key not in study.fits:
        study.fits[key] = _fit_work(study, combination, fold, batch_size, gpu)
    return study.fits[key]


def _fit_work(study: Study, combination: Sequence[str], fold: int, batch_size: int, gpu: bool) -> Work:
    rows = study.rows * (1 - study.test_fraction)
    if fold >= 0:
        rows *= 1 - 1 / study.folds
    batch = min(batch_size, max(1, round(rows)))
    steps = study.training.passes(math.ceil(rows / batch)) * math.ceil(rows / batch)
    stopping = study.training.early_stopping
    if stopping is not None and stopping.refit:
        # A fit that never stops early is the slowest there is.
        steps *= 2
    # k-means and silhouettes run on the CPU, one model after another.
    scoring = study.classes(combination).count("clustering") * (0.1 + 5e-5 * rows)
    return Work(steps, step_seconds(study, combination, batch, gpu), scoring)


def pack_seconds(study: Study, pack: Iterable[Mapping[str, Any]], gpu: bool) -> float:
    """Seconds of training of a pack's entries (``plan.json`` of docs/architecture.md).

    Fits of one signature and batch size stand in one stack, whose steps take what their models take together,
    and at least what the host needs to start them.
    """
    host = rates_of(gpu, study.card).per_step
    total = 0.0
    stacks: dict[tuple[tuple[str, ...], int, int], tuple[float, float]] = {}
    for entry in pack:
        combination, classes = entry["combination"], study.classes(entry["combination"])
        floor = host * _updates(study, combination)
        asked = Entry.of(entry)
        for position, fold in enumerate(asked.folds):
            # By halving nobody knows which settings are left.
            fits = asked.fits_in(position) / len(asked.settings)
            for batch, _ in asked.settings:
                work = fit_work(study, combination, fold, batch, gpu)
                total += fits * work.scoring
                key = classes, int(batch), work.steps
                models = fits * work.steps * work.step
                stacks[key] = stacks.get(key, (0.0, 0.0))[0] + models, work.steps * floor
    return total + sum(max(one) for one in stacks.values())


def combinations_per_job(study: Study, entries: Sequence[Mapping[str, Any]]) -> int:
    """How many of these combinations (as in a plan) make a pack of about ``TARGET_SECONDS``.

    ``compute.device`` states the device; ``auto`` counts as a GPU, which is what a study that needs many jobs
    is trained on. Nothing of this reaches a fit, so that another number of packs retrains nothing.
    """
    if not entries:
        return 1
    total = pack_seconds(study, entries, gpu=study.compute.device != "cpu")
    packs = max(1, round(total / TARGET_SECONDS))
    return math.ceil(len(entries) / packs)


def runtime_minutes(
    study: Study, packs: Iterable[Iterable[Mapping[str, Any]]], gpu: bool, attempt: int
) -> int:
    """The time limit of a pack's job: of the longest of ``packs``, in multiples of 5 minutes.

    Each further attempt gets as much again; and it starts from the fits that the one before has finished.
    """
    seconds = max((pack_seconds(study, pack, gpu) for pack in packs), default=0.0)
    minutes = max(_SHORTEST, (_START + _SAFETY * seconds) / 60)
    return attempt * 5 * math.ceil(minutes / 5)


def memory_mb(
    study: Study, packs: Iterable[Sequence[Mapping[str, Any]]], gpu: bool, attempt: int, kept: bool = False
) -> int:
    """The memory of a pack's job: of the largest of ``packs``, in multiples of 100 MB.

    Args:
        study: its shape.
        packs: packs of a plan.
        gpu: whether stacks stand in the memory of a GPU, which is not asked for.
        attempt: number of the attempt; each further one gets as much again.
        kept: whether models, latents and attention are kept, as of final fits on the whole training part.
    """
    width = 8 if study.compute.precision == "float64" else 4
    features = sum(study.widths.values())
    # Read once, scaled once, held by the device.
    data = study.rows * features * (4 + 8 + width)
    largest = 0.0
    for pack in packs:
        results = stack = 0.0
        for entry in pack:
            asked = Entry.of(entry)
            combination, fits = entry["combination"], asked.fits
            shape = architecture(study, combination)
            for position, fold in enumerate(asked.folds):
                scored = study.rows * (study.test_fraction if fold < 0 else 1 / study.folds)
                # In the store's format and as arrays, and once more when the tables are written.
                own = 3 * scored * 4 * 2 * len(combination)
                if kept and fold < 0:
                    parameters = footprint(shape).parameters
                    own += 2 * (4 * parameters + scored * 4 * study.model.task[-1] * len(combination))
                results += asked.fits_in(position) * own
            batch = max(size for size, _ in asked.settings)
            # Every fit of a stack may have minibatches of its own.
            each = bytes_per_fit(shape, study.training, batch, study.compute.precision)
            each += 3 * batch * features * width
            stack = max(stack, min(fits * len(pack), MOST_ON_CPU) * each)
        stack = min(stack, study.compute.memory_gb * 2**30)
        largest = max(largest, results + (0.0 if gpu else 1.5 * stack))
    base = _BASE_CUDA_MB if gpu else _BASE_MB
    return attempt * 100 * math.ceil((base + (data + largest) / 1e6) / 100)
