"""A report in a browser: what it logs, what it asks for, what lies out of reach."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: A phone, a laptop, a large screen.
WIDTHS = (390, 1280, 1920)
#: What lies where nobody can scroll to: left of the page, above it, or beyond its right edge in no box of its
#: own.
OUTSIDE = """() => {
  const width = document.documentElement.clientWidth;
  const boxed = (e) => { for (let p = e.parentElement; p; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== "visible") return true; return false; };
  const found = [...document.body.querySelectorAll("*")].filter((e) => {
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height || e.closest("svg, .skip")) return false;
    const [left, top, right] = [box.left + scrollX, box.top + scrollY, box.right + scrollX];
    return left < -1 || top < -1 || (right > width + 1 && !boxed(e));
  });
  const wide = document.documentElement.scrollWidth > width ? ["the page itself"] : [];
  return [...wide, ...found.map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`)];
}"""
UNFOLDED = (
    "page => document.querySelectorAll(`${page} details:has(figure)`).forEach((e) => { e.open = true; })"
)
#: A link within the page, and what follows it.
FOLLOWED = """target => new Promise((done) => {
  if (location.hash === `#${target}`) return done();
  addEventListener("hashchange", () => setTimeout(done), { once: true });
  location.hash = target;
})"""


@dataclass
class Opened:
    """A report in a browser, what it logged and what it asked for."""

    page: Page
    own: str
    tasks: list[str]
    faults: list[str] = field(default_factory=list)

    def charts(self, kind: str) -> list[str]:
        """Ids of the charts of a kind."""
        charts: dict[str, dict[str, Any]] = json.loads(self.page.locator("#data").inner_text())["charts"]
        return [name for name, spec in charts.items() if spec["kind"] == kind]

    def visit(self, target: str) -> None:
        """Follow a link within the page."""
        self.page.evaluate(FOLLOWED, target)

    def drawn(self, chart: str) -> None:
        """Scroll to a chart and wait until it is drawn."""
        figure = self.page.locator(f'[data-chart="{chart}"]')
        figure.scroll_into_view_if_needed()
        figure.locator(".canvas svg").first.wait_for()

    def serious(self, within: str) -> list[str]:
        """What axe calls serious or critical in what is shown now; charts are pictures, with words."""
        context = {"include": [[within]], "exclude": [[".canvas > *"]]}
        found = Axe().run(self.page, context=context).response["violations"]
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def out_of_reach(self, target: str) -> list[str]:
        """What nobody can scroll to, at any width, of the page that a link leads to."""
        self.visit(target)
        found = []
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.wait_for_timeout(30)
            found += [f"{target}, {width} px: {what}" for what in self.page.evaluate(OUTSIDE)]
        return found

    def draw_all(self, task: str) -> int:
        """Draw every chart of an outcome's page, open its numbers, and count them."""
        self.visit(f"outcome-{task}")
        # A chart may stand in what is folded.
        self.page.evaluate(UNFOLDED, f"#outcome-{task}")
        figures = self.page.locator(f"#outcome-{task} figure[data-chart]")
        for i in range(figures.count()):
            figure = figures.nth(i)
            self.drawn(str(figure.get_attribute("data-chart")))
            numbers = figure.locator("details.numbers")
            numbers.locator("summary").click()
            numbers.locator("table tr").nth(1).wait_for(state="attached")
        return figures.count()


@contextmanager
def started() -> Iterator[Browser]:
    """A browser of this machine; none is downloaded. Where there is none, the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("there is no browser here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Whoever runs this as root, as in a container, has no sandbox.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@contextmanager
def opening(browser: Browser, path: Path, tasks: list[str]) -> Iterator[Opened]:
    """A report that was just opened; whatever is done with it, it logs no error and asks for nothing."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    found = Opened(page, path.as_uri(), tasks)
    page.on("console", lambda said: found.faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: found.faults.append(str(error)))
    own = found.own
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((own, "data:", "blob:")) else found.faults.append(asked.url)
        ),
    )
    page.goto(own)
    page.wait_for_selector("html[data-ready]")
    yield found
    page.close()
    assert found.faults == []
