"""What is left of a trained stack: a result of each fit and, where models are kept, the models."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.model.architecture import described
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.device import DeviceData
from m3h_pipeline.training.fitted import INDICATORS, NETWORK, TIMES
from m3h_pipeline.training.prepared import Prepared, prepare
from m3h_pipeline.training.scoring import Scores, score
from m3h_pipeline.training.spec import FitResult, TrainingSettings
from m3h_pipeline.training.stacks import Stack
from m3h_pipeline.training.trainer import Trace, Trained, train

Array = npt.NDArray[Any]


def train_stack(
    stack: Stack,
    data: DeviceData,
    settings: TrainingSettings,
    keep_models: bool = False,
    advance: Callable[[float], None] | None = None,
    trace: Trace | None = None,
) -> list[FitResult]:
    """Train a stack and score it after the last epoch, or with each fit's best weights.

    Args:
        stack: the fits.
        data: the study on its device.
        settings: configuration.
        keep_models: also return parameters, attention and latents.
        advance: told how many fits' worth of work is done.
        trace: told the losses of every step.

    Returns:
        Results in the order of ``stack.specs``, without keys.
    """
    started = time.perf_counter()
    trained = train(prepare(stack, data, settings), advance, trace)
    results = [
        fit_result(trained, index, scores, keep_models)
        for index, scores in enumerate(score(trained, attention=keep_models))
    ]
    seconds = (time.perf_counter() - started) / len(stack.specs)
    for result in results:
        result.seconds = seconds
    return results


def fit_result(trained: Trained, index: int, scores: Scores, keep_model: bool) -> FitResult:
    """The result of fit ``index`` of a stack, without key and time.

    Args:
        trained: the stack.
        index: of the fit.
        scores: what the fit says about the rows it is scored on.
        keep_model: also its parameters, attention and latents.
    """
    prepared = trained.prepared
    spec, positions = prepared.stack.specs[index], prepared.stack.positions[index]
    diverged = int(trained.diverged[index])
    if diverged == 0 and not scores.finite:
        diverged = prepared.epochs
    ok = diverged == 0
    result = FitResult(
        key="",
        spec=spec,
        status="ok" if ok else "diverged",
        epochs=int(trained.epochs[index]) if ok else diverged,
        seconds=0.0,
        values={task: scores.values[task] if ok else float("nan") for task in spec.combination},
        n_scored={task: scores.n_scored[task] for task in spec.combination},
        predictions={t: scores.predictions[t].numpy().copy() for t in spec.combination} if ok else {},
    )
    if keep_model and ok:
        assert scores.attention is not None
        order = [positions.index(task) for task in spec.combination]
        result.attention = scores.attention.cpu().numpy()[np.ix_(order, order)]
        result.latents = {task: x.float().cpu().numpy() for task, x in scores.latents.items()}
        result.parameters = _arrays(prepared, index, scores)
        result.metadata = _metadata(prepared, index)
    return result


def _arrays(prepared: Prepared, index: int, scores: Scores) -> dict[str, Array]:
    """What it takes to use a model: its parameters, the statistics that standardise, centres of clusters."""
    spec, data = prepared.stack.specs[index], prepared.data.data
    scaling = prepared.data.moments(spec.fold)
    targets = [prepared.data.target_statistics(task, spec.fold) for task in prepared.stack.positions[index]]
    arrays: dict[str, Array] = {
        NETWORK + name: value.cpu().numpy().copy() for name, value in prepared.network.take(index).items()
    }
    # Of the raw features: x = (raw - shift) * inverse.
    arrays["feature/shift"] = data.scaled.shift + data.scaled.scale * scaling.shift
    arrays["feature/inverse"] = scaling.inverse / data.scaled.scale
    arrays["feature/missing"] = scaling.missing
    arrays |= {f"columns/{name}": used for name, used in data.columns.items()}
    arrays |= {INDICATORS + name: which for name, which in data.indicated.items()}
    arrays["target"] = np.array(targets)
    arrays |= {f"centres/{task}": centres.numpy().copy() for task, centres in scores.centres.items()}
    for task, known in scores.times.items():
        arrays |= {f"{TIMES}{task}/{name}": value for name, value in known.items()}
    return arrays


def said_of(data: StudyData, positions: Sequence[str]) -> dict[str, str]:
    """What a model's metadata say of the study: its tasks as described, its features' names."""
    return {
        "tasks": json.dumps({task: data.tasks[task] for task in positions}),
        "names": json.dumps(data.names, sort_keys=True),
    }


def _metadata(prepared: Prepared, index: int) -> dict[str, str]:
    """What the arrays mean."""
    spec, data, settings = prepared.stack.specs[index], prepared.data.data, prepared.settings
    positions, architecture = prepared.stack.positions[index], prepared.network.architecture
    return {
        "positions": json.dumps(positions),
        "signature": json.dumps(architecture.signature),
        "inputs": json.dumps([described(item) for item in architecture.inputs]),
        "contrast": json.dumps(architecture.contrast),
        "model": architecture.model.model_dump_json(),
        **said_of(data, positions),
        "seed": json.dumps([settings.seed, spec.replicate]),
        "batch_size": json.dumps(spec.batch_size),
        "fold": json.dumps(spec.fold),
        "precision": settings.compute.precision,
    }
