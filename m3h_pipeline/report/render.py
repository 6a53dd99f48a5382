"""The report as one HTML file: chapters and pages into templates, charts as data, the library beside them.

Nothing in it asks for another file: style, scripts and data stand in the file, and its content security
policy allows the scripts by their digests and no request. Two renders of the same content are the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from m3h_pipeline.disclosure.text import plain
from m3h_pipeline.figures.looks import MODELS, looks
from m3h_pipeline.report.blocks import Block, Chapter, OutcomePage

ASSETS: Final = Path(__file__).parent / "assets"
#: The chart library: the file as its makers publish it, in the npm package of this version.
LIBRARY: Final = "echarts.min.js"
LIBRARY_VERSION: Final = "6.1.0"
LIBRARY_SHA256: Final = "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"
#: Scripts in the order in which they run.
_SCRIPTS: Final = (LIBRARY, "charts.js", "numbers.js", "threshold.js", "report.js")


def render(
    study: str,
    chapters: Sequence[Chapter],
    pages: Sequence[OutcomePage],
    heads: Mapping[str, Mapping[str, Any]],
    models: Sequence[str] = (),
) -> str:
    """The whole file.

    Args:
        study: its name.
        chapters: in order; the first one is the first screen.
        pages: of the outcomes.
        heads: task -> what stands above its page: ``title``, ``department``, ``verdict``, ``words``.
        models: further models whose looks charts name.
    """
    charts: dict[str, Any] = {}
    data = {"charts": charts, "looks": _looks(models)}
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["groupby_charts"] = _grouped
    shown = [_numbered(chapter.id, chapter.blocks, charts) for chapter in chapters]
    outcomes = [_numbered(f"outcome-{page.task}", page.blocks, charts) for page in pages]
    scripts = [_asset(name) for name in _SCRIPTS]
    return environment.get_template("page.html.j2").render(
        study=study,
        chapters=[(chapter, blocks) for chapter, blocks in zip(chapters, shown, strict=True)],
        outcomes=[
            (page.task, heads[page.task], blocks) for page, blocks in zip(pages, outcomes, strict=True)
        ],
        style=Markup(_asset("style.css")),  # the package's own file
        data=Markup(_json(data)),  # no "<" in it
        scripts=[Markup(script) for script in scripts],  # the package's own files
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
    )


def _shown(value: Any) -> Any:
    """Text without anything that a reader would take for a command; the package's own HTML as it is."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _numbered(section: str, blocks: Sequence[Block], charts: dict[str, Any]) -> list[Block]:
    """Blocks with an id where one is needed; the specs of their charts go to ``charts``."""
    found = []
    for number, block in enumerate(blocks, start=1):
        made = dict(block)
        if "spec" in made:
            made["id"] = f"{section}-chart-{number}"
            charts[made["id"]] = made.pop("spec")
        found.append(made)
    return found


def _grouped(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Blocks one after the other; charts that follow each other stand side by side."""
    found: list[dict[str, Any]] = []
    for block in blocks:
        if block["kind"] != "chart":
            found.append({"block": block, "charts": []})
        elif found and found[-1]["charts"]:
            found[-1]["charts"].append(block)
        else:
            found.append({"block": None, "charts": [block]})
    return found


def _looks(models: Sequence[str]) -> dict[str, list[str]]:
    return {name: [title, colour] for name, (title, colour, _) in looks([*MODELS, *models]).items()}


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(value: Any) -> str:
    """JSON that can stand in a ``<script>``: text made plain, and no sign that HTML would read."""
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(str(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
