"""What `m3h predict` says of files it has never seen, how fast, and in how much memory.

    python -m tests.benchmarks.predicted same config/support2.yaml results/support2 --config data=FOLDER
    python -m tests.benchmarks.predicted speed --rows 45050 --features 6405 --format csv
    python -m tests.benchmarks.predicted speed --rows 1000000 --features 24 --files 2

The first line holds a finished study's bundle against its evaluation: raw files of the source predicted, and
what the evaluation had of the test part; then the same files shuffled, and samples each alone in them. The
second trains a small study of wide files and predicts a long one.
"""

from __future__ import annotations

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml

from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.predict import predict_files
from m3h_pipeline.config import SyntheticSource, TableSource, load_study
from m3h_pipeline.config.paths import located_source
from m3h_pipeline.evaluation.choice.candidates import NETWORKS
from m3h_pipeline.files import read_samples
from m3h_pipeline.inference.resampled import TEST
from tests.bundle.studies import Finished
from tests.end_to_end.in_process import Whole

#: Features of the eleven sources of HAIM-MIMIC-MM, of one that nobody uses the rest.
WIDTHS = (6, 1024, 18, 1024, 18, 99, 242, 110, 768, 768, 768)


def same(config: Path, results: Path, changes: Sequence[str], alone: int) -> None:
    """Print per task how far what is predicted is from the evaluation's, and what intervals cover.

    And how far it is from what is said of files whose rows and columns are shuffled, and of samples each
    alone in its files. Differences are in the unit of what is predicted; of values and log hazards they stand
    also as a share of the standard deviation of what is predicted for the test part.
    """
    study = load_study(config, changes)
    bundle = Bundle.load(results / "bundle")
    files = _raw(study, results)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        found = _said(bundle, files, Path(folder) / "out")
        print(f"{study.study}: {len(files)} raw files predicted in {time.monotonic() - start:.1f} s")
        finished = Finished(Whole(study, results), pd.DataFrame())
        cohort = finished.cohort()
        ids = np.array(read_samples(finished.results.cohort / "samples.parquet")["sample_id"].to_pylist())
        names = ids[cohort.parts[TEST].rows]
        if names[0] not in found.index:
            found.index = found.index.str.zfill(len(names[0]))
        _evaluated(bundle, finished, cohort, found.loc[names])
        _moved(study, bundle, files, found, alone, Path(folder))


def _said(bundle: Bundle, files: Sequence[str | Path], folder: Path) -> pd.DataFrame:
    """What the bundle says of files, by sample."""
    folder.mkdir()
    predict_files(bundle, files, folder / "out.parquet", stream=io.StringIO())
    return pd.read_parquet(folder / "out.parquet").set_index("sample_id")


def _evaluated(bundle: Bundle, finished: Finished, cohort: Any, rows: pd.DataFrame) -> None:
    """Print how far what is said of the test part is from what the evaluation had."""
    for name, candidates in finished.candidates().items():
        task = bundle.tasks.get(name)
        if task is None:
            continue
        # What came with the data is not in the bundle, nor are blends with it.
        kept = {
            *NETWORKS,
            *(
                path.stem
                for path in (finished.whole.folder / "final/references" / name).glob("*.safetensors")
            ),
        }
        parts = {one: each for one, each in candidates.parts.items() if one in kept}
        candidates = replace(candidates, parts=parts, _blends={}, _fold_scores={})
        held = candidates.predictions(task.chosen, TEST, cohort.folds)
        assert held is not None
        columns = _raw_columns(name, task)
        error, spread = np.abs(rows[columns].to_numpy() - held[0]).max(axis=0), held[0].std(axis=0)
        line = f"  {name}: {task.chosen}, largest difference {error.max():.1e}"
        if task.problem_class in {"regression", "survival"}:
            line += f" ({(error[spread > 0] / spread[spread > 0]).max():.1e} of the standard deviation)"
        if task.interval is not None:
            y = cohort.observed(name, TEST)
            seen = ~np.isnan(y)
            low, high = rows[f"{name}.low"].to_numpy(), rows[f"{name}.high"].to_numpy()
            inside = ((low <= y) & (y <= high))[seen].mean()
            line += (
                f"; {100 * task.interval.coverage:g} % intervals hold {100 * inside:.1f} % of the test part"
            )
        print(line, flush=True)


def _moved(
    study: Any, bundle: Bundle, files: Sequence[str], known: pd.DataFrame, alone: int, folder: Path
) -> None:
    """Print how far what is said of shuffled files, and of samples alone, is from what is known.

    Only of tables with samples in their rows; rows of a file without identifiers are known by their number.
    """
    rng = np.random.default_rng(0)
    tables = [_table(path) for path in files]
    links = [file.id for file in study.source.files] if isinstance(study.source, TableSource) else []
    numbered = links[:1] == [None]
    orders = [rng.permutation(len(table)) for table in tables]
    shuffled = [t.iloc[o, rng.permutation(t.shape[1])] for t, o in zip(tables, orders, strict=True)]
    found = _said(bundle, _written(shuffled, files, folder / "shuffled"), folder / "said")
    if numbered:
        found.index = known.index[orders[0]]
    print(f"  rows and columns shuffled: {_apart(found.loc[known.index], known)}", flush=True)
    single = []
    for number in np.sort(rng.choice(len(tables[0]), min(alone, len(tables[0])), replace=False)):
        parts = [tables[0].iloc[[number]]]
        for table, link in zip(tables[1:], links[1:], strict=True):
            # An identifier is text in one file and a number in another.
            its = table[table[link].astype(str) == str(parts[0][links[0]].iloc[0])]
            # A file without a row is none: the sample has nothing there, and is given with somebody else's.
            parts.append(its if len(its) else table.iloc[:1])
        out = _said(bundle, _written(parts, files, folder / f"f{number}"), folder / f"s{number}").head(1)
        single.append(out.set_axis(known.index[[number]]) if numbered else out)
    every = pd.concat(single)
    print(f"  {len(single)} samples, each alone: {_apart(every, known.loc[every.index])}", flush=True)


def _table(path: str) -> pd.DataFrame:
    if path.endswith(".parquet"):
        return pd.read_parquet(path)
    if path.endswith(".arff"):
        package, _, inside = path.removeprefix("python:").partition("/")
        lines = (resources.files(package) / inside).read_text(encoding="utf-8").splitlines()
        names = [line.split()[1] for line in lines if line.lower().startswith("@attribute")]
        start = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
        # Nominal values hold no commas there.
        return pd.DataFrame([line.split(",") for line in lines[start + 1 :] if line], columns=names)
    # Broken lines, as the published table has two, are read by nobody.
    return pd.read_csv(path, dtype=str, keep_default_na=False, on_bad_lines="skip")


def _written(tables: Sequence[pd.DataFrame], files: Sequence[str], folder: Path) -> list[Path]:
    folder.mkdir()
    paths = []
    for i, (table, file) in enumerate(zip(tables, files, strict=True)):
        parquet = file.endswith(".parquet")
        path = folder / f"{i}.{'parquet' if parquet else 'csv'}"
        if parquet:
            table.reset_index(drop=True).to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
        paths.append(path)
    return paths


def _apart(found: pd.DataFrame, known: pd.DataFrame) -> str:
    """How far two tables of predictions are apart."""
    numbers = known.select_dtypes("number").columns
    cells = (found[numbers] != known[numbers]) & ~(found[numbers].isna() & known[numbers].isna())
    flags = int((found["flags"].fillna("") != known["flags"].fillna("")).sum())
    if not cells.to_numpy().any():
        return f"the same to the bit, {flags} flags differ"
    largest = float(np.nanmax((found[numbers] - known[numbers]).abs().to_numpy()))
    number = int(cells.to_numpy().sum())
    return f"{number} of {cells.size} numbers differ, by {largest:.1e} at most; {flags} flags differ"


def _raw(study: Any, results: Path) -> list[str]:
    source = located_source(study)
    if isinstance(source, SyntheticSource):
        return [str(next((results / "input").glob("cxr*.csv*")))]
    if isinstance(source, TableSource):
        return [file.path for file in source.files]
    return [source.paths()[0]]


def _raw_columns(name: str, task: Any) -> list[str]:
    if task.problem_class == "multiclass":
        return [f"{name}.raw.{c}" for c in task.classes]
    times = [f"{name}.raw.survival.{t:g}" for t in task.times]
    return [f"{name}.raw", *(times if task.problem_class == "survival" else [])]


def speed(rows: int, features: int, format_: str, files: int) -> None:
    """Print rows per second and peak memory of predicting files of so many rows and features in all."""
    rng = np.random.default_rng(0)
    widths = [*WIDTHS, features - sum(WIDTHS)] if features > sum(WIDTHS) else [features]
    names = [f"s{i}_{j}" for i, width in enumerate(widths) for j in range(width)]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        small = pd.DataFrame(rng.normal(size=(600, len(names))).astype(np.float32), columns=names)
        small.insert(0, "id", [f"a{i}" for i in range(600)])
        for k in range(3):
            small[f"y{k}"] = (small[f"s0_{k}"] + rng.normal(size=600) > 0).astype(int)
        parts = [names[k::files] for k in range(files)]
        for k, part in enumerate(parts):
            more = ["y0", "y1", "y2"] if k == 0 else []
            small[["id", *part, *more]].to_parquet(folder / f"small{k}.parquet")
        study = _study(folder, widths, files)
        whole = Whole(study, folder / "results")
        whole.run()
        Finished(whole, small).export(folder / "bundle")
        paths = [folder / f"long{k}.{format_}" for k in range(files)]
        for k, part in enumerate(parts):
            _long(paths[k], rows, part)
        command = [sys.executable, "-c", "from m3h_pipeline.cli import main; raise SystemExit(main())"]
        command += ["predict", str(folder / "bundle"), *map(str, paths), "--out", str(folder / "out.parquet")]
        start = time.monotonic()
        subprocess.run(command, check=True)
        took = time.monotonic() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        computed = used.ru_utime + used.ru_stime
        size = sum(path.stat().st_size for path in paths) / 1e9
        print(
            f"{rows:,} x {len(names):,} ({files} {format_}, {size:.1f} GB): {took:.0f} s, of these computing "
            f"{computed:.0f} s, {rows / computed:,.0f} rows/s of a core, peak {used.ru_maxrss / 1024:,.0f} MB"
        )


def _study(folder: Path, widths: Sequence[int], files: int) -> Any:
    blocks = {f"b{i}": {"pattern": f"s{i}_[0-9]+"} for i in range(len(widths))}
    values = {"kind": "values", "positive": ["1"], "negative": ["0"]}
    tasks = {
        f"y{k}": {
            "title": f"y{k}",
            "department": "d",
            "class": "binary",
            "criterion": {**values, "column": f"y{k}"},
        }
        for k in range(3)
    }
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": tasks}), encoding="utf-8")
    content = {
        "study": "wide",
        "data": str(folder),
        "source": {
            "kind": "table",
            "files": [{"path": f"small{k}.parquet", "id": "id"} for k in range(files)],
            "blocks": blocks,
            "columns": ["y0", "y1", "y2"],
        },
        "modalities": {f"m{i}": {"sources": [f"b{i}"]} for i in range(len(widths))},
        "tasks": {"definitions": [str(folder / "tasks.yaml")], "min_per_fold": 2},
        "split": {"folds": 2, "stratify_by": ["y0"]},
        "training": {"epochs": 1, "batch_sizes": [128], "learning_rates": [1e-3]},
        "search": {"max_size": 2, "beam": 1},
        "tim": {"replicates": 1, "draws": 20},
        "evaluation": {"replicates": 2, "draws": 20, "baselines": []},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_study(path)


def _long(path: Path, rows: int, names: Sequence[str]) -> None:
    """A long file, written in pieces."""
    rng = np.random.default_rng(1)
    schema = pa.schema([("id", pa.string()), *((name, pa.float32()) for name in names)])
    writer = (pq.ParquetWriter if path.suffix == ".parquet" else pacsv.CSVWriter)(str(path), schema)
    with writer:
        for a in range(0, rows, 5000):
            n = min(5000, rows - a)
            x = rng.normal(size=(n, len(names))).astype(np.float32)
            # As many digits as published embeddings have.
            x = x if path.suffix == ".parquet" else np.round(x, 4)
            columns = [
                pa.array([f"n{a + i}" for i in range(n)]),
                *(pa.array(c) for c in np.ascontiguousarray(x.T)),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("same")
    one.add_argument("config", type=Path)
    one.add_argument("results", type=Path)
    one.add_argument("--config", dest="changes", nargs="*", default=[])
    one.add_argument("--alone", type=int, default=5, help="samples that are predicted alone")
    two = verbs.add_parser("speed")
    two.add_argument("--rows", type=int, default=45050)
    two.add_argument("--features", type=int, default=6405)
    two.add_argument("--files", type=int, default=1, help="among which the features are divided")
    two.add_argument("--format", choices=["csv", "parquet"], default="csv")
    options = parser.parse_args()
    if options.verb == "same":
        same(options.config, options.results, options.changes, options.alone)
    else:
        speed(options.rows, options.features, options.format, options.files)


if __name__ == "__main__":
    main()
