"""Every mutant can still be made. Trying them takes minutes: ``make mutants``."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.mutants.table import Mutant, read_mutants

MUTANTS = read_mutants()


def test_every_mutant_applies_once_and_has_its_tests() -> None:
    for mutant in MUTANTS:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert mutant.applied(text) != text, mutant.decides
        for test in mutant.tests:
            assert (ROOT / test.partition("::")[0]).exists(), (mutant.decides, test)


def test_no_mutant_stands_twice() -> None:
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.decides for mutant in MUTANTS}) == len(MUTANTS)


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 47


def test_a_text_that_is_gone_or_stands_twice_is_refused() -> None:
    mutant = Mutant("a sum", "one.py", "a + b", "a - b", ("tests",))
    assert mutant.applied("x = a + b") == "x = a - b"
    for text in ("x = a * b", "x = a + b\ny = a + b"):
        with pytest.raises(ValueError, match=r"a sum"):
            mutant.applied(text)
