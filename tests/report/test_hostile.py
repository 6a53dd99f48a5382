"""A report of a study whose names want to break it: it says them, is read, and nothing is run or lost."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.report.told import report
from tests.figures.fakes import description, of_class
from tests.report.fakes import write_study

#: Names as files bring them.
NAMES = [
    "</script><script>alert(1)</script>",
    """" onmouseover='alert(2)' x=\"""",
    "{{ 7 * 7 }} {% raw %}",
    "<!-- <b>&amp;",
    "x" * 3000,
    "\u05d0\u05e9\u05e4\u05d5\u05d6 (\u05de\u05d7\u05d3\u05e9)",
    "\U0001f9ec\U0001f468\u200d\u2695\ufe0f",
    "\u2028line\u0000end",
    "  ",
]


class Attributes(HTMLParser):
    """Names of all attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}


def written(tmp_path: Path, tasks: dict[str, dict[str, Any]]) -> str:
    """The report of a made-up study."""
    layout = write_study(tmp_path, tasks)
    return report(str(layout.folder)).read_text(encoding="utf-8")


def charts(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert found
    specs: dict[str, Any] = json.loads(found[1])["charts"]
    return specs


def test_names_of_any_kind_are_text(tmp_path: Path) -> None:
    tasks = description(8) | of_class(1, "survival")
    for entry, name in zip(tasks.values(), NAMES, strict=True):
        entry |= {"title": name, "department": name, "unit": name[:20]}
    tasks["thoracic"]["classes"] = [*NAMES[:-1], "0"][: len(tasks["thoracic"]["classes"])]
    text = written(tmp_path, tasks)
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "alert(1)</script>" not in text
    assert "<script>alert" not in text
    found = Attributes()
    found.feed(markup)
    assert not {name for name in found.names if name.startswith("on")}
    assert "{{ 7 * 7 }}" in markup
    assert "\u2028" not in text
    assert "\x00" not in text
    # An outcome without a title has its id, and a link that can be read.
    last = list(tasks)[-1]
    assert f"<bdi>{last}</bdi>" in markup
    assert not re.search(r"<a [^>]*>\s*(<bdi>\s*</bdi>)?\s*</a>", markup)
    assert len(charts(text)) > 50


@pytest.mark.parametrize("rows", [20_000])
def test_an_audit_of_thousands_of_codes_is_still_sent_and_read(tmp_path: Path, rows: int) -> None:
    layout = write_study(tmp_path, description(8))
    before = report(str(layout.folder)).stat().st_size
    header = "task\tgroup\tversion\tcode\ttitle\tstatus\tby"
    lines = [
        f"sepsis\t\t10\tA{i:05d}\tA title of a code as ICD has them, number {i}\tcounted\t/sepsis/"
        for i in range(rows)
    ]
    layout.labels.values.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    started = time.perf_counter()
    text = report(str(layout.folder)).read_text(encoding="utf-8")
    assert f"A{rows - 1:05d}" in text
    # A long table lies in a box; one of a few rows shows them all.
    before_audit, before_flow = (text[: text.index(f'id="{name}-table"')] for name in ("audit", "flow"))
    assert before_audit[before_audit.rindex('class="scroll') :].startswith('class="scroll"')
    assert before_flow[before_flow.rindex('class="scroll') :].startswith('class="scroll tall"')
    assert len(text.encode()) - before < 170 * rows
    assert time.perf_counter() - started < 60


def test_two_hundred_outcomes_have_their_pages(tmp_path: Path) -> None:
    text = written(tmp_path, of_class(200, "binary"))
    assert text.count('<section class="outcome"') == 200
    assert len(text.encode()) < 13_000_000
