"""The verb ``plan-round``: which combinations a round of the search trains, shared out among jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m3h_pipeline.config import Search, Tim, Training
from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.files import write_json
from m3h_pipeline.search.combinations import Entry, PerJob, per_job_of, plan_of, settings_of
from m3h_pipeline.search.greedy import RACED, Wanted, ended, replay
from m3h_pipeline.search.scores import read_scores
from m3h_pipeline.tasks.assessed import read_tasks


def plan_round(
    round: int,  # noqa: A002  # the word of the glossary
    tasks: Path,
    scores: Sequence[Path],
    out: Path,
    search: Search,
    tim: Tim,
    training: Training,
    folds: int,
    sized: PerJob | None = None,
) -> None:
    """Write the plan of a round (``plan.json`` of docs/architecture.md).

    Round 1 trains every task alone, round 2 every pair. From then on a round trains what expands the best
    combinations of each source task, or an instalment of that: some folds of what has not fallen behind. A
    combination is trained once, whoever asks for it. A round with nothing left to train has no packs: the
    search has ended.

    Args:
        round: number of the round, from 1.
        tasks: ``labels/tasks.json``.
        scores: scores of all earlier rounds (contracts.SCORES).
        out: the plan's file.
        search: how combinations are searched.
        tim: its replicates are trained in rounds 1 and 2 if it measures pairs, which needs no fits then.
        training: gives the hyper-parameter settings.
        folds: number of folds of the cross-validation.
        sized: how many combinations a job trains if ``search`` leaves it open.

    Raises:
        InputError: a file is absent or unreadable.
        ContractError: earlier rounds are incomplete.
        TaskError: no task is left, or one has no score at any setting.
    """
    known = read_tasks(tasks)
    trained = read_scores(scores)
    progress = replay(list(known), trained, search)
    if progress.wanted is not None and progress.rounds != round - 1:
        ended(progress)
    wanted = progress.wanted or Wanted(0, ())
    replicates = replicates_of(wanted.size, search, tim)
    within = range(folds) if wanted.folds is None else wanted.folds
    # The first instalment of a race has chosen the settings of the next ones.
    before = tuple(fold for fold in range(folds) if within and fold < min(within))
    chosen = search.halving and before
    entries = [
        Entry(
            combination_tasks(key),
            replicates,
            trained.setting(key, trained.scoring(replicates), before) if chosen else None,
        )
        for key in wanted.combinations
    ]
    settings, per_job = settings_of(training), per_job_of(search, sized)
    plan = plan_of(f"round_{round}", entries, known, settings, within, per_job, search.halving)
    write_json(plan, out)


def replicates_of(size: int, search: Search, tim: Tim) -> tuple[int, ...]:
    """The replicates of combinations of a size."""
    pairs = size < RACED and tim.mode == "pairs"
    return tuple(range(max(search.replicates, tim.replicates) if pairs else search.replicates))
