"""A copy of the project with a small finished study, and what a change to it runs again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tests.conftest import ROOT

TASKS = ["chronic_kidney_disease", "heart_failure", "length_of_stay", "mortality_48h"]
RESULTS = Path("results/small")

STUDY: dict[str, Any] = {
    "study": "small",
    "data": "data",
    "source": {"kind": "haim", "table": "table.csv", "key_ids": "keys.csv", "hosp": "hosp"},
    "modalities": {
        "tabular": {"sources": ["demographics"]},
        "time_series": {"sources": ["ts_lab"]},
    },
    "tasks": {"definitions": ["resources/tasks/m3h.yaml"], "include": TASKS, "min_per_fold": 2},
    "split": {"folds": 2, "stratify_by": ["mortality_48h"]},
    "model": {"encoder": [8], "projection": 8, "shared": [8], "task": [8], "decoder": [8]},
    "training": {"epochs": 1, "batch_sizes": [64], "learning_rates": [1e-3, 3e-3]},
    # Of two folds of few patients nothing exceeds its error; which fits are trained depends on no score.
    "search": {
        "max_size": 2,
        "combinations_per_job": 3,
        "beam": 2,
        "standard_errors": 0.0,
        "halving": False,
    },
    "tim": {"replicates": 1, "draws": 20, "controls": 0},
    "evaluation": {"replicates": 1, "draws": 20, "baselines": ["linear"]},
    "figures": {"formats": ["svg"]},
}


def copy_project(folder: Path) -> None:
    """What a clone holds: package, workflow, definitions, configurations."""
    for name in ("m3h_pipeline", "workflow", "resources", "config"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), symlinks=True
        )


def write_inputs(folder: Path, samples: int = 300) -> None:
    """HAIM-format files of a synthetic cohort under ``data/``."""
    from m3h_pipeline.cohort.synthetic.simulate import haim_source, simulate
    from m3h_pipeline.config import SyntheticSource

    made = folder / "data"
    source = SyntheticSource(samples=samples)
    simulate(source, 7, made)
    written = haim_source(source, made)
    Path(written.table).rename(made / "table.csv")
    Path(written.key_ids).rename(made / "keys.csv")
    assert written.hosp is not None
    assert Path(written.hosp) == made / "hosp"


def write_study(folder: Path, study: dict[str, Any]) -> None:
    (folder / "study.yaml").write_text("# A small study.\n" + yaml.safe_dump(study, sort_keys=False))


@dataclass(frozen=True)
class Fit:
    """A fit in the store, named for people."""

    combination: str
    fold: int
    replicate: int
    learning_rate: float


@dataclass
class Outcome:
    """What a call of Snakemake did."""

    status: int
    output: str
    jobs: set[str] = field(default_factory=set)
    fits: list[Fit] = field(default_factory=list)


class Project:
    """A copy of the project in a folder.

    Args:
        folder: the copy.
        programs: folder for the front of ``PATH``.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs

    def copied_to(self, folder: Path) -> Project:
        """A copy of the copy, times preserved; blocks are shared where the file system can."""
        subprocess.run(["cp", "-a", "--reflink=auto", str(self.folder), str(folder)], check=True)
        return Project(folder, self.programs)

    def environment(self) -> dict[str, str]:
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(self.folder),
            # What Python compiles of the copy is kept there, and copied with it.
            "PYTHONDONTWRITEBYTECODE": "",
            "OMP_NUM_THREADS": "1",
        }

    def snakemake(self, *arguments: str, configfile: str = "study.yaml") -> Outcome:
        """Run the study; say which jobs ran and which fits were trained."""
        before = self.store()
        command = ["snakemake", "--cores", "2", "--configfile", configfile, "--nocolor", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        after = self.store()
        fits = sorted((fit for key, fit in after.items() if key not in before), key=repr)
        return Outcome(done.returncode, done.stdout, set(ran(done.stdout)), fits)

    def store(self) -> dict[str, Fit]:
        """Every fit in the store, by key."""
        columns = ["fit_key", "combination", "fold", "replicate", "learning_rate"]
        fits = {}
        for path in (self.folder / RESULTS / "search/store").glob("*.parquet"):
            for row in pq.read_table(path, columns=columns).to_pylist():
                key = row.pop("fit_key")
                fits[key] = Fit(**row)
        return fits

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace the only occurrence of a text in a file."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def configure(self, key: str, value: Any) -> None:
        """Set one key of the study, ``section.key``."""
        study = yaml.safe_load((self.folder / "study.yaml").read_text())
        place = study
        *sections, last = key.split(".")
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        write_study(self.folder, study)


_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?: +.*\n)*)", flags=re.MULTILINE)


def ran(output: str) -> Iterable[str]:
    """The jobs that Snakemake started: ``rule`` or ``rule(wildcards)``; targets that run nothing left out."""
    for name, body in _JOB.findall(output):
        if name not in {"all", "figures"}:
            wildcards = re.search(r"^ +wildcards: (.*)$", body, flags=re.MULTILINE)
            values = [part.split("=")[1] for part in wildcards[1].split(", ")] if wildcards else []
            yield f"{name}({' '.join(values)})" if values else name
