"""Pictures of a report for the documentation: ``python -m tests.report.pictures REPORT.html FOLDER``.

Taken in the browser of the tests, of the default study's report, so that they look like what is shipped.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.report.opened import CHROMIUM

#: Width of the window; height of the first screen and of the table, in pixels.
WIDTH, ANSWER, TABLE = 1120, 760, 560
#: The outcome whose threshold and calibration are shown.
TASK = "mortality_48h"


def pictures(report: Path, out: Path) -> None:
    """Write the pictures of ``docs/report/``."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": ANSWER})
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html[data-ready]")
        _kept(page.screenshot(), out / "answer.png")
        box = page.locator("#outcomes .scroll").bounding_box()
        if box is not None:
            clip = {"x": 0, "y": box["y"], "width": WIDTH, "height": TABLE}
            _kept(page.screenshot(full_page=True, clip=clip), out / "outcomes.png")  # type: ignore[arg-type]
        _element(page, "#interaction figure[data-chart] .canvas", out / "interaction.png")
        page.evaluate("task => { location.hash = `outcome-${task}`; }", TASK)
        _element(page, f"#outcome-{TASK} [data-threshold]", out / "threshold.png")
        figure = page.locator(f"#outcome-{TASK} figure", has_text="Observed against predicted risk")
        _element(page, f"#{figure.get_attribute('id')}", out / "calibration.png")
        browser.close()


def _element(page: Page, selector: str, path: Path) -> None:
    place = page.locator(selector).first
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(600)
    # Charts are drawn when they come into view; the header that stays would lie over them.
    page.add_style_tag(content="header.top { display: none !important; }")
    _kept(place.screenshot(), path)


def _kept(png: bytes, path: Path, colours: int = 128) -> None:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    # Of a scale of colours a palette would leave some out.
    small = image if path.stem == "interaction" else image.quantize(colours)
    small.save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    pictures(arguments.report, arguments.out)
