"""Any table as a cohort: CSV, TSV, Parquet or ARFF files, joined on an id.

The first file decides which samples exist, unless another says `join: inner` or `outer`. A sample that
another file lacks has no value there (its features are missing, not zero); a row of another file that
belongs to no sample is left out; both are counted. Nothing is clipped or scaled: outliers are the business of
the model. An unreadable line is an error, never a missing row, because a table is expected to be whole;
``quarantine.tsv`` names the rows that were set aside because they have no key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.cohort.coded import CodeColumn, Coded, code_samples, holds_numbers
from m3h_pipeline.cohort.reading import Reading, without_folders
from m3h_pipeline.cohort.subgroups import samples_table
from m3h_pipeline.cohort.table.aside import Aside
from m3h_pipeline.cohort.table.columns import Places, Selection, select_columns
from m3h_pipeline.cohort.table.features import JoinedRows, learn, values_of
from m3h_pipeline.cohort.table.join import Joined, join
from m3h_pipeline.cohort.table.opening import opened
from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.config.sources import TableSource
from m3h_pipeline.errors import InputError
from m3h_pipeline.progress import Progress
from m3h_pipeline.tables.content import Content, NotNumericError, read_columns
from m3h_pipeline.tables.dates import no_dates
from m3h_pipeline.tables.identifiers import categories, normal_ids
from m3h_pipeline.tables.reader import TableFileReader, no_row
from m3h_pipeline.tables.values import Absent, Limits, parse_numbers

_CHUNK = 4096


def ingest_table(
    source: TableSource, sources: Sequence[str], out: Path | str, *, stream: TextIO | None = None
) -> dict[str, Any]:
    """Read the files of a table, join them and write ``cohort/``.

    The result does not depend on the order of the rows, unless the row number is the id.

    Args:
        source: the files and what their columns are.
        sources: the blocks to write, each to ``features/<name>.parquet``.
        out: the folder ``cohort/`` of a study; left as it was if anything is wrong.
        stream: where progress is written; standard error by default.

    Returns:
        The summary, as in ``summary.json``. ``ignored.rows`` counts rows that belong to no sample,
        ``ignored.label_columns`` names label inputs that a block's pattern matched and that were left out of
        the features, ``files`` says how many rows each file has and how many samples it lacks.

    Raises:
        ConfigError: the configuration contradicts itself, or a block lists a label input.
        InputError: a file is missing, damaged, or does not hold what the configuration says.
    """
    with ExitStack() as stack:
        readers = [opened(file.path, file, stack) for file in source.files]
        selection = select_columns(source, sources, readers)
        contents: list[Content] = []
        limits = Limits(source.limits) if source.limits is not None else None
        with Progress("files", len(readers), stream=stream) as progress:
            for i, reader in enumerate(readers):
                contents.append(_read(i, reader, source, selection, limits))
                progress.advance()
        _check_ids(source, selection, contents)
        aside = Aside(source.max_malformed)
        joined = _with_patient(
            join(source.files, selection.links, readers, contents, aside), selection, aside
        )
        samples = _samples(joined, source, selection)
        coded = _coded(joined, source, selection, samples)
        samples = samples if coded is None else coded.samples
        columns = _columns(joined, selection)
        genes = {
            name: options for name in selection.features if (options := source.blocks[name].genes) is not None
        }
        patient, zero = samples["patient_id"].combine_chunks(), source.absent_if_zero()
        blocks, learned = learn(joined, selection.features, genes, patient, zero)
        names = {name: block.names for name, block in blocks.items()}
        with CohortWriter(out, names, zero_is_missing=zero) as writer:
            for rows in _chunks(len(joined.ids)):
                part = JoinedRows(joined, rows)
                writer.append({name: values_of(block, part) for name, block in blocks.items()}, part.count)
            if empty := [name for name, n in writer.without.items() if n == writer.rows]:
                raise InputError(
                    f"every value of source `{empty[0]}` is missing",
                    where=", ".join(sorted({readers[part.file].shown for part in blocks[empty[0]].parts})),
                    hint="check `source.missing_values` and the ids the files are joined on, "
                    "or take the source out of `modalities`",
                )
            summary = {"kind": source.kind, **_ignored(source, sources, selection, joined, aside)}
            if limits is not None:
                summary["limits"] = {"taken_as": source.limits, "values": dict(sorted(limits.counts.items()))}
            if learned.rare:
                summary["rare_values"] = dict(sorted(learned.rare.items()))
            if learned.genes:
                summary["genes"] = learned.genes
            if coded is not None:
                summary["diagnoses"] = coded.summary
            if not blocks:
                # Outcomes alone are asked for: there is nothing to read features by.
                return writer.finish(samples, columns, coded and coded.diagnoses, summary, aside.lines())
            reading = Reading(
                kind=source.kind,
                source=without_folders(source),
                sources=blocks,
                columns=[selection.beside(i) for i in range(len(readers))],
            )
            codes = coded and coded.diagnoses
            return writer.finish(samples, columns, codes, summary, aside.lines(), reading)


def _read(
    i: int, reader: TableFileReader, source: TableSource, selection: Selection, limits: Limits | None
) -> Content:
    """The columns of one file that have a use."""
    key = source.files[i].id
    text = list(dict.fromkeys([*([key] if key is not None else []), *selection.text(i)]))
    try:
        content = read_columns(reader, selection.numeric(i), text, Absent(source.missing_values), limits)
    except NotNumericError as error:
        first = (
            "correct the value, add it to `source.missing_values`" if error.value else "`exclude` the column"
        )
        raise InputError(
            error.what,
            where=error.where,
            hint=f"{first}, or name the column under `categorical` of its block",
        ) from None
    if content.rows == 0:
        raise no_row(reader)
    return content


def _check_ids(source: TableSource, selection: Selection, contents: Sequence[Content]) -> None:
    """See that what names samples, patients and stays has all its digits."""
    own = [(i, file.id) for i, file in enumerate(source.files) if file.id is not None]
    named = [*selection.patient, *selection.stay, *filter(None, selection.links)]
    for i, name in dict.fromkeys([*own, *((column.file, column.name) for column in named)]):
        contents[i].slips.check_ids(name, contents[i].text[name])


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, n, _CHUNK):
        yield slice(start, min(n, start + _CHUNK))


def _with_patient(joined: Joined, selection: Selection, aside: Aside) -> Joined:
    """The samples that have a patient; the others are set aside.

    Raises:
        InputError: they are too many, or there is no other.
    """
    if not selection.patient:
        return joined
    patient = normal_ids(joined.agreed(selection.patient))
    nameless = pc.fill_null(pc.equal(patient, ""), True).to_numpy(zero_copy_only=False)
    if not nameless.any():
        return joined
    column = selection.patient[0]
    for sample in np.flatnonzero(nameless).tolist():
        file = next(i for i in (column.file, *range(len(joined.rows))) if joined.rows[i][sample] >= 0)
        reason = f"no patient in column `{column.name}`"
        aside.add(joined.readers[file], int(joined.rows[file][sample]), reason)
    if nameless.all():
        raise InputError("no sample has a patient", where=joined.readers[column.file].shown)
    return joined.only(~nameless)


def _samples(joined: Joined, source: TableSource, selection: Selection) -> pa.Table:
    """``samples.parquet``: the identifiers, then the subgroups."""
    ids = pa.array(joined.ids, type=pa.string())
    patient = normal_ids(joined.agreed(selection.patient)) if selection.patient else ids
    stay = normal_ids(joined.agreed(selection.stay)) if selection.stay else pa.nulls(len(ids), pa.string())
    codes = {}
    for name, places in selection.subgroups.items():
        text = joined.agreed(places)
        _no_dates(joined, places, text, f"take `{name}` out of `source.subgroups`")
        codes[name] = pc.fill_null(categories(text), "").to_pylist()
    return samples_table(ids, patient, stay, source.subgroups, codes)


def _no_dates(joined: Joined, places: Places, text: pa.Array, leave: str) -> None:
    no_dates(text, places[0].name, where=joined.readers[places[0].file].shown, leave=leave)


def _columns(joined: Joined, selection: Selection) -> pa.Table:
    """``columns.parquet``: float64 if every value that is not missing is a number, else strings."""
    found: dict[str, pa.Array] = {}
    for name, places in selection.labels.items():
        text = joined.agreed(places)
        _no_dates(joined, places, text, "leave it out of `source.columns`")
        numbers, wrong = parse_numbers(text)
        if wrong is not None:
            found[name] = text
            continue
        if (infinite := np.isinf(numbers)).any():
            raise InputError(
                f"column `{name}` holds an infinite value",
                where=joined.place(places[0], int(np.argmax(infinite))),
                hint="correct it, or leave it empty if it was not observed",
            )
        for place in places:
            joined.contents[place.file].slips.check_numbers(place.name, numbers)
        found[name] = pa.array(numbers, pa.float64(), from_pandas=True)
    return pa.table(found)


def _coded(joined: Joined, source: TableSource, selection: Selection, samples: pa.Table) -> Coded | None:
    """The samples' diagnosis codes, or None where the source has none."""
    if source.diagnoses is None:
        return None
    readers = joined.readers
    own = {
        name: CodeColumn(joined.agreed(places), any(holds_numbers(readers[c.file], c.name) for c in places))
        for name, places in selection.codes.items()
    }
    shown = ", ".join(
        dict.fromkeys(readers[c.file].shown for places in selection.codes.values() for c in places)
    )
    return code_samples(source.diagnoses, samples, Absent(source.missing_values), own, shown)


def _ignored(
    source: TableSource,
    sources: Sequence[str],
    selection: Selection,
    joined: Joined,
    aside: Aside,
) -> dict[str, Any]:
    """What was left out, and how the files met."""
    return {
        "ignored": {
            "columns": selection.unused,
            "label_columns": selection.withheld,
            "unused_sources": sorted(set(source.blocks) - set(sources)),
            "rows": sum(meeting.surplus for meeting in joined.meetings),
            "duplicates": 0,
            "malformed": 0,
            "without_key": len(aside),
        },
        "files": [
            {
                "file": Path(reader.shown).name,
                "rows": content.rows,
                "samples_without": int((rows < 0).sum()),
                "ignored_rows": met.surplus,
                "dropped_samples": met.dropped,
                "added_samples": met.added,
                "without_key": aside.of(reader),
            }
            for reader, content, rows, met in zip(
                joined.readers, joined.contents, joined.rows, joined.meetings, strict=True
            )
        ],
    }
