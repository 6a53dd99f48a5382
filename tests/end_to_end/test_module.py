"""The workflow as a module of another one, in a folder that holds nothing of this project."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.end_to_end.bad_input_study import write_study
from tests.end_to_end.conftest import environment

OUTER = """
configfile: "settings.yaml"


module m3h:
    snakefile:
        "{root}/workflow/Snakefile"
    config:
        config["m3h"]


use rule * from m3h as m3h_*


rule summary:
    default_target: True
    input:
        rules.m3h_all.input,
    output:
        "summary.txt",
    shell:
        "touch {{output}}"
"""


def _snakemake(
    programs: Path, folder: Path, study: dict[str, object], *arguments: str
) -> subprocess.CompletedProcess[str]:
    (folder / "Snakefile").write_text(OUTER.format(root=ROOT))
    (folder / "settings.yaml").write_text(yaml.safe_dump({"m3h": study}))
    return subprocess.run(
        ["snakemake", "--cores", "1", *arguments],
        cwd=folder,
        env=environment(programs),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_a_study_of_ones_own_definitions(tmp_path: Path, programs: Path) -> None:
    study = write_study(tmp_path)
    study |= {"data": ".", "results": "out/m3h", "tasks": {**study["tasks"], "definitions": ["tasks.yaml"]}}
    done = _snakemake(programs, tmp_path, study, "--dry-run")
    assert done.returncode == 0, done.stdout
    for expected in ("checkpoint m3h_plan_round", "out/m3h/small/split.parquet", "rule summary"):
        assert expected in done.stdout
    # Checkpoints and input functions resolve under their new names too: plan the first round for real.
    done = _snakemake(programs, tmp_path, study, "out/m3h/small/search/round_1/plan.json")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "out/m3h/small/search/round_1/plan.json").is_file()
    done = _snakemake(programs, tmp_path, study, "--dry-run")
    assert done.returncode == 0, done.stdout
    assert "rule m3h_train_pack" in done.stdout


def test_the_shipped_definitions_are_found(tmp_path: Path, programs: Path) -> None:
    study = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert not (tmp_path / "resources").exists()
    done = _snakemake(programs, tmp_path, study, "--dry-run")
    assert done.returncode == 0, done.stdout
    assert "results/default/labels/heart_failure.parquet" in done.stdout
