"""Code of the user's own: found in the working directory, and never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from m3h_pipeline.dotted import call, locate, source_digest, untrusted
from m3h_pipeline.errors import ConfigError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that Python does not look into, as where a console script starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_of_the_working_directory_is_found(here: Path) -> None:
    (here / "of_my_own.py").write_text("from beside import VALUE\n\n\ndef double(x):\n    return VALUE * x\n")
    (here / "beside.py").write_text("VALUE = 2\n")
    assert call("of_my_own.double", 4) == call("of_my_own:double", 4) == 8


def test_nothing_there_takes_the_place_of_an_installed_package(here: Path) -> None:
    (here / "pyarrow.py").write_text("schema = None\n")
    assert locate("pyarrow.schema") is not None


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("", "of_my_own.Absent", "has no `Absent`"),
        ("class Encoder: pass", "of_my_own.Encodre", "did you mean `Encoder`"),
        ("import no_such_package", "of_my_own.x", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def f(:", "of_my_own.f", "SyntaxError"),
        ("raise ValueError('no data')", "of_my_own.f", "ValueError: no data"),
        ("", "of_my_own.missing.f", "cannot be imported"),
        ("", ".f", "cannot be imported"),
    ],
)
def test_what_cannot_be_imported_is_explained(here: Path, text: str, path: str, message: str) -> None:
    (here / "of_my_own.py").write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        locate(path)
    assert message in str(caught.value)


def test_a_function_that_fails_is_named(here: Path) -> None:
    (here / "of_my_own.py").write_text("def f(x):\n    return x['absent']\n")
    with pytest.raises(ConfigError, match="it fails: KeyError: 'absent'") as caught:
        call("of_my_own.f", {})
    assert caught.value.where == "of_my_own.f"


def test_the_digest_is_that_of_the_file_that_defines_it(here: Path) -> None:
    (here / "of_my_own.py").write_text("from beside import f\n")
    (here / "beside.py").write_text("def f():\n    return 1\n")
    first = source_digest("of_my_own.f")
    assert first == source_digest("beside.f")
    (here / "beside.py").write_text("def f():\n    return 2\n")
    assert source_digest("of_my_own.f") != first


def test_what_a_stranger_names_is_not_imported(here: Path) -> None:
    (here / "harmful.py").write_text("open('ran', 'w').close()\n\n\ndef metric():\n    return 1\n")
    for use in (locate, call, source_digest):
        with untrusted(), pytest.raises(ConfigError, match="not imported") as caught:
            use("harmful.metric")
        assert "--trust" in str(caught.value)
    assert not (here / "ran").exists()
    assert call("harmful.metric") == 1
    assert (here / "ran").exists()
