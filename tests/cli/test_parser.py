"""The command line's help, and what it says of a slip."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.cli.parser import EXITS, PEOPLE
from tests.conftest import ROOT


def stopped(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_help_shows_peoples_verbs_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("--help") == 0
    people, stages = capsys.readouterr().out.split("stages of a study")
    shown = re.findall(r"^  ([a-z-]+)(?: |$)", people.partition("verbs:")[2], flags=re.MULTILINE)
    assert "check" in shown
    assert shown == [name for name in PEOPLE if name in shown]
    assert re.search(r"^  train-pack ", stages, flags=re.MULTILINE)
    assert not re.search(r"^  check ", stages, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "m3h: error: there is no verb `chek`; did you mean `check`?"),
        (["frobnicate"], "there is no verb `frobnicate`; `m3h --help` lists them"),
        ([], "m3h: error: say what to do: `m3h --help` lists the verbs"),
        (["--versoin"], "m3h: error: there is no option `--versoin`; did you mean `--version`?"),
        (["check", "--log", "x"], "`--log` stands before the verb: `m3h --log FILE VERB ...`"),
        (["--qiet", "check"], "m3h: error: there is no option `--qiet`; did you mean `--quiet`?"),
        (["check", "--configfle", "x"], "there is no option `--configfle`; did you mean `--configfile`?"),
        # The required option that is absent is the same slip.
        (["record", "--study", "x", "--otput=y"], "there is no option `--otput`; did you mean `--output`?"),
        (["check", "study.yaml", "other.yaml"], "`other.yaml` is one argument too many"),
        (["completion", "fish"], "invalid choice: 'fish' (choose from 'bash', 'zsh')"),
    ],
)
def test_a_slip_is_understood(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped(*arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("colours", "words"), [("1", ["--nocolor"]), ("", [])])
def test_a_run_without_colours(colours: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setenv("NO_COLOR", colours)
    monkeypatch.setattr("os.execve", lambda _, words, __: called.extend(words))
    assert main(["run", "config/config.yaml", "--cores", "1"]) == 0
    assert [word for word in called if "color" in word] == words


def test_the_study_is_named_with_or_without_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["absent.yaml"], ["--configfile", "absent.yaml"]):
        assert main(["check", *words]) == 2
        assert "where: absent.yaml" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("--version") == 0
    assert capsys.readouterr().out == f"m3h {version('m3h-pipeline')}\n"


@pytest.mark.parametrize("before", [True, False])
def test_quiet_leaves_errors(before: bool, capsys: pytest.CaptureFixture[str]) -> None:
    verb = ["check", "--configfile", "absent.yaml"]
    assert main(["--quiet", *verb] if before else [*verb, "--quiet"]) == 2
    assert "absent.yaml" in capsys.readouterr().err


def test_quiet_takes_notes_to_the_log_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text("id,name\n")
    log = tmp_path / "log.txt"
    files = [f"--{name}={tmp_path / name}" for name in ("list", "clinical", "output")]
    assert main(["--log", str(log), "--quiet", "task-list", *files]) == 2
    assert log.read_text() == capsys.readouterr().err


def test_the_page_lists_every_verb_of_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert stopped("--help") == 0
    shown = capsys.readouterr().out.partition("verbs:")[2].partition("stages of a study")[0]
    verbs = re.findall(r"^  ([a-z-]+)(?: |$)", shown, flags=re.MULTILINE)
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `m3h ([a-z-]+)", page, flags=re.MULTILINE)
    assert sorted(listed) == sorted(verbs)


def test_the_page_lists_every_exit_status() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE) == [str(status) for status in EXITS]
