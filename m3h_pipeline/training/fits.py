"""Fits: their keys, and how a list of them is trained or found."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import numpy as np
import torch

from m3h_pipeline.coding import labelled_by
from m3h_pipeline.digest import code_digest
from m3h_pipeline.dotted import is_path, source_digest
from m3h_pipeline.errors import ConfigError, TaskError
from m3h_pipeline.model.heads import class_of
from m3h_pipeline.progress import Progress
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.export import said_of, train_stack
from m3h_pipeline.training.spec import FitResult, FitSpec, TrainingSettings
from m3h_pipeline.training.stacks import make_stacks, memory_limit, planned_bytes

if TYPE_CHECKING:
    # The store is of files, which training from arrays does without.
    from m3h_pipeline.training.store import FitStore


def fit_keys(
    specs: Sequence[FitSpec], data: StudyData, settings: TrainingSettings, code: str, device: str
) -> list[str]:
    """The content key of each fit: a SHA-256 of everything that determines its result.

    That is: the features of its modalities (of genes their names too), whose the rows are (what few patients
    tell apart is left out), the labels of its tasks, the split, the network with every option that is left to
    a default, the training settings (of the task weights only its own tasks'; of what regression and survival
    tasks learn only if it has one), the precision and the type of device, the seed, the training code and the
    user's own, and the fit itself. Threads, stacking and memory only change the rounding.
    """
    training = settings.training.model_dump(mode="json")
    weights = training.pop("task_weights")
    del training["batch_sizes"], training["learning_rates"], training["sizes"]
    model = settings.model.model_dump(mode="json")
    survival, regression = model.pop("survival"), model.pop("regression")
    common = {
        "features": data.features_digest,
        "split": data.split_digest,
        "model": model,
        "training": training,
        # Where genes' vectors come from does not matter beside the vectors themselves.
        "modalities": {
            name: value.resolved(settings.model).model_dump(mode="json", exclude={"transcriptome": {"genes"}})
            for name, value in settings.modalities.items()
        },
        # Genes are known by name.
        "genes": {
            name: data.feature_names(name) for name, value in settings.modalities.items() if value.options
        },
        "precision": settings.compute.precision,
        "device": device,
        "seed": settings.seed,
        "code": code,
        "own code": _own_code(
            settings.model.task_network, *(value.encoder for value in settings.modalities.values())
        ),
        "patients": data.patient_digest,
    }
    base = hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()
    keys = []
    for spec in specs:
        own: dict[str, object] = {
            "base": base,
            "tasks": [
                [task, data.label_digest(task), weights.get(labelled_by(task), 1.0)]
                for task in spec.combination
            ],
            "fold": spec.fold,
            "replicate": spec.replicate,
            "batch_size": spec.batch_size,
            "learning_rate": spec.learning_rate,
            "vectors": data.vectors_digest(spec.fold),
        }
        if classes := _own_classes(spec.combination, data):
            own["own classes"] = classes
        kinds = [class_of(data.tasks[task]) for task in spec.combination]
        if any(kind.timed for kind in kinds):
            own["survival"] = survival
        if any(kind.standardise for kind in kinds):
            own["regression"] = regression
        keys.append(hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest())
    return keys


def _own_code(*names: str) -> list[str]:
    """Digests of the source files of the user's own networks."""
    return [source_digest(name) for name in sorted(set(names)) if is_path(name)]


def _own_classes(combination: Sequence[str], data: StudyData) -> list[str]:
    """Digests of the source files of the problem classes, and their metrics, that are the user's own."""
    names = set()
    for task in combination:
        if path := data.tasks[task].get("own_class"):
            names |= {str(path), str(data.tasks[task].get("metric"))}
    return [name + source_digest(name) for name in sorted(names) if is_path(name)]


def check_specs(specs: Sequence[FitSpec], data: StudyData) -> None:
    """Refuse fits that cannot be trained on this data.

    Raises:
        TaskError: an unsorted or empty combination, an unknown task, a fold without rows.
    """
    folds = set(np.unique(data.fold[data.train]).tolist())
    for spec in specs:
        name = "+".join(spec.combination)
        if not spec.combination or list(spec.combination) != sorted(set(spec.combination)):
            raise TaskError("a combination is a sorted set of tasks", where=name or "(empty)")
        for task in spec.combination:
            if task not in data.tasks:
                raise TaskError(f"the labels of `{task}` are not loaded", where=name)
        if spec.fold >= 0 and (spec.fold not in folds or len(folds) < 2):
            raise TaskError(f"fold {spec.fold} is not in the split, or is the only one", where=name)
        if spec.fold < 0 and data.train.all():
            raise TaskError("the split has no test part", where=name)


def training_code() -> str:
    """Digest of the code that determines what a fit becomes."""
    return code_digest("m3h_pipeline.training.export")


def device_of(settings: TrainingSettings) -> torch.device:
    """The configured device; ``auto`` is the GPU where there is one.

    Raises:
        ConfigError: CUDA is asked for and there is none.
    """
    name = settings.compute.device
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "CUDA is asked for, but PyTorch finds no GPU",
            where="compute.device",
            hint="set it to `auto`, or install a PyTorch with CUDA on a machine with a GPU",
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def arithmetic(settings: TrainingSettings) -> Iterator[None]:
    """Threads and matrix precision as configured, put back afterwards."""
    threads = torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    torch.set_num_threads(settings.compute.threads)
    torch.set_float32_matmul_precision("high" if settings.compute.precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def run_fits(
    specs: Sequence[FitSpec],
    data: StudyData,
    settings: TrainingSettings,
    store: FitStore | None = None,
    keep_models: bool = False,
    progress: TextIO | None = None,
    code: str | None = None,
) -> list[FitResult]:
    """Train fits, or take them from the store.

    Args:
        specs: the fits; equal ones are trained once.
        data: the study's arrays.
        settings: configuration.
        store: finished fits by content (``FitStore``); each finished stack is added. None: none.
        keep_models: also keep parameters, attention and latents of the fits (``FitResult.kept``).
        progress: where to report; None: nowhere.
        code: digest of the training code; None: of the installed package.

    Returns:
        Results in the order of ``specs``.

    Raises:
        TaskError: a fit cannot be trained on this data.
        ConfigError: a network of the user's own does not keep the contract, or there is no GPU.
    """
    check_specs(specs, data)
    device = device_of(settings)
    keys = fit_keys(specs, data, settings, training_code() if code is None else code, device.type)
    by_key = dict(zip(keys, specs, strict=True))
    found = store.load(list(by_key), kept=keep_models) if store is not None else {}
    for result in found.values():
        if result.kept:
            # Titles and names determine no fit: of a stored one they may be those of another day.
            result.metadata |= said_of(data, json.loads(result.metadata["positions"]))
    missing = {spec: key for key, spec in by_key.items() if key not in found}
    if missing:
        with arithmetic(settings), Progress("fits", len(by_key), stream=progress or _Silent()) as bar:
            if found:
                bar.advance(len(found))
            on_device = DeviceData(data, settings, device)
            for results in _trained(list(missing), on_device, settings, keep_models, bar.advance):
                for result in results:
                    result.key = missing[result.spec]
                if store is not None:
                    store.save(results)
                found.update({result.key: result for result in results})
    return [found[key] for key in keys]


def _trained(
    specs: Sequence[FitSpec],
    data: DeviceData,
    settings: TrainingSettings,
    keep_models: bool,
    advance: Callable[[float], None],
) -> Iterator[list[FitResult]]:
    """Train fits stack by stack; a stack that does not fit the memory is halved, and those after it.

    How fits are stacked changes nothing but their rounding, so that none has to be told.

    Raises:
        ConfigError: one fit alone does not fit the memory.
    """
    waiting = make_stacks(specs, data.data, settings, memory_limit(settings, data.device), data.device)
    while waiting:
        stack, done = waiting[0], 0.0

        def count(more: float) -> None:
            nonlocal done
            done += more
            advance(more)

        try:
            results = train_stack(stack, data, settings, keep_models, count)
        except torch.OutOfMemoryError:
            results = None
        # What the error held of the failed stack is free only behind its handler.
        if results is not None:
            del waiting[0]
            yield results
            continue
        advance(-done)
        if len(stack.specs) == 1:
            raise ConfigError(
                f"one fit of {'+'.join(stack.specs[0].combination)} with batches of {stack.batch_size} "
                f"does not fit the memory of the {data.device.type} device",
                where="training.batch_sizes",
                hint="give smaller batches or widths, or a device that nobody else uses",
            )
        if data.device.type == "cuda":
            torch.cuda.empty_cache()
        rest = [spec for one in waiting for spec in one.specs]
        half = planned_bytes(stack, data.data, settings) / 2
        waiting = make_stacks(rest, data.data, settings, half, data.device)


class _Silent(io.StringIO):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)
