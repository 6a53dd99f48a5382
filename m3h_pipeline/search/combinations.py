"""Combinations of tasks: their signatures, and how they are shared out among jobs.

A plan (``plan.json`` of docs/architecture.md) is made here for search rounds and for TIM alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m3h_pipeline.config import Search, Training
from m3h_pipeline.contracts import combination_key
from m3h_pipeline.tasks.assessed import Task

Setting = tuple[int, float]
Signature = tuple[tuple[str, int], ...]
#: How many of the given entries (as in ``plan.json``) one job trains; a number says it outright.
PerJob = int | Callable[[Sequence[Mapping[str, Any]]], int]


@dataclass(frozen=True)
class Entry:
    """A combination and the replicates (seeds) it is to be trained with.

    Attributes:
        combination: tasks, sorted.
        replicates: their numbers.
        setting: the one that was chosen for it; None: it is still to be.
    """

    combination: tuple[str, ...]
    replicates: tuple[int, ...]
    setting: Setting | None = None


#: Combinations of a job where neither the configuration nor a measure says how many.
_PER_JOB = 64


def per_job_of(search: Search, sized: PerJob | None) -> PerJob:
    """What ``search.combinations_per_job`` says, else what sizing says.

    Args:
        search: the section.
        sized: see ``m3h_pipeline.search.sizing.combinations_per_job``; None: nobody has measured the study.
    """
    return search.combinations_per_job or sized or _PER_JOB


def signature(combination: Iterable[str], tasks: Mapping[str, Task]) -> Signature:
    """The shape of a combination's model: how many tasks of which problem class (and number of classes).

    Fits of one signature can be trained as one stack.

    Examples:
        >>> a, b = Task("a", "binary", "auroc"), Task("b", "multiclass", "macro_auroc", classes=tuple("xyz"))
        >>> signature(("b", "a"), {"a": a, "b": b})
        (('binary', 0), ('multiclass', 3))
    """
    return tuple(
        sorted((t.own_class or t.problem_class, t.n_classes) for t in map(tasks.__getitem__, combination))
    )


def settings_of(training: Training) -> list[Setting]:
    """Every hyper-parameter setting: (batch size, learning rate), sorted, each once."""
    return sorted({(b, r) for b in training.batch_sizes for r in training.learning_rates})


def plan_of(
    stage: str,
    entries: Sequence[Entry],
    tasks: Mapping[str, Task],
    settings: Sequence[Setting],
    folds: Sequence[int],
    per_job: PerJob,
    halving: bool = False,
) -> dict[str, Any]:
    """A plan: the entries, packed, each with the same folds, and with every setting unless it has one.

    Args:
        stage: what the plan is for.
        entries: in any order, each combination once.
        tasks: task id -> task.
        settings: the hyper-parameter settings to choose from; one pack holds all of a combination.
        folds: of the cross-validation, those that are trained.
        per_job: most combinations of a pack.
        halving: whether the first replicate chooses the setting (:mod:`m3h_pipeline.training.spec`).
    """

    def described(entry: Entry) -> dict[str, Any]:
        tried = settings if entry.setting is None else [entry.setting]
        asked = {
            "combination": list(entry.combination),
            "replicates": list(entry.replicates),
            "folds": list(folds),
            "settings": [list(setting) for setting in tried],
        }
        return asked | {"halving": True} if halving and len(tried) > 1 else asked

    return share(stage, entries, tasks, described, per_job)


def share(
    stage: str,
    entries: Sequence[Entry],
    tasks: Mapping[str, Task],
    described: Callable[[Entry], dict[str, Any]],
    per_job: PerJob,
) -> dict[str, Any]:
    """A plan of packs of ``described`` entries."""
    most = per_job if isinstance(per_job, int) else per_job([described(entry) for entry in entries])
    packs = pack(entries, tasks, most)
    digits = max(4, len(str(len(packs))))
    return {
        "stage": stage,
        "packs": {
            f"{number:0{digits}d}": [described(entry) for entry in members]
            for number, members in enumerate(packs)
        },
    }


def pack(entries: Sequence[Entry], tasks: Mapping[str, Task], per_job: int) -> list[list[Entry]]:
    """Share entries out among packs of at most ``per_job``, those that can be stacked side by side.

    Entries of one signature and the same replicates fill packs of their own; what remains of each such group
    is joined, whole, with the remainders of others as long as there is room, so that a rare signature does
    not cost a job of its own. The result does not depend on the order of the entries.
    """
    groups: dict[tuple[Signature, tuple[int, ...]], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.combination):
        groups.setdefault((signature(entry.combination, tasks), entry.replicates), []).append(entry)
    full: list[list[Entry]] = []
    joined: list[list[Entry]] = []
    for _, members in sorted(groups.items(), key=lambda group: group[0]):
        rest = len(members) % per_job
        full += [members[i : i + per_job] for i in range(0, len(members) - rest, per_job)]
        remainder = members[len(members) - rest :]
        if not remainder:
            continue
        room = next((p for p in joined if len(p) + rest <= per_job), None)
        if room is None:
            joined.append(remainder)
        else:
            room.extend(remainder)
    return full + joined


def sorted_combination(tasks: Iterable[str]) -> tuple[str, ...]:
    """A combination in canonical order, the order of its key.

    Examples:
        >>> sorted_combination({"sepsis", "anemia"})
        ('anemia', 'sepsis')
    """
    return tuple(combination_key(tasks).split("+"))
