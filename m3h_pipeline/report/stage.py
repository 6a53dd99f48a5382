"""The report of a finished study: gathered, put into words and pictures, written as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from m3h_pipeline.config import Study, validate
from m3h_pipeline.files import replacing
from m3h_pipeline.layout import Layout
from m3h_pipeline.report.answer import Answer, answer
from m3h_pipeline.report.blocks import Chapter
from m3h_pipeline.report.cohort import cohort
from m3h_pipeline.report.gather import Gathered, gather
from m3h_pipeline.report.interaction import interaction
from m3h_pipeline.report.methodology.methods import methods
from m3h_pipeline.report.outcomes.pages import outcome_pages
from m3h_pipeline.report.overview import head, overview
from m3h_pipeline.report.planted import planted
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
    pages = outcome_pages(gathered)
    chapters = [
        Chapter("answer", "Answer", template="answer.html.j2", content=first_screen(gathered)),
        Chapter("outcomes", "Outcomes", template="outcomes.html.j2", content=overview(gathered)),
        interaction(gathered),
        cohort(gathered),
        methods(gathered),
        *planted(gathered),
    ]
    heads = {page.task: head(gathered, page.task) for page in pages}
    models = sorted({row["model"] for row in gathered.rows("comparison")})
    return render(gathered.study.study, chapters, pages, heads, models)


def first_screen(gathered: Gathered) -> dict[str, Any]:
    """What ``answer.html.j2`` shows."""
    said = answer(gathered)
    synthetic = gathered.study.source.kind == "synthetic"
    return {
        "sentence": said.sentence,
        "answer": said,
        "warning": "These patients are simulated: nothing here says anything about real ones."
        if synthetic
        else "",
        "lists": _lists(said),
    }


#: Lists of the answer and their titles, in order.
_LISTS: Final = {
    "gains": "Gain from learning together",
    "losses": "Lose by learning together",
    "simpler": "Use a simpler model instead",
    "unsettled": "Not settled by these data",
    "helpful": "Most helpful companions",
    "harmful": "Most harmful companions",
    "alone": "Learn alone",
    "open": "What must be known beside it",
}


def _lists(said: Answer) -> list[tuple[str, str, list[str], str]]:
    """Name, title, sentences, and what is said where there are none."""
    return [(name, title, getattr(said, name), said.otherwise[name]) for name, title in _LISTS.items()]
