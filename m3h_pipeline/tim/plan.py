"""The verb ``plan-tim``: the fits that TIM needs and the search has not trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m3h_pipeline.config import Search, Tim, Training
from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.files import write_json
from m3h_pipeline.search.combinations import Entry, PerJob, per_job_of, plan_of, settings_of
from m3h_pipeline.search.scores import read_scores
from m3h_pipeline.tasks.assessed import read_tasks
from m3h_pipeline.tasks.permuted import permuted_companions
from m3h_pipeline.tim.design import design_of


def plan_tim(
    tasks: Path,
    scores: Sequence[Path],
    out: Path,
    search: Search,
    tim: Tim,
    training: Training,
    folds: int,
    seed: int,
    sized: PerJob | None = None,
) -> None:
    """Write the plan (``plan.json`` of docs/architecture.md) of the fits that TIM needs beyond the search.

    In mode ``pairs`` rounds 1 and 2 of the search have trained everything but the permuted companions, unless
    ``search.max_size`` is 1.

    Args:
        tasks: ``labels/tasks.json``.
        scores: scores of all rounds of the search (contracts.SCORES).
        out: the plan's file.
        search: gives the number of combinations per job, and how settings are chosen.
        tim: mode, permuted companions, replicates, random sets.
        training: gives the hyper-parameter settings.
        folds: number of folds of the cross-validation.
        seed: of the study: of permuted labels and random sets.
        sized: how many combinations a job trains if ``search`` leaves it open.

    Raises:
        InputError: a file is absent or unreadable.
        ConfigError: the exact mode is asked for too many tasks.
        TaskError: no task is left.
    """
    known = read_tasks(tasks)
    permuted = permuted_companions(known, tim.controls, seed)
    trained = read_scores(scores)
    entries = []
    for key in design_of(known, permuted, tim, seed).keys:
        missing = sorted(set(range(tim.replicates)) - set(trained.trained(key)))
        if missing:
            # By halving the replicates that the search trained have chosen for those that follow.
            chosen = trained.setting(key) if search.halving else None
            entries.append(Entry(combination_tasks(key), tuple(missing), chosen))
    settings, per_job = settings_of(training), per_job_of(search, sized)
    plan = plan_of("tim", entries, known | permuted, settings, range(folds), per_job, search.halving)
    write_json(plan, out)
