"""Tables that tests write and ingest."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from m3h_pipeline.cohort.summary import shown_summary
from m3h_pipeline.cohort.table.ingest import ingest_table
from m3h_pipeline.config import (
    TableFile,
    TableSource,
)
from m3h_pipeline.files import read_features, read_json, read_samples, read_table

Rows = Sequence[Sequence[Any]]


class Cohort(NamedTuple):
    """What an ingestion wrote."""

    samples: pd.DataFrame
    features: dict[str, npt.NDArray[np.float32]]
    names: dict[str, list[str]]
    columns: pd.DataFrame
    summary: dict[str, Any]


def run(source: TableSource, out: Path, sources: Sequence[str] | None = None) -> Cohort:
    """Ingest, and read back what was written."""
    wanted = list(source.blocks) if sources is None else list(sources)
    summary = ingest_table(source, wanted, out, stream=io.StringIO())
    assert read_json(out / "summary.json") == json.loads(json.dumps(shown_summary(summary)))
    aside = (out / "quarantine.tsv").read_text().splitlines()
    assert len(aside) == 1 + summary["ignored"]["without_key"]
    assert aside[0] == "file\tline\treason"
    assert sorted(path.stem for path in (out / "features").iterdir()) == sorted(wanted)
    assert (out / "diagnoses.parquet").exists() == source.has_diagnoses
    read = {name: read_features(out / "features" / f"{name}.parquet") for name in wanted}
    return Cohort(
        read_samples(out / "samples.parquet").to_pandas(),
        {name: x for name, (x, _) in read.items()},
        {name: names for name, (_, names) in read.items()},
        read_table(out / "columns.parquet").to_pandas(),
        summary,
    )


def table(path: Path, header: Sequence[str], rows: Rows, delimiter: str = ",") -> str:
    """Write a delimited file; None becomes an empty field."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def one(path: str, *, id: str | None = None, **rest: Any) -> TableSource:  # noqa: A002
    """A source of one file."""
    return TableSource(files=[TableFile(path=path, id=id)], **rest)


def shipped() -> Path:
    """The folder of scikit-survival's data sets, without importing scikit-survival."""
    spec = importlib.util.find_spec("sksurv")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"
