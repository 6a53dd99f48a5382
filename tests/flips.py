"""Flip bits in the files of a finished study and count the flips that nothing sees.

A flip is seen by the stage that reads the file, when its reader refuses it, and by ``m3h verify``. Each bit
is flipped back. ``make flips`` runs this on a small synthetic study that has most kinds of file.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.errors import M3HError
from m3h_pipeline.files import read_audit, read_features, read_json, read_labels, read_samples, read_table
from m3h_pipeline.hashes import check_digests
from m3h_pipeline.inference.predictions import wanted_predictions
from m3h_pipeline.layout import Layout
from m3h_pipeline.references.store import read_kept
from m3h_pipeline.training.fitted import load_model
from m3h_pipeline.training.store import FitStore, keys_of
from m3h_pipeline.verify import verify

#: What is no result: messages and times of jobs, when the test part was opened.
LEFT_OUT = ("logs", "benchmarks", "ledger")


@dataclass
class Count:
    """What became of the flips in one kind of file.

    Attributes:
        files: how many files of the kind there are.
        tried: flips.
        read: whether a stage reads such files.
        unread: flips that the reader did not see.
        unverified: flips that ``m3h verify`` did not see.
        unseen: flips that neither saw.
    """

    files: int
    tried: int = 0
    read: bool = False
    unread: int = 0
    unverified: int = 0
    unseen: int = 0


def kinds(results: Path) -> dict[str, list[Path]]:
    """Kind -> files of a study: by their folders, with names of tasks, packs and the like left out."""
    found: dict[str, list[Path]] = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results)
        if path.is_file() and not path.name.startswith(".") and name.parts[0] not in LEFT_OUT:
            found.setdefault(_kind(name), []).append(path)
    return found


def _kind(name: Path) -> str:
    """The place of a file in a study, in words that all files of its kind share."""
    place = name.parent.as_posix()
    place = re.sub(r"round_\d+", "round_N", place)
    place = re.sub(r"(?<!bundle/)\b(networks|models|gene_pairs|final/references)/\w+", r"\1/X", place)
    one_of_many = place in {
        *(
            "labels",
            "cohort/features",
            "figures",
            "search/store",
            "search/store/references",
            "search/baselines",
            "final/references/X",
            "bundle/networks",
            "bundle/references",
        ),
    } or place.endswith(("packs", "models/X"))
    if one_of_many and name.name not in {"tasks.json", "audit.tsv", "values.tsv", "prevalence.tsv"}:
        ending = "." + name.name.split(".", 1)[1]
        return f"{place}/*{ending}"
    return f"{place}/{name.name}" if place != "." else name.name


def reader(path: Path, results: Path) -> Callable[[], Any] | None:
    """What a stage does first with a file; None: no stage reads it."""
    layout = Layout(results)
    if path.is_relative_to(layout.input):
        return lambda: check_digests(layout.input)
    if path.parent == layout.store:
        return lambda: _stored(path)
    if path.parent == layout.cohort.feature_folder:
        return lambda: read_features(path)
    if path == layout.cohort.samples:
        return lambda: read_samples(path)
    if path.name.endswith(".audit.tsv"):
        return lambda: read_audit(path, path.with_name(path.name.replace(".audit.tsv", ".parquet")))
    if path.parent == layout.labels.folder and path.suffix == ".parquet":
        return lambda: read_labels(path)
    if path.name.endswith(".predictions.parquet"):
        return lambda: _wanted(path)
    if path.is_relative_to(layout.bundle.folder) and path != layout.bundle.card:
        return lambda: Bundle.load(layout.bundle.folder)
    references = (results / "final" / "references", layout.store / "references")
    if path.suffix == ".safetensors" and any(path.is_relative_to(folder) for folder in references):
        return lambda: read_kept(path)
    readers: dict[str, Callable[[Path], Any]] = {
        ".parquet": read_table,
        ".json": read_json,
        ".safetensors": load_model,
    }
    return (lambda: readers[path.suffix](path)) if path.suffix in readers else None


def _wanted(path: Path) -> None:
    """As TIM and the evaluation do, which decode what they need: here the first prediction."""
    if path not in _FIRST:
        row = read_table(path).slice(0, 1).to_pylist()[0]
        _FIRST[path] = {(row["fit_key"], row["task"]): len(row["prediction"]) // row["width"]}
    for _ in wanted_predictions([path], _FIRST[path]):
        pass


def _stored(path: Path) -> None:
    """A fit is taken from the store, or trained again because its segment was refused."""
    said: list[str] = []
    store = FitStore(path.parent, said.append)
    if path not in _KEYS:
        _KEYS[path] = keys_of(path)
    wanted = _KEYS[path]
    if not said and set(store.load(wanted)) == set(wanted) and not said:
        return
    raise M3HError("the store refuses it")


#: Keys of the fits of each segment, and the first prediction of each file, before anything was flipped.
_KEYS: dict[Path, list[str]] = {}
_FIRST: dict[Path, dict[tuple[str, str], int]] = {}


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """One bit of a file is the other for the block."""
    content = path.read_bytes()
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(content)


def refused(read: Callable[[], Any]) -> bool:
    """Whether something ends in a message; a traceback is a fault of the package."""
    try:
        read()
    except M3HError:
        return True
    return False


def verified(results: Path) -> None:
    """``m3h verify`` without what takes long: digests see every flip before anything is made anew."""
    verify(results, fits=0, cohort=False, screen=io.StringIO())


def count(results: Path, number: int, seed: int = 0, verifying: int | None = None) -> dict[str, Count]:
    """Flip ``number`` bits in each kind of file, one at a time.

    Args:
        results: of a finished study.
        number: of flips per kind.
        seed: of the draw.
        verifying: how many of them ``m3h verify`` is asked for where a stage reads the file; None: all.
    """
    found = {}
    for kind, paths in kinds(results).items():
        paths = [path for path in paths if path.stat().st_size]
        if paths:
            found[kind] = _count(kind, paths, results, number, random.Random(seed), verifying)
    return found


def _count(
    kind: str, paths: list[Path], results: Path, number: int, draw: random.Random, verifying: int | None
) -> Count:
    counted = Count(len(paths))
    sizes = [path.stat().st_size for path in paths]
    for path in paths[:number]:
        # What is remembered of a file is of before.
        if (read := reader(path, results)) is not None:
            read()
            counted.read = True
    for trial in range(number):
        path = draw.choices(paths, sizes)[0] if trial % 2 else draw.choice(paths)
        read = reader(path, results)
        with flipped(path, draw.randrange(path.stat().st_size * 8)):
            seen = read is not None and refused(read)
            also = seen if seen and verifying is not None and trial >= verifying else _noticed(results)
        counted.tried += 1
        counted.unread += read is not None and not seen
        counted.unverified += not also
        counted.unseen += not (seen or also)
    sys.stderr.write(f"{kind}: {counted.unseen} of {counted.tried} unseen\n")
    return counted


def _noticed(results: Path) -> bool:
    return refused(lambda: verified(results))


def table(found: dict[str, Count]) -> str:
    """The counts for people."""
    lines = [f"{'kind of file':44} {'files':>5} {'flips':>5}  unseen by: reader verify both"]
    for kind, one in found.items():
        by_reader = str(one.unread) if one.read else "-"
        lines.append(
            f"{kind:44} {one.files:5} {one.tried:5} {by_reader:>18} {one.unverified:6} {one.unseen:4}"
        )
    return "\n".join(lines)


def _study(folder: Path) -> Path:
    """A small finished study with files of every kind that the small studies of the tests have."""
    from tests.end_to_end.small_study import RESULTS, STUDY, Project, copy_project, write_study

    copy_project(folder)
    leaky = {"model": {"negative_slope": 0.2}}
    own = {
        "source": {"kind": "synthetic", "samples": 300},
        "networks": {"own": "plain", "replicates": 1, "others": {"leaky": leaky}},
        "figures": {"formats": ["svg", "png"]},
    }
    write_study(folder, STUDY | own)
    done = Project(folder, Path(sys.executable).parent).snakemake()
    if done.status:
        raise SystemExit(done.output)
    return folder / RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=300, help="flips per kind of file")
    parser.add_argument("--results", type=Path, help="of a finished study; a small one is made by default")
    parser.add_argument(
        "--verifying", type=int, help="of how many `m3h verify` is asked where a reader refuses the file"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = options.results or _study(Path(folder) / "project")
        found = count(results, options.number, verifying=options.verifying)
    sys.stdout.write(table(found) + "\n")
    tried, unseen = (sum(getattr(one, what) for one in found.values()) for what in ("tried", "unseen"))
    sys.stdout.write(f"{unseen} of {tried} flips were not seen\n")
    sys.exit(unseen > 0 or any(one.unread or one.unverified for one in found.values()))


if __name__ == "__main__":
    main()
