"""The report as a file: the same twice, small, and without a request to anywhere."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from m3h_pipeline.report.render import ASSETS, LIBRARY, LIBRARY_SHA256, LIBRARY_VERSION
from m3h_pipeline.report.told import report
from tests.figures.fakes import description
from tests.report.fakes import write_study


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study of 41 tasks."""
    layout = write_study(tmp_path_factory.mktemp("paper"), description(41))
    return report(str(layout.folder))


def test_the_report_is_small_enough_to_be_sent(paper: Path) -> None:
    assert paper.stat().st_size <= 4_000_000


def test_the_report_is_the_same_twice(paper: Path, tmp_path: Path) -> None:
    again = report(str(paper.parent), tmp_path / "again.html")
    assert again.read_bytes() == paper.read_bytes()


def test_the_report_asks_for_nothing(paper: Path) -> None:
    text = paper.read_text(encoding="utf-8")
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    asked = re.findall(r"<(\w+)[^>]*?\s(src|href|srcset|data|action|poster)=\"([^\"]*)\"", markup)
    assert {name for name, _, target in asked if not target.startswith(("#", "data:"))} <= {"a"}
    assert "default-src 'none'" in text
    assert not re.findall(r"@import|url\(", markup)


def test_the_chart_library_is_the_one_that_is_named() -> None:
    content = (ASSETS / LIBRARY).read_bytes()
    assert hashlib.sha256(content).hexdigest() == LIBRARY_SHA256
    assert f'"{LIBRARY_VERSION}"'.encode() in content
    assert (ASSETS / "echarts.LICENSE").is_file()
