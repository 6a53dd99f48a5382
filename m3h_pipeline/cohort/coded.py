"""Diagnosis codes of a cohort from any table: one code a row, or several columns of codes.

``source.diagnoses`` says where they stand (:class:`m3h_pipeline.config.base.Diagnoses`). The result is the
same ``diagnoses.parquet`` that MIMIC-IV's tables make, so that tasks and their audit know no difference. A
cohort without stays gets them: each sample is then one of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from m3h_pipeline.cohort.diagnoses import described, normal_code
from m3h_pipeline.cohort.recorded import recorded, version_of
from m3h_pipeline.config.base import Diagnoses
from m3h_pipeline.contracts import DIAGNOSES
from m3h_pipeline.disclosure import listing, may_be_listed, small_count
from m3h_pipeline.errors import InputError, as_list
from m3h_pipeline.files import check_schema
from m3h_pipeline.tables.content import read_columns
from m3h_pipeline.tables.formats import open_table
from m3h_pipeline.tables.identifiers import normal_ids
from m3h_pipeline.tables.reader import TableFileReader, once
from m3h_pipeline.tables.values import Absent

BoolArray = npt.NDArray[np.bool_]
_KEYS = ["icd_code", "icd_version"]


class CodeColumn(NamedTuple):
    """A column of codes: n texts, null = missing, and whether the file holds them as numbers."""

    text: pa.Array
    numbers: bool


class Coded(NamedTuple):
    """The cohort with its codes.

    Attributes:
        samples: as given, with a stay for each sample if the cohort had none.
        diagnoses: schema :data:`m3h_pipeline.contracts.DIAGNOSES`.
        summary: what there is, and what was left out.
    """

    samples: pa.Table
    diagnoses: pa.Table
    summary: dict[str, int]


def code_samples(
    spec: Diagnoses,
    samples: pa.Table,
    missing: Absent,
    own: Mapping[str, CodeColumn] | None = None,
    shown: str = "",
) -> Coded:
    """Give the samples of a cohort their diagnosis codes.

    Args:
        spec: where the codes stand.
        samples: of the cohort, as in ``samples.parquet``.
        missing: texts that mean: no code.
        own: the columns of the source's own files that ``spec`` names, row-aligned with ``samples``.
        shown: these files, for messages.

    Raises:
        InputError: a file or column is absent; a value is no ICD code or version, or a number that may have
            been several codes; no row belongs to a sample.
    """
    if samples["stay_id"].null_count == samples.num_rows:
        at = samples.column_names.index("stay_id")
        samples = samples.set_column(
            at, samples.schema.field("stay_id"), samples["sample_id"].cast(pa.string())
        )
    if spec.path is None:
        assert own is not None
        whose, columns = samples["sample_id"].combine_chunks(), dict(own)
        titles = None
    else:
        shown = spec.path
        whose, columns, titles = _read(spec, spec.path, missing)
    rows, counts = _rows(spec, whose, columns, titles, shown)
    people = samples.select([f"{spec.of if spec.path else 'sample'}_id", "patient_id", "stay_id"])
    people = people.rename_columns(["whose", "patient_id", "stay_id"]).filter(pc.is_valid(samples["stay_id"]))
    people = people.group_by(people.column_names, use_threads=False).aggregate([])
    outside = len(set(pc.unique(rows["whose"]).to_pylist()) - set(pc.unique(people["whose"]).to_pylist()))
    table = rows.join(people, "whose", join_type="inner")
    if not table.num_rows:
        raise InputError(
            f"no diagnosis belongs to any {spec.of} of the cohort",
            where=f"{shown}, column `{spec.id}`" if spec.id else shown,
            hint="are the ids of the same kind and written in the same way? `of` says what they name: "
            "sample, stay or patient",
        )
    table = _with_titles(table, spec)
    table = table.select(DIAGNOSES.names).group_by(DIAGNOSES.names, use_threads=False).aggregate([])
    order = [(name, "ascending") for name in ("patient_id", "stay_id", "icd_version", "icd_code")]
    table = check_schema(table.sort_by(order).cast(DIAGNOSES), DIAGNOSES, shown)
    counts |= described(table, len(samples["stay_id"].drop_null().unique()))
    return Coded(samples, table, counts | {f"of_no_{spec.of}": outside})


def holds_numbers(reader: TableFileReader, column: str) -> bool:
    """Whether a file holds a column as numbers, as Parquet can and CSV cannot."""
    batch = next(iter(reader.batches([], [column], Absent(), plain=True)), None)
    kind = None if batch is None else batch.column(column).type
    return kind is not None and (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _read(
    spec: Diagnoses, path: str, missing: Absent
) -> tuple[pa.Array, dict[str, CodeColumn], pa.Array | None]:
    """Whose the rows of a table of codes are, its columns, and its titles."""
    assert spec.id is not None
    named: dict[str, list[str | None]] = {
        "id": [spec.id],
        "version_column": [spec.version_column],
        "title": [spec.title],
    }
    named |= {"code": [spec.code]} if spec.code else {"columns": [*spec.columns]}
    with ExitStack() as stack:
        reader = open_table(path, stack)
        for key, names in named.items():
            for name in names:
                if name is not None:
                    once(reader, name, f"source.diagnoses.{key}")
        wanted = dict.fromkeys([spec.id, *spec.named, *([spec.title] if spec.title else [])])
        content = read_columns(reader, [], list(wanted), missing)
        text = content.text
        content.slips.check_ids(spec.id, text[spec.id])
        columns = {name: CodeColumn(text[name], holds_numbers(reader, name)) for name in spec.named}
    return normal_ids(text[spec.id]), columns, text[spec.title] if spec.title else None


def _rows(
    spec: Diagnoses,
    whose: pa.Array,
    columns: Mapping[str, CodeColumn],
    titles: pa.Array | None,
    shown: str,
) -> tuple[pa.Table, dict[str, int]]:
    """One row per code: whose it is, the code, its version and title; and how many were left out, and why."""
    n = len(whose)
    names = [spec.code] if spec.code else list(spec.columns)
    if spec.version_column is None:
        versions: pa.Array = pa.array([spec.version] * n, pa.int8())
    else:
        coded = np.any([columns[name].text.is_valid() for name in names], axis=0)
        text = columns[spec.version_column].text
        versions = _versions(spec, text, coded, f"{shown}, column `{spec.version_column}`")
    where = f"{shown}, column{'s' if len(names) > 1 else ''} " + ", ".join(f"`{name}`" for name in names)
    titled = pa.nulls(n, pa.string()) if titles is None else titles
    cells = pa.concat_tables(
        pa.table(
            {
                "whose": whose,
                "text": columns[name].text,
                "icd_version": versions,
                "numbers": pa.array([columns[name].numbers] * n),
                "long_title": pc.fill_null(titled, ""),
            }
        )
        for name in names
    )
    cells = cells.filter(pc.is_valid(cells["text"]))
    rows = cells.join(_codes(spec, cells, where), ["text", "icd_version", "numbers"], join_type="inner")
    owned = rows.filter(pc.is_valid(rows["whose"]))
    counts = {"left_out": cells.num_rows - rows.num_rows, "without_id": rows.num_rows - owned.num_rows}
    return owned.select(["whose", "icd_code", "icd_version", "long_title"]), counts


def _codes(spec: Diagnoses, cells: pa.Table, where: str) -> pa.Table:
    """The code that each text of a version stands for; texts that are left out do not stand there."""
    known = _known(spec)
    keys = ["text", "icd_version", "numbers"]
    distinct = cells.group_by(keys, use_threads=False).aggregate([([], "count_all")]).to_pylist()
    found: list[tuple[str, int, bool, str]] = []
    for version in (9, 10):
        for numbers in (False, True):
            # Columns of one table were written by one tool: what one shows holds for all.
            counts = {
                row["text"]: row["count_all"]
                for row in distinct
                if (row["icd_version"], row["numbers"]) == (version, numbers)
                and row["text"] not in spec.not_codes
            }
            some = recorded(counts, version, where, known.get(version, ()), numbers=numbers)
            found += [(text, version, numbers, code) for text, code in some.items()]
    types = [pa.string(), pa.int8(), pa.bool_(), pa.string()]
    columns = [pa.array([row[i] for row in found], kind) for i, kind in enumerate(types)]
    return pa.table(columns, [*keys, "icd_code"])


def _versions(spec: Diagnoses, texts: pa.Array, coded: BoolArray, where: str) -> pa.Array:
    """The version of each row, int8; null where the definition leaves it out, and where there is no code.

    Raises:
        InputError: a text names no version, or a row with a code has none.
    """
    seen = pc.value_counts(texts.filter(pa.array(coded))).to_pylist()
    counts = {row["values"]: row["counts"] for row in seen}
    known = {text: version_of(text) for text in counts if text is not None}
    known |= {text: version for text, version in spec.versions.items() if text in counts}
    named = {text for text, version in known.items() if version is not None} | {*spec.versions, None}
    strange = {text: n for text, n in counts.items() if text not in named}
    if strange:
        raise InputError(
            f"the version of ICD is not known: {listing(strange)}",
            where=where,
            hint="say what they are under `source.diagnoses.versions`, one by one: "
            f"`{as_list(list(strange)[:1])[1:-1] if may_be_listed(len(strange)) else '…'}: 10`, "
            "or `null` for what is no ICD",
        )
    if None in counts:
        raise InputError(
            f"{small_count(counts[None])} rows have no version",
            where=where,
            hint="complete them, or give `version` if all codes have the same",
        )
    encoded = texts.dictionary_encode()
    each = pa.array([known.get(text) for text in encoded.dictionary.to_pylist()], pa.int8())
    return each.take(encoded.indices)


def _known(spec: Diagnoses) -> dict[int, Collection[str]]:
    if spec.titles is None:
        return {}
    table = _titles(spec.titles)
    return {
        version: set(table.filter(pc.equal(table["icd_version"], version))["icd_code"].to_pylist())
        for version in (9, 10)
    }


def _titles(path: str) -> pa.Table:
    """A list of codes and their titles; of a code listed twice, the first title in alphabetical order."""
    names = ["icd_code", "icd_version", "long_title"]
    with ExitStack() as stack:
        reader = open_table(path, stack)
        for name in names:
            once(reader, name, "source.diagnoses.titles")
        text = read_columns(reader, [], names, Absent()).text
    versions = [version_of(version or "") for version in text["icd_version"].to_pylist()]
    table = pa.table(
        [normal_code(text["icd_code"]), pa.array(versions, pa.int8()), text["long_title"]], names
    )
    table = table.filter(pc.and_(pc.is_valid(table["icd_version"]), pc.is_valid(table["long_title"])))
    if not table.num_rows:
        raise InputError("there is no code in the list of titles", where=path)
    table = table.group_by(_KEYS, use_threads=False).aggregate([("long_title", "min")])
    return table.select([*_KEYS, "long_title_min"]).rename_columns([*_KEYS, "listed"])


def _with_titles(table: pa.Table, spec: Diagnoses) -> pa.Table:
    """Each code with one title: that of its rows if they have one, else that of the list, else none."""
    own = table.select([*_KEYS, "long_title"]).filter(pc.not_equal(table["long_title"], ""))
    first = own.group_by(_KEYS, use_threads=False).aggregate([("long_title", "min")])
    table = table.drop_columns(["long_title"]).join(first, _KEYS, join_type="left outer")
    choices = [table["long_title_min"]]
    if spec.titles is not None:
        table = table.join(_titles(spec.titles), _KEYS, join_type="left outer")
        choices = [table["long_title_min"], table["listed"]]
    return table.append_column("long_title", pc.coalesce(*choices, pa.scalar("")))


def code_columns(spec: Diagnoses | None) -> Iterable[str]:
    """The columns of a source's own files that hold codes or their version."""
    return spec.named if spec is not None and spec.path is None else []
