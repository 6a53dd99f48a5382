"""What training a study will take, before anything is trained: jobs, hours, memory and time limits.

The numbers are those of ``m3h_pipeline.search.sizing``, by which jobs are sized and the scheduler is asked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from m3h_pipeline.coding import is_permuted
from m3h_pipeline.config import Networks, Search, Tim, Training
from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.evaluation.final import final_plan, final_replicates
from m3h_pipeline.networks.plan import network_plan
from m3h_pipeline.search.combinations import (
    Entry,
    per_job_of,
    plan_of,
    settings_of,
    sorted_combination,
)
from m3h_pipeline.search.plan import replicates_of
from m3h_pipeline.search.race import instalments
from m3h_pipeline.search.rates import rates_of
from m3h_pipeline.search.sizing import (
    Study,
    combinations_per_job,
    memory_mb,
    pack_seconds,
    runtime_minutes,
    saved_by_bfloat16,
)
from m3h_pipeline.tasks.assessed import Task
from m3h_pipeline.tasks.permuted import permuted_companions
from m3h_pipeline.tim.design import design_of
from m3h_pipeline.training.spec import Entry as Asked

#: Share of the time from which on another precision is worth a hint.
WORTH = 0.25


@dataclass(frozen=True)
class Stage:
    """What one stage of training takes.

    Attributes:
        name: of the stage, for people.
        combinations: that it trains.
        fits: that it trains; fewer where an earlier run has left some.
        jobs: packs.
        hours: of all jobs together, on one thread of a CPU or on one GPU.
        limit: minutes that a job asks for at its first attempt.
        memory: megabytes that a job asks for at its first attempt.
    """

    name: str
    combinations: int
    fits: int
    jobs: int
    hours: float
    limit: int
    memory: int


def forecast(
    study: Study,
    tasks: Mapping[str, Task],
    search: Search,
    tim: Tim,
    training: Training,
    replicates: int,
    seed: int,
    gpu: bool,
    compared: Mapping[str, tuple[Study, Training]] | None = None,
    networks: Networks | None = None,
) -> list[Stage]:
    """The stages of a study's training up to combinations of three tasks, TIM's own fits, the final fits.

    What the search trains beyond pairs depends on scores: of the third round, the first instalment of a race,
    and of all rounds with combinations of three the most it can be is said; each larger size takes less. The
    final fits are reckoned as if each task selected a pair.

    Args:
        study: its shape.
        tasks: the tasks that can be evaluated.
        search, tim, training: sections of the configuration.
        replicates: of the final fits, ``evaluation.replicates``.
        seed: of the study; TIM draws its permuted companions and sets with it.
        gpu: whether fits are trained on a GPU.
        compared: networks that are compared: name -> shape of the study and section ``training`` with it.
        networks: section of the configuration.

    Raises:
        ConfigError: the exact mode of TIM is asked for too many tasks.
    """
    names = sorted(tasks)
    settings, folds = settings_of(training), study.folds
    per_job = per_job_of(search, lambda entries: combinations_per_job(study, entries))

    def stage(
        name: str,
        entries: Sequence[Entry],
        known: Mapping[str, Task] = tasks,
        within: Sequence[int] = range(folds),
    ) -> Stage:
        plan = plan_of(name, entries, known, settings, within, per_job, search.halving)
        packs = plan["packs"].values()
        return _stage(study, name, list(packs), gpu)

    largest = min(len(names), search.max_size or len(names))
    stages = [
        stage(f"round {size}", [Entry(c, replicates_of(size, search, tim)) for c in members])
        for size, members in ((s, list(itertools.combinations(names, s))) for s in (1, 2))
        if size <= largest
    ]
    if largest >= 3:
        # Each task keeps `beam` pairs and tries every other task with them; some are asked for twice.
        most = min(math.comb(len(names), 3), len(names) * search.beam * (len(names) - 2))
        triples = itertools.islice(itertools.combinations(names, 3), most)
        entries = [Entry(c, replicates_of(3, search, tim)) for c in triples]
        first, *later = instalments(range(folds), search.race)
        if later:
            stages.append(stage("round 3, at most", entries, within=first))
        stages.append(stage("triples, at most", entries))
    permuted = permuted_companions(tasks, tim.controls, seed)
    wanted = (combination_tasks(key) for key in design_of(tasks, permuted, tim, seed).keys)
    trained = min(2, largest) if tim.mode == "pairs" else 0
    own = [
        Entry(sorted_combination(c), tuple(range(tim.replicates)))
        for c in wanted
        if len(c) > trained or any(map(is_permuted, c))
    ]
    if own:
        stages.append(stage("TIM, at most", own, {**tasks, **permuted}))
    selected = [(name,) for name in names] + list(itertools.combinations(names, 2))[: len(names)]
    final = final_plan(
        dict.fromkeys(selected, settings[:1]),
        tasks,
        final_replicates(replicates, search, tim),
        folds,
        per_job,
    )
    stages.append(_stage(study, "final fits of pairs", list(final["packs"].values()), gpu, kept=True))
    for name, (shape, own_training) in (compared or {}).items():
        own_per_job = per_job_of(search, partial(combinations_per_job, shape))
        plan = network_plan(tasks, networks or Networks(), own_training, folds, own_per_job)
        stages.append(_stage(shape, f"network {name}", list(plan["packs"].values()), gpu))
    return stages


def _stage(
    study: Study,
    name: str,
    packs: Sequence[Sequence[Mapping[str, Any]]],
    gpu: bool,
    kept: bool = False,
) -> Stage:
    entries = [entry for pack in packs for entry in pack]
    return Stage(
        name,
        len(entries),
        sum(Asked.of(entry).fits for entry in entries),
        len(packs),
        pack_seconds(study, entries, gpu) / 3600,
        runtime_minutes(study, packs, gpu, 1),
        memory_mb(study, packs, gpu, 1, kept),
    )


def hint_of_precision(study: Study, tasks: Iterable[str], bfloat16: bool) -> str:
    """What a study in float32 would save on this processor in bfloat16; empty: not more than :data:`WORTH`.

    Args:
        study: its shape.
        tasks: that can be evaluated.
        bfloat16: whether the processor has instructions for it.
    """
    if not bfloat16 or study.compute.precision != "float32":
        return ""
    saved = saved_by_bfloat16(study, sorted(tasks)[:2])
    if saved <= WORTH:
        return ""
    return (
        f"  hint: this processor computes bfloat16; with `compute.precision: bfloat16` training would take\n"
        f"        about {100 * saved:.0f} % less time (docs/gpu.md: what it did to scores of two studies)"
    )


def render(stages: Iterable[Stage], gpu: bool) -> str:
    """The forecast as a table for the screen, and whose rates it goes by."""
    what = "GPU hours" if gpu else "core hours"
    head = f"{'training on a ' + ('GPU' if gpu else 'CPU'):<22}{'combinations':>14}{'fits':>10}{'jobs':>7}"
    lines = [head + f"{what:>12}{'limit/job':>11}{'memory/job':>12}"]
    lines += [
        f"{'  ' + s.name:<22}{s.combinations:>14,}{s.fits:>10,}{s.jobs:>7,}"
        f"{s.hours:>12,.1f}{s.limit:>7,} min{s.memory / 1000:>9.1f} GB"
        for s in stages
    ]
    return "\n".join([*lines, f"  rates: {rates_of(gpu).said}"])
