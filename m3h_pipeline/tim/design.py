"""Which scores TIM is made of, by its mode."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from m3h_pipeline.config import Tim
from m3h_pipeline.tim.contexts import Differences, contexts
from m3h_pipeline.tim.sampled import draw_sets

Pair = tuple[str, str]


class Design(Protocol):
    """Combinations to be learned, and the weights of their scores in each pair's estimate."""

    @property
    def keys(self) -> list[str]:
        """All combinations to be learned, ascending."""

    @property
    def pairs(self) -> list[Pair]:
        """(task, companion), ascending."""

    def weights(self, task: str, scored: Collection[str]) -> dict[str, dict[str, float]]:
        """Companion -> combination -> weight of the task's score in it, given those that have one."""


def design_of(tasks: Collection[str], controls: Collection[str], settings: Tim, seed: int) -> Design:
    """The design of a study.

    Args:
        tasks: in any order.
        controls: its permuted companions.
        settings: mode, and of the sampled one the number of sets and their largest size.
        seed: of the random sets.

    Raises:
        ConfigError: the exact mode is asked for more tasks than it can do.
    """
    if settings.mode == "sampled" and len(tasks) > 1:
        number = settings.sets or SETS_PER_TASK * len(tasks)
        return draw_sets(tasks, controls, number, settings.max_size, seed)
    return Differences(contexts(tasks, settings, controls))


#: Random sets of the sampled mode where the study does not say.
SETS_PER_TASK = 10


def estimand(design: Design, settings: Tim, n_tasks: int) -> str:
    """What TIM is the mean of, in words.

    Args:
        design: of the study.
        settings: the mode, the largest size.
        n_tasks: of the study.
    """
    if settings.mode == "pairs" or n_tasks < 3:
        return "the pair against the task alone"
    if settings.mode == "exact":
        return "the mean over all sets of the other tasks, each with the same weight (a Banzhaf index)"
    shares = getattr(design, "shares", (1.0,))
    said = ", ".join(f"{share:.1%} have {size}" for size, share in enumerate(shares))
    return (
        f"the mean over all sets of at most {len(shares) - 1} other tasks, each with the same weight "
        f"({said}), from {sum(getattr(design, 'drawn', {}).values())} random sets"
    )
