"""The README's code blocks work: commands run (long ones as dry runs), YAML validates."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from m3h_pipeline.config import Study, validate
from m3h_pipeline.tasks.definitions import load_definitions
from tests.conftest import ROOT
from tests.end_to_end.conftest import environment

BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for language, text in BLOCKS
    if language == "bash"
    for line in text.splitlines()
    if line.strip()
]


#: Studies of files that are not in the project, and some of those files.
NOT_HERE = {
    "haim_mimic_mm": ["data/haim-mimic-mm/cxr_ic_fusion_1103.csv", "data/mimic-iv/hosp"],
    "mimic_demo": ["data/mimic-iv-demo/icu/chartevents.csv.gz"],
}


def test_there_are_blocks_to_run() -> None:
    assert {language for language, _ in BLOCKS} == {"bash", "yaml"}
    assert {"make study", "make test"} <= set(COMMANDS)


def _rehearsed(command: str) -> list[str]:
    """A command as it is run here: what would take long, or needs a cluster, is planned and not executed."""
    words = shlex.split(command)
    if words[0] == "make":
        return ["make", "--dry-run", *words[1:]]
    if words[0] == "snakemake":
        # A report needs finished results, a cluster its scheduler: both are tested elsewhere.
        words = [word for word in words if word not in {"--report", "snakemake-report.html"}]
        executor = ["--executor", "dryrun"] if "--profile" in words else []
        return [*words, "--dry-run", *executor]
    return words


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, tmp_path: Path, programs: Path) -> None:
    for name in ("config", "resources", "workflow", "slurm", "Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        _rehearsed(command),
        cwd=tmp_path,
        env=environment(programs),
        capture_output=True,
        text=True,
        check=False,
    )
    message = done.stdout + done.stderr
    assert "Traceback" not in message
    if wanted := [files for study, files in NOT_HERE.items() if study in command]:
        # Without them the command must say which one it wants.
        assert done.returncode != 0
        assert any(file in message for file in wanted[0])
    else:
        assert done.returncode == 0, message


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "yaml"])
def test_yaml(text: str, tmp_path: Path) -> None:
    kind = text.splitlines()[0]
    if kind == "# study":
        validate(Study, yaml.safe_load(text), "README.md")
    else:
        assert kind == "# tasks"
        path = tmp_path / "tasks.yaml"
        path.write_text(text)
        assert "sarcoidosis" in load_definitions([str(path)], "corrected")
