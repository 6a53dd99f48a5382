"""What the shells offer, asked of the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from m3h_pipeline.cli import main

_ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
$(complete -p m3h | sed -n 's/.*-F \\([^ ]*\\) m3h/\\1/p')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    with pytest.MonkeyPatch.context() as patch, (folder / "bash").open("w") as file:
        patch.setattr("sys.stdout", file)
        assert main(["completion", "bash"]) == 0
    return folder / "bash"


def offered(script: Path, *words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", _ASK, "ask", str(script), "m3h", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_offers_verbs_options_and_values(script: Path) -> None:
    assert {"check", "verify", "train-pack", "--version"} <= set(offered(script, ""))
    assert offered(script, "ver") == ["verify"]
    assert offered(script, "--log", "x.log", "ver") == ["verify"]
    assert offered(script, "check", "--conf") == ["--configfile", "--config"]
    assert offered(script, "--quiet", "check", "--configf") == ["--configfile"]
    assert offered(script, "completion", "") == ["bash", "zsh"]
    # Names of files are bash's own matter.
    assert offered(script, "check", "--configfile", "") == []
    assert offered(script, "--log", "") == []


def test_zsh_reads_its_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", "zsh"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("#compdef m3h\n")
    assert "'check:validate a study before anything is trained'" in text
    assert "'--configfile[" in text
    if zsh := shutil.which("zsh"):
        (tmp_path / "_m3h").write_text(text)
        subprocess.run([zsh, "-n", str(tmp_path / "_m3h")], check=True)
