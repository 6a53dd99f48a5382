"""Any table as a cohort: CSV, TSV, Parquet or ARFF files, joined on an id.

The first file decides which samples exist. A sample that another file lacks has no value there (its features
are missing, not zero); a row of another file that belongs to no sample is left out; both are counted. Nothing
is clipped or scaled: outliers are the model's business. An unreadable line is an error, never a missing row,
because a table is expected to be whole; ``quarantine.tsv`` stays empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.cohort.diagnoses import normal_id
from m3h_pipeline.cohort.subgroups import encode
from m3h_pipeline.cohort.table.columns import Column, Feature, Selection, select_columns
from m3h_pipeline.cohort.table.expression import Genes, prepare_genes
from m3h_pipeline.cohort.writer import CohortWriter
from m3h_pipeline.config.sources import TableSource
from m3h_pipeline.contracts import Float32Array, samples_schema
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.progress import Progress
from m3h_pipeline.tables.files import open_file
from m3h_pipeline.tables.reader import Content, TableFileReader, no_row, parse_numbers, read_columns

#: A column with more values than this is no category.
MOST_CATEGORIES = 1000
_CHUNK = 4096

IntArray = npt.NDArray[np.int64]


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
        readers = [open_file(file, stack) for file in source.files]
        selection = select_columns(source, sources, readers)
        contents: list[Content] = []
        with Progress("files", len(readers), stream=stream) as progress:
            for i, reader in enumerate(readers):
                contents.append(_read(i, reader, source, selection))
                progress.advance()
        joined = _join(source, readers, contents)
        cohort = _Cohort(readers, contents, joined)
        samples = _samples(cohort, source, selection)
        columns = _columns(cohort, selection)
        blocks = {name: _expand(cohort, features) for name, features in selection.features.items()}
        _check_blocks(blocks, readers)
        names = {name: [feature.name for feature in expanded] for name, expanded in blocks.items()}
        genes: dict[str, Genes] = {}
        for name, expanded in blocks.items():
            if (options := source.blocks[name].genes) is not None:
                x = cohort.features(expanded, slice(0, len(joined.ids)))
                genes[name] = prepare_genes(x, names[name], options, f"source.blocks.{name}.genes")
                names[name] = genes[name].names
        with CohortWriter(out, names) as writer:
            for rows in _chunks(len(joined.ids)):
                writer.append(
                    {
                        name: genes[name].x[rows] if name in genes else cohort.features(expanded, rows)
                        for name, expanded in blocks.items()
                    }
                )
            if empty := [name for name, n in writer.without.items() if n == writer.rows]:
                raise InputError(
                    f"every value of source `{empty[0]}` is missing",
                    where=", ".join(sorted({readers[f.column.file].shown for f in blocks[empty[0]]})),
                    hint="check `source.missing_values` and the ids the files are joined on, "
                    "or take the source out of `modalities`",
                )
            summary = {"kind": source.kind, **_ignored(source, sources, selection, readers, contents, joined)}
            if genes:
                summary["genes"] = {name: found.report for name, found in genes.items()}
            return writer.finish(samples, columns, None, summary, [])


def _read(i: int, reader: TableFileReader, source: TableSource, selection: Selection) -> Content:
    """The columns of one file that have a use."""
    key = source.files[i].id
    text = list(dict.fromkeys([*([key] if key is not None else []), *selection.text(i)]))
    content = read_columns(reader, selection.numeric(i), text, source.missing_values)
    if content.rows == 0:
        raise no_row(reader)
    return content


@dataclass(frozen=True)
class _Joined:
    """The samples, sorted, and where each stands in every file.

    Attributes:
        ids: (n,) ascending sample ids.
        rows: per file (n,) row numbers, -1 where the file lacks the sample.
        surplus: per file the number of rows that belong to no sample.
    """

    ids: list[str]
    rows: list[IntArray]
    surplus: list[int]


def _join(source: TableSource, readers: Sequence[TableFileReader], contents: Sequence[Content]) -> _Joined:
    """Find the rows of every sample.

    Raises:
        InputError: an id is missing or stands twice in one file, or a file has no row of any sample.
    """
    if source.files[0].id is None:
        n = contents[0].rows
        width = len(str(n))
        return _Joined([f"{i:0{width}d}" for i in range(1, n + 1)], [np.arange(n, dtype=np.int64)], [0])
    keys = [
        _unique_ids(content.text[file.id], file.id, reader)
        for file, reader, content in zip(source.files, readers, contents, strict=True)
        if file.id is not None
    ]
    names = np.array(keys[0].to_pylist(), dtype=object)
    order = np.argsort(names, kind="stable")
    ids = pa.array(names[order], type=pa.string())
    rows = [order.astype(np.int64)]
    surplus = [0]
    for key, reader in zip(keys[1:], readers[1:], strict=True):
        found = pc.fill_null(pc.index_in(ids, value_set=key), -1).to_numpy(zero_copy_only=False)
        rows.append(found.astype(np.int64))
        surplus.append(len(key) - int((found >= 0).sum()))
        if not (found >= 0).any():
            raise InputError(
                f"no row belongs to any of the samples of {readers[0].shown}",
                where=reader.shown,
                hint="are the ids of the same kind and written in the same way?",
            )
    return _Joined(ids.to_pylist(), rows, surplus)


def _unique_ids(text: pa.Array, column: str, reader: TableFileReader) -> pa.Array:
    keys = normal_id(text)
    nameless = pc.or_kleene(pc.is_null(keys), pc.equal(keys, ""))
    if pc.any(nameless).as_py():
        raise InputError(
            f"the id is missing in column `{column}`",
            where=reader.place(np.flatnonzero(nameless.to_numpy(zero_copy_only=False)).tolist()),
            hint="complete or remove these rows",
        )
    codes = keys.dictionary_encode().indices.to_numpy()
    twice = np.bincount(codes)[codes] > 1
    if twice.any():
        raise InputError(
            f"an id stands more than once in column `{column}`",
            where=reader.place(np.flatnonzero(twice).tolist()),
            hint="keep one row per id; samples of one patient need an id each, and `source.patient_id`",
        )
    return keys


@dataclass(frozen=True)
class _Expanded:
    """One feature: a number of a column, or whether the column holds ``value``."""

    name: str
    column: Column
    value: str | None


@dataclass(frozen=True)
class _Cohort:
    """Columns of the files in the order of the samples."""

    readers: Sequence[TableFileReader]
    contents: Sequence[Content]
    joined: _Joined

    def text(self, column: Column) -> pa.Array:
        """(n,) strings, null = missing."""
        rows = self.joined.rows[column.file]
        return self.contents[column.file].text[column.name].take(pa.array(rows, mask=rows < 0))

    def place(self, column: Column, sample: int) -> str:
        """The file and line of a sample's value."""
        return self.readers[column.file].place([int(self.joined.rows[column.file][sample])])

    def features(self, expanded: Sequence[_Expanded], samples: slice) -> Float32Array:
        """Features of some samples, shape (number of samples, D), NaN = missing."""
        n = samples.stop - samples.start
        x = np.full((n, len(expanded)), np.nan, dtype=np.float32)
        for file in sorted({feature.column.file for feature in expanded}):
            rows = self.joined.rows[file][samples]
            there = np.flatnonzero(rows >= 0)
            to = np.array(
                [j for j, f in enumerate(expanded) if f.value is None and f.column.file == file], int
            )
            at = np.array([self.contents[file].numeric[expanded[j].column.name] for j in to], int)
            x[np.ix_(there, to)] = self.contents[file].numbers[np.ix_(rows[there], at)]
        held: dict[Column, pa.Array] = {}
        for j, feature in enumerate(expanded):
            if feature.value is not None:
                if feature.column not in held:
                    held[feature.column] = normal_id(self.text(feature.column)).slice(samples.start, n)
                is_it = pc.cast(pc.equal(held[feature.column], feature.value), pa.float32())
                x[:, j] = is_it.to_numpy(zero_copy_only=False)
        return x


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, n, _CHUNK):
        yield slice(start, min(n, start + _CHUNK))


def _expand(cohort: _Cohort, features: Sequence[Feature]) -> list[_Expanded]:
    """The features of a block; a categorical column has one per value, in sorted order."""
    expanded: list[_Expanded] = []
    for feature in features:
        column = feature.column
        if not feature.categorical:
            expanded.append(_Expanded(column.name, column, None))
            continue
        values = sorted(normal_id(cohort.text(column)).drop_null().unique().to_pylist())
        if len(values) > MOST_CATEGORIES:
            raise InputError(
                f"the categorical column `{column.name}` has {len(values):,} values; "
                f"at most {MOST_CATEGORIES:,} are turned into features",
                where=cohort.readers[column.file].shown,
                hint="is it a number or an identifier?",
            )
        expanded += [_Expanded(f"{column.name}={value}", column, value) for value in values]
    return expanded


def _check_blocks(blocks: dict[str, list[_Expanded]], readers: Sequence[TableFileReader]) -> None:
    for block, expanded in blocks.items():
        if not expanded:
            raise InputError(
                f"every value of source `{block}` is missing",
                where=", ".join(reader.shown for reader in readers),
                hint="take the source out of `modalities`",
            )
        name, count = Counter(feature.name for feature in expanded).most_common(1)[0]
        if count > 1:
            raise ConfigError(
                f"two features of the block are named `{name}`",
                where=f"source.blocks.{block}",
                hint="rename a column",
            )


def _samples(cohort: _Cohort, source: TableSource, selection: Selection) -> pa.Table:
    """``samples.parquet``: the identifiers, then the subgroups."""
    ids = pa.array(cohort.joined.ids, type=pa.string())
    patient, stay = ids, pa.nulls(len(ids), pa.string())
    if selection.patient is not None:
        patient = normal_id(cohort.text(selection.patient))
        if patient.null_count:
            lacking = np.flatnonzero(patient.is_null().to_numpy(zero_copy_only=False))
            rows = cohort.joined.rows[selection.patient.file][lacking]
            reader = cohort.readers[selection.patient.file]
            raise InputError(
                f"a sample has no patient in column `{selection.patient.name}`",
                where=reader.place(rows[rows >= 0].tolist())
                if (rows >= 0).any()
                else f"{reader.shown}, which lacks rows of {cohort.readers[0].shown}",
                hint="without a patient a sample cannot be split: complete or remove these rows",
            )
    if selection.stay is not None:
        stay = normal_id(cohort.text(selection.stay))
    columns = [ids, patient, stay]
    for name, column in selection.subgroups.items():
        codes = pc.fill_null(normal_id(cohort.text(column)), "").to_pylist()
        columns.append(encode(codes, source.subgroups[name], name))
    return pa.Table.from_arrays(columns, schema=samples_schema(list(selection.subgroups)))


def _columns(cohort: _Cohort, selection: Selection) -> pa.Table:
    """``columns.parquet``: float64 if every value that is not missing is a number, else strings."""
    found: dict[str, pa.Array] = {}
    for column in selection.labels:
        text = cohort.text(column)
        numbers, wrong = parse_numbers(text)
        if wrong is not None:
            found[column.name] = text
            continue
        if (infinite := np.isinf(numbers)).any():
            raise InputError(
                f"column `{column.name}` holds an infinite value",
                where=cohort.place(column, int(np.argmax(infinite))),
                hint="correct it, or leave it empty if it was not observed",
            )
        found[column.name] = pa.array(numbers, pa.float64(), from_pandas=True)
    return pa.table(found)


def _ignored(
    source: TableSource,
    sources: Sequence[str],
    selection: Selection,
    readers: Sequence[TableFileReader],
    contents: Sequence[Content],
    joined: _Joined,
) -> dict[str, Any]:
    """What was left out, and how the files met."""
    return {
        "ignored": {
            "columns": selection.unused,
            "label_columns": selection.withheld,
            "unused_sources": sorted(set(source.blocks) - set(sources)),
            "rows": sum(joined.surplus),
            "duplicates": 0,
            "malformed": 0,
        },
        "files": [
            {
                "file": Path(reader.shown).name,
                "rows": content.rows,
                "samples_without": int((rows < 0).sum()),
                "ignored_rows": surplus,
            }
            for reader, content, rows, surplus in zip(
                readers, contents, joined.rows, joined.surplus, strict=True
            )
        ],
    }
