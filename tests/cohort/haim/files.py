"""A small HAIM-format cohort that tests take apart: every trap stands in one place only."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3h_pipeline.cohort.ingest import ingest
from m3h_pipeline.config import HaimSource
from m3h_pipeline.errors import ConfigError, InputError, M3HError

PREFIXES = {"demographics": "de_", "vision_dense": "vd_", "ts_lab": "ts_le_"}
SOURCES = tuple(PREFIXES)
WIDTHS = {"de_": 6, "vd_": 4, "ts_le_": 3}
CHEXPERT = ("Atelectasis", "Pneumonia", "Lung Opacity")
FRONT = (
    "haim_id",
    "img_id",
    "img_charttime",
    "img_deltacharttime",
    "discharge_location",
    "img_length_of_stay",
    "death_status",
)
FEATURES = tuple(f"{prefix}{i}" for prefix, width in WIDTHS.items() for i in range(width))
BACK = ("split", *CHEXPERT, "PerformedProcedureStepDescription", "ViewPosition")
EXTRA = tuple(f"n_new_{i}" for i in range(6))
HEADER = (*FRONT, *FEATURES, *BACK, *EXTRA)

Row = dict[str, str]


def row(haim: int, image: int, seed: int = 0, **changes: str) -> Row:
    """One well-formed record."""
    rng = np.random.default_rng([haim, image, seed])
    values: Row = dict.fromkeys(HEADER, "")
    values |= {
        "haim_id": str(haim),
        "img_id": str(image),
        "img_charttime": f"2150-01-0{1 + image} 10:00:00",
        "img_deltacharttime": "12.5",
        "discharge_location": "HOME",
        "img_length_of_stay": f"{24.0 * (image + 1)}",
        "death_status": "0",
        "split": "train",
        "Atelectasis": "1.0",
        "Pneumonia": "-1.0",
        "ViewPosition": "AP",
        "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)",
    }
    values |= {name: repr(float(np.float32(rng.normal()))) for name in (*FEATURES, *EXTRA)}
    values["de_1"] = str(float(haim % 2))
    return values | changes


def rows(stays: int = 6, images: int = 3) -> list[Row]:
    """Records of ``stays`` stays with ``images`` images each."""
    return [row(haim, image) for haim in range(1, stays + 1) for image in range(images)]


def line(values: Mapping[str, str], header: Sequence[str] = HEADER) -> str:
    """A record as its line, without quotation marks."""
    return ",".join(values.get(name, "") for name in header)


def write_csv(path: Path, lines: Iterable[str], header: Sequence[str] = HEADER, end: str = "\n") -> Path:
    """Write lines under a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(text + end for text in [",".join(header), *lines]).encode())
    return path


def write_keys(path: Path, stays: int = 6) -> Path:
    """Two stays per patient, one admission each."""
    keys = [f"{100 + (h - 1) // 2},{200 + h},{300 + h},{h}" for h in range(1, stays + 1)]
    return write_csv(path, keys, ("subject_id", "hadm_id", "stay_id", "haim_id"))


def write_hosp(folder: Path, stays: int = 6) -> Path:
    """Two codes per admission; one title is missing, one code stands in both versions."""
    codes = []
    for h in range(1, stays + 1):
        patient = 100 + (h - 1) // 2
        codes += [f"{patient},{200 + h},1,I50.9 ,10", f"{patient},{200 + h},2,v707,9"]
        codes += [f"{patient},{200 + h},3,v707,9"]
    codes.append("999,888,1,I509,10")
    write_csv(
        folder / "diagnoses_icd.csv", codes, ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")
    )
    titles = ['I509,10,"Heart failure, unspecified"', "I509,9,Another thing"]
    write_csv(folder / "d_icd_diagnoses.csv", titles, ("icd_code", "icd_version", "long_title"))
    return folder


def source(folder: Path, lines: Iterable[str] | None = None, **settings: object) -> HaimSource:
    """A complete input folder and its configuration."""
    table = write_csv(folder / "table.csv", [line(r) for r in rows()] if lines is None else lines)
    values: dict[str, object] = {
        "table": str(table),
        "key_ids": str(write_keys(folder / "keys.csv")),
        "hosp": str(write_hosp(folder / "hosp")),
        "blocks": PREFIXES,
    }
    return HaimSource.model_validate(values | settings)


def run(settings: HaimSource, out: Path, sources: Sequence[str] = SOURCES) -> dict[str, Any]:
    """Ingest; returns the summary."""
    return ingest(settings, sources, out, stream=io.StringIO())


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def failing(settings: HaimSource, out: Path, sources: Sequence[str] = SOURCES) -> M3HError:
    """The error of an ingestion that must leave nothing behind."""
    before = set(out.parent.iterdir()) if out.parent.exists() else set()
    with pytest.raises((InputError, ConfigError)) as error:
        run(settings, out, sources)
    assert (set(out.parent.iterdir()) if out.parent.exists() else set()) == before
    return error.value
