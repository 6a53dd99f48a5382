"""The digest of code counts what code says and what its names are bound to, on packages of a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3h_pipeline.digest import Digests, code_digest

ONE = "m3h_pipeline.one"


@pytest.fixture
def digest(tmp_path: Path) -> Digest:
    return Digest(tmp_path)


class Digest:
    """Digest of ``one.py`` in a package of files: ``digest(one="...", room__="...", room__two="...")``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0

    def __call__(self, **files: str) -> str:
        self._number += 1
        package = self._folder / str(self._number) / "m3h_pipeline"
        for name, text in {"__": "", **files}.items():
            parts = ["__init__" if part == "" else part for part in name.split("__")]
            path = package.joinpath(*(parts if name != "__" else ["__init__"])).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(text)
        return Digests(package).of(ONE)


def test_it_is_blind_to_comments_docstrings_and_layout(digest: Digest) -> None:
    base = digest(one='def f(x):\n    """Old."""\n    return x + 1\n')
    same = '"""Module."""\n# a comment\ndef f(x):\n    """New\n    text."""\n\n    return (x +\n        1)\n'
    assert digest(one=same) == base
    assert digest(one='def f(x):\n    """Old."""\n    return x + 2\n') != base


USE = "def f():\n    return {}\n"
TWO = "VALUE = 1\nOTHER = 2\n"


@pytest.mark.parametrize(
    ("one", "files"),
    [
        ("from m3h_pipeline.two import VALUE\n" + USE.format("VALUE"), {"two": TWO}),
        ("from m3h_pipeline.two import VALUE as V\n" + USE.format("V"), {"two": TWO}),
        ("from m3h_pipeline import two\n" + USE.format("two.VALUE"), {"two": TWO}),
        ("from . import two as t\n" + USE.format("t.VALUE"), {"two": TWO}),
        ("from .two import VALUE\n" + USE.format("VALUE"), {"two": TWO}),
        ("from .two import *\n" + USE.format("VALUE"), {"two": TWO}),
        ("import m3h_pipeline.two\n" + USE.format("m3h_pipeline.two.VALUE"), {"two": TWO}),
        ("import m3h_pipeline.room.deep as d\n" + USE.format("d.VALUE"), {"room__deep": TWO}),
        (
            "from m3h_pipeline.room import V\n" + USE.format("V"),
            {"room__": "from .deep import VALUE as V\n", "room__deep": TWO},
        ),
        ("def f():\n    from m3h_pipeline.two import VALUE\n    return VALUE\n", {"two": TWO}),
        (TWO.replace("OTHER = 2\n", "") + USE.format("VALUE"), {}),
        ("def f():\n    return VALUE\nVALUE = 1\n", {}),
        ("from m3h_pipeline.two import VALUE\n" + USE.format("VALUE"), {"two": "VALUE = 1\nOTHER = 3\n"}),
    ],
)
def test_where_a_definition_stands_and_how_it_is_imported_does_not_count(
    one: str, files: dict[str, str], digest: Digest
) -> None:
    base = digest(one="from m3h_pipeline.two import VALUE\n" + USE.format("VALUE"), two=TWO)
    assert digest(one=one, **files) == base
    changed = {name: text.replace("VALUE = 1", "VALUE = 3") for name, text in files.items()}
    assert digest(one=one.replace("VALUE = 1", "VALUE = 3"), **changed) != base


def test_what_is_not_used_does_not_count(digest: Digest) -> None:
    one = "from m3h_pipeline.two import f\n"
    two = "A = 1\nB = 2\nKNOWN = {}\n\ndef f():\n    return A\n"
    base = digest(one=one, two=two)
    assert digest(one=one, two=two.replace("B = 2", "B = 3")) == base
    assert digest(one=one, two=two.replace("A = 1", "A = 4")) != base
    # What a module does when it is imported always counts.
    acts = two + "KNOWN['f'] = B\n"
    assert digest(one=one, two=acts) != base
    assert digest(one=one, two=acts) != digest(one=one, two=acts.replace("B = 2", "B = 3"))


def test_all_that_gives_a_name_its_value_counts(digest: Digest) -> None:
    one = "from m3h_pipeline.two import A, B, C\n\ndef f():\n    return A, B, C\n"
    two = "A = 1\nA = A + 2\nB, X = 3, 4\nC = [5]\nC += [6]\n"
    found = {digest(one=one, two=two.replace(str(n), str(n + 6))) for n in range(1, 8)}
    # The last replaces nothing.
    assert len(found) == 7
    # Of two names that one statement binds, it counts which is used.
    pair = "from m3h_pipeline.two import {}\n\ndef f():\n    return {}\n"
    assert len({digest(one=pair.format(name, name), two=two) for name in "BX"}) == 2


def test_what_an_import_runs_counts_however_far_away(digest: Digest) -> None:
    one = "from m3h_pipeline.room.two import f\n"
    two = "from m3h_pipeline import three\n\ndef f():\n    return 1\n\ndef g():\n    return three\n"
    acts = "SET = {{}}\nSET['a'] = {}\n"
    for name in ("three", "room__"):
        # Of the module that is imported for something else, and of the package that holds it.
        files = {"three": "", "room__": "", "room__two": two}
        found = [digest(one=one, **files | {name: acts.format(value)}) for value in (1, 2)]
        assert len({digest(one=one, **files), *found}) == 3, name


def test_a_module_counts_whole_where_it_is_entered_or_used_as_an_object(digest: Digest) -> None:
    assert digest(one="A = 1\n_B = 2\n") != digest(one="A = 1\n_B = 3\n")
    one = "from m3h_pipeline import two\n\ndef f(name):\n    return getattr(two, name)\n"
    assert digest(one=one, two=TWO) != digest(one=one, two=TWO.replace("2", "3"))


def test_what_runs_as_a_program_only_does_not_count(digest: Digest) -> None:
    program = "if __name__ == '__main__':\n    print(1)\n"
    assert digest(one="A = 1\n" + program) == digest(one="A = 1\n")


def test_names_count_as_what_they_are_bound_to(digest: Digest) -> None:
    """Two functions of one name and text that use others are two."""
    two = "from m3h_pipeline.{} import parse\n\ndef load(x):\n    return parse(x)\n"
    files = {
        "left": "def parse(x):\n    return x\n",
        "right": "def parse(x):\n    return -x\n",
        "two": two.format("left"),
        "three": two.format("right"),
    }
    one = "from m3h_pipeline.two import load\nfrom m3h_pipeline.three import load as other\n"
    base = digest(one=one + "def f(x):\n    return load(x) - other(x)\n", **files)
    assert digest(one=one + "def f(x):\n    return other(x) - load(x)\n", **files) != base


def test_equal_definitions_in_two_modules_are_one(digest: Digest) -> None:
    text = "def parse(x):\n    return x\n"
    one = (
        "from m3h_pipeline.two import parse\nfrom m3h_pipeline.{} import parse as p\n"
        "def f(x):\n    return parse(p(x))\n"
    )
    assert digest(one=one.format("three"), two=text, three=text) == digest(one=one.format("two"), two=text)


def test_definitions_may_use_each_other(digest: Digest) -> None:
    even = "def even(n):\n    return n == 0 or odd(n - 1)\n"
    odd = "def odd(n):\n    return n != 0 and even(n - 1)\n"
    one = "from m3h_pipeline.{} import even\n"
    base = digest(one=one.format("two"), two=even + odd)
    assert digest(one=one.format("three"), three=odd + even) == base
    assert digest(one=one.format("two"), two=even + odd.replace("!=", ">")) != base
    tree = "class Tree:\n    def grown(self) -> Tree:\n        return Tree()\n"
    assert digest(one=tree) != digest(one=tree.replace("grown", "grow"))


def test_a_variable_hides_a_definition(digest: Digest) -> None:
    two = "style = {}\n"
    for body in (
        "def f(style):\n    return style\n",
        "def f():\n    style = 1\n    return style\n",
        "f = lambda style: style\n",
        "def f(x):\n    return [style for style in x]\n",
        "def f(x):\n    with x as style:\n        return style\n",
        "def f(x):\n    match x:\n        case [style]:\n            return style\n",
        "def f(x):\n    if (style := x):\n        return style\n",
    ):
        one = "from m3h_pipeline.two import style\n" + body + "\ndef g(): return 1\n"
        # The unused import is passed on: of a module that is entered, it counts. In a function it does not.
        inner = "m3h_pipeline.mid"
        files = {"mid": one, "one": f"from {inner} import f\n"}
        assert digest(two=two.format(1), **files) == digest(two=two.format(2), **files), body
    seen = {
        "mid": "from m3h_pipeline.two import style\ndef f(x):\n    global style\n    style = x\n",
        "one": "from m3h_pipeline.mid import f\ndef h(x):\n    return [style for y in f(x)]\n",
    }
    assert digest(two=two.format(1), **seen) == digest(two=two.format(2), **seen)
    reads = {"one": "from m3h_pipeline.two import style\ndef f(x):\n    return [style for y in x]\n"}
    assert digest(two=two.format(1), **reads) != digest(two=two.format(2), **reads)


def test_a_module_named_in_a_text_counts_by_what_it_says(digest: Digest) -> None:
    one = "from importlib import import_module\n\ndef f():\n    return import_module('m3h_pipeline.{}')\n"
    base = digest(one=one.format("two"), two=TWO)
    assert digest(one=one.format("room.three"), room__three=TWO) == base
    assert digest(one=one.format("two"), two=TWO.replace("2", "3")) != base
    # In a sentence, where it stands does not count, and what it says neither.
    said = "def f():\n    return 'see m3h_pipeline.{}.VALUE.'\n"
    base = digest(one=said.format("two"), two=TWO)
    assert digest(one=said.format("room.three"), room__three=TWO.replace("2", "3")) == base
    assert digest(one=said.format("two").replace("see", "saw"), two=TWO) != base
    # A text that names nothing is a text.
    assert digest(one=one.format("nowhere"), two=TWO) != digest(one=one.format("elsewhere"), two=TWO)


def test_modules_named_by_a_pattern_all_count(digest: Digest) -> None:
    one = "import importlib\n\ndef f(n):\n    return importlib.import_module(f'm3h_pipeline.{}.{{n}}')\n"
    base = digest(one=one.format("room"), room__two=TWO, room__three="A = 1\n")
    assert digest(one=one.format("hall"), hall__two=TWO, hall__three="A = 1\n") == base
    assert digest(one=one.format("room"), room__two=TWO, room__three="A = 2\n") != base


def test_a_decorator_that_enters_a_definition_somewhere_counts_on_import(digest: Digest) -> None:
    two = "KNOWN = []\n\ndef known(f):\n    KNOWN.append(f)\n    return f\n\ndef look():\n    return KNOWN\n"
    one = "from m3h_pipeline.two import look\nfrom m3h_pipeline import three\n\nA = three.A\n"
    three = "from m3h_pipeline.two import known\nA = 1\n\n{}\ndef g():\n    return {}\n"
    assert digest(one=one, two=two, three=three.format("@known", 1)) != digest(
        one=one, two=two, three=three.format("@known", 2)
    )
    cached = "from functools import cache\n" + three
    assert digest(one=one, two=two, three=cached.format("@cache", 1)) == digest(
        one=one, two=two, three=cached.format("@cache", 2)
    )


def test_messages_and_progress_count_by_name_alone(digest: Digest) -> None:
    one = "from m3h_pipeline.errors import Wrong, Worse\n\ndef f():\n    raise {}()\n"
    errors = "class Wrong(Exception):\n    shown = {}\n\nclass Worse(Wrong):\n    pass\n"
    base = digest(one=one.format("Wrong"), errors=errors.format(1))
    assert digest(one=one.format("Wrong"), errors=errors.format(2)) == base
    assert digest(one=one.format("Worse"), errors=errors.format(1)) != base


SECTIONS = '''
from pydantic import BaseModel, Field, model_validator
from m3h_pipeline.base import Section

class Inner(Section):
    size: int = Field(default=3, description="so many")

    @property
    def double(self):
        return self.size * FACTOR

class Outer(Section):
    """Help."""

    inner: Inner = Field(default=Inner(), description="inside")

    @property
    def resolved(self):
        return self.inner or Inner()

    @model_validator(mode="after")
    def _fits(self):
        if self.inner.size > MOST:
            raise ValueError
        return self

MOST = 8
FACTOR = 2
UNUSED = 4
'''
BASE = "from pydantic import BaseModel\n\nclass Section(BaseModel):\n    pass\n"
RECEIVES = (
    "from m3h_pipeline.sections import Outer\n\ndef f(settings: Outer):\n    return settings.inner.double\n"
)
MAKES = "from m3h_pipeline.sections import Outer\n\ndef f():\n    return Outer()\n"

CHANGES = {
    "a field is added": ("    size: int", "    more: int = 1\n    size: int", False, True),
    "a default": ("default=3", "default=4", False, True),
    "a description": ("so many", "as many", False, False),
    "help": ("Help.", "Better help.", False, False),
    "a property": ("self.size *", "1 + self.size *", True, True),
    "what a property uses": ("FACTOR = 2", "FACTOR = 3", True, True),
    "a validator": ("> MOST", ">= MOST", True, True),
    "what a validator uses": ("MOST = 8", "MOST = 9", True, True),
    "a constant that nothing uses": ("UNUSED = 4", "UNUSED = 5", False, False),
    "a field of a section that does nothing": (
        "class Outer(Section):",
        "class Plain(Section):\n    x: int = 1\n\nclass Outer(Section):\n    plain: Plain = Plain()\n",
        False,
        True,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_of_a_section_that_is_received_what_it_does_counts(change: str, digest: Digest) -> None:
    old, new, received, made = CHANGES[change]
    assert SECTIONS.count(old) == 1
    for one, counts in ((RECEIVES, received), (MAKES, made)):
        before = digest(one=one, sections=SECTIONS, base=BASE)
        after = digest(one=one, sections=SECTIONS.replace(old, new), base=BASE)
        assert (before != after) == counts, one


def test_a_section_asked_for_as_a_type_is_received(digest: Digest) -> None:
    one = "from m3h_pipeline.sections import Inner\n\ndef f(x):\n    return isinstance(x, Inner)\n"
    changed = SECTIONS.replace("default=3", "default=4")
    assert digest(one=one, sections=SECTIONS, base=BASE) == digest(one=one, sections=changed, base=BASE)
    alias = "Either = Inner | Outer\n"
    one = "from m3h_pipeline.sections import Either\n\ndef f(x: Either):\n    return x\n"
    assert digest(one=one, sections=SECTIONS + alias, base=BASE) == digest(
        one=one, sections=changed + alias, base=BASE
    )
    changed = SECTIONS.replace("self.size *", "1 + self.size *")
    assert digest(one=one, sections=SECTIONS + alias, base=BASE) != digest(
        one=one, sections=changed + alias, base=BASE
    )


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        code_digest("m3h_pipeline.nowhere")
