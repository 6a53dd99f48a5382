"""The pages of all outcomes: what they share, and what their problem class has to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from m3h_pipeline.report.blocks import Block, OutcomePage, on_screen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.advice import advice_blocks
from m3h_pipeline.report.outcomes.binary import binary_blocks
from m3h_pipeline.report.outcomes.clustering import clustering_blocks
from m3h_pipeline.report.outcomes.common import reliance_blocks, score_blocks, subgroup_blocks
from m3h_pipeline.report.outcomes.companions import companion_blocks
from m3h_pipeline.report.outcomes.multiclass import multiclass_blocks
from m3h_pipeline.report.outcomes.regression import regression_blocks
from m3h_pipeline.report.outcomes.survival import survival_blocks

#: Problem class -> the blocks that only its outcomes have.
BLOCKS: Final[dict[str, Callable[[Gathered, str], list[Block]]]] = {
    "binary": binary_blocks,
    "multiclass": multiclass_blocks,
    "regression": regression_blocks,
    "survival": survival_blocks,
    "clustering": clustering_blocks,
}


def outcome_page(gathered: Gathered, task: str) -> OutcomePage:
    """The page of one outcome."""
    kind = gathered.tasks[task].problem_class
    own, companions = BLOCKS[kind](gathered, task), on_screen(companion_blocks(gathered, task))
    if kind == "clustering":
        parts = [own, companions]
    else:
        parts = [
            score_blocks(gathered, task),
            companions,
            own,
            on_screen(subgroup_blocks(gathered, task)),
            on_screen(reliance_blocks(gathered, task)),
        ]
    return OutcomePage(task, [block for part in (*parts, advice_blocks(gathered, task)) for block in part])


def outcome_pages(gathered: Gathered) -> list[OutcomePage]:
    """A page for every task that was learned, in the study's order."""
    return [outcome_page(gathered, name) for name in gathered.learned]
