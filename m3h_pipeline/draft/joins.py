"""How files meet: which one has the samples, and by which columns the others are joined to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from m3h_pipeline.cohort.recorded import version_of
from m3h_pipeline.draft import words
from m3h_pipeline.draft.columns import Column, Table

#: Least share of a file's names that another must know, to be joined.
_ALIKE = 0.5


@dataclass(frozen=True)
class File:
    """A file of the study.

    Attributes:
        table: it.
        id: column that names its rows; None: their number does.
        on: column of the first file that ``id`` is compared with; None: the sample's id.
        partial: whether it lacks samples, or has rows of none.
    """

    table: Table
    id: str | None
    on: str | None = None
    partial: bool = False


@dataclass(frozen=True)
class Codes:
    """A file with one diagnosis code a row.

    Attributes:
        table: it.
        id: column that says whose the code is.
        of: what that names: sample or patient.
        code: column of the code.
        version: of ICD.
        column: column of the version, or none.
    """

    table: Table
    id: str
    of: str
    code: str
    version: int
    column: str | None


@dataclass(frozen=True)
class Meeting:
    """All files.

    Attributes:
        files: the first one has the samples.
        codes: diagnosis codes in a file of their own.
        left: files that could not be joined, and why.
    """

    files: list[File]
    codes: Codes | None
    left: dict[str, str]


def meet(tables: Sequence[Table]) -> Meeting:
    """Decide which file has the samples, and how the others are joined to it."""
    best: tuple[float, list[File], dict[str, str]] | None = None
    for base in tables:
        for key in [*_keys(base), None]:
            if key is None and len(tables) > 1:
                continue
            files, left = _joined(base, key, tables)
            score = len(files) * 1000 + _worth(base, key) + base.rows / (1 + max(t.rows for t in tables))
            if best is None or score > best[0]:
                best = (score, files, left)
    if best is None:
        return Meeting([File(tables[0], None)], None, {t.path: _NO_KEY for t in tables[1:]})
    _, files, left = best
    order = {table.path: i for i, table in enumerate(tables)}
    first, *others = files
    files = [first, *sorted(others, key=lambda file: order[file.table.path])]
    codes = _codes([t for t in tables if t.path in left], first)
    if codes is not None:
        left = {path: why for path, why in left.items() if path != codes.table.path}
    return Meeting(files, codes, left)


_NO_KEY = "no column names its rows: each value of an id must stand once"
_STRANGE = "none of its columns holds the ids of the first file, each once"


def _keys(table: Table) -> Iterator[str]:
    """Columns that name the rows of a table, the likeliest first."""
    unique = [column for column in table.columns if column.unique and column.name in table.ids]
    yield from (
        c.name for c in sorted(unique, key=lambda c: (-_worth(table, c.name), table.columns.index(c)))
    )


def _worth(table: Table, name: str | None) -> float:
    if name is None:
        return 0.0
    at = [column.name for column in table.columns].index(name)
    return (2.0 if words.has(name, words.IDS) else 0.0) + 1.0 / (1 + at)


def _joined(base: Table, key: str | None, tables: Sequence[Table]) -> tuple[list[File], dict[str, str]]:
    files, left = [File(base, key)], {}
    for table in tables:
        if table is base:
            continue
        found = _link(base, key, table)
        if found is None:
            left[table.path] = _STRANGE if any(_keys(table)) else _NO_KEY
        else:
            files.append(found)
    return files, left


def _link(base: Table, key: str | None, table: Table) -> File | None:
    """How a file is joined to the first one: on the sample's id, else on another column of it."""
    options: list[tuple[float, File]] = []
    for own in _keys(table):
        values = table.ids[own]
        for theirs in base.ids:
            known = base.ids[theirs]
            both = len(values & known)
            share = both / min(len(values), len(known))
            if share < _ALIKE:
                continue
            on = None if theirs == key else theirs
            partial = both < len(known) or both < len(values)
            same = (0.5 if own == theirs else 0.0) + (0.2 if words.has(own, words.IDS) else 0.0)
            whole = _running(base, theirs) and _running(table, own) and own != theirs
            if whole and not (words.has(own, words.IDS) and words.has(theirs, words.IDS)):
                continue
            options.append((share + same + (1.0 if on is None else 0.0), File(table, own, on, partial)))
    return max(options, key=lambda option: option[0])[1] if options else None


def _running(table: Table, name: str) -> bool:
    """Whether a column holds small whole numbers, which any other such column may hold too."""
    column = table.column(name)
    return column is not None and column.whole and column.high < 10 * column.rows + 1000


def _codes(tables: Sequence[Table], first: File) -> Codes | None:
    for table in tables:
        coded = [column for column in table.columns if column.icd]
        if len(coded) != 1:
            continue
        whose = _whose(table, first)
        if whose is None:
            continue
        name, of = whose
        version = next((c for c in table.columns if c.category and _tells_version(c)), None)
        return Codes(table, name, of, coded[0].name, coded[0].icd, version.name if version else None)
    return None


def _tells_version(column: Column) -> bool:
    return all(version_of(value) is not None for value in column.values)


def _whose(table: Table, first: File) -> tuple[str, str] | None:
    found: list[tuple[float, str, str]] = []
    for own, values in table.ids.items():
        for theirs, known in first.table.ids.items():
            share = len(values & known) / len(values) if values else 0.0
            if share >= _ALIKE and (theirs == first.id or words.has(theirs, words.PATIENTS)):
                of = "sample" if theirs == first.id else "patient"
                found.append((share + (1.0 if of == "sample" else 0.0), own, of))
    return max(found)[1:] if found else None
