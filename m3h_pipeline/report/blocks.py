"""What a section of the report consists of, as plain data: headings, words, tables, charts.

A block is a dictionary with a ``kind`` that ``assets/blocks.html.j2`` knows; ``printed``: false where it
is left out on paper. Text is shown as it is, never
as HTML; every number in it is written by who makes the block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Block = dict[str, Any]
#: A cell of a table: text, or a link within the report: ``{"text": ..., "to": "outcome-sepsis"}``.
Cell = Any


@dataclass(frozen=True)
class Chapter:
    """A chapter of the report.

    Attributes:
        id: of its section; stable, as links and tests name it.
        title: in the navigation and as the heading.
        blocks: in the order in which they are shown.
        template: further template of the chapter, shown before its blocks; empty: none.
        content: what that template shows.
    """

    id: str
    title: str
    blocks: Sequence[Block] = ()
    template: str = ""
    content: Any = None


@dataclass(frozen=True)
class OutcomePage:
    """The page of one outcome, ``<section id="outcome-TASK">``.

    Attributes:
        task: its id.
        blocks: in the order in which they are shown.
    """

    task: str
    blocks: Sequence[Block] = field(default=())


def on_screen(blocks: Iterable[Block]) -> list[Block]:
    """The same blocks, of which none is printed."""
    return [{**block, "printed": False} for block in blocks]


def heading(text: str) -> Block:
    """A heading within a section (h3)."""
    return {"kind": "heading", "text": text}


def words(text: str, note: bool = False) -> Block:
    """A paragraph; ``note``: in small type, of what must be known to read what stands beside it."""
    return {"kind": "words", "text": text, "note": note}


def points(items: Sequence[str]) -> Block:
    """A list with bullets."""
    return {"kind": "points", "items": list(items)}


def chart(title: str, spec: Block, caption: str, alt: str, wide: bool = False) -> Block:
    """A chart.

    Args:
        title: above it.
        spec: one of :mod:`m3h_pipeline.report.charts`.
        caption: what is seen, under it.
        alt: the same for who does not see it, with the numbers that matter.
        wide: over the whole width; else two stand side by side where there is room.
    """
    return {"kind": "chart", "title": title, "spec": spec, "caption": caption, "alt": alt, "wide": wide}


def table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    caption: str = "",
    search: bool = False,
    name: str = "",
    folded: bool = False,
) -> Block:
    """A table; its first column names the rows.

    Args:
        title: above it.
        header: of the columns.
        rows: cells as text, or as a link (:data:`Cell`); numbers as they are shown.
        caption: under it.
        search: with a field that filters the rows by their text.
        name: stable id of the table; empty: none.
        folded: behind its title, to be opened.
    """
    return {
        "kind": "table",
        "title": title,
        "header": list(header),
        "rows": [list(row) for row in rows],
        "caption": caption,
        "search": search,
        "id": name,
        "folded": folded,
    }
