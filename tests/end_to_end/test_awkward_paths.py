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


@pytest.mark.study
def test_a_study_of_many_named_columns(tmp_path: Path, programs: Path) -> None:
    """Settings that no command line holds, in a job of the workflow; a dry run leaves nothing behind."""
    study = write_study(tmp_path) | SMALL
    names = [f"a gene with a long name {number:05d}" for number in range(5000)]
    with (tmp_path / "genes.csv").open("w") as file:
        file.write(",".join(["id", "days", *names]) + "\n")
        for row in range(20):
            file.write(",".join([f"s{row}", str(row % 7), *(str(row * n % 11) for n in range(5000))]) + "\n")
    criterion = {"kind": "number", "column": "days"}
    task = {"title": "Days", "department": "Ward", "class": "regression", "unit": "d", "criterion": criterion}
    (tmp_path / "days.yaml").write_text(yaml.safe_dump({"tasks": {"days": task}}))
    study |= {
        "data": ".",
        "source": {
            "kind": "table",
            "files": [{"path": "genes.csv", "id": "id"}],
            "blocks": {"genes": {"columns": names}},
            "columns": ["days"],
        },
        "modalities": {"expression": {"sources": ["genes"]}},
        "tasks": {"definitions": ["days.yaml"], "min_per_fold": 2},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    before = {path for path in tmp_path.rglob("*") if ".snakemake" not in path.parts}
    arguments = ["--cores", "1", "--configfile", "study.yaml", "--until", "ingest"]
    dry = snakemake(tmp_path, "--dry-run", *arguments, programs=programs)
    assert dry.status == 0, dry.output[-3000:]
    links = {tmp_path / name for name in ("config", "resources", "workflow", "slurm")}
    # Digests of the inputs are kept, so that they are read once.
    kept = {tmp_path / "results/small/logs/inputs.json"}
    after = {path for path in tmp_path.rglob("*") if ".snakemake" not in path.parts and path.is_file()}
    assert after - before - links <= kept
    run = snakemake(tmp_path, *arguments, programs=programs)
    assert run.status == 0, run.output[-3000:]
    (told,) = (tmp_path / "results/small/logs/settings").glob("ingest.*.json")
    assert told.stat().st_size > 131_072
    assert (tmp_path / "results/small/cohort/features/genes.parquet").is_file()
