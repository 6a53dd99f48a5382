"""A synthetic database in MIMIC-IV's format, of any size: for measurements, not for studies.

``python -m tests.benchmarks.mimic_database FOLDER --stays 30000 --chart 50000000 --lab 20000000``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from m3h_pipeline.cohort.mimic.series import CHART, LAB, PROCEDURE

#: Items beside those of the series, as most events of the real tables are.
_OTHERS = 12
_PIECE = 2_000_000
_EPOCH = pd.Timestamp("2150-01-01")


def write_database(folder: Path, stays: int, chart: int, lab: int, seed: int = 0) -> None:
    """Write ``hosp/`` and ``icu/`` as uncompressed CSV; a quarter of the chart events are of the series.

    Args:
        folder: where to.
        stays: ICU stays of three days, each of an admission and a patient of its own.
        chart, lab: number of events.
        seed: of everything random.
    """
    rng = np.random.default_rng(seed)
    for name in ("hosp", "icu"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    number = np.arange(stays)
    start = _EPOCH + pd.to_timedelta(rng.integers(0, 365 * 24 * 60, stays), unit="min")
    _small(
        folder / "icu/icustays.csv",
        subject_id=number + 10_000_000,
        hadm_id=number + 20_000_000,
        stay_id=number + 30_000_000,
        first_careunit="MICU",
        last_careunit="MICU",
        intime=start,
        outtime=start + pd.Timedelta(hours=72),
        los=3.0,
    )
    _small(
        folder / "hosp/admissions.csv",
        subject_id=number + 10_000_000,
        hadm_id=number + 20_000_000,
        admittime=start - pd.Timedelta(hours=3),
        dischtime=start + pd.Timedelta(hours=120),
        discharge_location=rng.choice(["HOME", "DIED", "REHAB"], stays),
        insurance="Medicare",
        language="ENGLISH",
        marital_status="MARRIED",
        race="WHITE",
    )
    _small(
        folder / "hosp/patients.csv",
        subject_id=number + 10_000_000,
        gender=rng.choice(["F", "M"], stays),
        anchor_age=rng.integers(18, 90, stays),
    )
    _small(
        folder / "hosp/diagnoses_icd.csv",
        subject_id=number + 10_000_000,
        hadm_id=number + 20_000_000,
        seq_num=1,
        icd_code=rng.choice(["I509", "A419", "J189"], stays),
        icd_version=10,
    )
    _small(folder / "hosp/d_icd_diagnoses.csv", icd_code=["I509"], icd_version=10, long_title="Heart failure")
    icu = [*CHART.series, *(f"Other {i}" for i in range(3 * len(CHART.series))), *PROCEDURE.series]
    _small(folder / "icu/d_items.csv", itemid=220_000 + np.arange(len(icu)), label=icu)
    hosp = [*LAB.series, *(f"Other {i}" for i in range(_OTHERS))]
    _small(
        folder / "hosp/d_labitems.csv",
        itemid=50_000 + np.arange(len(hosp)),
        label=hosp,
        fluid="Blood",
        category="Chemistry",
    )
    charted = len(icu) - len(PROCEDURE.series)
    _events(folder / "icu/chartevents.csv", _pieces(rng, start, chart, 220_000, charted, stay=True))
    _events(folder / "hosp/labevents.csv", _pieces(rng, start, lab, 50_000, len(hosp), stay=False))
    chosen = rng.integers(0, stays, 5 * stays)
    begun = start[chosen] + pd.to_timedelta(rng.integers(0, 72 * 60, 5 * stays), unit="min")
    lasted = rng.integers(1, 2000, 5 * stays)
    _small(
        folder / "icu/procedureevents.csv",
        subject_id=chosen + 10_000_000,
        hadm_id=chosen + 20_000_000,
        stay_id=chosen + 30_000_000,
        starttime=begun,
        endtime=begun + pd.to_timedelta(lasted, unit="min"),
        storetime=begun + pd.to_timedelta(lasted, unit="min"),
        itemid=220_000 + charted + rng.integers(0, len(PROCEDURE.series), 5 * stays),
        value=lasted,
        valueuom="min",
    )


def _pieces(
    rng: np.random.Generator, start: pd.DatetimeIndex, total: int, first: int, items: int, *, stay: bool
) -> Iterator[pa.Table]:
    """Events in no order of stays or times, as far as one piece goes."""
    made = 0
    # Text once per minute: of a year and a few days.
    minutes = (_EPOCH + pd.to_timedelta(np.arange(380 * 24 * 60), unit="min")).strftime("%Y-%m-%d %H:%M:%S")
    text = pa.array(minutes.to_numpy(), pa.string())
    begin = ((start - _EPOCH) // pd.Timedelta(minutes=1)).to_numpy()
    while made < total:
        n = min(_PIECE, total - made)
        chosen = rng.integers(0, len(start), n)
        minute = begin[chosen] + rng.integers(0, 72 * 60, n)
        value = pa.array(np.round(rng.normal(80, 15, n), 1))
        columns = {"subject_id": pa.array(chosen + 10_000_000), "hadm_id": pa.array(chosen + 20_000_000)}
        if stay:
            columns["stay_id"] = pa.array(chosen + 30_000_000)
        else:
            columns = {"labevent_id": pa.array(made + np.arange(n)), **columns}
        columns |= {
            "charttime": text.take(pa.array(minute)),
            "storetime": text.take(pa.array(minute + rng.integers(1, 90, n))),
            "itemid": pa.array(first + rng.integers(0, items, n)),
            "value": value,
            "valuenum": value,
            "valueuom": pa.repeat("mmHg", n),
        }
        yield pa.table(columns)
        made += n


def _events(path: Path, pieces: Iterator[pa.Table]) -> None:
    writer = None
    for piece in pieces:
        if writer is None:
            writer = pacsv.CSVWriter(
                path, piece.schema, write_options=pacsv.WriteOptions(quoting_style="none")
            )
        writer.write_table(piece)
    if writer is not None:
        writer.close()


def _small(path: Path, **columns: object) -> None:
    pd.DataFrame(columns).to_csv(path, index=False, date_format="%Y-%m-%d %H:%M:%S")


def main() -> None:
    """Write a database of the size the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, size in (("stays", 30_000), ("chart", 50_000_000), ("lab", 20_000_000)):
        parser.add_argument(f"--{name}", type=int, default=size)
    options = parser.parse_args()
    write_database(options.folder, options.stays, options.chart, options.lab)


if __name__ == "__main__":
    main()
