"""The verb ``plan-round``: which combinations a round of the search trains, shared out among jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m3h_pipeline.config import Search, Tim, Training
from m3h_pipeline.contracts import combination_tasks
from m3h_pipeline.files import write_json
from m3h_pipeline.search.combinations import Entry, PerJob, per_job_of, plan_of, settings_of
from m3h_pipeline.search.greedy import candidates, replay
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

    Round 1 trains every task alone, round 2 every pair, and round r what expands the best combinations of
    each source task. A combination is trained once, whoever asks for it. A round with nothing left to train
    has no packs: the search has ended.

    Args:
        round: number of the round, from 1: the size of its combinations.
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
    entries = [
        Entry(combination_tasks(key), replicates_of(round, search, tim))
        for key in round_combinations(round, list(known), scores, search)
    ]
    settings = settings_of(training)
    plan = plan_of(f"round_{round}", entries, known, settings, folds, per_job_of(search, sized))
    write_json(plan, out)


def replicates_of(round_number: int, search: Search, tim: Tim) -> tuple[int, ...]:
    """The replicates of a round's combinations."""
    pairs = round_number <= 2 and tim.mode == "pairs"
    return tuple(range(max(search.replicates, tim.replicates) if pairs else search.replicates))


def round_combinations(
    round_number: int, tasks: Sequence[str], scores: Sequence[Path], search: Search
) -> list[str]:
    """The keys of the combinations that a round trains, ascending."""
    names = sorted(tasks)
    if round_number == 1:
        return names
    if round_number > min(len(names), search.max_size or len(names)):
        return []
    states = replay(names, read_scores(scores), search, rounds=round_number - 1)
    return sorted({key for state in states for key in candidates(state, names)})
