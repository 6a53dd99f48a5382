"""The pages of all outcomes: each made by the module of its problem class."""

from __future__ import annotations

from collections.abc import Callable

from m3h_pipeline.report.blocks import OutcomePage
from m3h_pipeline.report.gather import Gathered

#: Problem class -> what makes the page of such a task.
PAGES: dict[str, Callable[[Gathered, str], OutcomePage]] = {}


def outcome_pages(gathered: Gathered) -> list[OutcomePage]:
    """A page for every task that was learned, in the study's order."""
    return [
        PAGES[task.problem_class](gathered, name) if task.problem_class in PAGES else OutcomePage(name)
        for name, task in gathered.learned.items()
    ]
