"""A little hospital whose files are ingested once, and read again by what was written down."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from m3h_pipeline.cohort.apply.problems import Problems
from m3h_pipeline.cohort.apply.read import apply_reading
from m3h_pipeline.cohort.reading import Reading, read_reading
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import TableSource
from m3h_pipeline.files import read_features, read_samples

WARDS = ["Cardiology", "Surgery", "Zoo"]
GENES = ["ENSG00000141510.16", "ENSG00000012048.2", "ENSG00000141510.17", "ENSG00000091831.3"]
SOURCE: dict[str, Any] = {
    "kind": "table",
    "patient_id": "mrn",
    "files": [
        {"path": "people.csv", "id": "stay", "annotation": ["note"]},
        {"path": "labs.csv", "id": "stay", "join": "left"},
        {"path": "genes.tsv", "id": "sample", "join": "left", "transposed": True},
        {"path": "codes.csv", "id": "mrn"},
    ],
    "blocks": {
        "person": {"columns": ["age", "sex", "ward", "site"], "categorical": ["sex", "ward", "site"]},
        "labs": {"pattern": ".+", "file": 1},
        "genes": {
            "pattern": "ENSG.*",
            "file": 2,
            "genes": {"strip_version": True, "log": "log2", "clip": [0, 9], "duplicates": "mean"},
        },
        "home": {"columns": ["distance"], "file": 3},
    },
    "columns": ["dead", "days"],
    "limits": "half",
    "zero_is_missing": ["labs"],
    "missing_values": ["-9"],
    "subgroups": {"sex": {"column": "sex"}},
}


class Features(NamedTuple):
    """What was read of new files."""

    ids: list[str]
    x: dict[str, npt.NDArray[np.float32] | None]
    unseen: dict[str, set[str]]
    notes: list[str]

    def of(self, name: str) -> dict[str, bytes]:
        """One sample's features, to the bit."""
        at = self.ids.index(name)
        return {source: x[at].tobytes() for source, x in self.x.items() if x is not None}


def frames(n: int = 240, seed: int = 0) -> dict[str, pd.DataFrame]:
    """The files as tables of text; nobody's outcomes have anything to do with the features."""
    rng = np.random.default_rng(seed)
    stay = [f"S{i:03d}" for i in range(n)]
    mrn = [f"M{i // 2:03d}" for i in range(n)]
    people = pd.DataFrame(
        {
            "stay": stay,
            "mrn": mrn,
            "age": rng.integers(20, 90, n).astype(str),
            "sex": rng.choice(["F", "M"], n),
            # Of one ward there are few patients.
            "ward": [*["Dentistry"] * 6, *rng.choice(WARDS, n - 6, p=[0.45, 0.35, 0.2])],
            "site": rng.choice(["1", "2.50"], n),
            "note": "x",
            "dead": rng.integers(0, 2, n).astype(str),
            "days": rng.integers(1, 99, n).astype(str),
        }
    )
    labs = pd.DataFrame(
        {
            "stay": stay[5:],
            "creatinine (mg/dL)": rng.gamma(2, 1, n - 5).round(3).astype(str),
            "hb": rng.normal(12, 2, n - 5).round(2).astype(str),
            "tnt": rng.choice(["<5", "14.7", "-9", ""], n - 5),
        }
    )
    labs.loc[3, ["creatinine (mg/dL)", "hb", "tnt"]] = "0"
    genes = pd.DataFrame(rng.gamma(2, 30, (len(GENES), n)).round(3).astype(str), columns=stay)
    genes.insert(0, "gene", GENES)
    homes = sorted(set(mrn))
    codes = pd.DataFrame({"mrn": homes, "distance": rng.gamma(2, 9, len(homes)).round(1).astype(str)})
    return {"people.csv": people, "labs.csv": labs, "genes.tsv": genes, "codes.csv": codes}


def write(folder: Path, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Write the files; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        frame.to_csv(folder / name, index=False, sep="\t" if name.endswith(".tsv") else ",")
    return [str(folder / name) for name in tables]


def without_outcomes(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same files as they are before anything has happened."""
    return {
        **tables,
        "people.csv": tables["people.csv"]
        .drop(columns=["dead", "days", "note", "mrn"])
        .assign(mrn=tables["people.csv"]["mrn"]),
    }


def ingested(folder: Path) -> tuple[Reading, dict[str, npt.NDArray[np.float32]], list[str]]:
    """The study: how its files were read, its features, its samples."""
    write(folder / "study", frames())
    source = TableSource.model_validate(SOURCE).located(str(folder / "study"))
    ingest_table(source, list(source.blocks), folder / "cohort", stream=io.StringIO())
    x = {name: read_features(folder / f"cohort/features/{name}.parquet")[0] for name in source.blocks}
    ids = read_samples(folder / "cohort/samples.parquet")["sample_id"].to_pylist()
    return read_reading(folder / "cohort/reading.json"), x, ids


def read(
    reading: Reading, paths: Sequence[str | Path], scratch: Path, absent: Sequence[str] = ()
) -> Features:
    """Features of new files."""
    scratch.mkdir(parents=True, exist_ok=True)
    problems = Problems()
    ids: list[str] = []
    parts: dict[str, list[npt.NDArray[np.float32]]] = {}
    unseen: dict[str, set[str]] = {}
    for batch in apply_reading(reading, paths, scratch, problems, absent=absent, stream=io.StringIO()):
        for column, rows in batch.unseen.items():
            unseen.setdefault(column, set()).update(np.array(batch.ids)[rows].tolist())
        ids += batch.ids
        for name, x in batch.features.items():
            if x is not None:
                parts.setdefault(name, []).append(x)
    found = {name: np.concatenate(parts[name]) if name in parts else None for name in reading.sources}
    return Features(ids, found, unseen, problems.notes)
