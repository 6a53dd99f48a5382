"""The report can be given away: no row of a patient is read for it, and no count of 1 to 10 stands in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from m3h_pipeline.disclosure import FEW, LEAST
from m3h_pipeline.layout.given import is_private
from m3h_pipeline.report.gather import TABLES
from m3h_pipeline.report.told import report
from tests.figures.fakes import description
from tests.report.fakes import write_study

#: Private files that the report reads: aggregates that hide small counts themselves, or hold no counts.
AGGREGATES = {
    *("cohort/summary.json", "labels/tasks.json", "labels/values.tsv", "labels/prevalence.tsv"),
    *("search/trajectory.parquet", "search/report.parquet"),
}
#: Headers of columns that count patients or their samples.
COUNTS = {"Samples", "Patients", "Samples without it", "Of observed", "samples", "patients", "test samples"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that has nothing but what the report may read."""
    layout = write_study(tmp_path_factory.mktemp("told"), description(8))
    report(str(layout.folder))
    return layout.folder


@pytest.fixture(scope="module")
def page(study: Path) -> str:
    """Its report."""
    return (study / "report.html").read_text(encoding="utf-8")


class Tables(HTMLParser):
    """Every table of a page: header, and rows of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self._inside = True
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.tables[-1][-1][-1] += data


def counts(page: str) -> list[tuple[str, str]]:
    """Cells of columns that count somebody, with the column's name."""
    parser = Tables()
    parser.feed(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    return [
        (name.strip(), cell.strip())
        for header, *rows in parser.tables
        for row in rows
        for name, cell in zip(header, row, strict=True)
        if name.strip() in COUNTS
    ]


def small(cells: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (name, cell)
        for name, cell in cells
        if re.fullmatch(r"[\d,]+", cell) and 0 < int(cell.replace(",", "")) < LEAST
    ]


def test_a_report_needs_no_row_of_a_patient(study: Path) -> None:
    held = {path.relative_to(study).as_posix() for path in study.rglob("*") if path.is_file()}
    assert {path.as_posix() for path, _ in TABLES.values()} <= held
    assert {path for path in held if is_private(Path(path))} == AGGREGATES


def test_no_table_has_a_count_of_few(page: str) -> None:
    cells = counts(page)
    assert len(cells) > 50
    assert not small(cells)


def test_a_count_of_few_would_be_found() -> None:
    page = "<table><tr><th>Step<th>Samples</tr><tr><th>cohort</th><td>7</td></tr></table>"
    assert small(counts(page)) == [("Samples", "7")]


def test_small_counts_of_the_ingestion_are_hidden(page: str) -> None:
    """The made-up summary has 7 malformed lines, 3 rows without a key and 4 samples without a source."""
    few = FEW.replace("<", "&lt;")
    assert f"{few} malformed lines" in page
    assert f"{few} rows without id" in page
    assert ("Samples without it", FEW) in counts(page)
    assert "11 repeated samples" in page


def test_no_chart_shows_a_mark_of_few(page: str) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found
    specs: dict[str, dict[str, Any]] = json.loads(found[1])["charts"]
    kinds = {spec["kind"] for spec in specs.values()}
    assert {"grid", "heatmap", "lines", "tiles"} <= kinds
    marks = [cell[4] for spec in specs.values() if spec["kind"] == "grid" for cell in spec["cells"]]
    marks += [
        point[2]
        for spec in specs.values()
        if spec["kind"] == "tiles"
        for one in spec["series"]
        for point in one["points"]
    ]
    assert len(marks) > 50
    assert min(marks) >= LEAST


def test_text_of_a_study_is_text_in_the_report(tmp_path: Path) -> None:
    """Titles and units come from the user's files: no markup of theirs is read, and no script ends early."""
    tasks = description(8)
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"
    tasks["sepsis"]["title"] = evil
    tasks["days_left"]["unit"] = "<b>days</b>"
    layout = write_study(tmp_path, tasks)
    text = report(str(layout.folder)).read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text
    assert "<img" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "<b>days" not in text
    assert "\u202e" not in text
    assert "alert(1)" in text
