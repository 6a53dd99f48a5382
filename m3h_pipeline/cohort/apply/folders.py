"""Features of a cohort's folder, of a release of MIMIC-IV and of HAIM-MIMIC-MM, as a study's reading says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.apply.batch import Batch
from m3h_pipeline.cohort.apply.problems import Problems, listed
from m3h_pipeline.cohort.observed import observed
from m3h_pipeline.cohort.reading import Reading, SourceReading, read_reading
from m3h_pipeline.config.mimic import MimicSource
from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.files import metadata_of, read_samples
from m3h_pipeline.files import reading as checked
from m3h_pipeline.files.features import feature_batches, feature_names
from m3h_pipeline.layout import CohortFiles


def cohort_batches(
    reading: Reading, folder: Path, absent: Sequence[str], problems: Problems
) -> Iterator[Batch]:
    """Features of a cohort that an ingestion wrote, by their names.

    Args:
        reading: of the study whose models predict.
        folder: ``cohort/`` of a study.
        absent: sources that nobody has.
        problems: takes whatever is wrong.

    Raises:
        InputError: a file is damaged.
    """
    files = CohortFiles(folder)
    if files.reading.exists() and (kind := read_reading(files.reading).kind) != reading.kind:
        problems.add(
            InputError(
                f"the cohort is of a source `{kind}`, and the study's is `{reading.kind}`", where=str(folder)
            )
        )
    places: dict[str, list[int]] = {}
    for name, one in reading.sources.items():
        if name in absent:
            continue
        path = files.features(name)
        if not path.exists():
            there = [found.stem for found in files.feature_folder.glob("*.parquet")]
            hint = f"{nearest(name, there)}; if nobody has it, say `--absent {name}`"
            problems.add(InputError(f"the cohort has no source `{name}`", where=str(folder), hint=hint))
            continue
        own = {feature: j for j, feature in enumerate(feature_names(path))}
        if lacking := [feature for feature in one.names if feature not in own]:
            problems.add(
                InputError(
                    f"{len(lacking):,} features of source `{name}` are absent: {listed(lacking)}",
                    where=str(path),
                )
            )
            continue
        places[name] = [own[feature] for feature in one.names]
        _same_units(name, one, path, places[name], problems)
    if len(problems):
        return
    samples = read_samples(files.samples)["sample_id"]
    streams = {name: feature_batches(files.features(name)) for name in places}
    done = 0
    while done < len(samples):
        parts = {name: next(stream)[:, places[name]] for name, stream in streams.items()}
        n = len(next(iter(parts.values()))) if parts else len(samples)
        ids = samples.slice(done, n).to_pylist()
        features: dict[str, Float32Array | None] = {name: parts.get(name) for name in reading.sources}
        yield Batch(ids, features, {}, len(samples))
        done += n


def _same_units(name: str, one: SourceReading, path: Path, places: Sequence[int], problems: Problems) -> None:
    import pyarrow.parquet as pq

    with checked(path, "Parquet file"):
        units = metadata_of(pq.read_schema(path).empty_table(), "units", list, path)
    for feature, mine, j in zip(one.names, one.units, places, strict=True):
        if mine and units[j] and mine != units[j]:
            problems.add(
                InputError(
                    f"feature `{feature}` of source `{name}` is in {units[j]}, and in the study in {mine}",
                    where=str(path),
                    hint="convert it",
                )
            )


def haim_batches(
    reading: Reading, path: str, absent: Sequence[str], problems: Problems, scratch: Path
) -> Iterator[Batch]:
    """Features of a table in the form of HAIM-MIMIC-MM, sorted by sample; no key ids are needed.

    Args:
        reading: of a `haim` source.
        path: the table.
        absent: sources that nobody has.
        problems: takes whatever is wrong.
        scratch: a folder for the table, unpacked.

    Raises:
        InputError: the file is damaged, or holds too many malformed lines.
    """
    from m3h_pipeline.cohort.haim.columns import Plan
    from m3h_pipeline.cohort.haim.index import IDENTITY, Quarantine, index_samples
    from m3h_pipeline.cohort.haim.kept import Kept
    from m3h_pipeline.progress import Progress
    from m3h_pipeline.tables.parsing import Layout
    from m3h_pipeline.tables.records import parse_in_order
    from m3h_pipeline.tables.textfile import open_bytes, plain_file, read_header, split_header

    with open_bytes(path) as opened:
        names = split_header(read_header(opened, path)[0], path, expect=IDENTITY)
    place = {name: i for i, name in reversed(list(enumerate(names)))}
    singles: list[int] = []
    slices: dict[str, slice] = {}
    for name, one in reading.sources.items():
        if name in absent:
            continue
        if lacking := [feature for feature in one.names if feature not in place]:
            problems.add(
                InputError(
                    f"{len(lacking):,} columns of source `{name}` are absent: {listed(lacking)}", where=path
                )
            )
        twice = [feature for feature in one.names if names.count(feature) > 1]
        if twice:
            problems.add(InputError(f"columns of source `{name}` stand twice: {listed(twice)}", where=path))
        slices[name] = slice(len(singles), len(singles) + len(one.names))
        singles += [place.get(feature, 0) for feature in one.names]
    if len(problems):
        return
    plan = Plan(Layout(tuple(names), tuple(singles), (), ()), slices, (), {}, [], {})
    quarantine = Quarantine(path, int(reading.source.get("max_malformed", 10)))
    with plain_file(path, scratch) as plain, Path(os.devnull).open("w") as nowhere:
        index = index_samples(plain, path, names, None, quarantine, Progress("MB", 1, stream=nowhere))
        kept = Kept(index, plan, quarantine)
        order = index.by_sample()
        total = len({index.sample[r] for r in order})
        workers = min(4, len(os.sched_getaffinity(0)))
        for chunk, rows in parse_in_order(plain, index.records, order, plan.layout, workers):
            before = len(kept.record)
            found = kept.take(chunk, rows)
            features: dict[str, Float32Array | None] = dict.fromkeys(reading.sources)
            for name, x in found.items():
                features[name] = observed(x, zero_is_missing=reading.sources[name].zero_is_missing).x
            ids = [index.sample[r] for r in kept.record[before:]]
            if ids:
                yield Batch(ids, features, {}, total)
    if quarantine.lines:
        shown = ", ".join(str(line) for line, _ in sorted(quarantine.lines)[:10])
        problems.notes.append(
            f"{path}: malformed lines, of which nothing is predicted: {len(quarantine.lines)} ({shown})"
        )
    if kept.duplicates:
        problems.notes.append(
            f"{path}: further records of a sample, of which the first counts: {kept.duplicates}; "
            f"of these differ: {kept.differing}"
        )


def mimic_batches(
    reading: Reading,
    folder: str,
    absent: Sequence[str],
    problems: Problems,
    scratch: Path,
    embeddings: Path | None,
    stream: TextIO | None,
) -> Iterator[Batch]:
    """Features of the stays of a folder as MIMIC-IV is distributed.

    Args:
        reading: of a `mimic` source.
        folder: with ``hosp/`` and ``icu/``.
        absent: sources that nobody has.
        problems: takes whatever is wrong.
        scratch: a folder for the database.
        embeddings: tables that `m3h embed` wrote of these stays' notes and images.
        stream: where progress is written.

    Raises:
        InputError: a table is absent or malformed, or does not hold what the study read.
    """
    from m3h_pipeline.cohort.mimic.database import database
    from m3h_pipeline.cohort.mimic.ingest import described_features, extract

    paths = {key: folder for key in ("cxr", "notes") if reading.source.get(key)}
    source = MimicSource.model_validate({**reading.source, "folder": folder, "temp": None, **paths})
    wanted = [name for name in reading.sources if name not in absent]
    names, _, embedded = described_features(source, wanted, embeddings)
    for name in wanted:
        if list(names[name]) != list(reading.sources[name].names):
            problems.add(
                InputError(
                    f"source `{name}` has other features than in the study",
                    hint="take the version that made the bundle, or, of notes and images, the same embedder",
                )
            )
    if len(problems):
        return
    with database(scratch, source.memory_gb) as db:
        found = extract(db, source, wanted, embedded, reading.codes, stream)
        ids = found.samples.table["sample_id"].cast(pa.string()).to_pylist()
        for block, parts in found.batches:
            features: dict[str, Float32Array | None] = dict.fromkeys(reading.sources)
            for name, x in parts.items():
                zero = reading.sources[name].zero_is_missing
                features[name] = observed(np.asarray(x, dtype=np.float32), zero_is_missing=zero).x
            yield Batch(ids[block], features, {}, len(ids))
