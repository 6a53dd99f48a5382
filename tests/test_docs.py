"""The pages of the documentation: links lead somewhere, lines of code are those they are said to be."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml

from m3h_pipeline.layout.given import given_away
from tests.conftest import ROOT
from tests.test_architecture import PLAN, ROOMS

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "config/README.md"])
ARCHITECTURE = ROOT / "docs/architecture.md"
DISCLOSURE = ROOT / "docs/disclosure.md"
_FENCED = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_LINES = re.compile(r"L(\d+)-L(\d+)")


def text_of(page: Path) -> str:
    """A page without its blocks of code, where brackets mean something else."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", text_of(page), flags=re.MULTILINE):
        shown = _LINK.sub(r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def definitions(module: Path) -> dict[str, str]:
    """``Class`` and ``Class.method`` of a module -> their lines as in a link."""
    found = {}
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = f"L{node.lineno}-L{node.end_lineno}"
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef) and inner is not node:
                    found[f"{node.name}.{inner.name}"] = f"L{inner.lineno}-L{inner.end_lineno}"
    return found


def wrong_links(page: Path) -> list[str]:
    """What is wrong with the relative links of a page."""
    wrong = []
    for shown, target in _LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists():
            wrong.append(f"{target}: there is no such file")
        elif _LINES.fullmatch(anchor):
            if definitions(path).get(shown.strip("`")) != anchor:
                wrong.append(f"{shown} stands at {definitions(path).get(shown.strip('`'))}, not {anchor}")
        elif anchor and anchor not in anchors(path):
            wrong.append(f"{target}: no such heading; there are {sorted(anchors(path))}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert wrong_links(page) == []


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for _, target in _LINK.findall(text_of(page))
        if not re.match(r"[a-z]+:", target)
    }
    readme = ROOT / "README.md"
    assert [page.name for page in PAGES if page != readme and page.resolve() not in linked] == []


def test_a_wrong_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("x = 1\n\n\ndef f():\n    return x\n")
    (tmp_path / "other.md").write_text("# One `two` (three)\n\n```\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](absent.md) [b](other.md#one-two-three) [c](other.md#not-a-heading) [`f`](code.py#L4-L5)"
    )
    assert [text.partition(":")[0] for text in wrong_links(page)] == ["absent.md", "other.md#not-a-heading"]
    page.write_text("[`f`](code.py#L1-L2) [d](https://example.org/x)")
    assert wrong_links(page) == ["`f` stands at L4-L5, not L1-L2"]


def rooms_table() -> str:
    """The rooms of the package by the first line of their docstrings, in the order of the imports."""
    lines = ["| room | what it holds |", "|---|---|"]
    for room in [room for rooms in ROOMS for room in sorted(rooms & PLAN.keys())]:
        path = ROOT / "m3h_pipeline" / room
        folder = path.is_dir()
        text = (path / "__init__.py" if folder else path.with_suffix(".py")).read_text(encoding="utf-8")
        first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " ")
        assert first, f"{path} does not say what it holds"
        lines.append(f"| `{room}{'/' if folder else '.py'}` | {first} |")
    return "\n".join(lines)


def order_of_imports() -> str:
    """The rooms line by line, as the test of the architecture has them."""
    return "\n".join(["```text", *(", ".join(sorted(rooms & PLAN.keys())) for rooms in ROOMS), "```"])


def with_generated(page: str) -> str:
    """The page on architecture with its two generated parts as they should be."""
    for name, text in (("rooms", rooms_table()), ("order", order_of_imports())):
        page = generated(page, name, text)
    return page


def generated(page: str, name: str, text: str) -> str:
    """A page with one of its generated parts as it should be."""
    before, _, rest = page.partition(f"<!-- {name}: python -m tests.test_docs -->\n")
    _, end, after = rest.partition("<!-- end -->")
    assert end, name
    return f"{before}<!-- {name}: python -m tests.test_docs -->\n{text}\n{end}{after}"


def files_table() -> str:
    """Every file that can be given away, and what it holds."""
    lines = ["| file | what it holds |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{pattern}` | {holds} |" for pattern, holds in given_away())])


def test_the_files_that_can_be_given_away_are_those_of_the_layout() -> None:
    page = DISCLOSURE.read_text(encoding="utf-8")
    assert page == generated(page, "given", files_table()), "run: python -m tests.test_docs"


def test_the_map_of_the_rooms_is_that_of_the_package() -> None:
    page = ARCHITECTURE.read_text(encoding="utf-8")
    assert page == with_generated(page), "run: python -m tests.test_docs"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (
        yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == project["version"]
    )
    headings = re.findall(
        r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert headings[:2] == ["Unreleased", project["version"]]


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_generated(ARCHITECTURE.read_text(encoding="utf-8")), encoding="utf-8")
    DISCLOSURE.write_text(
        generated(DISCLOSURE.read_text(encoding="utf-8"), "given", files_table()), encoding="utf-8"
    )
