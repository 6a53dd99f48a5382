"""What is tried: small valid files and a valid configuration, and what becomes of them."""

from __future__ import annotations

import copy
import decimal
import gzip
import io
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from m3h_pipeline.cohort.ingest import ingest
from m3h_pipeline.config import HaimSource, TableSource
from m3h_pipeline.config.load import load_study
from tests.cohort.table.dialects import WRITERS, Written, write
from tests.end_to_end.bad_input_study import write_study

#: Bytes that mean something to some reader.
TOKENS = [
    b"\x00", b'"', b"'", b"\r", b"\n", b"\r\n", b",", b"\t", b";", b"#", b"!", b"{", b"}", b"?", b"%", b"NaN",
    b"inf", b"1e999", b"-9", b"true", b"2020-01-31", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xcc\x81",
    b"\xe2\x88\x925", b"@data\n", b"@attribute a numeric\n", b"PAR1", b"\x1f\x8b\x08", b"\x89HDF\r\n\x1a\n",
    b"PK\x03\x04", b"!series_matrix_table_begin\n", b"sep=;\n", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80",
]  # fmt: skip
_ODD: list[Any] = [
    None, True, 0, -1, 1, 0.5, 10**9, 10**30, -1e308, float("nan"), float("inf"), "", " ", "x", "x" * 300,
    "a\nb", "\x00", "../x", "{x}", "$(x)", "(", "(a+)+$", "é", "e\u0301", "yes", "1", "2020-01-31", [], {},
    [None], [[]], {"a": None}, {1: 2}, ["x", "x"], b"x", "m3h_pipeline.errors.M3HError", "os.system", "table",
    "robust", "mlp",
]  # fmt: skip


@cache
def _files() -> dict[str, bytes]:
    """A valid file of every format and dialect."""
    n = 24
    columns = [
        Written("sample", "text", [f"p{i:02d}" for i in range(n)]),
        Written("patient", "text", [f"q{i // 2}" for i in range(n)]),
        Written("x1", "real", [None if i % 7 == 3 else i / 3 for i in range(n)]),
        Written("x2", "whole", [None if i % 9 == 4 else i for i in range(n)]),
        Written("flag", "truth", [i % 3 == 0 for i in range(n)]),
        Written("category", "text", ["ab"[i % 2] for i in range(n)]),
        Written("y", "decimal", [decimal.Decimal(i).scaleb(-1) for i in range(n)]),
    ]
    found = {}
    with TemporaryDirectory() as folder:
        for name in WRITERS:
            path = write(name, Path(folder), columns, random.Random(0))
            found[name] = path.read_bytes()
    turned = ["gene," + ",".join(f"p{i:02d}" for i in range(n))]
    turned += [
        f"{name}," + ",".join(str(i * k) for i in range(n)) for k, name in enumerate(("x1", "x2", "flag"))
    ]
    found["turned.csv"] = "\n".join(turned).encode()
    found["geo.txt"] = (
        b'!Series_title\t"t"\n!series_matrix_table_begin\n'
        + found["turned.csv"].replace(b",", b"\t")
        + b"\n!series_matrix_table_end\n"
    )
    return found | {
        f"{name}.gz": gzip.compress(data, mtime=0) for name, data in found.items() if "h5ad" not in name
    }


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Bytes with a few changes: flipped, cut off, spliced, repeated, or with something put in."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + int(2 ** (12 * rng.random())))
        match rng.randrange(8):
            case 0 | 1 if data:
                i = rng.randrange(len(data))
                data = data[:i] + bytes([data[i] ^ 1 << rng.randrange(8)]) + data[i + 1 :]
            case 2:
                data = data[:at]
            case 3:
                data = data[:at] + data[to:]
            case 4:
                data = data[:to] + data[at:]
            case 5:
                start = rng.randrange(len(other) + 1)
                data = data[:at] + other[start : start + rng.randrange(64)] + data[to:]
            case _:
                data = data[:at] + rng.choice(TOKENS) * rng.choice([1, 1, 2, 40]) + data[at:]
    return data


def try_table(rng: random.Random, folder: Path) -> None:
    """A damaged table as a cohort, its columns in uses of their own."""
    files = _files()
    name, other = rng.choice(list(files)), rng.choice(list(files))
    data = files[name]
    if name.endswith(".gz") and rng.random() < 0.7:
        data = gzip.compress(mutated(gzip.decompress(data), files[other], rng))
    elif rng.random() < 0.95:
        data = mutated(data, files[other], rng)
    (folder / name).write_bytes(data)
    turned = name.startswith(("turned", "geo"))
    uses = ["x1", "x2", "flag"] if turned else ["x1", "x2", "flag", "category"]
    file = {"path": str(folder / name), "id": rng.choice(["sample", "sample", None]), "transposed": turned}
    own = {"pattern": ".+", "exclude": [] if turned else ["sample", "patient", "category"]}
    block: dict[str, Any] = rng.choice([{"columns": uses}, own, {"columns": ["x1"]}])
    if "category" in block.get("columns", []):
        block["categorical"] = rng.choice([["category"], ["category", "x2"]])
    source = TableSource.model_validate(
        {
            "files": [file],
            "blocks": {"x": block},
            "columns": [] if turned else ["y"],
            "patient_id": None if turned else rng.choice(["patient", None]),
            "subgroups": {} if turned else {"g": {"column": "category"}},
            "missing_values": rng.choice([[], ["-9", "0"], ["true"]]),
            "limits": rng.choice([None, "half"]),
        }
    )
    ingest(source, ["x"], folder / "cohort", stream=io.StringIO())


@cache
def _haim() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        write_study(Path(folder))
        return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def try_haim(rng: random.Random, folder: Path) -> None:
    """A damaged file of a HAIM cohort."""
    files = _haim()
    chosen = rng.choice([name for name in files if ".csv" in name])
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == chosen:
            packed = name.endswith(".gz") and rng.random() < 0.7
            changed = mutated(gzip.decompress(data) if packed else data, files[rng.choice(list(files))], rng)
            data = gzip.compress(changed) if packed else changed
        path.write_bytes(data)
    source = HaimSource(
        table=str(folder / "table.csv"),
        key_ids=str(folder / "keys.csv"),
        hosp=str(folder / "hosp"),
        blocks={"demographics": "de_", "vision": "vd_"},
    )
    ingest(source, ["demographics", "vision"], folder / "cohort", stream=io.StringIO())


def _places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in inside for place in [(*at, key), *_places(value, (*at, key))]]


def _changed(tree: Any, rng: random.Random) -> Any:
    """A configuration with one entry replaced, removed, renamed, repeated elsewhere, or added."""
    tree = copy.deepcopy(tree)
    places = _places(tree)
    if not places:
        return rng.choice(_ODD)
    *path, last = rng.choice(places)
    inner = tree
    for key in path:
        inner = inner[key]
    match rng.randrange(6):
        case 0:
            del inner[last]
        case 1 if isinstance(inner, dict):
            inner[rng.choice([last.upper() if isinstance(last, str) else 0, "x", 1, None, True])] = inner.pop(
                last
            )
        case 2:
            inner[last] = [inner[last]] if rng.random() < 0.5 else {"x": inner[last]}
        case 3 if isinstance(inner, dict):
            inner[rng.choice(["x", "kind", "columns", "epochs", "genes", 3])] = rng.choice(_ODD)
        case _:
            inner[last] = rng.choice(_ODD)
    return tree


#: Keys with which a study says more than it must.
_MORE = {
    "split": {"folds": 2, "test_fraction": 0.2},
    "training": {"epochs": 2, "batch_sizes": [16], "learning_rates": [0.001]},
    "search": {"max_size": 2, "beam": 1},
    "tim": {},
    "compute": {},
}


_TABLE = {
    "kind": "table",
    "files": [{"path": "table.csv", "id": "img_id"}],
    "patient_id": "haim_id",
    "blocks": {"vision": {"pattern": "v._[0-9]+", "exclude": ["vd_1"]}},
    "columns": ["img_length_of_stay"],
    "subgroups": {"sex": {"column": "de_1", "values": {"0": "female", "1": "male"}}},
    "missing_values": ["-9"],
}


def try_configuration(rng: random.Random, folder: Path) -> None:
    """A damaged configuration or task definitions, loaded, and checked now and then."""
    for name, data in _haim().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    study = yaml.safe_load((folder / "study.yaml").read_text()) if (folder / "study.yaml").exists() else {}
    tasks = yaml.safe_load((folder / "tasks.yaml").read_text())
    study = study | {key: value for key, value in _MORE.items() if rng.random() < 0.5}
    if rng.random() < 0.4:
        study |= {"source": _TABLE, "modalities": {"vision": {"sources": ["vision"]}}}
        del tasks["tasks"]["heart_failure"]
    study |= {"data": str(folder), "results": str(folder / "results")}
    study["tasks"] = {**study.get("tasks", {}), "definitions": [str(folder / "tasks.yaml")]}
    for _ in range(rng.choice([1, 1, 2, 4])):
        if rng.random() < 0.7:
            study = _changed(study, rng)
        else:
            tasks = _changed(tasks, rng)
    written = yaml.safe_dump(study, allow_unicode=True).encode()
    if rng.random() < 0.2:
        written = mutated(written, b"&a [*a, *a] !!python/object:os.system <<: !binary | \t - ? : {{", rng)
    (folder / "study.yaml").write_bytes(written)
    (folder / "tasks.yaml").write_text(yaml.safe_dump(tasks, allow_unicode=True))
    load_study(folder / "study.yaml")
    if rng.random() < 0.1:
        from m3h_pipeline.check import check_study

        check_study(folder / "study.yaml", io.StringIO())


#: What is tried, by how often.
TRIALS: list[tuple[int, Callable[[random.Random, Path], None]]] = [
    (6, try_table),
    (2, try_haim),
    (3, try_configuration),
]
