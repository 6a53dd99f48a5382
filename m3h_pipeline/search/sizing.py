"""How long a pack takes and how much memory it needs: what a scheduler is asked for, and how packs are sized.

Estimates from the shape of a study alone, before anything is trained. They decide when and where fits are
computed and never what comes out. A fit's time is the sum of four terms: arithmetic of the weight matrices,
work per sample and task outside of them, memory traffic of the optimiser, and scoring.

The rates of ``CPU`` are measured, on one thread of an AMD EPYC server in float32: ``make bench``
(tests/benchmarks/bench_training.py) gives 21.6 ms per model and step at the published widths (1.6 M
parameters, batch 256), 4.15 and 2.05 ms at 90,370 parameters and batches of 256 and 128; this module says
23.2, 4.2 and 2.2 ms. Those of ``GPU`` are an *estimate* for one 40 GB data-centre GPU, at about half of its
nominal float32 arithmetic and two thirds of its memory bandwidth; nobody has measured them yet.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Compute, Modality, Model, Split, Training
from m3h_pipeline.errors import ContractError
from m3h_pipeline.files import read_json
from m3h_pipeline.layout import Layout
from m3h_pipeline.model.footprint import Footprint, footprint
from m3h_pipeline.tasks.assessed import Task, read_tasks

#: Seconds of training that a pack is sized for: packs of a plan fall between 5 and 30 minutes.
TARGET_SECONDS = 15 * 60
#: Seconds from the start of a job to its first step: interpreters, reading, moving data.
_START = 90
#: A job is given this many times its estimated time: machines differ, and are shared.
_SAFETY = 2.5
#: Shortest time limit, in minutes.
_SHORTEST = 20
#: Most fits of a stack on a CPU, as in ``m3h_pipeline.training.stacks``.
_MOST_CPU = 32
#: Interpreter and libraries, in MB, without and with CUDA.
_BASE_MB, _BASE_CUDA_MB = 900, 4000


@dataclass(frozen=True)
class Device:
    """Rates of a device.

    Attributes:
        flops: arithmetic of the weight matrices in float32, operations per second.
        bandwidth: memory traffic of the optimiser, bytes per second.
        per_sample: seconds per sample of a minibatch and model, whatever its tasks.
        per_task: seconds more for each task.
    """

    flops: float
    bandwidth: float
    per_sample: float
    per_task: float


CPU = Device(160e9, 12e9, 5e-6, 3.5e-6)
GPU = Device(10e12, 1e12, 1e-7, 5e-8)
#: How much faster (or slower) arithmetic is than in float32: CPU, GPU.
_PRECISION = {"float32": (1.0, 1.0), "tf32": (1.0, 3.0), "bfloat16": (1.0, 3.0), "float64": (0.5, 0.5)}


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

    def clusters(self, combination: Iterable[str]) -> int:
        """Clustering tasks of a combination."""
        return sum(self.kinds.get(task) == "clustering" for task in combination)

    @cached_property
    def encoders(self) -> list[Footprint]:
        """Size and work of each modality's encoder."""
        return [
            footprint(
                width, self.modalities[name].hidden or self.model.encoder, self.modalities[name].options
            )
            for name, width in self.widths.items()
        ]

    @cached_property
    def fits(self) -> dict[tuple[int, int, bool, int, bool], float]:
        """What :func:`fit_seconds` has found, by all it depends on: plans repeat a few cases endlessly."""
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
        model, training, compute, split: sections of the configuration.

    Raises:
        ContractError: the summary does not say what is needed.
    """
    try:
        sources = summary["sources"]
        widths = {
            name: sum(int(sources[source]["features"]) for source in modality.sources)
            for name, modality in modalities.items()
        }
        rows = int(summary["rows"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ContractError(
            f"the summary of the cohort lacks {error}",
            where=Layout(Path()).cohort.summary.as_posix(),
        ) from error
    kinds = {name: task.problem_class for name, task in tasks.items()}
    return Study(rows, widths, model, training, compute, modalities, split.folds, split.test_fraction, kinds)


def read_study(
    summary: Path,
    tasks: Path,
    modalities: Mapping[str, Modality],
    model: Model,
    training: Training,
    compute: Compute,
    split: Split,
) -> Study:
    """What sizing needs, from ``cohort/summary.json``, ``labels/tasks.json`` and the configuration.

    Raises:
        InputError: a file is absent or no JSON.
        ContractError: the files do not say what is needed.
        TaskError: no task can be learned.
    """
    return study_of(read_json(summary), read_tasks(tasks), modalities, model, training, compute, split)


def parameters(study: Study, combination: Sequence[str]) -> int:
    """Weights of one model, biases left out: what the optimiser works on."""
    model = study.model
    chains: list[Sequence[int]] = []
    encoded = 0
    total = sum(taken.parameters for taken in study.encoders)
    for name in study.widths:
        hidden = study.modalities[name].hidden or model.encoder
        chains.append((hidden[-1], model.projection))
        encoded += hidden[-1]
    chains.append((encoded, *model.shared))
    chains += [(model.shared[-1], *model.task)] * len(combination)
    chains.append((model.task[-1],) * 4)  # query, key and value of the attention
    chains += [(model.task[-1], *model.decoder, sum(study.widths.values()))] * study.clusters(combination)
    return total + sum(a * b for chain in chains for a, b in itertools.pairwise(chain))


def step_seconds(study: Study, combination: Sequence[str], batch_size: int, gpu: bool) -> float:
    """Seconds of one step of one model, as part of a stack."""
    device = GPU if gpu else CPU
    count = parameters(study, combination)
    speed = _PRECISION[study.compute.precision][gpu]
    # Threads help the arithmetic, and less than they cost.
    threads = 1.0 if gpu else study.compute.threads**0.7
    # Of tokens' encoders a weight is used many times per sample.
    again = sum(taken.products - taken.parameters for taken in study.encoders)
    # Forward and both halves of backward: two operations each per product and sample.
    per_sample = 6 * (count + again) / (device.flops * speed)
    per_sample += device.per_sample + device.per_task * len(combination)
    # Weight, gradient and both moments are read, and all but the gradient written.
    traffic = (72 if study.compute.precision == "float64" else 36) * count / device.bandwidth
    updates = 1 if study.training.update == "sum" else 1 + len(combination)
    return updates * (batch_size * per_sample / threads + traffic)


def fit_seconds(study: Study, combination: Sequence[str], fold: int, batch_size: int, gpu: bool) -> float:
    """Seconds of one fit: its steps and its scoring."""
    key = len(combination), study.clusters(combination), fold >= 0, batch_size, gpu
    if key not in study.fits:
        study.fits[key] = _fit_seconds(study, combination, fold, batch_size, gpu)
    return study.fits[key]


def _fit_seconds(study: Study, combination: Sequence[str], fold: int, batch_size: int, gpu: bool) -> float:
    rows = study.rows * (1 - study.test_fraction)
    if fold >= 0:
        rows *= 1 - 1 / study.folds
    batch = min(batch_size, max(1, round(rows)))
    steps = study.training.epochs * math.ceil(rows / batch)
    # k-means and silhouettes run on the CPU, one model after another.
    scoring = study.clusters(combination) * (0.1 + 5e-5 * rows)
    return steps * step_seconds(study, combination, batch, gpu) + scoring


def pack_seconds(study: Study, pack: Iterable[Mapping[str, Any]], gpu: bool) -> float:
    """Seconds of training of a pack's entries (``plan.json`` of docs/architecture.md)."""
    return sum(
        len(entry["replicates"])
        * sum(
            fit_seconds(study, entry["combination"], fold, int(batch), gpu)
            for fold in entry["folds"]
            for batch, _ in entry["settings"]
        )
        for entry in pack
    )


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
        kept: whether models, latents and attention are kept, as of final fits.
    """
    width = 8 if study.compute.precision == "float64" else 4
    features = sum(study.widths.values())
    # Read once, scaled once, held by the device.
    data = study.rows * features * (4 + 8 + width)
    largest = 0.0
    for pack in packs:
        results = stack = 0.0
        for entry in pack:
            combination, folds = entry["combination"], entry["folds"]
            fits = len(entry["replicates"]) * len(folds) * len(entry["settings"])
            scored = study.rows * (study.test_fraction if -1 in folds else 1 / study.folds)
            count = parameters(study, combination)
            # In the store's format and as arrays, and once more when the tables are written.
            own = 3 * scored * 4 * 2 * len(combination)
            if kept:
                own += 2 * (4 * count + scored * 4 * study.model.task[-1] * len(combination))
            results += fits * own
            batch = max(int(size) for size, _ in entry["settings"])
            encoding = sum(taken.activations for taken in study.encoders)
            activations = 3 * batch * (features + encoding + 40 * study.model.task[-1] * len(combination))
            stack = max(stack, min(fits * len(pack), _MOST_CPU) * width * (5 * count + activations))
        stack = min(stack, study.compute.memory_gb * 2**30)
        largest = max(largest, results + (0.0 if gpu else 1.5 * stack))
    base = _BASE_CUDA_MB if gpu else _BASE_MB
    return attempt * 100 * math.ceil((base + (data + largest) / 1e6) / 100)
