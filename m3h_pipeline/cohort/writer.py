"""The cohort's files, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.cohort.observed import observed
from m3h_pipeline.cohort.reading import Reading, plain_reading, write_reading
from m3h_pipeline.cohort.summary import shown_summary
from m3h_pipeline.contracts import DIAGNOSES, samples_schema
from m3h_pipeline.disclosure.text import tsv
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.features.extremes import Extremes
from m3h_pipeline.files import (
    check_schema,
    features_schema,
    parquet_writer,
    write_json,
    write_table,
    writing,
)
from m3h_pipeline.files.durable import make_folder, moved
from m3h_pipeline.files.leftovers import prefix_of, remove_leftovers
from m3h_pipeline.files.sealed import seal
from m3h_pipeline.layout import CohortFiles

#: Bytes of features of all sources held back before they are written.
BUFFERED = 64 << 20


class CohortWriter:
    """Write a cohort into a folder beside ``out`` and move it into place when all of it is there.

    Use it as a context manager: leaving the block with an error leaves ``out`` as it was. Rows are appended
    in their final order.

    Args:
        out: the folder ``cohort/`` of a study.
        sources: source -> names of its features.
        units: source -> units of its features, where known.
        zero_is_missing: sources of which a row that is zero throughout is not observed.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        out: Path | str,
        sources: Mapping[str, Sequence[str]],
        units: Mapping[str, Sequence[str]] | None = None,
        zero_is_missing: Collection[str] = (),
    ) -> None:
        self.out = Path(out)
        self.units = {name: list(found) for name, found in (units or {}).items()}
        self.sources = {name: list(features) for name, features in sources.items()}
        self.rows = 0
        self.missing = dict.fromkeys(self.sources, 0)
        self.without = dict.fromkeys(self.sources, 0)
        self.infinite = dict.fromkeys(self.sources, 0)
        self.zero = dict.fromkeys(self.sources, 0)
        self._zero_is_missing = frozenset(zero_is_missing)
        self._extremes = {name: Extremes(len(features)) for name, features in self.sources.items()}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._held: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in self.sources}
        self._held_bytes = 0
        self._ready = False

    def __enter__(self) -> CohortWriter:
        with writing(self.out):
            make_folder(self.out.parent)
            # Of an ingestion, or of a later stage, that was killed: they hold rows of patients.
            remove_leftovers(self.out.parent, self.out, CohortFiles(self.out).feature_folder)
            self.staging = Path(
                tempfile.mkdtemp(dir=self.out.parent, prefix=prefix_of(self.out.name), suffix=".part")
            )
            self.files = CohortFiles(self.staging)
            self.files.feature_folder.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with writing(self.out):
                for name, writer in self._writers.items():
                    writer.close()
                    if kind is None:
                        seal(self.files.features(name))
                if kind is None and self._ready:
                    self._move()
        except InputError:
            # The block's own error says more.
            if kind is None:
                raise
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)

    def append(self, features: Mapping[str, npt.NDArray[np.float32]], rows: int | None = None) -> None:
        """Append rows: per source an array (rows, D); infinite values become missing and are counted.

        So do rows that are zero throughout, of the sources of which these are not observed.
        Of a cohort without sources ``rows`` says how many there are.
        """
        counts = {len(features[name]) for name in self.sources} or {rows or 0}
        if len(counts) > 1:
            raise ContractError("the sources have different numbers of rows", where=str(self.out))
        for name, width in ((name, len(names)) for name, names in self.sources.items()):
            x = features[name]
            if x.shape[1] != width:
                raise ContractError(f"{x.shape[1]} columns for {width} features", where=name)
            found = observed(x, zero_is_missing=name in self._zero_is_missing)
            x = found.x
            self.zero[name] += found.zero
            self.infinite[name] += found.infinite
            self.missing[name] += found.missing
            self.without[name] += found.without
            self._extremes[name].add(x)
            self._held[name].append(x)
            self._held_bytes += x.nbytes
        self.rows += counts.pop()
        if self._held_bytes >= BUFFERED:
            self._flush()

    def _flush(self) -> None:
        for name, parts in self._held.items():
            if not parts and name in self._writers:
                continue
            schema = features_schema(self.sources[name], self.units.get(name))
            width = len(self.sources[name])
            x = np.concatenate(parts) if parts else np.empty((0, width), dtype=np.float32)
            column = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), width)
            with writing(self.out):
                if name not in self._writers:
                    # Floats barely repeat: a dictionary and min/max statistics cost more than they save. At
                    # this level zstd passes noise through at the speed of no compression and still collapses
                    # the zeros of absent notes (measured; level 1 takes twice the time to save a tenth).
                    self._writers[name] = parquet_writer(
                        self.files.features(name),
                        schema,
                        compression_level=-3,
                        use_dictionary=False,
                        write_statistics=False,
                    )
                self._writers[name].write_table(pa.Table.from_arrays([column], schema=schema))
            parts.clear()
        self._held_bytes = 0

    def finish(
        self,
        samples: pa.Table,
        columns: pa.Table,
        diagnoses: pa.Table | None,
        summary: Mapping[str, Any],
        quarantine: Iterable[tuple[str, int, str]],
        reading: Reading | None = None,
    ) -> dict[str, Any]:
        """Write everything but the features and let the files take their place when the block ends.

        Args:
            samples: the identifiers, then the subgroups; as many rows as were appended, sorted.
            columns: what label definitions may read, row-aligned.
            diagnoses: of schema DIAGNOSES, or None.
            summary: what is known about the input; sizes, sources and subgroups are added.
            quarantine: file, line and reason of every malformed line.
            reading: how the source's files became features; None: their names and units are all there is.

        Returns:
            The summary with all its counts; what is written hides small ones
            (:func:`m3h_pipeline.cohort.summary.shown_summary`).
        """
        self._flush()
        subgroups = samples.column_names[3:]
        samples = check_schema(samples, samples_schema(subgroups), "samples")
        if samples.num_rows != self.rows or (columns.num_columns and columns.num_rows != self.rows):
            raise ContractError("samples, columns and features differ in length", where=str(self.out))
        full = {
            **summary,
            "rows": self.rows,
            "patients": len(samples["patient_id"].unique()),
            "stays": len(samples["stay_id"].drop_null().unique()),
            "sources": {
                name: {
                    "features": len(names),
                    "missing": self.missing[name] / max(1, self.rows * len(names)),
                    "samples_without": self.without[name],
                    "infinite": self.infinite[name],
                    "zero_throughout": self.zero[name],
                    "zero_is_missing": name in self._zero_is_missing,
                    "far_values": [names[i] for i in np.flatnonzero(self._extremes[name].far())],
                }
                for name, names in self.sources.items()
            },
            "subgroups": {name: _counts(samples[name]) for name in subgroups},
            "columns": {name: {"missing": columns[name].null_count} for name in columns.column_names},
        }
        write_table(samples, self.files.samples)
        write_table(columns, self.files.columns)
        if diagnoses is not None:
            write_table(diagnoses, self.files.diagnoses, DIAGNOSES)
        write_json(shown_summary(full), self.files.summary)
        if reading is None:
            kind = str(summary.get("kind", "own"))
            reading = plain_reading(kind, self.sources, self.units, sorted(self._zero_is_missing))
        write_reading(reading, self.files.reading)
        with writing(self.out):
            self.files.quarantine.write_text(tsv([("file", "line", "reason"), *quarantine]), encoding="utf-8")
        self._ready = True
        return full

    def _move(self) -> None:
        """Put the new files in place and remove those of an earlier ingestion that this one does not have."""
        before = CohortFiles(self.out)
        make_folder(before.feature_folder)
        new = {path.relative_to(self.staging) for path in self.staging.rglob("*") if path.is_file()}
        for old in [*before.tables(), *before.feature_folder.glob("*.parquet")]:
            if old.relative_to(self.out) not in new:
                old.unlink(missing_ok=True)
        for path in sorted(new):
            moved(self.staging / path, self.out / path)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in column.to_pylist():
        counts[value if value is not None else "(none)"] = counts.get(value or "(none)", 0) + 1
    return dict(sorted(counts.items()))
