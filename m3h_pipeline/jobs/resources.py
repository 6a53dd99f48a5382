"""Memory and time of jobs: what a scheduler is asked for.

Functions return what a rule's ``resources`` may hold: functions of ``wildcards``, ``input`` and ``attempt``,
which Snakemake passes by these names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Study
from m3h_pipeline.files import read_json
from m3h_pipeline.layout import Layout
from m3h_pipeline.references.deep import DEEP
from m3h_pipeline.references.sizing import Shape, files_shape, memory_mb, runtime_minutes
from m3h_pipeline.search import sizing

#: Resource of a job that holds its input some times over, or follows from it.
OfInput = Callable[[Any, Any, int], int]
#: A job that failed for want of memory or time gets at most so many times what it had at first.
_MOST = 4


def by_input(base: float, factor: float) -> OfInput:
    """Memory in MB of a job that holds its input ``factor`` times over; more on retry."""
    return lambda wildcards, input, attempt: attempt * int(base + factor * input.size_mb)  # noqa: A006


def growing(least: int) -> Callable[[Any, int], int]:
    """Memory in MB, or a time limit in minutes, that grows on retry."""
    return lambda wildcards, attempt: least * attempt


def reference_mb(study: Study) -> OfInput:
    """Memory in MB of the job that fits the references of a task, by the shape of its files."""

    def asked(wildcards: Any, input: Any, attempt: int) -> int:  # noqa: A002
        return min(attempt, _MOST) * memory_mb(_shape(input, study), *_references(study))

    return asked


def reference_minutes(study: Study) -> OfInput:
    """Time limit in minutes of the job that fits the references of a task, by the shape of its files."""

    def asked(wildcards: Any, input: Any, attempt: int) -> int:  # noqa: A002
        return min(attempt, _MOST) * runtime_minutes(_shape(input, study), *_references(study))

    return asked


def _shape(input: Any, study: Study) -> Shape:  # noqa: A002
    return files_shape(Path(input.labels), [Path(path) for path in input.features], study.split.folds)


def _references(study: Study) -> tuple[list[str], list[str]]:
    named: list[str] = list(study.evaluation.baselines)
    return named, [name for name in named if name in DEEP]


def trains_on_gpu(study: Study, asked: Mapping[str, Any]) -> bool:
    """Whether training gets a GPU: the study may say so, else whoever asks the scheduler for one does.

    Args:
        study: its configuration.
        asked: resource -> what the command line or a profile gives training jobs, as Snakemake keeps it.
    """
    if study.compute.device != "auto":
        return study.compute.device == "cuda"
    return any("gpu" in name or "gpu" in str(resource.value) for name, resource in asked.items())


def card_of(asked: Mapping[str, Any]) -> str | None:
    """What the GPU is called that training asks for (`gpu_model`); None: it says none.

    Args:
        asked: see :func:`trains_on_gpu`.
    """
    model = asked.get("gpu_model")
    return None if model is None else str(model.value)


def shape_of(layout: Layout, study: Study, card: str | None = None) -> sizing.Study:
    """What sizing needs of a study whose tasks have been assessed.

    Args:
        layout: of the study.
        study: its configuration.
        card: what the GPU is called, as far as it is known.

    Raises:
        InputError: the cohort or the tasks are not there yet.
    """
    return sizing.read_study(
        layout.cohort.summary,
        layout.labels.tasks,
        study.modalities,
        study.model,
        study.training,
        study.compute,
        study.split,
        card,
    )


class TrainingResources:
    """Memory and time of training jobs, from the plan that is among their inputs.

    They are the same for all packs of a plan, so that these can be one array job; on retry they are more.

    Args:
        layout: of the study.
        study: its configuration.
        networks: compared network -> the study with its sections; jobs of one have the wildcard ``network``.
        asked: see :func:`trains_on_gpu`.
    """

    def __init__(
        self, layout: Layout, study: Study, networks: Mapping[str, Study], asked: Mapping[str, Any]
    ) -> None:
        self._layout, self._study, self._networks = layout, study, networks
        self._gpu, self._card = trains_on_gpu(study, asked), card_of(asked)
        self._known: dict[tuple[Any, ...], int] = {}

    def memory_mb(self, kept: bool = False) -> OfInput:
        """Memory in MB; ``kept``: models, latents and attention are kept, as of final fits."""
        return partial(self._grown, "memory, kept" if kept else "memory")

    def runtime(self) -> OfInput:
        """The time limit in minutes."""
        return partial(self._grown, "runtime")

    def _grown(self, what: str, wildcards: Any, input: Any, attempt: int) -> int:  # noqa: A002
        plan = Path(str(input.plan))
        network = wildcards.get("network")
        # A plan that was made again is read again.
        key = (what, plan, plan.stat().st_mtime_ns, network)
        if key not in self._known:
            self._known[key] = self._first(what, plan, self._networks.get(network, self._study))
        return min(attempt, _MOST) * self._known[key]

    def _first(self, what: str, plan: Path, study: Study) -> int:
        """What a job asks for at its first attempt."""
        packs = list(read_json(plan)["packs"].values())
        shape = shape_of(self._layout, study, self._card)
        if what == "runtime":
            return sizing.runtime_minutes(shape, packs, self._gpu, 1)
        return sizing.memory_mb(shape, packs, self._gpu, 1, kept=what == "memory, kept")
