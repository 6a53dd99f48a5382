"""Ingestion at the published size against pandas: 45,050 rows of 6,405 fields, 3 GB of text.

Not part of the test suite (minutes, 5 GB of disk, 9 GB of memory for pandas). Run it on a machine that does
nothing else::

    pytest -o addopts= -s tests/benchmarks/bench_ingest.py

Both sides run in fresh processes, in turn (A B A B); each is timed from the call to its last byte, imports
that the call itself makes and its compilation included. The values are distinct, so that no side gains from a
dictionary; the last two lines are the published overlong ones.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.config.mimic import CHEXPERT

ROWS = int(os.environ.get("M3H_BENCH_ROWS", "45050"))
ROUNDS = int(os.environ.get("M3H_BENCH_ROUNDS", "2"))
WIDTHS = {
    "de_": 6,
    "vd_": 1024,
    "vp_": 18,
    "vmd_": 1024,
    "vmp_": 18,
    "ts_ce_": 99,
    "ts_le_": 242,
    "ts_pe_": 110,
    "n_ecg_": 768,
    "n_ech_": 768,
    "n_rad_": 768,
}
UNKNOWN = {"n_one_": 768, "n_two_": 768}
_PANDAS = """
import json, resource, sys, time
import pandas as pd
start, cpu = time.perf_counter(), time.process_time()
# The overlong lines would stop pandas.
pd.read_csv(sys.argv[1], on_bad_lines="skip").to_parquet(sys.argv[3])
"""
_OURS = """
import io, json, resource, sys, time
from m3h_pipeline.cohort.ingest import ingest
from m3h_pipeline.config import HaimSource
source = HaimSource(table=sys.argv[1], key_ids=sys.argv[2])
start, cpu = time.perf_counter(), time.process_time()
assert ingest(source, list(source.blocks), sys.argv[3], stream=io.StringIO())["ignored"]["malformed"] == 2
"""
_REPORT = """
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                  "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
"""


def write_published_size(folder: Path, rows: int) -> None:
    """A table of the published shape and its keys; rows are templates whose decimals are drawn anew."""
    header = (
        "haim_id,img_id,img_charttime,img_deltacharttime,discharge_location,img_length_of_stay,death_status"
    )
    for prefix, width in WIDTHS.items():
        header += "," + ",".join(f"{prefix}{i}" for i in range(width))
    header += f",split,{','.join(CHEXPERT)},PerformedProcedureStepDescription,ViewPosition"
    for prefix, width in UNKNOWN.items():
        header += "," + ",".join(f"{prefix}{i}" for i in range(width))
    if rows == 45050:
        assert header.count(",") + 1 == 6405
    rng = np.random.default_rng(0)
    templates = [_template(rng) for _ in range(16)]
    digits = rng.integers(ord("0"), ord("9") + 1, 1 << 24, dtype=np.uint8)
    stay = rng.permutation(rows) // 6
    with (folder / "table.csv").open("wb", buffering=4 << 20) as stream:
        stream.write(header.encode() + b"\n")
        for row in range(rows):
            text, places = templates[row % len(templates)]
            text = text.copy()
            first = int(rng.integers(len(digits) - len(places)))
            text[places] = digits[first : first + len(places)]
            front = (
                f"{stay[row]},{row},2150-01-01 00:00:00,{row % 900}.5,HOME,{row % 700}.25,0"
                f",{20 + row % 70}.0,{stay[row] % 2}.0"
            )
            stream.write(front.encode() + text.tobytes())
        overlong = b",0.0" * (header.count(",") + 768) + b"\n"
        stream.write(b"0" + overlong + b"1" + overlong)
    with (folder / "keys.csv").open("w") as keys:
        keys.write("subject_id,hadm_id,stay_id,haim_id\n")
        keys.writelines(
            f"{10**7 + h // 2},{2 * 10**7 + h},{3 * 10**7 + h},{h}\n" for h in range(rows // 6 + 1)
        )


def _template(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The text of a record behind its age and sex, and the places of its decimals."""
    parts: list[str] = []
    for prefix, width in (WIDTHS | UNKNOWN).items():
        x = rng.normal(size=width) * rng.choice([0.1, 1, 100], size=width)
        if prefix.startswith("ts_"):
            # Statistics of few measurements: doubles, often zero, now and then missing.
            texts = [repr(float(v)) for v in np.where(rng.random(width) < 0.4, 0.0, x)]
            texts = ["" if u < 0.05 else text for u, text in zip(rng.random(width), texts, strict=True)]
        else:
            texts = [f"{v:.9g}" for v in x.astype(np.float32).tolist()]
        if prefix == "n_one_":
            parts.append("train" + ",1.0,,-1.0,0.0" + "," * 10 + ",CHEST (PORTABLE AP),AP")
        parts.append(",".join(texts[2:] if prefix == "de_" else texts))
    text = np.frombuffer(("," + ",".join(parts) + "\n").encode(), dtype=np.uint8)
    behind = np.zeros(len(text), dtype=bool)
    inside = False
    for i, c in enumerate(text.tolist()):
        inside = c == ord(".") or (inside and ord("0") <= c <= ord("9"))
        # Zeros before the first digit that counts stay, or doubles would grow more digits than they have.
        behind[i] = inside and c != ord(".") and (c != ord("0") or behind[i - 1])
    return text, np.flatnonzero(behind)


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Path]:
    write_published_size(tmp_path, ROWS)
    yield tmp_path
    shutil.rmtree(tmp_path)


def measure(code: str, folder: Path) -> dict[str, float]:
    """Run one side in a process of its own."""
    target = folder / "out"
    command = [
        sys.executable,
        "-c",
        code + _REPORT,
        str(folder / "table.csv"),
        str(folder / "keys.csv"),
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_ingestion_is_three_times_as_fast_as_pandas(published: Path) -> None:
    size = (published / "table.csv").stat().st_size
    print(
        f"\n{ROWS:,} rows, {size / 1e9:.2f} GB, {len(os.sched_getaffinity(0))} cores, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    results: dict[str, list[dict[str, float]]] = {"ingest": [], "pandas": []}
    for _ in range(ROUNDS):
        for name, code in (("ingest", _OURS), ("pandas", _PANDAS)):
            results[name].append(measure(code, published))
            last = results[name][-1]
            print(f"{name}: {last['seconds']:.1f} s, {last['cpu']:.1f} CPU s, {last['mb']:,.0f} MB")
    seconds = {name: statistics.median(r["seconds"] for r in runs) for name, runs in results.items()}
    memory = {name: max(r["mb"] for r in runs) for name, runs in results.items()}
    for name in results:
        print(f"{name}: median {ROWS / seconds[name]:,.0f} rows/s, peak {memory[name]:,.0f} MB")
    print(f"ratio {seconds['pandas'] / seconds['ingest']:.2f}")
    assert memory["ingest"] < 1500
    assert seconds["pandas"] / seconds["ingest"] >= 3
