"""Whether a configuration can learn from its cohort: doubts, each with numbers and what to do about it.

They are rules of thumb (docs/recipes.md), told and never enforced: only scores say what was learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.config import Model, Training
from m3h_pipeline.model.architecture import Input
from m3h_pipeline.search.sizes import Shape, batch_of, epochs_of, sized
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.seeds import n_steps
from m3h_pipeline.training.spec import TrainingSettings

#: Optimiser steps of a fit below which a network has hardly left its first weights.
FEW_STEPS = 200
#: Share of the training rows that a minibatch should not exceed.
LARGE_BATCH = 1 / 3
#: Parameters of a task's network per event (of a regression: per labelled row) that are many.
MANY_PARAMETERS = 1000
#: Times the width that the shape of the study would give (``training.sizes``) that is far above the data.
WIDE = 4
#: Least events that should be among the patients set aside for early stopping.
FEW_STOPPING = 10
#: Tasks that a doubt names.
_NAMED = 3


@dataclass(frozen=True)
class Amounts:
    """What a fit learns from, in the fold that leaves least.

    Attributes:
        rows: that are trained on.
        events: task -> samples of all classes but its most frequent one, observed events of a survival task,
            labelled rows of any other.
    """

    rows: int
    events: Mapping[str, int]


def amounts(data: StudyData) -> Amounts:
    """What is left to learn from in the fold with the least rows, for each task with the least events."""
    folds = [data.training_rows(int(fold)) for fold in np.unique(data.fold[data.train])]
    events = {
        task: min(_events(y[rows], data.tasks[task]) for rows in folds) for task, y in data.labels.items()
    }
    return Amounts(min(len(rows) for rows in folds), events)


def _events(y: npt.NDArray[np.float32], task: Mapping[str, Any]) -> int:
    observed = y[~np.isnan(y)]
    kind = task["problem_class"]
    if kind == "survival":
        return int(time_and_event(observed)[1].sum())
    if kind in {"binary", "multiclass"}:
        counts = np.unique(observed, return_counts=True)[1]
        return int(counts.sum() - counts.max(initial=0))
    return len(observed)


def doubts(
    data: StudyData, settings: TrainingSettings, inputs: Sequence[Input], parameters: Mapping[str, int]
) -> list[str]:
    """What makes it doubtful that fits learn; empty: nothing does.

    Args:
        data: labels, tasks and split of the study.
        settings: of the training.
        inputs: the modalities of the network.
        parameters: task -> parameters of the network that learns it alone.
    """
    found = amounts(data)
    texts = [
        _steps(found, settings.training),
        _batch(found, settings.training),
        _parameters(found, data, parameters),
        _widths(found, settings.model, inputs),
        _stopping(found, settings.training),
    ]
    return [text for text in texts if text]


def _learned(found: Amounts, training: Training) -> int:
    """Rows that weights are learned from: without those set aside."""
    aside = training.early_stopping.fraction if training.early_stopping else 0.0
    return max(1, round(found.rows * (1 - aside)))


def _steps(found: Amounts, training: Training) -> str:
    rows, batch = _learned(found, training), max(training.batch_sizes)
    each = n_steps(rows, batch)
    if (steps := training.passes(each) * each) >= FEW_STEPS:
        return ""
    return (
        f"a fit takes {steps:,} optimiser steps ({rows:,} rows in minibatches of {batch:,} are {each:,} an "
        f"epoch, `training.epochs` is {training.epochs:,}), and below {FEW_STEPS} a network hardly leaves "
        "its first weights: lower `training.batch_sizes`, set `training.epochs: "
        f"{epochs_of(rows, batch)}`, or leave both to `training: {{sizes: auto}}`"
    )


def _batch(found: Amounts, training: Training) -> str:
    rows, batch = _learned(found, training), max(training.batch_sizes)
    if batch <= rows * LARGE_BATCH:
        return ""
    return (
        f"a minibatch of {batch:,} is more than a third of the {rows:,} rows that a fold is trained on: "
        "steps are few, and all alike; `training.sizes` would take `training.batch_sizes: "
        f"[{batch_of(rows)}]`"
    )


def _parameters(found: Amounts, data: StudyData, parameters: Mapping[str, int]) -> str:
    few = sorted(
        (found.events[task], task)
        for task, number in parameters.items()
        if data.tasks[task]["problem_class"] != "clustering" and number > MANY_PARAMETERS * found.events[task]
    )
    if not few:
        return ""
    listed = _listed([f"{task} ({events:,} for {parameters[task]:,})" for events, task in few])
    return (
        f"more than {MANY_PARAMETERS:,} parameters for each event (of a regression, each labelled row) that "
        f"a fold is trained on: {listed}; make layers of `model` narrower, raise `training.weight_decay` or "
        "`model.input_dropout`, or leave such tasks out (`tasks.exclude`)"
    )


def _listed(texts: Sequence[str]) -> str:
    """The first few of some texts, and how many more there are."""
    more = f" and {len(texts) - _NAMED:,} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more


def _widths(found: Amounts, model: Model, inputs: Sequence[Input]) -> str:
    layers = {f"encoder of {item.name}": max(item.hidden) for item in inputs}
    layers |= {"shared module": max(model.shared, default=0), "task networks": max(model.task)}
    where, widest = max(layers.items(), key=lambda item: item[1])
    features = {item.name: item.features for item in inputs}
    usual = sized(Model(), Training(sizes=["shared"]), Shape(found.rows, features))[0].shared[0]
    if widest <= WIDE * usual:
        return ""
    return (
        f"the widest layer ({where}) has {widest:,} units for {found.rows:,} rows and at most "
        f"{max(features.values()):,} features of a modality: narrower layers learn as much and overfit less; "
        f"`training.sizes` would take {usual}"
    )


def _stopping(found: Amounts, training: Training) -> str:
    stopping = training.early_stopping
    if stopping is None:
        return ""
    aside = {task: round(number * stopping.fraction) for task, number in found.events.items()}
    few = sorted((number, task) for task, number in aside.items() if number < FEW_STOPPING)
    if not few:
        return ""
    listed = _listed([f"about {number} of {task}" for number, task in few])
    return (
        f"early stopping sets aside {100 * stopping.fraction:.0f} % of the patients, with few events "
        f"({listed}): by fewer than {FEW_STOPPING} it is luck when a fit stops; raise "
        "`training.early_stopping.fraction`, or set `early_stopping: null` with a number of epochs"
    )
