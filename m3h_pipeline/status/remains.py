"""About how long what remains of a study takes: by what its finished jobs took, else by the forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3h_pipeline.config import Study
from m3h_pipeline.config.networks import networks
from m3h_pipeline.errors import M3HError
from m3h_pipeline.forecast import forecast
from m3h_pipeline.jobs.resources import shape_of
from m3h_pipeline.layout import Layout
from m3h_pipeline.search.sizes import sized_study
from m3h_pipeline.status.state import Stage, State
from m3h_pipeline.tasks.assessed import read_tasks


@dataclass(frozen=True)
class Remains:
    """What remains to be trained.

    Attributes:
        fits: of plans that are there.
        expected: at most so many more, of plans that are not.
        seconds: of jobs, one after the other; None: nothing is known of that.
        at_once: jobs that have begun and not ended.
        measured: whether finished jobs of this study say how long fits take.
    """

    fits: int
    expected: int
    seconds: float | None
    at_once: int
    measured: bool


def remains(state: State, layout: Layout, study: Study | None) -> Remains:
    """What remains of a study's training.

    Args:
        state: of it.
        layout: of its results.
        study: its configuration; None: what is not planned yet is not known.
    """
    left = {stage.name: stage.fits - stage.done for stage in state.stages}
    known = _forecast(layout, study) if study is not None and not state.recorded else {}
    rates = {stage.name: rate for stage in state.stages if (rate := _rate([stage])) is not None}
    overall = _rate(state.stages)
    slower = _slower(state.stages, known)
    seconds: float | None = 0.0
    for stage in state.stages:
        if not left[stage.name]:
            continue
        rate = rates.get(stage.name)
        if rate is None and stage.name in known and (forecast := known[stage.name])[0]:
            rate = slower * forecast[1] / forecast[0]
        rate = overall if rate is None else rate
        seconds = None if rate is None or seconds is None else seconds + left[stage.name] * rate
    planned = {stage.name for stage in state.stages if stage.packs is not None}
    expected = 0
    for name, (fits, hours) in known.items():
        if name in planned or (state.searched and name.startswith(("round ", "triples"))):
            continue
        if name == "TIM" and layout.tim.plan.exists():
            continue
        expected += fits
        seconds = None if seconds is None else seconds + slower * hours
    begun = sum(pack.state == "begun" for stage in state.stages for pack in stage.packs or [])
    return Remains(sum(left.values()), expected, seconds, begun, overall is not None)


def _rate(stages: Sequence[Stage]) -> float | None:
    """Seconds of a job for each fit, by jobs that are finished and were not taken from the store."""
    done = [
        pack
        for stage in stages
        for pack in stage.packs or []
        if pack.state == "done" and pack.seconds is not None and not pack.cached and pack.done
    ]
    fits = sum(pack.done for pack in done)
    return sum(pack.seconds or 0.0 for pack in done) / fits if fits else None


def _slower(stages: Sequence[Stage], known: dict[str, tuple[int, float]]) -> float:
    """How many times as long as by the forecast finished stages took."""
    took = forecast = 0.0
    for stage in stages:
        rate = _rate([stage])
        if rate is not None and stage.name in known and known[stage.name][0]:
            took += rate * stage.done
            forecast += known[stage.name][1] / known[stage.name][0] * stage.done
    return took / forecast if forecast else 1.0


def _forecast(layout: Layout, study: Study) -> dict[str, tuple[int, float]]:
    """Stage -> fits and seconds of its jobs by the forecast; empty where it cannot be made yet."""
    gpu = study.compute.device == "cuda"
    try:
        shaped = {
            name: sized_study(one, layout.cohort.summary)
            for name, one in (networks(study) or {study.study: study}).items()
        }
        own = next(iter(shaped.values()))
        every = shaped if study.networks else {}
        compared = {name: (shape_of(layout, one), one.training) for name, one in every.items()}
        sections = (study.search, study.tim, own.training, study.evaluation.replicates, study.seed)
        tasks = read_tasks(layout.labels.tasks)
        stages = forecast(shape_of(layout, own), tasks, *sections, gpu, compared, study.networks)
    except M3HError:
        return {}
    names = {"round 3, at most": "round 3", "TIM, at most": "TIM", "final fits of pairs": "final fits"}
    return {names.get(one.name, one.name): (one.fits, 3600 * one.hours) for one in stages}
