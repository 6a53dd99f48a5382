"""What several chapters ask of the tables: what was chosen, what a companion does, what was counted."""

from __future__ import annotations

from typing import Final

from m3h_pipeline.evaluation.choice.candidates import BLEND, NETWORKS
from m3h_pipeline.evaluation.choice.choose import CHOSEN
from m3h_pipeline.evaluation.claims import OWN_SPACES
from m3h_pipeline.report.gather import Gathered, Row

#: Candidates of the choice that are networks or made with one, and the rule itself.
_OWN: Final = frozenset({*NETWORKS, BLEND, CHOSEN})


def chosen(gathered: Gathered, task: str) -> str | None:
    """The candidate that the evaluation's choice names for a task; None: it has none."""
    rows = gathered.rows("choice", task)
    return next((r["candidate"] for r in rows if r["chosen"] and r["candidate"] != CHOSEN), None)


def has_reference(gathered: Gathered, task: str) -> bool:
    """Whether a model without a network was a candidate."""
    return any(row["candidate"] not in _OWN for row in gathered.rows("choice", task))


def counts_seeds(gathered: Gathered) -> bool:
    """Whether final models have seeds that an interval can count."""
    replicates = gathered.said["evaluation"].get("replicates", {})
    return max(replicates.values(), default=gathered.study.evaluation.replicates) > 1


def effect(row: Row) -> tuple[float, float, float]:
    """What a companion does, less what sharing does whoever the companion is, where that is known."""
    kind = "excess" if row["excess"] == row["excess"] else "estimate"
    ends = ("low", "high") if kind == "estimate" else ("excess_low", "excess_high")
    return row[kind], row[ends[0]], row[ends[1]]


def surviving(gathered: Gathered) -> list[Row]:
    """Rows of TIM whose effect survives the correction for all that were looked at; no controls."""
    return [row for row in comparable(gathered) if row["significant"] and not row["control"]]


def comparable(gathered: Gathered) -> list[Row]:
    """Rows of TIM whose scores can be compared: not of phenotypes, whose silhouettes are of own spaces."""
    own = {name for name, task in gathered.tasks.items() if task.metric in OWN_SPACES}
    return [row for row in gathered.rows("tim") if row["task"].partition("~")[0] not in own]
