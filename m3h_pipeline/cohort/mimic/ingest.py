"""A cohort from MIMIC-IV as distributed (versions 2.x and 3.x), in bounded memory.

Nothing that was not known before a sample's time enters its features; see :func:`events.load_events` for what
"known" means. The columns that label definitions read have the names of HAIM-MIMIC-MM, whatever a sample is:
``img_length_of_stay`` are the hours from the sample to discharge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import pyarrow as pa

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.cohort.diagnoses import STAYS, diagnosed
from m3h_pipeline.cohort.mimic import demographics
from m3h_pipeline.cohort.mimic.database import database, run
from m3h_pipeline.cohort.mimic.events import block_features, blocks, load_events
from m3h_pipeline.cohort.mimic.samples import Samples, build_samples, table_file
from m3h_pipeline.cohort.mimic.series import EVENT_TABLES
from m3h_pipeline.cohort.rare import values_left
from m3h_pipeline.cohort.reading import plain_reading, without_folders
from m3h_pipeline.cohort.subgroups import samples_table
from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.config.mimic import MIMIC_TABLES, MimicSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.files.leftovers import scratch
from m3h_pipeline.progress import Progress

if TYPE_CHECKING:
    import duckdb


def ingest_mimic(
    source: MimicSource,
    sources: Sequence[str],
    out: Path | str,
    *,
    embeddings: Path | str | None = None,
    stream: TextIO | None = None,
) -> dict[str, Any]:
    """Build a cohort from MIMIC-IV.

    Args:
        source: where the tables are, what a sample is, and which variant of the features.
        sources: the blocks of features to compute.
        out: the folder ``cohort/`` of a study.
        embeddings: folder with the table ``<source>.parquet`` of every source of notes or images, as
            `m3h embed` writes them.
        stream: where progress is written; standard error by default.

    Returns:
        The summary.

    Raises:
        InputError: a table is missing, truncated or malformed, or does not hold what the configuration says.
    """
    names, units, embedded = described_features(source, sources, embeddings)
    with (
        CohortWriter(out, names, units, source.absent_if_zero()) as writer,
        _scratch(source, writer) as folder,
        database(folder, source.memory_gb) as db,
    ):
        found = extract(db, source, sources, embedded, None, stream)
        samples = found.samples
        for _, features in found.batches:
            writer.append(features)
        diagnoses, codes = _diagnoses(source, samples)
        summary = {
            "kind": source.kind,
            "variant": source.variant,
            "samples_are": source.samples,
            "hours": None if source.samples == "per_image" else source.hours,
            "events": found.events,
            "stays_without_sample": samples.without,
            "categories_without_code": found.unknown,
            "ignored": {
                "unused_sources": sorted(set(source.blocks) - set(sources)),
                "without_key": samples.keyless,
            },
            "diagnoses": codes,
        }
        columns = samples.table.select(samples.columns)
        plain = plain_reading(source.kind, writer.sources, writer.units, sorted(source.absent_if_zero()))
        told = {
            "source": without_folders(source),
            "codes": _told(found.numbered, samples) if "demographics" in sources else {},
        }
        reading = plain.model_copy(update=told)
        return writer.finish(_samples(source, samples), columns, diagnoses, summary, [], reading)


def described_features(
    source: MimicSource, sources: Sequence[str], embeddings: Path | str | None
) -> tuple[dict[str, list[str]], dict[str, list[str]], Embedded]:
    """Names and units of the features of each source, and its tables of embeddings.

    Raises:
        InputError: a table is absent.
    """
    for name in MIMIC_TABLES:
        table_file(Path(source.folder), name)
    known = {"demographics": (list(demographics.NAMES), list(demographics.UNITS))}
    known |= {events.source: (events.names, events.units) for events in EVENT_TABLES}
    embedded = Embedded(source, sources, embeddings)
    known |= {name: (names, [""] * len(names)) for name, names in embedded.names.items()}
    names, units = ({name: known[name][i] for name in sources} for i in range(2))
    return names, units, embedded


@dataclass(frozen=True)
class Extracted:
    """What is extracted of a release.

    Attributes:
        samples: who they are.
        events: table -> how many events were kept, and how many were undated.
        unknown: category -> how many values have no code.
        numbered: of `published`, the numbers of the values of categories.
        batches: runs of samples and their features, source -> (n, D).
    """

    samples: Samples
    events: dict[str, dict[str, int]]
    unknown: dict[str, int]
    numbered: Mapping[str, Mapping[str, float]]
    batches: Iterator[tuple[slice, dict[str, Float32Array]]]


def extract(
    db: duckdb.DuckDBPyConnection,
    source: MimicSource,
    sources: Sequence[str],
    embedded: Embedded,
    numbered: Mapping[str, Mapping[str, float]] | None,
    stream: TextIO | None,
) -> Extracted:
    """Read a release: samples, then their features in runs.

    Args:
        db: an empty database.
        source, sources: as :func:`ingest_mimic`.
        embedded: tables of embeddings.
        numbered: of `published`, the numbers of a release that was read before; None: as this one has them.
        stream: where progress is written.

    Raises:
        InputError: a table is malformed, or does not hold what the configuration says.
    """
    tables = [events for events in EVENT_TABLES if events.source in sources]
    samples = build_samples(db, source)
    files = [table_file(Path(source.folder), events.table) for events in tables]
    counts: dict[str, dict[str, int]] = {}
    total = sum(f.stat().st_size for f in files) / 1e6
    with Progress("MB of events read", total, stream=stream) as progress:
        for events in tables:
            counts[events.table] = load_events(db, events, source, lambda n: progress.advance(n / 1e6))
    if source.variant != "published":
        numbered = {}
    elif numbered is None:
        numbered = demographics.published_codes(lambda column: _distinct(db, column))
    described, unknown = demographics.demographics(samples.table, source, numbered)

    def batches() -> Iterator[tuple[slice, dict[str, Float32Array]]]:
        with Progress("samples", samples.table.num_rows, stream=stream) as progress:
            for block in blocks(db, tables, samples):
                features = {
                    events.source: block_features(db, events, source, samples, block) for events in tables
                }
                if "demographics" in sources:
                    features["demographics"] = described[block]
                yield block, features | embedded.features(samples, block)
                progress.advance(block.stop - block.start)

    return Extracted(samples, counts, unknown, numbered, batches())


def _told(numbered: Mapping[str, Mapping[str, float]], samples: Samples) -> dict[str, dict[str, float]]:
    """The numbers of the values that at least 11 patients have."""
    patient = samples.table["patient_id"].combine_chunks()
    kept = {
        column: set(values_left(samples.table[column].combine_chunks().cast(pa.string()), patient)[0])
        for column in numbered
    }
    return {
        column: {value: number for value, number in values.items() if value in kept[column]}
        for column, values in numbered.items()
    }


class Embedded:
    """The sources that come as tables of embeddings.

    Raises:
        InputError: a table is absent.
    """

    def __init__(self, source: MimicSource, sources: Sequence[str], folder: Path | str | None) -> None:
        self._how = {name: source.embeddings[name] for name in sources if name in source.embeddings}
        self._tables: dict[str, tuple[Mapping[str, Any], Float32Array]] = {}
        self.names: dict[str, list[str]] = {}
        if not self._how:
            return
        if folder is None:
            raise InputError(
                f"the embeddings of `{next(iter(self._how))}` are not given",
                hint="make them with `m3h embed`",
            )
        from m3h_pipeline.cohort.mimic.embeddings import read_embeddings

        for name in self._how:
            self._tables[name] = read_embeddings(Path(folder) / f"{name}.parquet")
            self.names[name] = [f"{name}_{i}" for i in range(self._tables[name][1].shape[1])]

    def features(self, samples: Samples, block: slice) -> dict[str, Float32Array]:
        """The features of a run of samples."""
        if not self._how:
            return {}
        from m3h_pipeline.cohort.mimic.embeddings import aggregate

        table = samples.table.slice(block.start, block.stop - block.start)
        hadm = table["hadm_id"].cast(pa.int64()).to_numpy()
        time = samples.time[block]
        admitted = time - np.rint(table["img_deltacharttime"].to_numpy() * 3.6e9).astype(np.int64)
        return {
            name: aggregate(*self._tables[name], hadm, time, admitted, how) for name, how in self._how.items()
        }


def _scratch(source: MimicSource, writer: CohortWriter) -> AbstractContextManager[Path]:
    """A folder for the database, gone when the block ends."""
    base = writer.staging if source.temp is None else Path(source.temp)
    return scratch(base, "mimic", "check `source.temp`, its free space and its permissions")


def _distinct(db: duckdb.DuckDBPyConnection, column: str) -> list[str]:
    """The values of a category anywhere in the release."""
    table = "patients" if column == "gender" else "admissions"
    return [row[0] for row in run(db, f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")]


def _samples(source: MimicSource, samples: Samples) -> pa.Table:
    sample, patient, stay = (samples.table[name] for name in ("sample_id", "patient_id", "stay_id"))
    codes = {
        name: [value or "" for value in samples.table[group.column].to_pylist()]
        for name, group in source.subgroups.items()
    }
    return samples_table(sample, patient, stay, source.subgroups, codes)


def _diagnoses(source: MimicSource, samples: Samples) -> tuple[pa.Table, dict[str, int]]:
    stays = samples.table.select(STAYS.names).group_by(STAYS.names).aggregate([]).cast(STAYS)
    return diagnosed(Path(source.folder) / "hosp", stays, stays.num_rows)
