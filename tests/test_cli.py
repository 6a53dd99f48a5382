"""The command line: settings from a file, and messages instead of tracebacks."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from m3h_pipeline import cli
from m3h_pipeline.cli import main
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.files import read_table
from tests.conftest import ROOT

SIMULATED = {
    "seed": 3,
    "source": {"kind": "synthetic", "samples": 200, "tasks": "default"},
}


def _simulate(settings: str, out: Path) -> int:
    return main(["simulate", "--settings", settings, "--output", str(out)])


def test_settings_come_from_a_file_too(tmp_path: Path) -> None:
    text = json.dumps(SIMULATED)
    file = tmp_path / "settings.json"
    file.write_text(text)
    assert _simulate(text, tmp_path / "given") == 0
    assert _simulate(f"@{file}", tmp_path / "read") == 0
    given, read = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "given", tmp_path / "read")
    )
    assert given
    assert given == read


@pytest.mark.parametrize(("content", "said"), [(None, "cannot read"), (b"\xff\xfe", "is not UTF-8")])
def test_a_settings_file_that_cannot_be_read_is_named(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        _simulate(f"@{file}", tmp_path / "out")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "--settings" in message
    assert said in message
    assert str(file) in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "`source` is missing"),
        ('{"source": {}}', "`source.kind` is missing"),
        ('{"source": {"kind": "heim"}}', "`source.kind` is `heim`; did you mean `haim`?"),
        ('{"source": {"kind": "haim", "tabel": "x.csv"}}', "unknown key `tabel`"),
    ],
)
def test_settings_that_are_wrong_get_a_message(
    settings: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ingest", "--settings", settings, "--sources", "tab", "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("m3h ingest: ")
    assert said in message
    assert not (tmp_path / "out").exists()


def test_a_log_has_what_the_screen_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs/merge.log"
    missing = str(tmp_path / "none.parquet")
    arguments = ["--log", str(log), "merge-scores", "--output", str(tmp_path / "out.parquet")]
    assert main([*arguments, "--scores", missing]) == 2
    assert log.read_text() == capsys.readouterr().err
    assert missing in log.read_text()
    assert main(arguments) == 0
    assert read_table(tmp_path / "out.parquet", SCORES).num_rows == 0
    assert log.read_text() == ""


def test_a_reader_that_has_enough_is_no_error() -> None:
    verb = "main(['check', '--config', 'source={samples: 300}'])"
    program = f"import sys; from m3h_pipeline.cli import main; sys.exit({verb})"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -n 1"
    done = subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.stdout.startswith("configuration: default")
    assert "Error" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_messages_take_lines_as_a_stream_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`m3h predict` writes its remarks so."""
    messages = cli._Messages(tmp_path / "predict.log")
    try:
        sys.stderr.writelines(f"{n} samples\n" for n in (1, 2))
    finally:
        messages.restore()
    assert (tmp_path / "predict.log").read_text() == capsys.readouterr().err == "1 samples\n2 samples\n"


def test_a_disk_that_is_full_loses_the_log_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["merge-scores", "--output", str(tmp_path / "out.parquet")]
    assert main(["--log", "/dev/full", *arguments, "--scores", "none"]) == 2
    said = capsys.readouterr().err
    assert "the log /dev/full ends here: No space left on device" in said
    assert "none" in said
    assert main(["--log", "/dev/full", *arguments]) == 0
    assert (tmp_path / "out.parquet").exists()
