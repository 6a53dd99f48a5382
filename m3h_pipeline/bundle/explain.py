"""Why a bundle says what it says of a sample: attention between tasks, and what each source contributes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.load import Bundle, Features, Prediction
from m3h_pipeline.bundle.schema import TaskModel

Float64 = npt.NDArray[np.float64]
#: With more sources than this, what a modality contributes is computed: each doubles the work.
MOST_SOURCES: Final = 6
#: A probability is taken to be no nearer to 0 or 1 than this.
_EDGE: Final = 1e-9


def attention(bundle: Bundle, features: Features, tasks: Sequence[str]) -> dict[str, Float64]:
    """How much each task's prediction attends to the tasks that its network learned with it.

    Args:
        bundle: whose networks.
        features: of n samples, as :meth:`Bundle.predict_features` takes them.
        tasks: which; those that no network predicts have none.

    Returns:
        ``TASK.attention.OTHER`` -> (n,) the mean over the network's replicates; of a task they sum to 1.
    """
    found: dict[str, Float64] = {}
    weights: dict[str, dict[tuple[str, str], Float64]] = {}
    for name in tasks:
        task = bundle.tasks[name]
        one = task.candidates[task.chosen]
        if one.kind != "network":
            continue
        said = []
        for file in one.files:
            if file not in weights:
                weights[file] = bundle.attention_of(file, features)
            said.append(weights[file])
        for other in one.tasks:
            found[f"{name}.attention.{other}"] = np.mean([w[other, name] for w in said], axis=0)
    return found


def players(bundle: Bundle) -> dict[str, list[str]]:
    """What contributions are of: the sources, or the modalities where there are many sources."""
    modalities = bundle.description.modalities
    if len(bundle.sources) <= MOST_SOURCES:
        return {name: [name] for name in bundle.sources}
    return {name: list(sources) for name, sources in modalities.items()}


def contributions(bundle: Bundle, features: Features, tasks: Sequence[str]) -> dict[str, Float64]:
    """Exact Shapley values of the sources (:func:`players`) in what is said of each sample.

    A source that is taken away is missing, as the model was trained to meet it: its values become the
    training part's centre, and where a whole modality is gone, what the network learned for its absence.

    Args:
        bundle: what predicts.
        features: of n samples.
        tasks: which; clustering tasks have none.

    Returns:
        ``TASK.contribution.SOURCE`` -> (n,), and ``TASK.contribution.`` with the name ``nothing`` for what is
        said where every source is missing; together they sum to what is said: the calibrated log odds of a
        binary task and of the likeliest of several classes, the calibrated value, the log hazard.
    """
    parts = players(bundle)
    kept = [name for name in tasks if bundle.tasks[name].problem_class != "clustering"]
    names = list(parts)
    whole: dict[str, Prediction] = bundle.predict_features(features, kept)
    classes = {
        name: whole[name].calibrated.argmax(1) if bundle.tasks[name].problem_class == "multiclass" else None
        for name in kept
    }
    values: dict[tuple[str, int], Float64] = {}
    n = max(len(x) for x in features.values() if x is not None)
    for mask in range(1 << len(names)):
        there = {source for i, name in enumerate(names) if mask >> i & 1 for source in parts[name]}
        if mask == (1 << len(names)) - 1:
            said = whole
        else:
            some = {source: x if source in there else None for source, x in features.items()}
            if all(x is None for x in some.values()):
                some = {
                    source: np.full((n, len(columns)), np.nan, dtype=np.float32)
                    for source, columns in bundle.sources.items()
                }
            said = bundle.predict_features(some, kept)
        for name in kept:
            values[name, mask] = _value(bundle.tasks[name], said[name], classes[name])
    found: dict[str, Float64] = {}
    for name in kept:
        for i, player in enumerate(names):
            found[f"{name}.contribution.{player}"] = _shapley(values, name, i, len(names))
        found[f"{name}.contribution.nothing"] = values[name, 0]
    return found


def _shapley(values: Mapping[tuple[str, int], Float64], task: str, i: int, players: int) -> Float64:
    total = np.zeros_like(values[task, 0])
    for mask in range(1 << players):
        if not mask >> i & 1:
            size = mask.bit_count()
            share = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            total += share * (values[task, mask | 1 << i] - values[task, mask])
    return total


def _value(task: TaskModel, said: Prediction, which: npt.NDArray[Any] | None) -> Float64:
    if task.problem_class == "survival":
        return said.raw[:, 0]
    if task.problem_class == "regression":
        return said.calibrated[:, 0]
    p = said.calibrated[:, 0] if which is None else said.calibrated[np.arange(len(which)), which]
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)
