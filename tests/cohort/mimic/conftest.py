"""Real tables: the open MIMIC-IV demo, and a tenth of its patients."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pandas as pd
import pytest

from m3h_pipeline.config.mimic import MIMIC_TABLES


@pytest.fixture(scope="session")
def demo(real_data: Path) -> Path:
    """The MIMIC-IV demo."""
    return real_data / "mimic-iv-demo"


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table as distributed: gzipped, times to the second or finer, empty = missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1) as file:
        table.to_csv(file, index=False)


def text(folder: Path, name: str) -> pd.DataFrame:
    """A table as text."""
    return pd.read_csv(folder / f"{name}.csv.gz", dtype=str, keep_default_na=False)


@pytest.fixture(scope="session")
def tenth(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with a tenth of its patients."""
    folder = tmp_path_factory.mktemp("tenth")
    patients = set(text(demo, "icu/icustays").subject_id.unique()[:10])
    for name in MIMIC_TABLES:
        table = text(demo, name)
        if "subject_id" in table:
            table = table[table.subject_id.isin(patients)]
        write(table, folder / f"{name}.csv.gz")
    return folder


@pytest.fixture
def own(tenth: Path, tmp_path: Path) -> Path:
    """A copy of that, to take apart."""
    return Path(shutil.copytree(tenth, tmp_path / "mimic"))
