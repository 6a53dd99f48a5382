"""What can be given away tells of nobody: a study of telltale patients is run, every such file searched."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file

from m3h_pipeline.cohort.ingest import ingest, render_summary
from m3h_pipeline.config import load_study, located_source
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.layout import Layout, given_away, is_private
from tests.end_to_end.in_process import Whole

N = 420
#: In every identifier and in every rare value; in no other text.
MARK = "zq7x"
#: Columns that count people or their samples.
COUNTS = {
    "n",
    "n_samples",
    "n_patients",
    "events",
    "samples",
    "stays",
    "patients",
    "observed",
    "test samples",
}
COUNTS |= {"test patients", "at_risk"}

STUDY: dict[str, Any] = {
    "study": "told",
    "source": {
        "kind": "table",
        "files": [{"path": "patients.csv", "id": "sample"}],
        "patient_id": "patient",
        "blocks": {
            "person": {"columns": ["a1", "a2", "a3", "seldom", "diag"], "categorical": ["diag"]},
            "lab": {"pattern": "b[0-9]"},
        },
        "columns": ["sick", "grade", "stay", "died", "days"],
        "subgroups": {
            "ward": {"column": "ward"},
            "sex": {"column": "sex", "values": {"f": "female", "m": "male"}},
        },
    },
    "modalities": {"tabular": {"sources": ["person"]}, "time_series": {"sources": ["lab"]}},
    "tasks": {"definitions": ["tasks.yaml"], "min_per_fold": 2},
    "split": {"folds": 2, "test_fraction": 0.45, "stratify_by": ["sick"]},
    "model": {"encoder": [8], "projection": 8, "shared": [8], "task": [8], "decoder": [8]},
    "training": {"epochs": 2, "batch_sizes": [64], "learning_rates": [3e-3]},
    "search": {"max_size": 2, "beam": 1},
    "tim": {"replicates": 1, "draws": 20},
    "evaluation": {"replicates": 1, "draws": 20, "baselines": ["linear"]},
}
TASKS = {
    "sick": {
        "class": "binary",
        "criterion": {"kind": "values", "column": "sick", "positive": ["yes"], "negative": ["no"]},
    },
    "grade": {
        "class": "multiclass",
        "criterion": {
            "kind": "classes",
            "column": "grade",
            "classes": {"mild": ["1"], "severe": ["2"], "worst": ["3"]},
        },
    },
    "stay": {"class": "regression", "criterion": {"kind": "number", "column": "stay"}},
    "death": {
        "class": "survival",
        "criterion": {
            "kind": "time_to_event",
            "time": "days",
            "event": "died",
            "observed": ["1"],
            "censored": ["0"],
        },
    },
    "kind": {"class": "clustering", "criterion": {"kind": "none", "clusters": 3}},
}


def patients(seed: int = 3) -> pd.DataFrame:
    """A cohort in which every number is of one patient, and some values of few."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 6)) + np.pi / 100
    risk = x[:, 0] + x[:, 3] + rng.normal(size=N)
    grade = np.digitize(risk, [-0.5, 1.0]) + 1
    frame = pd.DataFrame({"sample": [f"{MARK}s{i:04d}" for i in range(N)]})
    # Some patients have two samples.
    frame["patient"] = [f"{MARK}p{i // 2 if i < 60 else i:04d}" for i in range(N)]
    for k, name in enumerate(("a1", "a2", "a3", "b1", "b2", "b3")):
        frame[name] = x[:, k] * 10 ** (k % 3)
    frame["seldom"] = np.where(np.arange(N) % 97 == 0, 4321.5 + rng.random(N), np.nan)
    frame["diag"] = np.where(
        np.arange(N) % 30 == 0, [f"{MARK}d{i}" for i in range(N)], np.where(risk > 0, "flu", "cough")
    )
    frame["ward"] = np.where(
        np.arange(N) % 140 == 0, f"{MARK}ward", np.where(np.arange(N) % 3 == 0, "north", "south")
    )
    frame["sex"] = np.where(rng.random(N) < 0.45, "f", "m")
    frame["sick"] = np.where(risk > 0.8, "yes", "no")
    frame["grade"] = grade
    frame["stay"] = np.exp(1 + 0.4 * risk) + rng.random(N)
    frame["days"] = rng.exponential(200 * np.exp(-0.5 * risk)) + rng.random(N)
    frame["died"] = (rng.random(N) < 0.7).astype(int)
    return frame


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return patients()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame) -> Path:
    folder = tmp_path_factory.mktemp("told")
    table.to_csv(folder / "patients.csv", index=False)
    (folder / "tasks.yaml").write_text(
        yaml.safe_dump({"tasks": {k: {"title": k, "department": "Ward", **v} for k, v in TASKS.items()}})
    )
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, "data": str(folder)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = load_study(folder / "study.yaml")
        whole = Whole(study, folder / "results/told")
        log = io.StringIO()
        with redirect_stderr(log):
            whole.run()
            whole.draw(list(FIGURES))
            names = [name for modality in study.modalities.values() for name in modality.sources]
            sys.stderr.write(render_summary(ingest(located_source(study), names, folder / "again/cohort")))
        path = Layout(whole.folder).log("all")
        path.parent.mkdir(parents=True)
        path.write_text(log.getvalue())
    return whole.folder


def shared(results: Path) -> list[Path]:
    """Every file that can be given away, and those that the report embeds."""
    files = [path for path in sorted(results.rglob("*")) if path.is_file()]
    told = [path for path in files if not is_private(path.relative_to(results))]
    layout = Layout(results)
    return [*told, layout.cohort.summary, layout.labels.prevalence]


def texts(path: Path) -> Iterator[str]:
    """All text of a file, whatever its format."""
    data = path.read_bytes()
    yield path.name
    yield data.decode("latin-1")
    if path.suffix == ".parquet":
        yield str(pq.read_schema(path).metadata)
        yield pq.read_table(path).to_pandas().to_csv()
    elif path.suffix == ".safetensors":
        yield data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
    elif path.suffix == ".png":
        at = 8
        while at < len(data):
            (size,) = struct.unpack(">I", data[at : at + 4])
            kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
            if kind in (b"tEXt", b"iTXt"):
                yield body.decode("latin-1")
            elif kind == b"zTXt":
                yield zlib.decompress(body.split(b"\0", 1)[1][1:]).decode("latin-1")
            at += 12 + size


_NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


def numbers(path: Path) -> np.ndarray:
    """All numbers with a fraction of a file, as float64."""
    if path.suffix == ".safetensors":
        arrays = [a for name, a in load_file(path).items() if not name.startswith("network/")]
        return np.concatenate([a.astype(np.float64).ravel() for a in arrays])
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        found = [c.to_numpy(zero_copy_only=False) for c in table.columns if pa.types.is_floating(c.type)]
        return np.concatenate([np.zeros(0), *(np.asarray(c, np.float64) for c in found)])
    if path.suffix == ".png":
        return np.zeros(0)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".svg":
        # Coordinates of glyphs and paths are in points; what is written is text.
        text = " ".join(re.findall(r">([^<]+)<", text))
    return np.array([float(x) for x in _NUMBER.findall(text)])


def test_every_file_is_in_the_table_of_what_can_be_given_away(results: Path) -> None:
    patterns = [pattern for pattern, _ in given_away()]
    for path in sorted(results.rglob("*")):
        place = path.relative_to(results)
        if path.is_file() and not is_private(place):
            assert [p for p in patterns if _matches(place, p)], place


def _matches(place: Path, pattern: str) -> bool:
    expression = re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
    return re.fullmatch(expression, place.as_posix()) is not None


def test_no_identifier_and_no_rare_value_is_in_any_file(results: Path) -> None:
    files = shared(results)
    kinds = {path.suffix for path in files}
    assert {".parquet", ".tsv", ".csv", ".svg", ".png", ".safetensors", ".json", ".log"} <= kinds
    assert [path for path in files if any(MARK in text for text in texts(path))] == []
    # The search finds what there is: the mark is in the files that stay.
    private = [p for p in results.rglob("*") if p.is_file() and is_private(p.relative_to(results))]
    assert any(MARK in text for path in private for text in texts(path))


def test_no_number_of_one_patient_is_in_any_file(results: Path, table: pd.DataFrame) -> None:
    columns = ["a1", "a2", "a3", "b1", "b2", "b3", "seldom", "stay", "days"]
    own = np.sort(np.abs(table[columns].to_numpy().ravel()))
    own = own[np.isfinite(own) & (own > 1e-2)]
    for path in shared(results):
        found = np.abs(numbers(path))
        found = found[np.isfinite(found) & (found > 1e-2)]
        # To float32's precision, or to the digits that a text has.
        close = np.searchsorted(own, found)
        near = np.minimum(
            np.abs(own[np.clip(close, 0, len(own) - 1)] - found),
            np.abs(own[np.clip(close - 1, 0, None)] - found),
        )
        told = found[near < 2e-7 * found]
        # By chance a number of seven digits is near one of four thousand once in some thousand.
        assert len(told) <= 1 + len(found) * len(own) * 4e-7 * 3, (path, told)


def test_no_count_of_few_is_in_any_table(results: Path) -> None:
    looked = 0
    for path in shared(results):
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        elif path.suffix in (".csv", ".tsv"):
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t"))
        else:
            continue
        for row in rows:
            for name in COUNTS & row.keys():
                text = str(row[name]).replace(",", "")
                looked += 1
                assert not (re.fullmatch(r"\d+(\.0)?", text) and 0 < float(text) < 11), (path, row)
    assert looked > 100
    summary = json.loads((Layout(results).cohort.summary).read_text())
    assert summary["subgroups"]["ward"].keys() == {"north", "south", "other"} or MARK not in json.dumps(
        summary
    )
