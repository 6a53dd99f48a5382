"""Of a synthetic study: what was planted, and what was found of it."""

from __future__ import annotations

from m3h_pipeline.report.blocks import Chapter, table, words
from m3h_pipeline.report.gather import Gathered


def planted(gathered: Gathered) -> list[Chapter]:
    """The chapter; none, where nothing was planted."""
    rows = gathered.texts.get("planted", ())
    if not rows:
        return []
    whole = [row for row in rows if row["task"] == "all"]
    names = list(rows[0])
    shown = [
        [
            {"text": gathered.title(row["task"]), "to": f"outcome-{row['task']}"}
            if row["task"] in gathered.learned
            else gathered.title(row["task"]),
            *(_titles(gathered, row[name]) for name in names[1:]),
        ]
        for row in rows
        if row["task"] != "all"
    ]
    said = f" In all: {whole[0][names[-1]]}." if whole else ""
    return [
        Chapter(
            "planted",
            "Planted and found",
            [
                words(
                    "The patients of this study are simulated, so that it is known what is to be found: "
                    "groups of outcomes that share a cause, outcomes with a cause of their own, and "
                    f"controls of which nothing can be learned.{said}"
                ),
                table("", ["Outcome", *names[1:]], shown, name="planted-table"),
            ],
        )
    ]


def _titles(gathered: Gathered, text: str) -> str:
    """A cell with the titles of the tasks that it names."""
    parts = text.split(", ")
    return ", ".join(gathered.title(part) for part in parts) if set(parts) <= set(gathered.tasks) else text
