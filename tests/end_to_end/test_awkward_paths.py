"""Names that a shell, Snakemake or the command line would take for something else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.bad_input_study import write_study
from tests.end_to_end.conftest import snakemake

#: Of results: what a shell expands, splits or runs.
RESULTS = """it's "x$(touch pwned)" `touch pwned` & a;b | c > d * ? [e] #f \\ %g é"""
#: Of inputs: the same, what Snakemake fills in, and a line break.
DATA = RESULTS + " {1} {sample} {{x}} \n -z"

SMALL: dict[str, Any] = {
    "model": {"encoder": [8], "projection": 8, "shared": [8], "task": [8], "decoder": [8]},
    "training": {"epochs": 1, "batch_sizes": [64], "learning_rates": [1e-3]},
    "search": {"max_size": 1},
    "tim": {"replicates": 1, "draws": 20},
    "evaluation": {"replicates": 1, "draws": 20, "baselines": ["linear"]},
    "figures": {"formats": ["svg"]},
}


@pytest.mark.study
def test_a_study_among_awkward_names(tmp_path: Path, programs: Path) -> None:
    inner = tmp_path / "a 'b' $(touch pwned)"
    inner.mkdir()
    study = write_study(inner / DATA) | SMALL
    study |= {"data": DATA, "results": RESULTS}
    study["tasks"]["definitions"] = [f"{DATA}/tasks.yaml"]
    (inner / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(inner, "--cores", "2", "--configfile", "study.yaml", programs=programs)
    assert run.status == 0, run.output[-6000:]
    assert (inner / RESULTS / "small/provenance.json").is_file()
    assert not list(tmp_path.rglob("pwned"))
    # Copied as by `cp -r`, file by file and with new times, it has nothing to do.
    shutil.copytree(inner, tmp_path / "copy", copy_function=shutil.copyfile, symlinks=True)
    again = snakemake(tmp_path / "copy", "--dry-run", "--configfile", "study.yaml", programs=programs)
    assert "Nothing to be done" in again.output, again.output[-6000:]
