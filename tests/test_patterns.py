"""Regular expressions of a study: Python's meaning, and an end."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3h_pipeline import patterns
from m3h_pipeline.errors import ConfigError
from m3h_pipeline.patterns import Pattern
from m3h_pipeline.tasks.criteria import Diagnosis
from m3h_pipeline.tasks.definitions import load_definitions
from tests.conftest import ROOT

TITLES = st.text("heart failure, Ödem (I50.9) [x]-", max_size=30)
SYNTAX = [
    "\\b",
    "heart",
    "failure",
    "ö",
    ".",
    "*",
    "+?",
    "{1}",
    "{0,2}",
    "(?:",
    ")",
    "[^,]",
    "|",
    "(?!x)",
    "\\w",
    "\\(",
]


@given(st.lists(st.sampled_from(SYNTAX), min_size=1, max_size=6).map("".join), TITLES, st.booleans())
def test_a_pattern_means_what_it_means_to_python(text: str, title: str, ignore_case: bool) -> None:
    try:
        known = re.compile(text, re.IGNORECASE if ignore_case else 0)
    except re.error:
        return
    pattern = Pattern(text, ignore_case=ignore_case)
    for mine, theirs in (
        (pattern.search(title), known.search(title)),
        (pattern.fullmatch(title), known.fullmatch(title)),
    ):
        assert mine == (theirs.group(0) if theirs else None)


def test_the_shipped_patterns_find_what_they_found() -> None:
    texts = {
        text
        for path in sorted((ROOT / "resources/tasks").glob("*.yaml"))
        for task in load_definitions([path]).values()
        if isinstance(task.criterion, Diagnosis)
        for rule in task.criterion.rules().values()
        for text in (*rule.titles, *rule.exclude.titles)
    }
    assert len(texts) > 30
    titles = [re.sub(r"\\.|[^\w ]", "", text) for text in sorted(texts)]
    for text in texts:
        mine, theirs = Pattern(text, ignore_case=True), re.compile(text, re.IGNORECASE)
        assert [mine.search(t) is None for t in titles] == [theirs.search(t) is None for t in titles]


@pytest.mark.parametrize("text", ["(", "a**", "[", "(?P<n", "a{2,1}", "\\", "(?<=a*)("])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        Pattern(text)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("(a|aa)+$", "a" * 80 + "!"),
        ("(.*?,){25}P", "1," * 60),
        ("(x|x)+[yz]$", "x" * 80 + "!"),
    ],
)
def test_what_never_ends_is_ended(text: str, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "ON_ONE", 0.1)
    start = time.monotonic()
    with pytest.raises(ConfigError, match="longer than anyone would wait") as caught:
        Pattern(text).search(title)
    assert time.monotonic() - start < 5
    assert title not in str(caught.value)


def test_many_slow_texts_are_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "ON_ALL", 0.2)
    pattern = Pattern("(.*?,){9}P")

    def all_of_them() -> None:
        for number in range(100_000):
            pattern.search(",".join(map(str, range(number, number + 14))))

    with pytest.raises(ConfigError, match="longer than anyone would wait"):
        all_of_them()
