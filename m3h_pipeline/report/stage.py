"""The report of a finished study: gathered, put into words and pictures, written as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m3h_pipeline.config import Study, validate
from m3h_pipeline.files import replacing
from m3h_pipeline.layout import Layout
from m3h_pipeline.report.blocks import Chapter, words
from m3h_pipeline.report.gather import Gathered, gather
from m3h_pipeline.report.outcomes.pages import outcome_pages
from m3h_pipeline.report.render import render


def write_report(layout: Layout, made: Mapping[str, Any], out: Path) -> None:
    """Write the report.

    Args:
        layout: of a finished study.
        made: what it was made from and with, its configuration among it (``record.made_from``).
        out: the file.

    Raises:
        InputError: the study is not finished, a table is damaged, or the file cannot be written.
        ContractError: a table does not follow its schema.
    """
    study = validate(Study, made["configuration"], where=str(layout.record))
    text = report_of(gather(layout, study, made))
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def report_of(gathered: Gathered) -> str:
    """The report as HTML."""
    heads = {
        name: {"title": task.title, "department": task.department, "words": ""}
        for name, task in gathered.learned.items()
    }
    chapters = [
        Chapter("answer", "Answer", [words(str(gathered.said["evaluation"].get("headline", "")))]),
        Chapter("outcomes", "Outcomes"),
    ]
    models = sorted({row["model"] for row in gathered.rows("comparison")})
    return render(gathered.study.study, chapters, outcome_pages(gathered), heads, models)
