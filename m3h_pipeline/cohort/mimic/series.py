"""The series of events that features are computed of, and the names and units of those features.

The lists are those of HAIM (Soenksen et al., npj Digital Medicine 2022), of which M3H uses the embeddings. An
event belongs to a series by the label its item has in `d_items` or `d_labitems`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The statistics of a series, in the published order and with the published names.
STATISTICS = (
    "max",
    "min",
    "mean",
    "variance",
    "meandiff",
    "meanabsdiff",
    "maxdiff",
    "sumabsdiff",
    "diff",
    "npeaks",
    "trend",
)


@dataclass(frozen=True)
class EventTable:
    """One table of events.

    Attributes:
        source: name of the features.
        table, dictionary: the table of the events and that of their items, without suffix.
        key: the column that says whose events they are; labs belong to an admission, not to an ICU stay.
        time: when it happened; ``stop``: when it ended, where it lasts.
        value: the column of the value.
        series: label of the items -> unit.
        fluid: the specimen that `corrected` restricts the items to.
    """

    source: str
    table: str
    dictionary: str
    key: Literal["stay_id", "hadm_id"]
    time: str
    stop: str | None
    value: str
    series: dict[str, str]
    fluid: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of the features: series by series, the statistics of each."""
        return [f"{label}_{statistic}" for label in self.series for statistic in STATISTICS]

    @property
    def units(self) -> list[str]:
        """Units of the features; an average difference is per event, not per hour."""
        return [_unit(statistic, unit) for unit in self.series.values() for statistic in STATISTICS]


def _unit(statistic: str, unit: str) -> str:
    if statistic == "npeaks" or not unit:
        return "1" if statistic == "npeaks" else ""
    if statistic == "variance":
        return f"({unit})^2"
    return f"{unit} per event" if statistic in {"meandiff", "meanabsdiff", "trend"} else unit


CHART = EventTable(
    source="ts_chart",
    table="icu/chartevents",
    dictionary="icu/d_items",
    key="stay_id",
    time="charttime",
    stop=None,
    value="valuenum",
    series={
        "Heart Rate": "bpm",
        "Non Invasive Blood Pressure systolic": "mmHg",
        "Non Invasive Blood Pressure diastolic": "mmHg",
        "Non Invasive Blood Pressure mean": "mmHg",
        "Respiratory Rate": "insp/min",
        "O2 saturation pulseoxymetry": "%",
        "GCS - Verbal Response": "points",
        "GCS - Eye Opening": "points",
        "GCS - Motor Response": "points",
    },
)

#: The published list has 23 entries: `Platelet Count` stands there twice, which yields no further feature.
LAB = EventTable(
    source="ts_lab",
    table="hosp/labevents",
    dictionary="hosp/d_labitems",
    key="hadm_id",
    time="charttime",
    stop=None,
    value="valuenum",
    series={
        "Glucose": "mg/dL",
        "Potassium": "mEq/L",
        "Sodium": "mEq/L",
        "Chloride": "mEq/L",
        "Creatinine": "mg/dL",
        "Urea Nitrogen": "mg/dL",
        "Bicarbonate": "mEq/L",
        "Anion Gap": "mEq/L",
        "Hemoglobin": "g/dL",
        "Hematocrit": "%",
        "Magnesium": "mg/dL",
        "Platelet Count": "K/uL",
        "Phosphate": "mg/dL",
        "White Blood Cells": "K/uL",
        "Calcium, Total": "mg/dL",
        "MCH": "pg",
        "Red Blood Cells": "m/uL",
        "MCHC": "g/dL",
        "MCV": "fL",
        "RDW": "%",
        "Neutrophils": "%",
        "Vancomycin": "ug/mL",
    },
    fluid="Blood",
)

#: The value of a procedure is how long it took; of one without duration it is 1.
PROCEDURE = EventTable(
    source="ts_procedure",
    table="icu/procedureevents",
    dictionary="icu/d_items",
    key="stay_id",
    time="storetime",
    stop="endtime",
    value="value",
    series={
        "Foley Catheter": "min",
        "PICC Line": "min",
        "Intubation": "",
        "Peritoneal Dialysis": "min",
        "Bronchoscopy": "",
        "EEG": "",
        "Dialysis - CRRT": "min",
        "Dialysis Catheter": "min",
        "Chest Tube Removed": "",
        "Hemodialysis": "min",
    },
)

EVENT_TABLES = (CHART, LAB, PROCEDURE)
