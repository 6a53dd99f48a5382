"""`m3h predict`: from a user's files to predictions, in batches, with what to know before they are used."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from m3h_pipeline.bundle.columns import task_columns, writing_table
from m3h_pipeline.bundle.drift import Drift
from m3h_pipeline.bundle.explain import attention, contributions, cost, silent
from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.cohort.apply.batch import Batch
from m3h_pipeline.cohort.apply.problems import Problems
from m3h_pipeline.cohort.apply.read import apply_reading
from m3h_pipeline.disclosure.text import cell
from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.files import replacing
from m3h_pipeline.files.leftovers import scratch
from m3h_pipeline.progress import Progress

#: Numbers of features that are predicted from at a time, and the most samples.
_NUMBERS, _ROWS = 8_000_000, 4096
_FILE = "name a file, in that folder or elsewhere"
#: Features of one kind of flag that are named.
_NAMED = 3


def predict_files(
    bundle: Bundle,
    paths: Sequence[str | Path],
    out: Path,
    *,
    tasks: Sequence[str] | None = None,
    with_attention: bool = False,
    with_contributions: bool = False,
    absent: Sequence[str] = (),
    embeddings: Path | None = None,
    stream: TextIO,
) -> int:
    """Predict the samples of files; beside ``out`` stands ``<out's stem>.drift.csv``.

    Memory is bounded by the width of the files, and some hundred bytes a sample.

    Args:
        bundle: what predicts.
        paths: files as the study's source reads them, or one folder of a cohort; no outcomes are needed.
        out: table of predictions, .csv or .parquet; written whole or not at all.
        tasks: which; None: all.
        with_attention: add how much each task attended to those that it was learned with.
        with_contributions: add what each source contributes.
        absent: sources that nobody has.
        embeddings: of a `mimic` source with notes or images, the folder that `m3h embed` wrote.
        stream: where progress and remarks are written.

    Returns:
        How many samples there were.

    Raises:
        InputError: with the complete list of what keeps the files from being read.
    """
    wanted = task_names(bundle, tasks)
    beside = out.with_name(f"{out.stem}.drift.csv")
    spare(paths, out, beside)
    drift = Drift(bundle.sketches, bundle.sources)
    flagged: dict[str, int] = {}
    problems = Problems()
    if with_contributions:
        stream.write(cost(bundle))
    with (
        writing_table(out) as table,
        scratch(out.parent, "predict", "check its free space and its permissions") as folder,
        Progress("samples", 0, stream=stream) as progress,
    ):
        for batch in batches(
            bundle, paths, folder, problems, absent=absent, embeddings=embeddings, stream=stream
        ):
            features = _whole(bundle, batch)
            said = bundle.predict_features(features, wanted)
            columns: dict[str, npt.NDArray[np.float64]] = {}
            for name in wanted:
                columns |= task_columns(name, bundle.tasks[name], said[name])
            if with_attention:
                columns |= attention(bundle, features, wanted)
            progress.total = max(batch.total or 0, progress.done + len(batch.ids))
            if with_contributions:
                # Here is most of the time.
                columns |= contributions(bundle, features, wanted, progress.advance)
            else:
                progress.advance(len(batch.ids))
            table.add(batch.ids, columns, flags(bundle, batch, drift, flagged))
        progress.total = progress.done
    shifted = _write_drift(drift, beside)
    stream.write("".join(f"{path}: not needed, nothing is predicted from it\n" for path in problems.unused))
    stream.write("".join(f"{note}\n" for note in problems.notes))
    stream.write("".join(_company(bundle, wanted)))
    if with_attention:
        stream.write(silent(bundle, wanted))
    said_of = [f"{flag}: {count:,} of {table.rows:,} samples\n" for flag, count in sorted(flagged.items())]
    stream.write("".join(said_of))
    if shifted:
        some = ", ".join(shifted[:10]) + (f" and {len(shifted) - 10:,} more" if len(shifted) > 10 else "")
        stream.write(f"features that have shifted since training: {some}\n")
    return table.rows


def spare(paths: Sequence[str | Path], *written: Path) -> None:
    """See that nothing that is read is written over, and that no folder stands where a file is to be.

    Args:
        paths: files and folders that are read.
        written: files that will be written.

    Raises:
        InputError: one of these is one of those, lies in such a folder, or is a folder.
    """
    read = {Path(path).resolve() for path in paths}
    for path in written:
        if path.is_dir():
            raise InputError("this is a folder, and a file is to be written", where=str(path), hint=_FILE)
        place = path.resolve()
        if not read.isdisjoint({place, *place.parents}):
            raise InputError(
                "this would be written over what is read", where=str(path), hint="write to another place"
            )


def task_names(bundle: Bundle, tasks: Sequence[str] | None) -> list[str]:
    """The wanted tasks.

    Raises:
        InputError: the bundle has no such task.
    """
    for name in tasks or ():
        if name not in bundle.tasks:
            raise InputError(f"the bundle has no task `{name}`", hint=nearest(name, bundle.tasks))
    return list(bundle.tasks) if not tasks else list(dict.fromkeys(tasks))


def batches(
    bundle: Bundle,
    paths: Sequence[str | Path],
    folder: Path,
    problems: Problems,
    *,
    absent: Sequence[str] = (),
    embeddings: Path | None = None,
    stream: TextIO | None = None,
) -> Iterator[Batch]:
    """The samples of files, as many at a time as are predicted at once.

    Raises:
        InputError: as :func:`m3h_pipeline.cohort.apply.read.apply_reading`.
    """
    size = max(1, min(_ROWS, _NUMBERS // max(1, sum(map(len, bundle.sources.values())))))
    found = apply_reading(
        bundle.description.reading,
        paths,
        folder,
        problems,
        absent=absent,
        embeddings=embeddings,
        stream=stream,
    )
    for batch in found:
        for a in range(0, len(batch.ids), size):
            part = slice(a, a + size)
            yield Batch(
                batch.ids[part],
                {name: None if x is None else x[part] for name, x in batch.features.items()},
                {name: rows[part] for name, rows in batch.unseen.items()},
                batch.total,
            )


def _whole(bundle: Bundle, batch: Batch) -> dict[str, Any]:
    """Features of the bundle's sources, of which at least one is there."""
    features = {name: batch.features.get(name) for name in bundle.sources}
    if any(x is not None for x in features.values()):
        return features
    n = len(batch.ids)
    return {name: np.full((n, len(columns)), np.nan) for name, columns in bundle.sources.items()}


def flags(bundle: Bundle, batch: Batch, drift: Drift, flagged: dict[str, int]) -> list[str]:
    """What to know of each sample: sources that it lacks, values never seen, values out of range.

    Args:
        bundle: what predicts.
        batch: the samples.
        drift: counts them.
        flagged: flag -> samples with it; added to.
    """
    outside = drift.add(batch.features)
    found: list[list[str]] = [[] for _ in batch.ids]

    def note(rows: npt.NDArray[Any], flag: str) -> None:
        at = np.flatnonzero(rows)
        if len(at):
            flagged[flag] = flagged.get(flag, 0) + len(at)
            for i in at.tolist():
                found[i].append(flag)

    for name in bundle.sources:
        x = batch.features.get(name)
        gone = np.full(len(batch.ids), True) if x is None else np.asarray(np.isnan(x).all(1))
        note(gone, f"no {name}")
    for column, rows in batch.unseen.items():
        note(rows, f"value of {column} never seen")
    for name, beyond in outside.items():
        at = np.flatnonzero(beyond.any(1))
        if not len(at):
            continue
        kind = f"out of range in {name}"
        flagged[kind] = flagged.get(kind, 0) + len(at)
        names = bundle.sources[name]
        for i in at.tolist():
            which = np.flatnonzero(beyond[i]).tolist()
            more = f" and {len(which) - _NAMED} more" if len(which) > _NAMED else ""
            found[i].append("out of range: " + ", ".join(names[j] for j in which[:_NAMED]) + more)
    return ["; ".join(one) for one in found]


def _company(bundle: Bundle, tasks: Sequence[str]) -> Iterator[str]:
    """Which predictions the other samples of the file have a part in."""
    for name in tasks:
        task = bundle.tasks[name]
        if not task.candidates[task.chosen].alone:
            yield (
                f"{name}: predictions depend on the other samples of the files, as the study has "
                "`attention.normalise: published`\n"
            )


def _write_drift(drift: Drift, path: Path) -> list[str]:
    """Write a row per feature; return the names of those that have shifted."""
    rows = list(drift.rows())
    header = list(rows[0]) if rows else ["source", "feature", "samples", "psi", "limit", "shifted"]
    lines = [tuple(header)] + [tuple(_text(row[key]) for key in header) for row in rows]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([cell(value) for value in line] for line in lines)
    return [row["feature"] for row in rows if row["shifted"] == 1]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.4g}"
    return str(value)
