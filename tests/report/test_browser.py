"""The report as people meet it: opened in a browser, clicked through, on a phone, on paper, read aloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from m3h_pipeline.report.told import report
from tests.figures.fakes import description, of_class
from tests.report.fakes import write_study
from tests.report.opened import WIDTHS, Opened, opening, started

ROWS = "#outcomes-table tbody tr"
VALUES = "cells => cells.map(cell => cell.dataset.value)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[str]]]:
    """The report of a study of every problem class, and of one of 41 tasks."""
    studies = {"small": description(8) | of_class(1, "survival"), "paper": description(41)}
    found = {}
    for name, tasks in studies.items():
        layout = write_study(tmp_path_factory.mktemp(name), tasks)
        found[name] = (report(str(layout.folder)), list(tasks))
    return found


@pytest.fixture(params=["small", "paper"])
def opened(
    browser: Browser, reports: dict[str, tuple[Path, list[str]]], request: pytest.FixtureRequest
) -> Iterator[Opened]:
    """A report that was just opened. The small one has a page of every problem class."""
    path, tasks = reports[request.param]
    with opening(browser, path, tasks) as found:
        yield found


def test_the_answer_is_the_first_thing_that_is_seen(opened: Opened) -> None:
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 800})
        box = opened.page.locator("h1:visible").bounding_box()
        header = opened.page.locator("header.top").bounding_box()
        assert box is not None
        assert header is not None
        assert header["y"] + header["height"] <= box["y"]
        assert box["y"] + box["height"] < 800


def test_nothing_lies_out_of_reach_at_any_width(opened: Opened) -> None:
    shown = opened.tasks if len(opened.tasks) < 20 else opened.tasks[:1]
    for target in ("answer", *(f"outcome-{task}" for task in shown)):
        assert opened.out_of_reach(target) == []


@pytest.mark.parametrize("opened", ["small"], indirect=True)
def test_axe_finds_nothing_serious(opened: Opened) -> None:
    found = opened.serious("body")
    # The first four are yes or no, as others are.
    for task in opened.tasks[3:]:
        opened.visit(f"outcome-{task}")
        found += opened.serious(f"#outcome-{task}")
    assert sorted(set(found)) == []
    # It would: a button without a name.
    opened.page.evaluate("document.querySelector('header').append(document.createElement('button'))")
    assert [fault.partition(":")[0] for fault in opened.serious("header")] == ["button-name"]


def test_the_table_is_sorted_and_filtered(opened: Opened) -> None:
    page = opened.page
    rows = page.locator(ROWS)
    assert rows.count() == len(opened.tasks)
    title = page.locator("#outcomes-table thead button").first
    orders = []
    for _ in range(2):
        title.click()
        orders.append(rows.locator("th a").all_inner_texts())
    assert orders[0] == orders[1][::-1]
    assert sorted(orders[0], key=str.casefold) in orders
    difference = page.locator("#outcomes-table thead button", has_text="Multi less single")
    difference.click()
    values = [float(v) for v in rows.locator("td.difference").evaluate_all(VALUES) if v]
    assert values == sorted(values, reverse=True)
    assert difference.locator("xpath=..").get_attribute("aria-sort") == "descending"
    search = page.get_by_label("Search").first
    search.fill("sepsis")
    assert page.locator(f"{ROWS}:visible").count() == 1
    search.fill("")
    page.locator('[data-filter="outcomes-table"]').select_option("Critical Care")
    assert set(page.locator(f"{ROWS}:visible").evaluate_all("rows => rows.map(r => r.dataset.group)")) == {
        "Critical Care"
    }


def test_every_row_opens_its_page_and_every_page_leads_back(opened: Opened) -> None:
    page = opened.page
    assert page.locator("section.outcome:visible").count() == 0
    link = page.locator(f"{ROWS} th a").first
    # As without a mouse.
    link.focus()
    page.keyboard.press("Enter")
    section = page.locator("section.outcome:visible")
    section.wait_for()
    assert section.get_attribute("id") == str(link.get_attribute("href")).removeprefix("#")
    assert page.evaluate("document.activeElement.id") == section.get_attribute("id")
    for task in opened.tasks:
        opened.visit(f"outcome-{task}")
        assert section.count() == 1
        assert section.locator("h1").inner_text()
        assert page.locator("h1:visible").count() == 1
    page.get_by_text("All outcomes", exact=True).locator("visible=true").click()
    section.wait_for(state="hidden")
    assert page.locator("#outcomes-table").is_visible()


@pytest.mark.parametrize("opened", ["small"], indirect=True)
def test_every_chart_of_a_page_is_drawn_and_has_its_numbers(opened: Opened) -> None:
    for task in opened.tasks:
        assert opened.draw_all(task) > 1, task


def test_pointing_at_a_cell_of_the_heatmap_says_its_numbers(opened: Opened) -> None:
    page = opened.page
    (chart,) = [name for name in opened.charts("heatmap") if name.startswith("interaction")]
    opened.drawn(chart)
    box = page.locator(f'[data-chart="{chart}"] .canvas').bounding_box()
    assert box is not None
    tooltip = page.locator(f'[data-chart="{chart}"] .canvas > div').last
    said = set()
    for share in (0.45, 0.6, 0.75):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"] * 0.7)
        page.wait_for_timeout(80)
        said.add(tooltip.inner_text())
    assert any("95 %" in text or "to" in text for text in said), said


def test_the_network_is_drawn(opened: Opened) -> None:
    for chart in opened.charts("network"):
        opened.drawn(chart)
        assert opened.page.locator(f'[data-chart="{chart}"] .canvas svg path').count() > 1


def test_the_threshold_changes_what_is_alerted(opened: Opened) -> None:
    page = opened.page
    opened.visit("outcome-sepsis")
    block = page.locator("#outcome-sepsis [data-threshold]")
    assert block.count() == 1
    alerts = block.locator('[data-rate="alerts"]')
    slider = block.locator("input[type=range]")
    said = []
    for key in ("Home", "ArrowRight", "End"):
        slider.focus()
        page.keyboard.press(key)
        said.append(float(alerts.inner_text().replace(",", "")))
    assert said == sorted(said, reverse=True)
    assert said[0] > said[2]
    # A mouse, and then a finger, at a tenth and at nine tenths of its length.
    box = slider.bounding_box()
    assert box is not None
    y, places = box["y"] + box["height"] / 2, [box["x"] + share * box["width"] for share in (0.1, 0.9)]
    page.mouse.move(places[0], y)
    page.mouse.down()
    low = float(alerts.inner_text())
    page.mouse.move(places[1], y, steps=4)
    page.mouse.up()
    assert float(alerts.inner_text()) < low


def test_the_threshold_follows_a_finger(browser: Browser, reports: dict[str, tuple[Path, list[str]]]) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{reports['small'][0].as_uri()}#outcome-sepsis")
    page.wait_for_selector("html[data-ready]")
    block = page.locator("#outcome-sepsis [data-threshold]")
    slider = block.locator("input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    said = []
    for share in (0.1, 0.9):
        page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        said.append(float(block.locator('[data-rate="alerts"]').inner_text()))
    assert said[1] < said[0]
    context.close()


@pytest.mark.parametrize("opened", ["small"], indirect=True)
def test_an_address_that_says_nothing_shows_the_answer(opened: Opened) -> None:
    for target in ("%", "%E0%A4%A", "outcome-nobody", "'\"><b>"):
        opened.page.goto("about:blank")
        opened.page.goto(f"{opened.own}#{target}")
        opened.page.wait_for_selector("html[data-ready]")
        assert opened.page.locator("#answer h1").is_visible()


@pytest.mark.parametrize("opened", ["small"], indirect=True)
def test_it_can_be_printed_with_every_page(opened: Opened, tmp_path: Path) -> None:
    opened.page.emulate_media(media="print")
    assert opened.page.locator("section.outcome:visible").count() == len(opened.tasks)
    # Of an outcome its curves and what to try; what is to be moved, opened or searched stays on the screen.
    page = opened.page.locator("#outcome-sepsis")
    assert page.locator("h2:visible").all_inner_texts() == [
        "How good, beside what else there is",
        "Whom it ranks above whom",
        "What alerting would do",
        "Are the probabilities right",
        "What to try when it fails",
    ]
    assert not page.locator("[data-threshold]").is_visible()
    assert not opened.page.locator("#audit-table").is_visible()
    printed = opened.page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert printed.startswith(b"%PDF")
    pages = printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ")
    assert len(opened.tasks) <= pages <= 3 * len(opened.tasks)


def test_without_scripts_all_is_there_one_after_the_other(
    browser: Browser, reports: dict[str, tuple[Path, list[str]]]
) -> None:
    path, tasks = reports["small"]
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("section.outcome:visible").count() == len(tasks)
    assert page.locator("noscript p").is_visible()
    context.close()
