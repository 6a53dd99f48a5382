"""Real cohorts as arrays, for what is chosen by scores on them: all that lie beside the project, and GSE7390.

Each is read with pandas from the files as published; labels follow from columns, categories become 0/1
columns of at least 50 rows, folds keep a patient's rows together.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from m3h_pipeline.coding import signed_time
from m3h_pipeline.training.data import StudyData

DATA = Path(__file__).parents[3] / "shared" / "data"
FOLDS = 5
_COMMON = 50

Features = dict[str, pd.DataFrame]
Labels = dict[str, tuple[str, npt.NDArray[Any]]]


def _one_hot(frame: pd.DataFrame) -> pd.DataFrame:
    made = pd.get_dummies(frame.astype("string"), dtype=float)
    return made.loc[:, made.sum() >= _COMMON]


def _binary(values: Any, where: Any = True) -> tuple[str, npt.NDArray[Any]]:
    return "binary", np.where(where, np.asarray(values, dtype=float), np.nan)


def _number(values: pd.Series[Any]) -> tuple[str, npt.NDArray[Any]]:
    return "regression", values.to_numpy(float)


def _survival(time: pd.Series[Any], event: pd.Series[Any]) -> tuple[str, npt.NDArray[Any]]:
    return "survival", signed_time(time.to_numpy(float), event.to_numpy(float))


def support2() -> tuple[Features, Labels, npt.NDArray[Any]]:
    """SUPPORT2: day-3 physiology, and who the patient is."""
    frame = pd.read_csv(DATA / "support2" / "support2.csv.gz")
    first, last = (list(frame).index(name) for name in ("meanbp", "urine"))
    physiology = frame.iloc[:, first : last + 1].join(frame[["scoma", "adlp", "adls"]])
    person = frame[["age", "num.co", "edu", "diabetes", "dementia"]].join(
        _one_hot(frame[["sex", "race", "income", "ca", "dzgroup"]])
    )
    labels = {
        "hospital_death": _binary(frame["hospdead"]),
        "dnr": _binary(frame["dnr"] != "no dnr", frame["dnr"].notna()),
        "charges": _number(frame["charges"]),
        "stay": _number(frame["slos"]),
        "death": _survival(frame["d.time"], frame["death"]),
    }
    return {"physiology": physiology, "person": person}, labels, np.arange(len(frame))


def eicu() -> tuple[Features, Labels, npt.NDArray[Any]]:
    """eICU demo: 48 series of the first day."""
    outcomes = pd.read_csv(DATA / "eicu-demo" / "outcomes.csv")
    series = pd.read_parquet(DATA / "eicu-demo" / "series.parquet")
    frame = outcomes.merge(series, on="stay_id", how="left", validate="1:1")
    person = frame[["age", "height", "weight"]].join(_one_hot(frame[["sex"]]))
    labels = {name: _binary(frame[name]) for name in ("aki", "long_stay", "mortality")}
    labels |= {name: _number(frame[name]) for name in ("los_left", "creatinine")}
    return {"series": frame[series.columns.drop("stay_id")], "person": person}, labels, np.arange(len(frame))


def diabetes130() -> tuple[Features, Labels, npt.NDArray[Any]]:
    """Diabetes 130: every fifth patient, numbers and categories without the diagnoses."""
    frame = pd.read_csv(DATA / "diabetes130" / "encounters.csv.gz", na_values="?", low_memory=False)
    frame = frame[frame["patient_nbr"] % 5 == 0].reset_index(drop=True)
    counts = frame.filter(regex="^(num|number)_")
    drugs = frame.columns[frame.columns.get_loc("metformin") : frame.columns.get_loc("change")]
    person = _one_hot(
        frame[["race", "gender", "age", "admission_type_id", "admission_source_id", "medical_specialty"]]
    )
    labels = {
        "death": _binary(frame["discharge_disposition_id"].isin([11, 19, 20, 21])),
        "readmitted": _binary(frame["readmitted"] == "<30"),
        "days": _number(frame["time_in_hospital"]),
    }
    features = {"counts": counts, "drugs": _one_hot(frame[drugs]), "person": person}
    return features, labels, frame["patient_nbr"].to_numpy()


def small_hospital() -> tuple[Features, Labels, npt.NDArray[Any]]:
    """The small hospital: laboratory, vital signs, proteins."""
    folder = DATA / "small-hospital"
    frame = pd.read_csv(folder / "outcomes.csv", na_values=["n/a"])
    blocks = {}
    for name, key in (("labs", "encounter_id"), ("vitals", "encounter_id"), ("olink", "SampleID")):
        block = pd.read_csv(folder / f"{name}.csv", na_values=["n/a"]).rename(columns={key: "encounter_id"})
        block = block.drop(columns="mrn", errors="ignore").replace("<5", "5").set_index("encounter_id")
        blocks[name] = block.astype(float).reindex(frame["encounter_id"]).reset_index(drop=True)
    blocks["person"] = frame[["age"]].join(_one_hot(frame[["sex", "ward"]]))
    labels = {
        "aki": _binary(frame["aki_kdigo"] == "yes"),
        "readmitted": _binary(frame["readmit_30d"]),
        "delirium": _binary(frame["cam_icu"] == "pos", frame["cam_icu"].notna()),
        "died": _binary(frame["discharge_to"] == "Died"),
        "stay": _number(frame["los_days"]),
        "survival": _survival(frame["fu_months"], frame["dead"]),
    }
    return blocks, labels, frame["mrn"].to_numpy()


def tcga() -> tuple[Features, Labels, npt.NDArray[Any]]:
    """TCGA-BRCA: expression as published, a few values absurd."""
    folder = DATA / "tcga-brca"
    frame = pd.read_csv(folder / "outcomes.csv")
    expression = pd.read_csv(folder / "expression.csv.gz").set_index("patient").reindex(frame["patient"])
    labels = {name: _binary(frame[name]) for name in ("er_ihc", "pr_ihc", "her2_ihc", "node_pos")}
    labels["os"] = _survival(frame["os_months"], frame["os_event"])
    labels["pfs"] = _survival(frame["pfs_months"], frame["pfs_event"])
    features = {"expression": expression.reset_index(drop=True), "person": frame[["age"]]}
    return features, labels, np.arange(len(frame))


def gse7390() -> tuple[Features, Labels, npt.NDArray[Any]]:
    """GSE7390: 76 genes of 198 tumors."""
    from sksurv.datasets import load_breast_cancer

    x, y = load_breast_cancer()
    genes = x.filter(regex="^X").astype(float).reset_index(drop=True)
    times, events = pd.Series(y["t.tdm"].astype(float)), pd.Series(y["e.tdm"].astype(float))
    labels = {
        "er": _binary((x["er"] == "positive").to_numpy()),
        "size": _number(x["size"].reset_index(drop=True).astype(float)),
        "metastasis": _survival(times, events),
    }
    return {"genes": genes}, labels, np.arange(len(x))


COHORTS: dict[str, Callable[[], tuple[Features, Labels, npt.NDArray[Any]]]] = {
    "support2": support2,
    "eicu": eicu,
    "diabetes130": diabetes130,
    "small_hospital": small_hospital,
    "tcga": tcga,
    "gse7390": gse7390,
}


def study_of(name: str, seed: int = 0) -> StudyData:
    """A cohort as the trainer takes it; every row is in the training part, in one of :data:`FOLDS` folds."""
    features, labels, patients = COHORTS[name]()
    _, patient = np.unique(patients, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(np.arange(patient.max() + 1) % FOLDS)[patient]
    metrics = {"binary": "auroc", "regression": "r2", "survival": "concordance"}
    return StudyData(
        {key: values.to_numpy(np.float32) for key, values in features.items()},
        {task: y.astype(np.float32) for task, (_, y) in labels.items()},
        {
            task: {"id": task, "title": task, "problem_class": kind, "metric": metrics[kind]}
            for task, (kind, _) in labels.items()
        },
        np.ones(len(fold), dtype=bool),
        fold.astype(np.int64),
        patient=patient.astype(np.int64),
    )
