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

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from m3h_pipeline.cohort.diagnoses import STAYS, diagnosed, find_table
from m3h_pipeline.cohort.haim.columns import Plan, plan_columns
from m3h_pipeline.cohort.haim.index import IDENTITY, Index, Quarantine, index_samples
from m3h_pipeline.cohort.haim.kept import Kept
from m3h_pipeline.cohort.haim.stays import Stay, read_stays
from m3h_pipeline.cohort.reading import plain_reading, without_folders
from m3h_pipeline.cohort.subgroups import infer, samples_table
from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.config.sources import HaimSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.progress import Progress
from m3h_pipeline.tables.records import parse_in_order
from m3h_pipeline.tables.textfile import open_bytes, plain_file, read_header, split_header


def ingest_haim(
    source: HaimSource,
    sources: Sequence[str],
    out: Path | str,
    *,
    stream: TextIO | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Ingest HAIM-MIMIC-MM.

    Args:
        source: where the files are.
        sources: the blocks to keep.
        out: the folder ``cohort/`` of a study.
        stream: where progress is written; standard error by default.
        threads: parsing threads; by default one per available core, at most four.

    Returns:
        The summary.

    Raises:
        InputError: a file is missing, truncated or malformed, or does not hold what the configuration says.
    """
    if source.hosp is not None:
        for name in ("diagnoses_icd", "d_icd_diagnoses"):
            find_table(source.hosp, name)
    known = read_stays(source.key_ids)
    path = source.table
    quarantine = Quarantine(path, source.max_malformed)
    with open_bytes(path) as opened:
        names = split_header(read_header(opened, path)[0], path, expect=IDENTITY)
    plan = plan_columns(names, source, sources, path)
    with (
        CohortWriter(
            out,
            {key: [names[i] for i in plan.fields(key)] for key in sources},
            zero_is_missing=source.absent_if_zero(),
        ) as writer,
        plain_file(path, writer.staging) as unpacked,
    ):
        with Progress("MB", 2 * unpacked.stat().st_size / 1e6, stream=stream) as progress:
            index = index_samples(unpacked, path, names, known, quarantine, progress)
            workers = threads or min(4, len(os.sched_getaffinity(0)))
            kept = Kept(index, plan, quarantine)
            for chunk, rows in parse_in_order(
                unpacked, index.records, index.by_sample(), plan.layout, workers
            ):
                writer.append(kept.take(chunk, rows))
                progress.advance(float(index.records.lengths[chunk].sum()) / 1e6)
            # Line ends and blank lines belong to no record.
            progress.advance(progress.total - progress.done)
        if not kept.record:
            raise InputError("there is no usable row", where=path, hint="is this the whole file?")
        stays = [known[index.haim[r]] for r in kept.record]
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
                "malformed": len(quarantine.lines) - quarantine.without_key,
                "without_key": quarantine.without_key,
                "blank_lines": index.records.blank,
            },
            **described,
        }
        lines = [(Path(path).name, line, reason) for line, reason in sorted(quarantine.lines)]
        plain = plain_reading(source.kind, writer.sources, {}, sorted(source.absent_if_zero()))
        reading = plain.model_copy(update={"source": without_folders(source)})
        return writer.finish(samples, _columns(plan, kept), diagnoses, summary, lines, reading)


def _samples(index: Index, plan: Plan, kept: Kept, stays: Sequence[Stay]) -> pa.Table:
    sample, patient, stay = (
        pa.array(names, pa.string())
        for names in (
            [index.sample[r] for r in kept.record],
            [one.patient_id for one in stays],
            [one.stay_id for one in stays],
        )
    )
    return samples_table(sample, patient, stay, plan.subgroups, kept.codes)


def _columns(plan: Plan, kept: Kept) -> pa.Table:
    """The label columns: numbers as float64, others as numbers if all their values are, else as text."""
    doubles = np.concatenate(kept.doubles)
    found: dict[str, pa.Array] = {}
    for j, i in enumerate(plan.layout.doubles):
        found[plan.layout.names[i]] = pa.array(doubles[:, j], pa.float64(), from_pandas=True)
    for j, i in enumerate(plan.layout.texts):
        found[plan.layout.names[i]] = infer([texts[j] for texts in kept.texts])
    return pa.table({name: found[name] for name in plan.labels})


def _shared_images(index: Index, kept: Kept, stays: Sequence[Stay]) -> int:
    """Samples whose image (same patient, number and time) is also a sample of another stay."""
    seen: dict[tuple[str, str, str], set[str]] = {}
    pictures = [
        (stay.patient_id, *index.image[r]) if index.image[r][1] else None
        for r, stay in zip(kept.record, stays, strict=True)
    ]
    for picture, r in zip(pictures, kept.record, strict=True):
        if picture is not None:
            seen.setdefault(picture, set()).add(index.haim[r])
    return sum(picture is not None and len(seen[picture]) > 1 for picture in pictures)


def _diagnoses(source: HaimSource, stays: Sequence[Stay]) -> tuple[pa.Table | None, dict[str, Any]]:
    if source.hosp is None:
        return None, {}
    admissions = sorted({(s.patient_id, s.stay_id, s.hadm_id) for s in stays if s.hadm_id})
    columns = [pa.array([row[i] for row in admissions], pa.string()) for i in range(3)]
    total = len({stay.stay_id for stay in stays})
    table, counts = diagnosed(source.hosp, pa.Table.from_arrays(columns, schema=STAYS), total)
    return table, {"diagnoses": counts}
