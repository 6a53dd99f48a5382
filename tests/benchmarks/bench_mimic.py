"""How fast and in how much memory a cohort is built from raw tables, beside pandas on a slice.

By default a fiftieth of that (600 stays, 1 M chart and 0.4 M lab events), which is what pandas gets, too.
``M3H_MIMIC_SCALE=1`` measures 30,000 stays with 50 M chart and 20 M lab events (8 GB of CSV).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import find_peaks

from m3h_pipeline.cohort.mimic.series import CHART
from m3h_pipeline.files import read_features
from tests.benchmarks.mimic_database import write_database

SCALE = float(os.environ.get("M3H_MIMIC_SCALE", "0.02"))
BUILD = """
import sys
from m3h_pipeline.cohort.mimic.ingest import ingest_mimic
from m3h_pipeline.config import MimicSource
names = ["demographics", "ts_chart", "ts_lab", "ts_procedure"]
ingest_mimic(MimicSource(folder=sys.argv[1], memory_gb=1.5), names, sys.argv[2])
"""
#: Stays that pandas computes the chart features of; its time is in proportion.
PANDAS_STAYS = 60
#: Most chart events that pandas is given.
SLICE = 1_000_000


def test_rows_per_second_and_memory(tmp_path: Path) -> None:
    stays, chart, lab = int(30_000 * SCALE), int(50_000_000 * SCALE), int(20_000_000 * SCALE)
    folder = Path(os.environ.get("M3H_MIMIC_DATABASE", tmp_path / "database"))
    if not folder.exists():
        write_database(folder, stays, chart, lab)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BUILD, str(folder), str(tmp_path / "cohort")], check=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    rate = (chart + lab) / seconds
    print(
        f"\n{stays:,} samples of {chart + lab:,} events in {seconds:.0f} s, {rate:,.0f} rows/s,"
        f" {peak:.2f} GB at most; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    assert peak < 4.0
    x, _ = read_features(tmp_path / "cohort/features/ts_chart.parquet")
    assert x.shape == (stays, 99)
    if chart <= SLICE:
        expected, rows, spent = _pandas(folder)
        print(f"pandas, chart events alone, of the same files: {rows / spent:,.0f} rows/s")
        np.testing.assert_allclose(x[: len(expected)], expected, rtol=1e-5, atol=1e-5)


def _pandas(folder: Path) -> tuple[np.ndarray, int, float]:
    """Chart features of the first stays from the first rows of the table, one stay and series at a time."""
    started = time.perf_counter()
    events = pd.read_csv(folder / "icu/chartevents.csv", parse_dates=["charttime", "storetime"], nrows=SLICE)
    items = pd.read_csv(folder / "icu/d_items.csv")
    stays = pd.read_csv(folder / "icu/icustays.csv", parse_dates=["intime"]).head(PANDAS_STAYS)
    read = time.perf_counter() - started
    started = time.perf_counter()
    events = events.merge(items, on="itemid")
    found = []
    for stay_id, moment in zip(stays.stay_id, stays.intime + pd.Timedelta(hours=48), strict=True):
        mine = events[events.stay_id == stay_id]
        mine = mine[(mine.charttime < moment) & (mine.storetime < moment)]
        mine = mine.sort_values(["charttime", "storetime", "itemid", "valuenum"])
        row: list[float] = []
        for label in CHART.series:
            y = mine.valuenum[mine.label == label].dropna()
            d = y.diff()
            if len(y) < 2:
                last = [0.0, 0.0, 0.0] if len(y) else [np.nan] * 3
                row += [y.max(), y.min(), y.mean(), *[np.nan] * 4, *last, np.nan]
                continue
            row += [
                y.max(),
                y.min(),
                y.mean(),
                y.var(),
                d.mean(),
                d.abs().mean(),
                d.abs().max(),
                d.abs().sum(),
            ]
            row += [y.iloc[-1] - y.iloc[0], len(find_peaks(y)[0]), np.polyfit(np.arange(len(y)), y, 1)[0]]
        found.append(row)
    # Reading is in proportion to the rows, the loop to the stays.
    per_stay = (time.perf_counter() - started) / len(stays)
    total = len(pd.unique(events.stay_id))
    return np.array(found), len(events), read + per_stay * total
