"""What the features should be: one sample at a time, with pandas, numpy and scipy, as published."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.signal import find_peaks

CHART = [
    "Heart Rate",
    "Non Invasive Blood Pressure systolic",
    "Non Invasive Blood Pressure diastolic",
    "Non Invasive Blood Pressure mean",
    "Respiratory Rate",
    "O2 saturation pulseoxymetry",
    "GCS - Verbal Response",
    "GCS - Eye Opening",
    "GCS - Motor Response",
]
LAB = [
    "Glucose",
    "Potassium",
    "Sodium",
    "Chloride",
    "Creatinine",
    "Urea Nitrogen",
    "Bicarbonate",
    "Anion Gap",
    "Hemoglobin",
    "Hematocrit",
    "Magnesium",
    "Platelet Count",
    "Phosphate",
    "White Blood Cells",
    "Calcium, Total",
    "MCH",
    "Red Blood Cells",
    "MCHC",
    "MCV",
    "RDW",
    "Neutrophils",
    "Vancomycin",
]
PROCEDURE = [
    "Foley Catheter",
    "PICC Line",
    "Intubation",
    "Peritoneal Dialysis",
    "Bronchoscopy",
    "EEG",
    "Dialysis - CRRT",
    "Dialysis Catheter",
    "Chest Tube Removed",
    "Hemodialysis",
]
TIMES = ["charttime", "storetime", "starttime", "endtime", "intime", "outtime", "admittime", "dischtime"]


#: What events belong to: labs to an admission, others to a stay.
KEYS = {"ts_chart": "stay_id", "ts_lab": "hadm_id", "ts_procedure": "stay_id"}


@functools.cache
def read(folder: Path, name: str) -> pd.DataFrame:
    """A table, with its times as times; not to be changed."""
    table = pd.read_csv(folder / f"{name}.csv.gz", low_memory=False, keep_default_na=False, na_values=[""])
    for time in TIMES:
        if time in table:
            table[time] = pd.to_datetime(table[time], format="ISO8601")
    return table


def statistics(series: pd.Series, published: bool) -> list[float]:
    """The eleven statistics of one series."""
    if published:
        series = pd.concat([series, pd.Series([0.0])], ignore_index=True)
    if not len(series):
        return [np.nan] * 11
    change = series.diff()
    trend = np.polyfit(np.arange(len(series)), series, 1)[0] if len(series) > 1 else np.nan
    values = [
        series.max(),
        series.min(),
        series.mean(),
        series.var(),
        change.mean(),
        change.abs().mean(),
        change.abs().max(),
        change.abs().sum(),
        series.iloc[-1] - series.iloc[0],
        float(len(find_peaks(series)[0])),
        trend,
    ]
    return [0.0 if published and np.isnan(value) else float(value) for value in values]


class Reference:
    """The tables of a release, and the features of any stay at any time."""

    def __init__(self, folder: Path, variant: str) -> None:
        self.published = variant == "published"
        self.stays = read(folder, "icu/icustays")
        labels = read(folder, "icu/d_items")[["itemid", "label"]]
        items = read(folder, "hosp/d_labitems")
        if not self.published:
            items = items[items.fluid == "Blood"]
        tables = {
            "ts_chart": read(folder, "icu/chartevents").merge(labels, on="itemid"),
            "ts_lab": read(folder, "hosp/labevents").merge(items[["itemid", "label"]], on="itemid"),
            "ts_procedure": read(folder, "icu/procedureevents").merge(labels, on="itemid"),
        }
        self.none = {name: table.iloc[:0] for name, table in tables.items()}
        self.events = {name: dict(tuple(table.groupby(KEYS[name]))) for name, table in tables.items()}

    def features(self, source: str, stay_id: int, time: pd.Timestamp) -> npt.NDArray[np.float64]:
        """The features of one source."""
        stay = self.stays[self.stays.stay_id == stay_id].iloc[0]
        when, value, wanted = {
            "ts_chart": ("charttime", "valuenum", CHART),
            "ts_lab": ("charttime", "valuenum", LAB),
            "ts_procedure": ("storetime", "value", PROCEDURE),
        }[source]
        events = self.events[source].get(stay[KEYS[source]], self.none[source])
        if self.published:
            events = events[events[when] <= time]
        else:
            events = events[(events[when] < time) & (events.storetime < time)]
            if source == "ts_procedure":
                events = events[events.endtime < time]
        events = events.sort_values([when, "storetime", "itemid", value], na_position="first")
        found: list[float] = []
        for label in wanted:
            series = events.loc[events.label == label, value].astype(float).dropna().reset_index(drop=True)
            found += statistics(series, self.published)
        return np.array(found)
