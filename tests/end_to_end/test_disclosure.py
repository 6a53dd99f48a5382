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
from safetensors.numpy import load_file, save_file

from m3h_pipeline.cohort.ingest import ingest, render_summary
from m3h_pipeline.config import load_study, located_source
from m3h_pipeline.figures.networks import draw_networks
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.hashes import hashed
from m3h_pipeline.layout import Layout
from m3h_pipeline.layout.given import given_away, is_private
from m3h_pipeline.networks.compare import compare_networks
from m3h_pipeline.networks.plan import plan_network
from m3h_pipeline.record import made_from, record
from m3h_pipeline.report.stage import write_report
from m3h_pipeline.search.combinations import per_job_of
from m3h_pipeline.search.plan import plan_round
from tests.end_to_end.conftest import ROOT
from tests.end_to_end.in_process import Whole

N = 420
#: In every identifier and in every rare value; in no other text.
MARK = "zq7x"
#: Numbers of patients are around this and a thousand times more.
UNIT = 1e7
NUMBERS = ["a1", "a2", "a3", "b1", "b2", "b3", "seldom", "stay", "days"]
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
    "modalities": {
        "tabular": {"sources": ["person"]},
        "time_series": {"sources": ["lab"], "scaling": "minmax"},
    },
    "tasks": {"definitions": ["tasks.yaml"], "min_per_fold": 2},
    "split": {"folds": 2, "test_fraction": 0.45, "stratify_by": ["sick"]},
    "model": {"encoder": [8], "projection": 8, "shared": [8], "task": [8], "decoder": [8]},
    "training": {"epochs": 2, "batch_sizes": [64], "learning_rates": [3e-3]},
    "search": {"max_size": 2, "beam": 1},
    "tim": {"replicates": 1, "draws": 20},
    "networks": {"replicates": 1, "alone": False},
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
    """A cohort in which every number is of one patient, and some values of few.

    Numbers are of seven and more digits before the point: no weight, score, count or share comes near one.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 6))
    risk = x[:, 0] + x[:, 3] + rng.normal(size=N)
    grade = np.digitize(risk, [-0.5, 1.0]) + 1
    frame = pd.DataFrame({"sample": [f"{MARK}s{i:04d}" for i in range(N)]})
    # Some patients have two samples.
    frame["patient"] = [f"{MARK}p{i // 2 if i < 60 else i:04d}" for i in range(N)]
    for k, name in enumerate(("a1", "a2", "a3", "b1", "b2", "b3")):
        frame[name] = UNIT * 10 ** (k % 3) * (1 + x[:, k])
    frame["seldom"] = np.where(np.arange(N) % 97 == 0, UNIT * (4 + rng.random(N)), np.nan)
    frame["diag"] = np.where(
        np.arange(N) % 30 == 0, [f"{MARK}d{i}" for i in range(N)], np.where(risk > 0, "flu", "cough")
    )
    frame["ward"] = np.where(
        np.arange(N) % 140 == 0, f"{MARK}ward", np.where(np.arange(N) % 3 == 0, "north", "south")
    )
    frame["sex"] = np.where(rng.random(N) < 0.45, "f", "m")
    frame["sick"] = np.where(risk > 0.8, "yes", "no")
    frame["grade"] = grade
    frame["stay"] = UNIT * (np.exp(1 + 0.4 * risk) + rng.random(N))
    frame["days"] = UNIT * (rng.exponential(20 * np.exp(-0.5 * risk)) + 1)
    frame["died"] = (rng.random(N) < 0.7).astype(int)
    return frame


#: What the report embeds of folders that stay.
EMBEDDED = [Layout(Path()).cohort.summary, Layout(Path()).labels.values, Layout(Path()).labels.prevalence]


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
        # Where a patient stands on the map is told more plainly than by a map of neighbours.
        patch.setattr(
            "m3h_pipeline.evaluation.phenotypes.map.embed",
            lambda latents, by, seed: (latents[:, :2], "t-SNE"),
        )
        study = load_study(folder / "study.yaml")
        whole = Whole(study, folder / "results/told")
        log = io.StringIO()
        with redirect_stderr(log):
            whole.run()
            whole.draw(list(FIGURES))
            networks_and_record(whole, folder)
            names = [name for modality in study.modalities.values() for name in modality.sources]
            sys.stderr.write(render_summary(ingest(located_source(study), names, folder / "again/cohort")))
        path = Layout(whole.folder).log("all")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(log.getvalue())
    return whole.folder


def networks_and_record(whole: Whole, folder: Path) -> None:
    """What else the workflow writes that can be given away: networks compared, report and record."""
    study, layout = whole.study, Layout(whole.folder)
    assert study.networks is not None
    plan = layout.networks.fits_of("own").plan
    per_job = per_job_of(study.search, None)
    plan_network(whole.tasks, plan, study.networks, study.training, study.split.folds, per_job)
    whole.train(plan)
    compare_networks(
        {"own": plan.parent},
        sorted((whole.folder / "search/baselines").glob("*.parquet")),
        whole.tasks,
        whole.labels,
        whole.split,
        layout.cohort.samples,
        layout.networks.folder,
        draws=20,
        seed=study.seed,
    )
    comparison = layout.networks.comparison("parquet")
    draw_networks(comparison, whole.tasks, layout.networks.folder, study.figures)
    # The search ends with a round in which nothing is left to try.
    last = layout.round(3).plan
    sections = study.search, study.tim, study.training
    plan_round(3, whole.tasks, whole.scores, last, *sections, study.split.folds, per_job)
    inputs = hashed({"patients.csv": folder / "patients.csv"}, layout.input_digests)
    write_report(layout, made_from(layout, study, inputs, {}), layout.report)
    record(layout, study, inputs, {}, layout.record)


def shared(results: Path) -> list[Path]:
    """Every file that can be given away, and those that the report embeds."""
    files = [path for path in sorted(results.rglob("*")) if path.is_file()]
    told = [path for path in files if not is_private(path.relative_to(results))]
    return [*told, *(results / place for place in EMBEDDED)]


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


# No digit of a word, a digest or a longer number; thousands may have commas.
_NUMBER = re.compile(
    r"(?<![\w.,])-?(\d{1,3}(?:,\d{3})+|\d+)(\.\d*)?(e[-+]?\d+)?(?![\w])(?!\.\d)", re.IGNORECASE
)
_PLAIN = re.compile(r"(?<![\w.])-?(\d+)(\.\d*)?(e[-+]?\d+)?(?![\w])(?!\.\d)", re.IGNORECASE)
#: A number of fewer digits tells of no patient: some of another would be written alike.
LEAST_DIGITS = 6


def written(text: str) -> Iterator[tuple[float, float]]:
    """Numbers in a text with digits enough to tell a patient: value, and half a unit of the last digit."""
    for pattern in (_NUMBER, _PLAIN):
        for whole, fraction, power in pattern.findall(text):
            digits, after = whole.replace(",", ""), fraction[1:]
            # A digest of digits and one `e` reads as a number that no float can hold.
            if len((digits + after).lstrip("0")) >= LEAST_DIGITS and abs(int(power[1:] or 0)) < 300:
                unit = 10.0 ** (int(power[1:] or 0) - len(after))
                yield float(f"{digits}.{after or 0}{power}"), unit / 2


def numbers(path: Path) -> np.ndarray:
    """All numbers of a file with what they may be off: (n, 2)."""
    found = [np.zeros((0, 2))]

    def add(values: Any, precision: float) -> None:
        flat = np.asarray(values, dtype=np.float64).ravel()
        found.append(np.stack([flat, np.abs(flat) * precision], axis=1))

    if path.suffix == ".safetensors":
        for array in load_file(path).values():
            # In two precisions: a value of the table, and what single precision keeps of it.
            add(array, 1e-7)
    elif path.suffix == ".parquet":
        for column in pq.read_table(path).columns:
            flat = column.combine_chunks()
            while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
                flat = flat.flatten()
            if pa.types.is_floating(flat.type):
                add(flat.to_numpy(zero_copy_only=False), 1e-7)
            elif pa.types.is_integer(flat.type):
                whole = flat.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
                found.append(np.stack([whole, np.full(len(whole), 0.5)], axis=1))
    # Of binary files the text is that of their strings and metadata.
    for text in texts(path) if path.suffix in (".parquet", ".safetensors", ".png") else [path.read_text()]:
        if path.suffix == ".svg":
            # Coordinates are in points; what is written is text.
            text = " ".join(re.findall(r">([^<]+)<", text))
        found.append(np.array(list(written(text))).reshape(-1, 2))
    return np.concatenate(found)


def told_of(path: Path, table: pd.DataFrame) -> list[float]:
    """The numbers of single patients that are in a file, whatever its format and their precision."""
    own = np.sort(np.abs(table[NUMBERS].to_numpy(dtype=np.float64).ravel()))
    own = own[np.isfinite(own) & (own > UNIT / 10)]
    found = np.abs(numbers(path))
    found = found[np.isfinite(found[:, 0]) & (found[:, 0] > UNIT / 20)]
    after = np.searchsorted(own, found[:, 0])
    near = np.minimum(
        np.abs(own[np.clip(after, 0, len(own) - 1)] - found[:, 0]),
        np.abs(own[np.clip(after - 1, 0, None)] - found[:, 0]),
    )
    return [float(value) for value in found[near <= found[:, 1] * (1 + 1e-9), 0]]


def test_every_file_is_in_the_table_of_what_can_be_given_away(results: Path) -> None:
    patterns = {pattern for pattern, _ in given_away()}
    seen = set()
    for path in sorted(results.rglob("*")):
        place = path.relative_to(results)
        if path.is_file() and not is_private(place):
            found = {p for p in patterns if _matches(place, p)}
            assert found, place
            seen |= found
    # Snakemake alone writes times and memory, and asks for a ledger; no genes here, and nothing simulated.
    assert patterns - seen == {
        *("benchmarks/**.tsv", "genes/*.parquet", "gene_pairs/*/*", "input/**"),
        *("evaluation/planted.tsv", "ledger/*"),
    }


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
    files = shared(results)
    assert {str(path): told for path in files if (told := told_of(path, table))} == {}
    # There is something to find: numbers of this size are given away, but they are of many patients.
    assert sum(int((np.abs(numbers(path)[:, 0]) > UNIT / 20).sum()) for path in files) > 20


@pytest.mark.parametrize("column", ["a1", "a3", "b2", "seldom", "days"])
def test_a_number_that_is_given_away_is_found(tmp_path: Path, table: pd.DataFrame, column: str) -> None:
    value = float(table[column].dropna().abs().max())
    noise = np.random.default_rng(0).normal(size=300)
    leaks: dict[str, Any] = {
        "double.safetensors": {"x": np.append(noise, value)},
        "single.safetensors": {"network/w": np.append(noise, value).astype(np.float32)},
        "double.parquet": pa.table({"x": np.append(noise, value)}),
        "single.parquet": pa.table({"x": np.append(noise, value).astype(np.float32)}),
        "whole.parquet": pa.table({"x": [1, None, round(value)]}),
        "list.parquet": pa.table({"x": [[0.5], [0.25, value]]}),
        "text.parquet": pa.table({"x": ["no", f"at {value:.7g} days"]}),
        "metadata.parquet": pa.table({"x": [1]}).replace_schema_metadata({"edges": json.dumps([0, value])}),
        "all.json": json.dumps({"edges": [0.0, value]}),
        "six.log": f"the least is {value:.6g}\n",
        "seven.tsv": f"n\tx\n3\t{value:.7g}\n",
        "exponent.csv": f"n,x\n3,{value:.6e}\n",
        "thousands.log": f"up to {value:,.1f}.",
        "rounded.csv": f"1,{value:.0f},2\n",
        "drawn.svg": f'<svg><text x="1">{value:.8g}</text></svg>',
    }
    for name, content in leaks.items():
        path = tmp_path / name
        if name.endswith(".parquet"):
            pq.write_table(content, path)
        elif name.endswith(".safetensors"):
            save_file(content, path)
        else:
            path.write_text(content)
        assert told_of(path, table), name
    # As it is private, it is where it belongs.
    (tmp_path / "few.log").write_text(f"about {value:.3g}, {value * 1.01:.9g}\n")
    assert told_of(tmp_path / "few.log", table) == []


def test_what_is_private_is_found_where_it_lies(results: Path, table: pd.DataFrame) -> None:
    layout = Layout(results)
    for path in (layout.cohort.features("person"), layout.labels.labels_of("stay"), layout.cohort.columns):
        assert len(told_of(path, table)) > 100, path


def test_the_report_embeds_only_what_was_searched() -> None:
    # Snakemake's report embeds what rules hand to `report()`, their code, settings and times, and no more.
    files = Layout(Path())
    named = {"task": "*", "figure": "*"}
    found = []
    for rules in (ROOT / "workflow").rglob("*.smk"):
        for place in re.findall(r"report\(\s*FILES((?:\.\w+|\([^()]*\))+)", rules.read_text()):
            steps = re.findall(r"\.(\w+)(\([^()]*\))?", place)
            at: Any = files
            for name, call in steps:
                at = getattr(at, name)
                at = at(*(text.strip(' "').format(**named) for text in call[1:-1].split(","))) if call else at
            found.append(at)
        assert len(re.findall(r"\breport\(", rules.read_text())) == len(
            re.findall(r"report\(\s*FILES", rules.read_text())
        )
    assert len(found) >= 9
    assert {path for path in found if is_private(path)} == set(EMBEDDED)


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


def test_groups_of_few_patients_are_other(results: Path) -> None:
    # Three patients of a ward: they are too few to be told, and so is the smallest of the others.
    summary = json.loads(Layout(results).cohort.summary.read_text())
    assert set(summary["subgroups"]["ward"]) == {"other", "south"}
    assert set(summary["subgroups"]["sex"]) == {"female", "male"}
    assert sum(summary["subgroups"]["ward"].values()) == N
    samples = pq.read_table(Layout(results).cohort.samples)
    assert set(samples["ward"].to_pylist()) == {"other", "south"}
