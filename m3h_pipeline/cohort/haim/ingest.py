"""HAIM-MIMIC-MM as published: one wide CSV of embeddings, read by name, in bounded memory.

Two passes. The first finds where each record stands and which image it is of; the second reads the records
in the order of their ``sample_id``, parses them and writes them. Memory does not grow with the features of
the file, only with its number of rows (some hundred bytes each), and nothing is sorted on disk.

A sample is an image during a stay: ``haim_id`` (one per ICU stay) and ``img_id``. Records of the same pair
are one sample; the first well-formed one in the file is kept. The same image in two stays of one patient
stays two samples: they predict for different stays, and both belong to one patient, so that no split can
separate them; the summary counts them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.cohort.diagnoses import STAYS, find_table, read_hosp_diagnoses
from m3h_pipeline.cohort.haim.columns import Plan, plan_columns
from m3h_pipeline.cohort.haim.keys import Key, read_keys
from m3h_pipeline.cohort.subgroups import code, encode, infer
from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.config.sources import HaimSource
from m3h_pipeline.contracts import samples_schema
from m3h_pipeline.disclosure import small_count
from m3h_pipeline.errors import InputError
from m3h_pipeline.progress import Progress
from m3h_pipeline.tables import kernel, parsing
from m3h_pipeline.tables.parsing import Rows
from m3h_pipeline.tables.records import Records, index_records
from m3h_pipeline.tables.textfile import open_bytes, plain_file, read_header, reading, split_header

#: From this size on the compiled kernel repays its start-up.
KERNEL_FROM = 32 << 20
_CHUNK = 8 << 20
_REQUIRED = ("haim_id", "img_id")


@dataclass
class Index:
    """The records of the file, and of which image each is; ``sample[r]`` is empty for a malformed record."""

    records: Records
    haim: list[str] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    image: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Kept:
    """What is kept of the samples besides their features."""

    record: list[int] = field(default_factory=list)
    numbers: list[npt.NDArray[np.float64]] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    codes: dict[str, list[str]] = field(default_factory=dict)
    duplicates: int = 0
    differing: int = 0
    last: tuple[Rows, int] | None = None


class Quarantine:
    """Malformed lines, by number and reason, up to a limit."""

    def __init__(self, path: str, limit: int) -> None:
        self.path, self.limit = path, limit
        self.lines: list[tuple[int, str]] = []

    def add(self, line: int, reason: str) -> None:
        """Set a line aside.

        Raises:
            InputError: there are more than the limit.
        """
        self.lines.append((line, reason))
        if len(self.lines) > self.limit:
            shown = "; ".join(f"line {n}: {why}" for n, why in sorted(self.lines)[:3])
            raise InputError(
                f"more than {self.limit} lines are malformed ({shown})",
                where=self.path,
                hint="repair the file, or raise `source.max_malformed` if these lines may be left out",
            )


def ingest_haim(
    source: HaimSource,
    sources: Sequence[str],
    out: Path | str,
    *,
    stream: TextIO | None = None,
    threads: int | None = None,
    kernel_from: int = KERNEL_FROM,
) -> dict[str, Any]:
    """Ingest HAIM-MIMIC-MM.

    Args:
        source: where the files are.
        sources: the blocks to keep.
        out: the folder ``cohort/`` of a study.
        stream: where progress is written; standard error by default.
        threads: parsing threads; by default one per available core, at most four.
        kernel_from: size in bytes from which on the compiled kernel is used.

    Returns:
        The summary.

    Raises:
        InputError: a file is missing, truncated or malformed, or does not hold what the configuration says.
    """
    if source.hosp is not None:
        for name in ("diagnoses_icd", "d_icd_diagnoses"):
            find_table(source.hosp, name)
    keys = read_keys(source.key_ids)
    path = source.table
    quarantine = Quarantine(path, source.max_malformed)
    with open_bytes(path) as opened:
        names = split_header(read_header(opened, path)[0], path, expect=_REQUIRED)
    plan = plan_columns(names, source, sources, path)
    with (
        CohortWriter(out, {key: [names[i] for i in plan.fields(key)] for key in sources}) as writer,
        plain_file(path, writer.staging) as plain,
    ):
        size = plain.stat().st_size
        with Progress("MB", 2 * size / 1e6, stream=stream) as progress:
            index = _index(plain, path, names, keys, quarantine, progress)
            _check_keys(index, keys, path, source.key_ids)
            compiled = size >= kernel_from and kernel.available()
            workers = threads or min(4, len(os.sched_getaffinity(0)))
            kept = Kept(codes={name: [] for name in plan.subgroups})
            for chunk, rows in _parsed(plain, index, plan, workers, compiled):
                _keep(chunk, rows, index, plan, kept, quarantine, writer)
                progress.advance(float(index.records.lengths[chunk].sum()) / 1e6)
            # Line ends and blank lines belong to no record.
            progress.advance(progress.total - progress.done)
        if not kept.record:
            raise InputError("there is no usable row", where=path, hint="is this the whole file?")
        stays = [keys[index.haim[r]] for r in kept.record]
        samples = _samples(index, plan, kept, stays)
        diagnoses, described = _diagnoses(source, stays)
        summary = {
            "kind": source.kind,
            "images_in_several_stays": _shared_images(index, kept, stays),
            "ignored": {
                "columns": plan.ignored_columns,
                "blocks": plan.ignored_blocks,
                "unused_sources": sorted(set(source.blocks) - set(sources)),
                "duplicates": kept.duplicates,
                "duplicates_that_differ": kept.differing,
                "malformed": len(quarantine.lines),
                "blank_lines": index.records.blank,
            },
            **described,
        }
        lines = [(Path(path).name, line, reason) for line, reason in sorted(quarantine.lines)]
        return writer.finish(samples, _columns(plan, kept), diagnoses, summary, lines)


def _index(
    plain: Path,
    path: str,
    names: Sequence[str],
    keys: Mapping[str, Key],
    quarantine: Quarantine,
    progress: Progress,
) -> Index:
    at = [names.index("haim_id"), names.index("img_id")]
    if "img_charttime" in names:
        at.append(names.index("img_charttime"))
    last = max(at)
    haim: list[str] = []
    sample: list[str] = []
    image: list[tuple[str, str]] = []

    def visit(buffer: bytearray, start: int, stop: int, line: int) -> None:
        head = buffer[start : min(stop, start + 192)].decode("utf-8", "replace")
        fields = head.split(",", last + 1) if '"' not in head else []
        if len(fields) < last + 2:
            fields = []
        values = [_identifier(fields[i]) if i < len(fields) else "" for i in at]
        if not (values[0] in keys and values[1]):
            # Something is wrong with the line or with the keys; only a whole line speaks against the keys.
            try:
                fields = parsing.split_record(bytes(buffer[start:stop]).decode("utf-8", "replace"))
                if len(fields) != len(names):
                    raise parsing.Malformed(f"{len(fields)} fields instead of {len(names)}")
                values = [_identifier(fields[i]) for i in at]
                if not (values[0] and values[1]):
                    raise parsing.Malformed("no `haim_id` or no `img_id`")
            except parsing.Malformed as reason:
                quarantine.add(line, str(reason))
                values = ["", "", ""]
        haim.append(values[0])
        sample.append(_sample_id(values[0], values[1]) if values[0] else "")
        image.append((values[1], values[2] if len(values) > 2 else ""))

    records = index_records(plain, visit, advance=lambda n: progress.advance(n / 1e6))
    if not len(records):
        raise InputError("there is no row after the header", where=path, hint="is this the whole file?")
    return Index(records, haim, sample, image)


@functools.lru_cache(maxsize=4096)
def _identifier(text: str) -> str:
    text = text.strip()
    whole, dot, rest = text.partition(".")
    return whole if dot and whole.isdigit() and not rest.strip("0") else text


def _sample_id(haim: str, image: str) -> str:
    """The pair as one name whose alphabetical order is the numerical order.

    Examples:
        >>> _sample_id("31", "2")
        '00000031-0002'
    """
    return f"{haim.zfill(8) if haim.isdigit() else haim}-{image.zfill(4) if image.isdigit() else image}"


def _check_keys(index: Index, keys: dict[str, Key], path: str, key_ids: str) -> None:
    absent = {name for name in index.haim if name and name not in keys}
    if absent:
        lines = islice(
            (int(n) for n, h in zip(index.records.lines, index.haim, strict=True) if h in absent), 3
        )
        raise InputError(
            f"{small_count(len(absent))} `haim_id` of the table have no key, first on line(s) "
            + ", ".join(map(str, lines)),
            where=f"{path}, {key_ids}",
            hint="without a patient a sample cannot be split: take both files from the same release",
        )


def _parsed(
    plain: Path, index: Index, plan: Plan, workers: int, compiled: bool
) -> Iterator[tuple[npt.NDArray[np.int64], Rows]]:
    """Parse the records in the order of their samples; yields record numbers and their rows."""
    order = sorted((r for r, name in enumerate(index.sample) if name), key=lambda r: (index.sample[r], r))
    chunks = _chunks(order, index.records)
    parse = kernel.parse_rows if compiled else parsing.parse_rows
    with reading(plain), plain.open("rb") as file, ThreadPoolExecutor(workers) as pool:

        def work(chunk: npt.NDArray[np.int64]) -> Rows:
            data, spans = _read(file.fileno(), index.records, chunk)
            return parse(data, spans, plan.layout)

        waiting: list[tuple[npt.NDArray[np.int64], Future[Rows]]] = []
        try:
            for chunk in chunks:
                waiting.append((chunk, pool.submit(work, chunk)))
                if len(waiting) > workers + 1:
                    done, future = waiting.pop(0)
                    yield done, future.result()
            while waiting:
                done, future = waiting.pop(0)
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _chunks(order: Sequence[int], records: Records) -> Iterator[npt.NDArray[np.int64]]:
    chunk: list[int] = []
    size = 0
    for r in order:
        chunk.append(r)
        size += int(records.lengths[r])
        if size >= _CHUNK:
            yield np.array(chunk, dtype=np.int64)
            chunk, size = [], 0
    if chunk:
        yield np.array(chunk, dtype=np.int64)


def _read(
    file: int, records: Records, chunk: npt.NDArray[np.int64]
) -> tuple[bytearray, npt.NDArray[np.int64]]:
    """The bytes of some records, neighbours in the file in one read, and where each stands in them."""
    starts = records.offsets[chunk]
    stops = starts + records.lengths[chunk]
    # A record and its line end ("\n" or "\r\n") are followed by the next record.
    gap = starts[1:] - stops[:-1]
    breaks = np.flatnonzero((gap < 1) | (gap > 2)) + 1
    firsts, lasts = np.r_[0, breaks], np.r_[breaks, len(chunk)]
    sizes = stops[lasts - 1] - starts[firsts]
    # Every part is followed by a line end, also where the next record comes from elsewhere in the file.
    data = bytearray(int(sizes.sum()) + len(sizes))
    view = memoryview(data)
    shift = np.empty(len(chunk), dtype=np.int64)
    position = 0
    for first, last, size in zip(firsts.tolist(), lasts.tolist(), sizes.tolist(), strict=True):
        begin = int(starts[first])
        if os.preadv(file, [view[position : position + size]], begin) != size:
            raise OSError("the file changed while it was read")
        shift[first:last] = position - begin
        view[position + size] = 10
        position += size + 1
    return data, np.stack([starts + shift, stops + shift], axis=1)


def _keep(
    chunk: npt.NDArray[np.int64],
    rows: Rows,
    index: Index,
    plan: Plan,
    kept: Kept,
    quarantine: Quarantine,
    writer: CohortWriter,
) -> None:
    """Set malformed records aside, drop further records of a sample, and write the others."""
    keep: list[int] = []
    for i, r in enumerate(chunk.tolist()):
        reason = rows.malformed[i]
        if reason is not None:
            quarantine.add(int(index.records.lines[r]), reason)
        elif kept.record and index.sample[kept.record[-1]] == index.sample[r]:
            kept.duplicates += 1
            kept.differing += kept.last is not None and not _same(*kept.last, rows, i)
        else:
            kept.record.append(r)
            kept.last = (rows, i)
            keep.append(i)
    x = rows.features if len(keep) == len(chunk) else rows.features[keep]
    writer.append({name: x[:, part] for name, part in plan.sources.items()})
    kept.numbers.append(rows.numbers[keep])
    kept.texts.extend(rows.texts[i] for i in keep)
    for name in plan.subgroups:
        kind, column = plan.place(name)
        if kind == "texts":
            kept.codes[name].extend(code(rows.texts[i][column]) for i in keep)
        else:
            values = getattr(rows, kind)[keep, column]
            kept.codes[name].extend(code(str(value)) for value in values.tolist())


def _same(a: Rows, i: int, b: Rows, j: int) -> bool:
    return (
        np.array_equal(a.features[i], b.features[j], equal_nan=True)
        and np.array_equal(a.numbers[i], b.numbers[j], equal_nan=True)
        and a.texts[i] == b.texts[j]
    )


def _samples(index: Index, plan: Plan, kept: Kept, stays: Sequence[Key]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "sample_id": pa.array([index.sample[r] for r in kept.record], pa.string()),
        "patient_id": pa.array([key.patient_id for key in stays], pa.string()),
        "stay_id": pa.array([key.stay_id for key in stays], pa.string()),
    }
    for name, group in plan.subgroups.items():
        columns[name] = encode(kept.codes[name], group, name)
    schema = samples_schema(list(plan.subgroups))
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _columns(plan: Plan, kept: Kept) -> pa.Table:
    """The label columns: numbers as float64, others as numbers if all their values are, else as text."""
    numbers = np.concatenate(kept.numbers)
    found: dict[str, pa.Array] = {}
    for j, i in enumerate(plan.layout.numbers):
        found[plan.layout.names[i]] = pa.array(numbers[:, j], pa.float64(), from_pandas=True)
    for j, i in enumerate(plan.layout.texts):
        found[plan.layout.names[i]] = infer([texts[j] for texts in kept.texts])
    return pa.table({name: found[name] for name in plan.labels})


def _shared_images(index: Index, kept: Kept, stays: Sequence[Key]) -> int:
    """Samples whose image (same patient, number and time) is also a sample of another stay."""
    seen: dict[tuple[str, str, str], set[str]] = {}
    pictures = [
        (key.patient_id, *index.image[r]) if index.image[r][1] else None
        for r, key in zip(kept.record, stays, strict=True)
    ]
    for picture, r in zip(pictures, kept.record, strict=True):
        if picture is not None:
            seen.setdefault(picture, set()).add(index.haim[r])
    return sum(picture is not None and len(seen[picture]) > 1 for picture in pictures)


def _diagnoses(source: HaimSource, keys: Sequence[Key]) -> tuple[pa.Table | None, dict[str, Any]]:
    if source.hosp is None:
        return None, {}
    admissions = sorted({(k.patient_id, k.stay_id, k.hadm_id) for k in keys if k.hadm_id})
    stays = pa.Table.from_arrays(
        [pa.array([row[i] for row in admissions], pa.string()) for i in range(3)], schema=STAYS
    )
    table = read_hosp_diagnoses(source.hosp, stays)
    every = {key.stay_id for key in keys}
    if not table.num_rows:
        raise InputError(
            "no admission of the cohort has a diagnosis",
            where=source.hosp,
            hint="do the key-ids file and the `hosp` folder come from the same release?",
        )
    with_codes = set(table["stay_id"].unique().to_pylist())
    return table, {
        "diagnoses": {
            "rows": table.num_rows,
            "codes": table.select(["icd_code", "icd_version"])
            .group_by(["icd_code", "icd_version"])
            .aggregate([])
            .num_rows,
            "stays_without": len(every - with_codes),
        }
    }
