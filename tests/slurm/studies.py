"""Studies that the cluster tests run, and the comparison of two runs of one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parents[2]

#: Seconds a whole Snakemake call may take.
LIMIT = int(os.environ.get("M3H_SLURM_TEST_SECONDS", "1500"))

#: A study of all four problem classes that is done in a minute or two; several packs in every round.
SMALL: dict[str, Any] = {
    "study": "small",
    "source": {
        "kind": "synthetic",
        "samples": 500,
        "widths": {
            "demographics": 6,
            "vision_dense": 8,
            "vision_probabilities": 18,
            "vision_dense_multi": 8,
            "vision_probabilities_multi": 18,
            "ts_chart": 9,
            "ts_lab": 11,
            "ts_procedure": 10,
            "note_ecg": 8,
            "note_echo": 8,
            "note_radiology": 8,
        },
    },
    "modalities": {
        "tabular": {"sources": ["demographics"]},
        "time_series": {"sources": ["ts_chart", "ts_lab", "ts_procedure"]},
        "vision": {"sources": ["vision_dense", "vision_probabilities"]},
    },
    "tasks": {
        "include": ["heart_failure", "copd", "length_of_stay", "thoracic_pathology", "phenotype"],
        "min_per_fold": 2,
    },
    "split": {"folds": 2},
    "model": {"encoder": [16], "projection": 8, "shared": [16], "task": [16], "decoder": [16]},
    "training": {"epochs": 2, "batch_sizes": [64], "learning_rates": [1e-3]},
    "compute": {"stack": 8, "device": "cpu"},
    "search": {"beam": 1, "max_size": 2, "combinations_per_job": 4},
    "tim": {"replicates": 2, "draws": 50},
    "evaluation": {"replicates": 2, "draws": 50, "baselines": ["linear"]},
    "figures": {"map_samples": 200},
}


@dataclass(frozen=True)
class Run:
    """A finished Snakemake call."""

    folder: Path
    output: str
    status: int

    def results(self, study: str) -> Path:
        return self.folder / "results" / study


def write_study(path: Path, base: Mapping[str, Any], **sections: Mapping[str, Any] | str) -> Path:
    """Write a study with some sections changed."""
    study = json.loads(json.dumps(base))
    for name, change in sections.items():
        study[name] = change if isinstance(change, str) else {**study.get(name, {}), **change}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(study))
    return path


def prepare(folder: Path) -> Path:
    """A working folder that sees the project through links."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config", "resources", "workflow", "slurm"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


def command(*arguments: str) -> list[str]:
    """A Snakemake command line."""
    return [sys.executable, "-m", "snakemake", *arguments]


def with_project(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which jobs find this copy of the package and its programs, on one thread."""
    programs = Path(sys.executable).parent
    first, _, rest = environment["PATH"].partition(os.pathsep)
    return {
        **environment,
        # A cluster's own programs come before the others.
        "PATH": os.pathsep.join([first, str(programs), rest]),
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT), str(ROOT / "tests/slurm/quick"), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "OMP_NUM_THREADS": "1",
    }


def snakemake(folder: Path, environment: Mapping[str, str], *arguments: str, limit: float = LIMIT) -> Run:
    """Call Snakemake in a folder; it is interrupted after ``limit`` seconds."""
    prepare(folder)
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=with_project(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
        check=False,
    )
    return Run(folder, done.stdout, done.returncode)


# Times of the clock: they differ between two runs of the same thing, and nothing follows from them.
_CLOCK = {"seconds"}
#: Not compared: logs, times, the ledger, whose files are named by times, the store, whose segments are
#: whatever stacks were finished together, and record and report, which tell of files with times in them.
_ELSEWHERE = ("logs/", "benchmarks/", "search/store/", "provenance.json", "report.html", "ledger/")


def files(results: Path) -> dict[str, Path]:
    """Every file of a study's results that two runs should agree on."""
    found = {str(path.relative_to(results)): path for path in sorted(results.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if not name.startswith(_ELSEWHERE)}


def differences(a: Path, b: Path, tolerance: float = 0.0) -> list[str]:
    """In which files two runs of a study differ, and how; empty: in none.

    Args:
        a, b: folders of results.
        tolerance: largest difference of two numbers that counts as rounding; 0: identical, byte by byte where
            a file has no times in it. Above 0 only tables are compared, and of a fit's key nothing.
    """
    mine, other = files(a), files(b)
    found = [f"{name}: only in one" for name in sorted(mine.keys() ^ other.keys()) if tolerance == 0]
    for name in sorted(mine.keys() & other.keys()):
        left, right = mine[name], other[name]
        if left.read_bytes() == right.read_bytes():
            continue
        if name.endswith(".parquet"):
            found += [f"{name}: {text}" for text in _tables(left, right, tolerance)]
        elif tolerance == 0:
            found.append(f"{name}: other content")
    return found


def _tables(left: Path, right: Path, tolerance: float) -> list[str]:
    a, b = pq.read_table(left), pq.read_table(right)
    if a.column_names != b.column_names or a.num_rows != b.num_rows:
        return [f"{a.num_rows} x {a.column_names} against {b.num_rows} x {b.column_names}"]
    found = []
    for name in a.column_names:
        if name in _CLOCK or (tolerance and name == "fit_key"):
            continue
        x, y = a[name].to_pandas(), b[name].to_pandas()
        if tolerance and pd.api.types.is_float_dtype(x):
            worst = float(np.nanmax(np.abs(x - y), initial=0.0))
            if worst > tolerance or (x.isna() != y.isna()).any():
                found.append(f"column `{name}` differs by up to {worst:.3g}")
        elif a[name] != b[name]:
            found.append(f"column `{name}` differs")
    return found


def figures(results: Path) -> dict[str, str]:
    """Digest of every figure's file."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((results / "figures").iterdir())
    }


def store(results: Path) -> dict[str, tuple[int, str]]:
    """Every segment of the store of finished fits: when it was written, and what it holds."""
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted((results / "search/store").glob("*.parquet"))
    }
